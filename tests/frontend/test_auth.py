"""Signing in and out with a local account, and the account page."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_frontend.auth.forms import safe_next
from mm_lib.database import transaction
from mm_lib.model.accounts import LoginSession, User
from mm_lib.services.accounts import create_user
from tests.frontend.world import PASSWORD, links, sign_in, text, token

pytestmark = pytest.mark.usefixtures("ada")
COOKIE = "mm_sign_in"


def sign_ins(session: Session) -> list[LoginSession]:
    session.expire_all()
    return list(session.scalars(select(LoginSession)))


def test_signing_in_leads_to_the_account(client: FlaskClient) -> None:
    answer = sign_in(client)
    assert (answer.status_code, answer.location) == (302, "/account")
    page = text(client.get("/account"))
    assert "Ada L." in page
    assert "Administrator" in page
    assert "ada@example.org" in page


def test_signing_in_leads_back_to_where_somebody_came_from(client: FlaskClient) -> None:
    assert sign_in(client, path="/login?next=/mirrors?country=US").location == "/mirrors?country=US"


def test_names_may_be_typed_with_capitals_and_blanks(client: FlaskClient) -> None:
    assert sign_in(client, name=" Ada ").status_code == 302


def test_pages_show_who_is_signed_in_instead_of_sign_in(client: FlaskClient) -> None:
    sign_in(client)
    found = links(client.get("/"))
    assert {"/account", "/logout"} <= set(found)
    assert not [link for link in found if link.startswith("/login")]


def test_signing_in_twice_leads_on(client: FlaskClient) -> None:
    sign_in(client)
    assert client.get("/login?next=/mirrors").location == "/mirrors"


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("ada\x00", PASSWORD)])
def test_refusals_look_all_the_same(client: FlaskClient, name: str, password: str) -> None:
    answer = sign_in(client, name, password)
    assert answer.status_code == 422
    assert "User name and password do not match an account." in text(answer)
    assert COOKIE not in answer.headers.get("Set-Cookie", "")


def test_missing_fields_are_named_where_they_are_missing(client: FlaskClient) -> None:
    page = sign_in(client, "", "").get_data(as_text=True)
    assert 'aria-describedby="name-error"' in page
    assert '<p class="field-error" id="name-error">Enter your user name.</p>' in page
    assert '<p class="field-error" id="password-error">Enter your password.</p>' in page


def test_the_typed_password_is_never_sent_back(client: FlaskClient) -> None:
    assert "my-own-wrong-guess" not in sign_in(client, "ada", "my-own-wrong-guess").get_data(as_text=True)


def test_a_disabled_account_cannot_sign_in_and_loses_its_sign_ins(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    with transaction(session):
        session.scalars(select(User)).one().active = False
    assert client.get("/account").status_code == 302
    assert sign_in(client).status_code == 422


def test_the_database_keeps_only_the_hash_of_the_cookie(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    cookie = client.get_cookie(COOKIE)
    assert cookie is not None
    row = sign_ins(session)[0]
    assert row.token_hash == hashlib.sha256(cookie.value.encode()).hexdigest()
    assert row.address == "127.0.0.1"


def test_a_sign_in_gets_a_fresh_cookie_whatever_the_browser_sent(client: FlaskClient) -> None:
    client.set_cookie(COOKIE, "chosen-by-somebody-else")
    before = token(client)
    sign_in(client)
    cookie = client.get_cookie(COOKIE)
    assert cookie is not None
    assert cookie.value != "chosen-by-somebody-else"
    assert client.post("/logout", data={"csrf_token": before}).status_code == 400


def test_a_sign_in_ends_after_its_hours(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    with transaction(session):
        sign_ins(session)[0].expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert client.get("/account").location == "/login?next=/account"


def test_use_of_a_sign_in_is_noted_every_few_minutes(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with transaction(session):
        sign_ins(session)[0].seen_at = long_ago
    client.get("/")
    noted = sign_ins(session)[0].seen_at
    assert noted > long_ago
    client.get("/")
    assert sign_ins(session)[0].seen_at == noted


def test_pages_for_members_send_others_to_sign_in_and_back(client: FlaskClient) -> None:
    assert client.get("/account").location == "/login?next=/account"


def test_a_link_to_sign_out_only_asks(client: FlaskClient) -> None:
    sign_in(client)
    assert "Sign out?" in text(client.get("/logout"))
    assert client.get("/account").status_code == 200


def test_signing_out_ends_the_sign_in_and_says_so(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    answer = client.post("/logout", data={"csrf_token": token(client, "/logout")})
    assert answer.location == "/"
    assert "You are signed out." in text(client.get("/"))
    assert sign_ins(session) == []
    assert client.get("/account").status_code == 302


def test_signing_out_when_nobody_is_signed_in_leads_home(client: FlaskClient) -> None:
    assert client.get("/logout").location == "/"
    assert client.post("/logout", data={"csrf_token": token(client)}).location == "/"


@pytest.mark.parametrize("path", ["/login", "/logout", "/account/sign-ins/1/end"])
def test_changes_without_a_token_are_refused_with_an_explanation(client: FlaskClient, path: str) -> None:
    sign_in(client)
    answer = client.post(path, data={"name": "ada", "password": PASSWORD})
    assert answer.status_code == 400
    assert "That form has expired" in text(answer)
    assert client.get("/account").status_code == 200


def test_another_sign_in_can_be_ended(app: Flask, client: FlaskClient, session: Session) -> None:
    lost = app.test_client()
    sign_in(lost)
    sign_in(client)
    other = min(row.id for row in sign_ins(session))
    answer = client.post(f"/account/sign-ins/{other}/end", data={"csrf_token": token(client, "/account")})
    assert answer.location == "/account"
    assert lost.get("/account").status_code == 302
    assert client.get("/account").status_code == 200


def test_ending_ones_own_sign_in_signs_out(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    mine = sign_ins(session)[0].id
    answer = client.post(f"/account/sign-ins/{mine}/end", data={"csrf_token": token(client, "/account")})
    assert answer.location == "/"
    assert sign_ins(session) == []


def test_the_sign_ins_of_others_cannot_be_ended_or_seen(app: Flask, client: FlaskClient, session: Session) -> None:
    with transaction(session):
        create_user(session, "eve", "another long password")
    other = app.test_client()
    sign_in(client)
    sign_in(other, "eve", "another long password")
    adas = min(row.id for row in sign_ins(session))
    answer = other.post(f"/account/sign-ins/{adas}/end", data={"csrf_token": token(other, "/account")})
    assert answer.status_code == 404
    assert f"/account/sign-ins/{adas}/end" not in other.get("/account").text
    assert client.get("/account").status_code == 200


def test_failures_for_one_name_are_limited_and_say_when_to_come_back(client: FlaskClient) -> None:
    form = {"csrf_token": token(client), "name": "ada", "password": "wrong"}
    answers = [client.post("/login", data=form) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert "Slow down" in text(answers[-1])
    assert client.post("/login", data={**form, "name": "grace"}).status_code == 422


def test_failures_from_one_address_are_limited(client: FlaskClient) -> None:
    form = {"csrf_token": token(client), "password": ""}
    answers = [client.post("/login", data={**form, "name": f"name{number}"}) for number in range(21)]
    assert [answer.status_code for answer in answers][-2:] == [422, 429]


def test_sign_ins_that_succeed_do_not_count(app: Flask) -> None:
    assert {sign_in(app.test_client()).status_code for _ in range(12)} == {302}


@pytest.mark.parametrize("target", ["/", "/mirrors?country=US", "/account#x", "/a%2F%2Fb"])
def test_paths_on_this_host_are_safe_to_go_on_to(target: str) -> None:
    assert safe_next(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        " //evil.example",
        "http:evil.example",
    ],
)
def test_addresses_elsewhere_are_not_gone_on_to(target: str) -> None:
    assert safe_next(target) == ""


def test_sign_in_does_not_lead_to_another_host(client: FlaskClient) -> None:
    assert sign_in(client, path="/login?next=//evil.example/").location == "/account"
