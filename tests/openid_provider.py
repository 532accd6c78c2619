"""A small OpenID provider on loopback that checks what clients send, and lies where a test wants it to."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug import Request, Response
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "mirrors", "secret of the client & more"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

Claims = dict[str, Any]


class OpenidProvider:
    """One signed-in person, `user`; `spoil` changes an ID token's claims, `key` signs, `metadata` is published."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.user: Claims = {"sub": "17"}
        self.id_claims: Claims = {}
        self.spoil: Callable[[Claims], None] = lambda claims: None
        self.userinfo_sub = ""
        self.algorithm = "RS256"
        self.published: list[RSAKey] = [self.key]
        self.asked: list[dict[str, str]] = []  # of the authorization endpoint
        self.error = ""
        self._codes: dict[str, dict[str, str]] = {}
        self._server = make_server("127.0.0.1", 0, Request.application(self._answer), threaded=True)
        self.issuer = f"http://127.0.0.1:{self._server.port}/realm"
        self.metadata: Claims = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/logout",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "backchannel_logout_supported": True,
        }
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def settings(self, **changes: Any) -> Claims:
        """This provider, as the settings name it."""
        known = {"label": "Example ID", "issuer": self.issuer}
        return {**known, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **changes}

    def logout_token(self, key: RSAKey | None = None, **changes: Any) -> str:
        """As the provider posts it when somebody has signed out there."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
            "events": {LOGOUT_EVENT: {}},
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "one", "typ": "logout+jwt"}, claims, key or self.key)

    def _answer(self, request: Request) -> Response:
        path = request.path.removeprefix("/realm")
        answers = {
            "/.well-known/openid-configuration": lambda: _json(self.metadata),
            "/keys": lambda: _json({"keys": [key.as_dict(private=False) for key in self.published]}),
            "/authorize": lambda: self._authorize(request.args.to_dict()),
            "/token": lambda: self._token(request),
            "/logout": lambda: Response("Signed out at the provider."),
            "/userinfo": lambda: _json({**self.user, "sub": self.userinfo_sub or self.user["sub"]}),
        }
        return answers.get(path, lambda: Response(status=204))()  # browsers ask for a favicon, too

    def _authorize(self, asked: dict[str, str]) -> Response:
        self.asked.append(asked)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self._codes[code] = asked
        told = {"error": self.error, "error_description": "<script>"} if self.error else {"code": code}
        return Response(
            status=302, headers={"Location": f"{asked['redirect_uri']}?{urlencode({**told, 'state': asked['state']})}"}
        )

    def _token(self, request: Request) -> Response:
        form = request.form
        begun = self._codes.pop(form["code"], None)
        basic = request.authorization
        known = basic is not None and (basic.username, basic.password) == (CLIENT_ID, CLIENT_SECRET)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if begun is None or not known or begun["redirect_uri"] != form["redirect_uri"]:
            return _json({"error": "invalid_grant"}, 400)
        if challenge.decode().rstrip("=") != begun["code_challenge"]:
            return _json({"error": "invalid_grant", "error_description": "code verifier"}, 400)
        return _json({"access_token": secrets.token_hex(), "token_type": "Bearer", "id_token": self._id_token(begun)})

    def _id_token(self, begun: dict[str, str]) -> str:
        now = int(time.time())
        claims: Claims = {"iss": self.issuer, "aud": CLIENT_ID, "sub": self.user["sub"], "iat": now, "exp": now + 300}
        claims |= {"nonce": begun["nonce"], **self.id_claims}
        self.spoil(claims)
        header = {"alg": self.algorithm, "kid": self.key.kid}
        if self.algorithm == "none":
            parts = (json.dumps(part).encode() for part in (header, claims))
            return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
        return jwt.encode(header, claims, self.key)


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")


def query(address: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
