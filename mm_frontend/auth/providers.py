"""OpenID providers, as Authlib talks to them. Needs the extra [oidc]."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import flask
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from requests import RequestException

from mm_lib.services import openid
from mm_lib.services.errors import NotAllowed, ServiceError
from mm_lib.services.openid import ProviderUnusable
from mm_lib.settings import OidcProvider, Settings

METADATA_SECONDS = 3600.0
LEEWAY = 60  # seconds that two clocks may differ
LOGOUT_TOKEN_SECONDS = 600  # an older one is a replay
MAX_STATES = 3  # sign-ins that a browser may have begun: they live in its cookie, which has 4 kB
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

log = logging.getLogger(__name__)


class ProviderDown(ServiceError):
    """The provider cannot be asked, or its settings are wrong; the log says more."""

    def __init__(self) -> None:
        super().__init__("The provider cannot be asked right now. Please try again in some minutes.")


class NotSignedIn(NotAllowed):
    """The provider's answer signs nobody in; `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__("The sign-in did not work. Please begin again.")
        self.reason = reason


def make(app: Flask, configured: Settings) -> dict[str, Provider]:
    """All providers of the settings. Nothing is asked yet: one that is down stops nobody else's sign-in."""
    logging.getLogger("authlib").setLevel(logging.INFO)  # it writes code verifiers into debug messages
    oauth = OAuth(app)
    here = configured.frontend.public_url
    return {name: Provider(oauth, name, each, here) for name, each in configured.oidc.providers.items()}


class Provider:
    """One OpenID provider."""

    def __init__(self, oauth: OAuth, name: str, settings: OidcProvider, here: str) -> None:
        self.name = name
        self.settings = settings
        self._here = here
        verify: str | bool = str(settings.ca_file) if settings.ca_file else True
        secret = settings.secret()
        self._client = oauth.register(
            name,
            client_id=settings.client_id,
            client_secret=secret or None,
            server_metadata_url=openid.discovery_address(settings),
            client_kwargs={
                "scope": " ".join(dict.fromkeys(["openid", *settings.scopes])),
                "code_challenge_method": "S256",
                "timeout": settings.timeout,
                "verify": verify,
                **({} if secret else {"token_endpoint_auth_method": "none"}),
            },
        )

    def begin(self, target: str, acr: list[str]) -> str:
        """The address that a browser is sent to; state, nonce and code verifier are noted in its cookie.

        With `acr` the person is asked for a stronger sign-in. Raises ProviderDown.
        """
        self._ready()
        more = {"acr_values": " ".join(acr)} if acr else {}
        asked = self._client.create_authorization_url(f"{self._here}/login/oidc/{self.name}/callback", **more)
        self._drop_old_states()
        noted = {key: asked[key] for key in ("state", "nonce", "code_verifier")}
        self._client.save_authorize_data(
            redirect_uri=f"{self._here}/login/oidc/{self.name}/callback", target=target, stronger=bool(acr), **noted
        )
        address: str = asked["url"]
        return address

    def _drop_old_states(self) -> None:
        states = [key for key in flask.session if key.startswith("_state_")]
        for key in states[: max(0, len(states) - MAX_STATES + 1)]:
            flask.session.pop(key)

    def begun(self, state: str) -> dict[str, Any]:
        """What was noted when this sign-in began. Raises NotSignedIn when it was not begun here."""
        found: dict[str, Any] | None = self._client.framework.get_state_data(flask.session, state)
        if not found:
            raise NotSignedIn("unknown state: the sign-in was begun elsewhere, too long ago, or is used twice")
        return found

    def finish(self, answer: Mapping[str, str]) -> tuple[dict[str, Any], str]:
        """All claims about who has signed in, and the ID token. Raises NotSignedIn, ProviderDown."""
        metadata = self._ready()
        if answer.get("iss", self.settings.issuer) != self.settings.issuer:  # RFC 9207: another provider's answer
            raise NotSignedIn("the answer is from another issuer")
        try:
            token = self._client.authorize_access_token(claims_options=self._expected(), leeway=LEEWAY)
            claims = token.get("userinfo")
            if not claims:
                raise NotSignedIn("the provider sent no ID token")
            return self._with_userinfo(metadata, token, dict(claims)), token["id_token"]
        except (OAuthError, JoseError, ValueError, TypeError, KeyError) as error:
            raise NotSignedIn(f"{type(error).__name__}: {error}") from None
        except RequestException as error:
            raise self._down(error) from None

    def _expected(self) -> dict[str, Any]:
        return {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
        }

    def _with_userinfo(self, metadata: Mapping[str, Any], token: Any, claims: dict[str, Any]) -> dict[str, Any]:
        """With the claims that a provider tells only there, such as groups; what the signed token says stays."""
        if not metadata.get("userinfo_endpoint"):
            return claims
        more = self._client.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise NotSignedIn("userinfo is about somebody else than the ID token")
        return {**more, **claims}

    def sign_out_address(self, id_token: str) -> str:
        """Where the person signs out at the provider; empty when that is not wanted or not offered."""
        if not self.settings.sign_out:
            return ""
        try:
            if not self._ready().get("end_session_endpoint"):
                return ""
        except ProviderDown:
            return ""
        made = self._client.create_logout_url(
            post_logout_redirect_uri=f"{self._here}/", id_token_hint=id_token, client_id=self.settings.client_id
        )
        address: str = made["url"]
        return address

    def signed_out(self, logout_token: str) -> tuple[str, str]:
        """Subject and session that the provider says are over; one of them may be empty. Raises NotSignedIn."""
        metadata = self._ready()
        algorithms = metadata["id_token_signing_alg_values_supported"]
        try:
            token = self._decode(logout_token, algorithms)
            registry = jwt.JWTClaimsRegistry(leeway=LEEWAY, **self._expected_of_logout())
            registry.validate(token.claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise NotSignedIn(f"{type(error).__name__}: {error}") from None
        except RequestException as error:
            raise self._down(error) from None
        claims = token.claims
        subject, sid = claims.get("sub") or "", claims.get("sid") or ""
        events = claims.get("events")
        if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
            raise NotSignedIn("this is no logout token")
        if not (subject or sid) or not isinstance(subject, str) or not isinstance(sid, str):
            raise NotSignedIn("the logout token names neither subject nor session")
        if time.time() - float(claims["iat"]) > LOGOUT_TOKEN_SECONDS:
            raise NotSignedIn("the logout token is too old")
        return subject, sid

    def _expected_of_logout(self) -> dict[str, Any]:
        expected = self._expected()
        return {"iss": expected["iss"], "aud": expected["aud"], "iat": {"essential": True}}

    def _decode(self, token: str, algorithms: list[str]) -> jwt.Token:
        """Checked against the provider's keys; those are fetched again when the token names a new one."""
        registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
        try:
            return jwt.decode(token, KeySet.import_key_set(self._client.fetch_jwk_set()), registry=registry)
        except ValueError:  # no such key
            keys = KeySet.import_key_set(self._client.fetch_jwk_set(force=True))
            return jwt.decode(token, keys, registry=registry)

    def _ready(self) -> dict[str, Any]:
        """The discovery document, which is fetched once an hour. Raises ProviderDown."""
        kept: dict[str, Any] = self._client.server_metadata
        if time.time() - kept.get("_loaded_at", 0.0) < METADATA_SECONDS:
            return kept
        kept.pop("_loaded_at", None)
        try:
            kept.update(openid.checked_metadata(self.settings, self._client.load_server_metadata()))
        except (ProviderUnusable, RequestException, ValueError) as error:
            kept.pop("_loaded_at", None)
            raise self._down(error) from None
        return kept

    def _down(self, error: Exception) -> ProviderDown:
        log.error("OpenID provider %s: %s", self.name, error)
        return ProviderDown()
