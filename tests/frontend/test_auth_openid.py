"""Sign-in by OpenID Connect, against providers on loopback: the honest way, and every lie that must not work."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_frontend.app import create_app
from mm_lib.database import transaction
from mm_lib.model.accounts import Identity, LoginSession, Role, User
from mm_lib.services.accounts import create_user
from mm_lib.settings import Settings
from tests.frontend import world
from tests.frontend.world import links, text, token
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenidProvider, query
from tests.postgres import free_port

# What differs between databases is tested in tests/lib and test_auth_openid_foreign.py.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HERE = "http://localhost"
ALICE = {"sub": "17", "preferred_username": "alice", "name": "Alice E.", "email": "alice@example.org"}


@pytest.fixture(scope="module")
def server() -> Iterator[OpenidProvider]:
    made = OpenidProvider()
    yield made
    made.stop()


@pytest.fixture
def provider(server: OpenidProvider) -> Iterator[OpenidProvider]:
    """Honest, until the test says otherwise."""
    kept = dict(vars(server))
    server.user, server.asked = dict(ALICE), []
    server.metadata = dict(server.metadata)
    yield server
    vars(server).update(kept)


def browser(engine: Engine, providers: dict[str, Any], **login: Any) -> FlaskClient:
    values = world.SETTINGS.model_dump()
    values["frontend"]["secret_key"] = "0123456789abcdefghijklmnopqrstuvwxyz"
    values["frontend"]["public_url"] = HERE
    values |= {"oidc": {"providers": providers}, "login": login}
    return create_app(Settings.model_validate(values), engine).test_client()


@pytest.fixture
def client(engine: Engine, provider: OpenidProvider) -> FlaskClient:
    return browser(engine, {"example": provider.settings(admin_groups=["admins"], auditor_groups=["audit"])})


def go(address: str) -> str:
    """Where the provider sends the browser back to."""
    answer = requests.get(address, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"].removeprefix(HERE)


def begin(client: FlaskClient, path: str = "/login/oidc/example") -> str:
    answer = client.get(path)
    assert answer.status_code == 302, text(answer)
    return answer.location


def sign_in(client: FlaskClient, path: str = "/login/oidc/example") -> TestResponse:
    return client.get(go(begin(client, path)))


def refused(answer: TestResponse, client: FlaskClient) -> bool:
    assert answer.status_code == 403, text(answer)
    assert "The sign-in did not work. Please begin again." in text(answer)
    return client.get("/account").status_code == 302


def test_the_sign_in_page_offers_all_ways_at_once(client: FlaskClient) -> None:
    answer = client.get("/login?next=/mirrors")
    assert "Sign in with Example ID" in text(answer)
    assert "/login/oidc/example?next=/mirrors" in links(answer)
    assert "Or by name and password" in text(answer)


def test_signing_in_at_the_provider_signs_in_here(client: FlaskClient, session: Session) -> None:
    """A person without a groups claim is a user like any other."""
    answer = sign_in(client)
    assert (answer.status_code, answer.location) == (302, "/account")
    page = text(client.get("/account"))
    assert "Alice E." in page and "alice@example.org" in page and "Example ID" in page
    (identity,) = session.scalars(select(Identity))
    assert identity.subject == "17"


def test_the_request_has_state_nonce_and_a_code_challenge(client: FlaskClient, provider: OpenidProvider) -> None:
    """The provider of these tests checks the code verifier; both times they are others."""
    first, second = query(begin(client)), query(begin(client))
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 20 and first[name] != second[name]
    assert first["redirect_uri"] == f"{HERE}/login/oidc/example/callback"
    assert set(first["scope"].split()) == {"openid", "profile", "email"}
    assert "acr_values" not in first


def test_signing_in_leads_back_to_where_somebody_came_from_and_never_elsewhere(client: FlaskClient) -> None:
    assert sign_in(client, "/login/oidc/example?next=/mirrors").location == "/mirrors"
    assert sign_in(client, "/login/oidc/example?next=//evil.example").location == "/account"


def test_the_redirect_address_does_not_follow_the_host_that_a_request_names(client: FlaskClient) -> None:
    answer = client.get("/login/oidc/example", headers={"Host": "evil.example"})
    assert query(answer.location)["redirect_uri"].startswith(HERE)


def test_equal_names_are_not_the_same_person(client: FlaskClient, session: Session) -> None:
    with transaction(session):
        create_user(session, "alice", world.PASSWORD, role=Role.ADMIN, email="alice@example.org")
    sign_in(client)
    page = text(client.get("/account"))
    assert "alice-2" in page and "Administrator" not in page


def test_two_providers_are_two_sources(engine: Engine, provider: OpenidProvider) -> None:
    """Also for the state: what began at one does not end at the other."""
    two = {"example": provider.settings(), "second": provider.settings(label="Second", client_id=CLIENT_ID)}
    client = browser(engine, two, local=False)
    assert {"Sign in with Example ID", "Sign in with Second"} <= set(
        re.findall("Sign in with [A-Z]\\w+(?: ID)?", client.get("/login").text)
    )
    assert 'type="password"' not in client.get("/login").text
    back = go(begin(client)).replace("/example/", "/second/")
    assert refused(client.get(back), client)


def test_the_provider_that_a_browser_names_must_exist(client: FlaskClient) -> None:
    assert client.get("/login/oidc/nowhere").status_code == 404
    assert client.get("/login/oidc/nowhere/callback").status_code == 404
    assert client.post("/login/oidc/nowhere/backchannel-logout").status_code == 404


GROUPS = (
    (["admins"], "Administrator"),
    (["audit", "x"], "Auditor"),
    (["x"], "User"),
    ("admins", "Administrator"),
    ({"a": 1}, "User"),
)


def test_groups_give_roles(client: FlaskClient, provider: OpenidProvider) -> None:
    for provider.user["groups"], role in GROUPS:
        sign_in(client)
        assert f"Role {role}" in text(client.get("/account"))
        client.post("/logout", data={"csrf_token": token(client, "/logout")})


def test_a_role_from_groups_lasts_as_long_as_the_sign_in(
    client: FlaskClient, provider: OpenidProvider, session: Session
) -> None:
    provider.user["groups"] = ["admins"]
    sign_in(client)
    assert session.scalars(select(User.role)).all() == [Role.USER]
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    provider.user["groups"] = []
    sign_in(client)
    assert "Role User" in text(client.get("/account"))


def test_claims_are_found_by_configured_paths(engine: Engine, provider: OpenidProvider) -> None:
    paths = {
        "name_claim": "nickname",
        "display_name_claim": "profile.full",
        "groups_claim": "realm_access.roles",
        "admin_groups": ["mm"],
    }
    provider.user = {"sub": "17", "nickname": "ally", "profile": {"full": "A. E."}, "realm_access": {"roles": ["mm"]}}
    client = browser(engine, {"example": provider.settings(**paths)})
    sign_in(client)
    page = text(client.get("/account"))
    assert "ally" in page and "A. E." in page and "Role Administrator" in page


def test_an_address_that_the_provider_has_not_checked_is_not_taken(
    client: FlaskClient, provider: OpenidProvider
) -> None:
    provider.user["email_verified"] = False
    sign_in(client)
    assert "alice@example.org" not in text(client.get("/account"))


def test_who_is_in_no_required_group_is_told_so(engine: Engine, provider: OpenidProvider) -> None:
    client = browser(engine, {"example": provider.settings(required_groups=["signed"])})
    answer = sign_in(client)
    assert answer.status_code == 403
    assert "none of the groups that may sign in" in text(answer)


def test_administrators_are_asked_for_a_stronger_sign_in_and_others_are_not(
    engine: Engine, provider: OpenidProvider
) -> None:
    client = browser(engine, {"example": provider.settings(admin_groups=["admins"], admin_acr=["two-factor"])})
    assert sign_in(client).location == "/account"
    assert len(provider.asked) == 1
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    provider.user["groups"] = ["admins"]
    again = sign_in(client)
    assert query(again.location)["acr_values"] == "two-factor"
    provider.id_claims = {"acr": "two-factor"}
    assert client.get(go(again.location)).location == "/account"
    assert "Role Administrator" in text(client.get("/account"))


def test_without_the_stronger_sign_in_an_administrator_is_a_user(engine: Engine, provider: OpenidProvider) -> None:
    """Asked once, and not in a circle."""
    client = browser(engine, {"example": provider.settings(admin_groups=["admins"], admin_acr=["two-factor"])})
    provider.user["groups"], provider.id_claims = ["admins"], {"acr": "password"}
    assert client.get(go(sign_in(client).location)).location == "/account"
    page = text(client.get("/account"))
    assert "they need a second factor" in page and "Role User" in page


SPOILS: dict[str, Callable[[dict[str, Any]], None]] = {
    "wrong nonce": lambda claims: claims.update(nonce="another"),
    "no nonce": lambda claims: claims.pop("nonce"),
    "expired": lambda claims: claims.update(exp=int(time.time()) - 3600),
    "no expiry": lambda claims: claims.pop("exp"),
    "issued in the future": lambda claims: claims.update(iat=int(time.time()) + 3600),
    "another issuer": lambda claims: claims.update(iss="https://evil.example"),
    "another audience": lambda claims: claims.update(aud="somebody-else"),
    "another audience with us as the party": lambda claims: claims.update(aud="somebody-else", azp=CLIENT_ID),
    "no subject": lambda claims: claims.pop("sub"),
}


def test_id_tokens_that_say_something_wrong_sign_nobody_in(client: FlaskClient, provider: OpenidProvider) -> None:
    for lie, provider.spoil in SPOILS.items():
        assert refused(sign_in(client), client), lie


@pytest.mark.parametrize("algorithm", ["forged", "HS256", "none"])
def test_id_tokens_that_the_provider_did_not_sign_sign_nobody_in(
    client: FlaskClient, provider: OpenidProvider, algorithm: str
) -> None:
    if algorithm == "forged":
        provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    else:
        provider.algorithm = algorithm
        provider.key = OctKey.import_key(CLIENT_SECRET, {"kid": "one"})  # type: ignore[assignment]
    assert refused(sign_in(client), client)


def test_a_new_key_of_the_provider_is_fetched(client: FlaskClient, provider: OpenidProvider) -> None:
    sign_in(client)
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    provider.key = RSAKey.generate_key(2048, {"kid": "two"})
    provider.published = [*provider.published, provider.key]
    assert sign_in(client).location == "/account"


def test_userinfo_about_somebody_else_signs_nobody_in(client: FlaskClient, provider: OpenidProvider) -> None:
    provider.userinfo_sub = "18"
    assert refused(sign_in(client), client)


@pytest.mark.parametrize(
    "change", [lambda back: re.sub("state=[^&]+", "state=x", back), lambda back: re.sub("state=[^&]+", "", back)]
)
def test_an_answer_with_another_state_signs_nobody_in(client: FlaskClient, change: Callable[[str], str]) -> None:
    assert refused(client.get(change(go(begin(client)))), client)


def test_an_answer_works_only_in_the_browser_that_asked_and_only_once(engine: Engine, provider: OpenidProvider) -> None:
    client = browser(engine, {"example": provider.settings()})
    other = client.application.test_client()
    back = go(begin(client))
    assert refused(other.get(back), other)
    assert client.get(back).status_code == 302
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    assert refused(client.get(back), client)


def test_an_answer_from_another_issuer_signs_nobody_in(client: FlaskClient) -> None:
    assert refused(client.get(f"{go(begin(client))}&iss=https://evil.example"), client)


def test_a_wrong_code_signs_nobody_in(client: FlaskClient) -> None:
    assert refused(client.get(re.sub("code=[^&]+", "code=x", go(begin(client)))), client)


def test_a_refusal_of_the_provider_leads_back_to_the_sign_in_page(
    client: FlaskClient, provider: OpenidProvider
) -> None:
    provider.error = "access_denied"
    answer = sign_in(client, "/login/oidc/example?next=/mirrors")
    assert answer.location == "/login?next=/mirrors"
    assert "Example ID did not sign you in." in text(client.get("/login"))


def test_failures_on_the_way_back_are_limited(client: FlaskClient) -> None:
    answers = [client.get("/login/oidc/example/callback?state=x&code=y").status_code for _ in range(21)]
    assert answers == [403] * 20 + [429]


def test_many_begun_sign_ins_do_not_overflow_the_cookie(client: FlaskClient) -> None:
    for _ in range(12):
        last = begin(client)
    assert client.get(go(last)).status_code == 302


@pytest.mark.parametrize(
    "change",
    [{"issuer": "http://127.0.0.1:1"}, {"token_endpoint": ""}, {"id_token_signing_alg_values_supported": ["HS256"]}],
)
def test_a_provider_that_calls_itself_otherwise_is_not_used(
    client: FlaskClient, provider: OpenidProvider, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """And is used as soon as it is right again."""
    right = provider.metadata
    provider.metadata = {**right, **change}
    answer = client.get("/login/oidc/example")
    assert answer.status_code == 503
    assert "The provider cannot be asked right now." in text(answer)
    assert "OpenID provider example" in caplog.text
    provider.metadata = right
    assert client.get("/login/oidc/example").status_code == 302


def test_a_provider_that_is_down_stops_no_other_way_to_sign_in(engine: Engine, provider: OpenidProvider) -> None:
    client = browser(engine, {"example": provider.settings(issuer=f"http://127.0.0.1:{free_port()}")})
    assert client.get("/login/oidc/example").status_code == 503
    assert client.get("/login").status_code == 200


def test_signing_out_leads_on_to_the_provider(client: FlaskClient, provider: OpenidProvider, session: Session) -> None:
    sign_in(client)
    answer = client.post("/logout", data={"csrf_token": token(client, "/logout")})
    assert session.scalars(select(LoginSession)).all() == []
    found = re.search('http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
    assert found
    beyond = html.unescape(found[1])
    assert beyond.startswith(f"{provider.issuer}/logout?")
    assert query(beyond)["post_logout_redirect_uri"] == f"{HERE}/"
    assert query(beyond)["client_id"] == CLIENT_ID
    assert query(beyond)["id_token_hint"].count(".") == 2
    assert client.get("/account").status_code == 302


def test_signing_out_ends_here_where_that_is_wanted(engine: Engine, provider: OpenidProvider) -> None:
    client = browser(engine, {"example": provider.settings(sign_out=False)})
    sign_in(client)
    assert client.post("/logout", data={"csrf_token": token(client, "/logout")}).location == "/"


def log_out_by(client: FlaskClient, logout_token: str) -> TestResponse:
    """The provider is no browser: it has no cookie and no CSRF token."""
    stranger = client.application.test_client()
    return stranger.post("/login/oidc/example/backchannel-logout", data={"logout_token": logout_token})


@pytest.mark.parametrize("named", [{"sub": "17"}, {"sid": "s1"}, {"sub": "17", "sid": "s1"}])
def test_signing_out_at_the_provider_ends_the_sign_in_here(
    client: FlaskClient, provider: OpenidProvider, named: dict[str, str]
) -> None:
    provider.id_claims = {"sid": "s1"}
    sign_in(client)
    assert client.get("/account").status_code == 200
    answer = log_out_by(client, provider.logout_token(**named))
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert client.get("/account").status_code == 302


WRONG_LOGOUTS: list[dict[str, Any]] = [
    {"sub": None},
    {"sub": "18"},
    {"sid": "s2"},
    {"iss": "https://evil.example"},
    {"aud": "somebody-else"},
    {"events": None},
    {"events": {"http://schemas.openid.net/event/other": {}}},
    {"nonce": "n"},
    {"iat": 1_700_000_000},
    {"iat": None},
    {"exp": 1_700_000_000},
    {"key": RSAKey.generate_key(2048, {"kid": "one"})},
]


def test_logout_tokens_that_are_wrong_or_about_others_end_nothing(
    client: FlaskClient, provider: OpenidProvider
) -> None:
    provider.id_claims = {"sid": "s1"}
    sign_in(client)
    for change in WRONG_LOGOUTS:
        log_out_by(client, provider.logout_token(**{"sub": "17", **change}))
        assert client.get("/account").status_code == 200, change


def test_what_is_no_logout_token_is_refused(client: FlaskClient) -> None:
    for wrong in ("", "x", "a.b.c", "\u00e9"):
        answer = log_out_by(client, wrong)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_nothing_secret_gets_into_the_log(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        sign_in(client)
        client.get("/login/oidc/example/callback?state=x&code=y")
    assert CLIENT_SECRET not in caplog.text
    assert "code_verifier" not in caplog.text
