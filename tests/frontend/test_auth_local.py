"""Local accounts by those who own them: making one, a new password, one-time codes, and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_frontend.auth import mail
from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent, LoginSession, Role, SecondFactor, User
from mm_lib.settings import Settings, SettingsError
from tests.frontend import world
from tests.frontend.world import PASSWORD, sign_in, text, token
from tests.outbox.receivers import MailServer

pytestmark = [pytest.mark.usefixtures("ada"), pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
PUBLIC = "https://mirrors.example.org"
NEW = "a completely new one"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with MailServer() as made:
        yield made


@pytest.fixture
def mails(server: MailServer) -> MailServer:
    server.mails.clear()
    return server


def make(engine: Engine, login: dict[str, Any], **sections: Any) -> Flask:
    values = world.SETTINGS.model_dump()
    values["frontend"]["secret_key"] = "0123456789abcdefghijklmnopqrstuvwxyz"
    values["frontend"]["public_url"] = PUBLIC
    values["login"] |= login
    return create_app(Settings.model_validate({**values, **sections}), engine)


def mailing(server: MailServer) -> dict[str, Any]:
    return {"server": "127.0.0.1", "port": server.port, "security": "none", "sender": "mm@example.org"}


@pytest.fixture
def app(engine: Engine, mails: MailServer) -> Flask:
    return make(engine, {"registration": True}, mail=mailing(mails))


def send(client: FlaskClient, path: str, **form: str) -> TestResponse:
    return client.post(path, data={"csrf_token": token(client, path), **form})


def sent(app: Flask, mails: MailServer) -> list[str]:
    """The mails' texts, once all are out."""
    with app.app_context():
        mail.wait()
    return [each.get_content() for each in mails.mails]


def link(app: Flask, mails: MailServer) -> str:
    (only,) = sent(app, mails)
    found = re.search(rf"{PUBLIC}(/\S+)", only)
    assert found
    return found[1]


def test_a_new_password_by_mail(app: Flask, client: FlaskClient, mails: MailServer) -> None:
    assert send(client, "/login/forgotten", name="ada").location == "/login/mail-sent"
    path = link(app, mails)
    answer = send(client, path, password=NEW, again=NEW)
    assert answer.location == "/login"
    assert "Your password is changed" in text(client.get("/login"))
    assert sign_in(client, "ada", PASSWORD).status_code == 422
    assert sign_in(client, "ada", NEW).status_code == 302
    assert client.get(path).status_code == 404


def test_nobody_learns_which_names_exist(app: Flask, client: FlaskClient, mails: MailServer) -> None:
    """Pages for a name that exists and for one that does not are the same, byte for byte."""
    answers = []
    for name in ("ada", "nobody"):
        answer = send(client, "/login/forgotten", name=name)
        answers.append((answer.status_code, answer.location, answer.data))
    assert answers[0] == answers[1]
    assert len(sent(app, mails)) == 1


def test_the_link_does_not_follow_the_host_that_a_request_names(
    app: Flask, client: FlaskClient, mails: MailServer
) -> None:
    form = {"csrf_token": token(client, "/login/forgotten"), "name": "ada"}
    client.post("/login/forgotten", data=form, headers={"Host": "localhost", "X-Forwarded-Host": "evil.example"})
    assert link(app, mails).startswith("/login/new-password/")


def test_links_are_kept_out_of_the_log_and_the_database(
    app: Flask, mails: MailServer, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        send(app.test_client(), "/login/forgotten", name="ada")
        secret = link(app, mails).rpartition("/")[2]
    assert secret not in caplog.text
    dump = "\n".join(session.connection().connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert "account_token" in dump and secret not in dump


def test_a_mail_server_that_is_down_changes_no_page(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    app = make(engine, {}, mail={"server": "127.0.0.1", "port": 9, "security": "none", "sender": "mm@example.org"})
    client = app.test_client()
    assert send(client, "/login/forgotten", name="ada").location == "/login/mail-sent"
    with app.app_context():
        mail.wait()
    assert "could not be sent" in caplog.text


def test_without_mail_the_page_says_whom_to_ask(engine: Engine) -> None:
    page = text(make(engine, {}).test_client().get("/login/forgotten"))
    assert "This installation sends no mail." in page and "help@example.org" in page


@pytest.mark.parametrize(
    ("typed", "told"),
    [(("short", "short"), "at least 12 characters"), ((NEW, "other"), "not the same"), (("", ""), "Enter a password")],
)
def test_a_password_that_cannot_be_used_is_explained(
    app: Flask, client: FlaskClient, mails: MailServer, typed: tuple[str, str], told: str
) -> None:
    send(client, "/login/forgotten", name="ada")
    answer = send(client, link(app, mails), password=typed[0], again=typed[1])
    assert (answer.status_code, told in text(answer)) == (422, True)


def test_mails_are_limited(app: Flask, client: FlaskClient, mails: MailServer) -> None:
    form = {"csrf_token": token(client, "/login/forgotten")}
    answers = [client.post("/login/forgotten", data={**form, "name": f"n{number}"}).status_code for number in range(11)]
    assert answers == [302] * 10 + [429]


def test_guessing_links_is_limited(client: FlaskClient) -> None:
    answers = [client.get(f"/login/new-password/{number}").status_code for number in range(21)]
    assert answers == [404] * 20 + [429]


def test_an_account_is_made_by_whoever_reads_the_address(app: Flask, client: FlaskClient, mails: MailServer) -> None:
    assert "Make one" in text(client.get("/login"))
    send(client, "/register", email="grace@example.org")
    path = link(app, mails)
    assert "grace@example.org" in text(client.get(path))
    assert send(client, path, name="ada", password=NEW, again=NEW).status_code == 422
    assert send(client, path, name="grace", display_name="Grace H.", password=NEW, again=NEW).location == "/account"
    assert "Grace H." in text(client.get("/account"))
    assert client.get(path).status_code == 404


def test_an_address_with_an_account_is_told_so_by_mail_only(app: Flask, client: FlaskClient, mails: MailServer) -> None:
    answers = [send(client, "/register", email=address).location for address in ("ada@example.org", "new@example.org")]
    assert set(answers) == {"/login/mail-sent"}
    first, _ = sent(app, mails)
    assert "You have one: its name is ada." in first
    assert "/register/" not in first


def test_a_password_is_changed_with_the_old_one_and_ends_all_sign_ins(client: FlaskClient) -> None:
    sign_in(client)
    form = {"password": NEW, "again": NEW}
    assert "That is not your password." in text(send(client, "/account/password", old="wrong", **form))
    assert send(client, "/account/password", old=PASSWORD, password="short", again="short").status_code == 422
    assert send(client, "/account/password", old=PASSWORD, **form).location == "/login"
    assert client.get("/account").status_code == 302
    assert sign_in(client, "ada", NEW).status_code == 302


def test_registration_is_off_unless_it_is_switched_on(engine: Engine) -> None:
    client = make(engine, {}).test_client()
    assert client.get("/register").status_code == 404
    assert client.get("/register/token").status_code == 404
    assert "Make one" not in text(client.get("/login"))


def send_from(client: FlaskClient, page: TestResponse, path: str, **form: str) -> TestResponse:
    """Send the form of a page that was opened before."""
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert found
    return client.post(path, data={"csrf_token": found[1], **form})


def switch_on(client: FlaskClient) -> tuple[pyotp.TOTP, list[str]]:
    answer = client.get("/account/code")
    assert answer.headers["Cache-Control"] == "no-store"
    page = answer.text
    assert "<svg" in page and "otpauth://totp/Test%20Mirrors:ada" in page
    found = re.search(r'class="key">([A-Z2-7]+)<', page)
    assert found
    totp = pyotp.TOTP(found[1])
    answer = send_from(client, answer, "/account/code", code=totp.now())
    codes = re.findall(r"<li>([a-z2-9-]{17})</li>", answer.text)
    assert len(codes) == 10
    return totp, codes


def next_code(session: Session, totp: pyotp.TOTP) -> str:
    """The code of now, as if none had been used."""
    with transaction(session):
        session.scalars(select(SecondFactor)).one().last_step = 0
    return totp.now()


def test_one_time_codes_are_asked_for_once_they_are_on(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    totp, _ = switch_on(client)
    assert totp.secret not in client.get("/account/code", follow_redirects=True).text
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    assert sign_in(client, path="/login?next=/mirrors").location == "/login/code"
    assert client.get("/account").status_code == 302
    assert send(client, "/login/code", code="000000").status_code == 422
    assert send(client, "/login/code", code=next_code(session, totp)).location == "/mirrors"
    assert client.get("/account").status_code == 200


def test_a_wrong_first_code_can_be_tried_again_and_a_new_beginning_has_a_new_secret(client: FlaskClient) -> None:
    sign_in(client)

    def secret(page: TestResponse) -> str:
        found = re.search(r'class="key">([A-Z2-7]+)<', page.text)
        assert found
        return found[1]

    begun = client.get("/account/code")
    wrong = send_from(client, begun, "/account/code", code="000000")
    assert (wrong.status_code, secret(wrong)) == (422, secret(begun))
    assert secret(client.get("/account/code")) != secret(begun)


def test_a_new_account_has_no_further_rights_without_a_second_factor(
    engine: Engine, mails: MailServer, session: Session
) -> None:
    app = make(engine, {"registration": True, "admin_code": True}, mail=mailing(mails))
    client = app.test_client()
    send(client, "/register", email="grace@example.org")
    send(client, link(app, mails), name="grace", display_name="", password=NEW, again=NEW)
    with transaction(session):
        session.scalars(select(User).where(User.name == "grace")).one().role = Role.ADMIN
    assert "Your further rights wait for a second factor." in text(client.get("/account"))


def test_a_recovery_code_opens_the_account_once(client: FlaskClient) -> None:
    sign_in(client)
    _, codes = switch_on(client)
    for expected in (302, 422):
        client.post("/logout", data={"csrf_token": token(client, "/logout")})
        sign_in(client)
        assert send(client, "/login/code", code=codes[0]).status_code == expected


def test_the_code_step_needs_a_right_password_a_moment_ago(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/login/code").location == "/login"
    sign_in(client)
    switch_on(client)
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    monkeypatch.setattr("mm_frontend.auth.views.CODE_SECONDS", -1.0)
    sign_in(client)
    assert client.get("/login/code").location == "/login"


def test_wrong_codes_are_limited(client: FlaskClient) -> None:
    sign_in(client)
    switch_on(client)
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    sign_in(client)
    form = {"csrf_token": token(client, "/login/code"), "code": "000000"}
    answers = [client.post("/login/code", data=form).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_switching_codes_off_takes_the_password_and_ends_all_sign_ins(
    app: Flask, client: FlaskClient, session: Session
) -> None:
    sign_in(client)
    switch_on(client)
    assert send(client, "/account/code/off", password="wrong").status_code == 422
    assert send(client, "/account/code/off", password=PASSWORD).location == "/login"
    assert session.scalars(select(LoginSession)).all() == []
    assert sign_in(client).location == "/account"


def test_what_people_do_to_accounts_is_recorded_with_who_and_from_where(
    app: Flask, client: FlaskClient, mails: MailServer, session: Session
) -> None:
    send(client, "/login/forgotten", name="ada")
    path = link(app, mails)
    send(client, path, password=NEW, again=NEW)
    sign_in(client, "ada", NEW)
    switch_on(client)
    found = session.execute(select(AuditEvent.action, AuditEvent.actor, AuditEvent.address).order_by(AuditEvent.id))
    told = [tuple(row) for row in found]
    assert ("change user_account", "(not signed in)", "127.0.0.1") in told
    assert ("change second_factor", "ada", "127.0.0.1") in told
    assert not {row[0] for row in told} & {"add login_session", "change login_session"}


@pytest.mark.parametrize("path", ["/account/code/off", "/account/password", "/account/code"])
def test_who_is_not_signed_in_is_asked_to_and_limits_go_on_counting(client: FlaskClient, path: str) -> None:
    answer = client.post(path, data={"csrf_token": token(client)})
    assert (answer.status_code, answer.location) == (302, "/login")
    assert not guards.limiter._storage_dead


def test_administrators_may_be_made_to_use_codes(engine: Engine, session: Session) -> None:
    client = make(engine, {"admin_code": True}).test_client()
    sign_in(client)
    page = text(client.get("/account"))
    assert "Role User" in page and "Your further rights wait for a second factor." in page
    totp, _ = switch_on(client)
    client.post("/logout", data={"csrf_token": token(client, "/logout")})
    sign_in(client)
    send(client, "/login/code", code=next_code(session, totp))
    assert "Role Administrator" in text(client.get("/account"))


def test_people_from_elsewhere_have_no_codes_here(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    with transaction(session):
        session.scalars(select(User)).one().password_hash = None
    assert client.get("/account/code").status_code == 404


def test_all_other_sign_ins_can_be_ended_at_once(app: Flask, client: FlaskClient) -> None:
    others = [app.test_client() for _ in range(2)]
    for each in (*others, client):
        sign_in(each)
    answer = client.post("/account/sign-ins/end-others", data={"csrf_token": token(client, "/account")})
    assert answer.location == "/account"
    assert "2 other sign-ins have ended." in text(client.get("/account"))
    assert [each.get("/account").status_code for each in others] == [302, 302]


def test_a_sign_in_that_is_not_used_ends(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    with transaction(session):
        session.scalars(select(LoginSession)).one().seen_at = datetime.now(UTC) - timedelta(hours=2, seconds=1)
    assert client.get("/account").status_code == 302


def test_a_new_sign_in_ends_what_the_browsers_old_cookie_opened(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    with transaction(session):
        session.scalars(select(LoginSession)).one().seen_at = datetime.now(UTC) - timedelta(hours=3)
    sign_in(client)
    assert len(session.scalars(select(LoginSession)).all()) == 1


def test_a_storage_for_limits_that_cannot_be_used_stops_the_start(engine: Engine) -> None:
    with pytest.raises(SettingsError, match=r"login\.limits_storage memcached://127\.0\.0\.1:1"):
        make(engine, {"limits_storage": "memcached://127.0.0.1:1"})
