"""Another mail address of a local account: asked for with the password, confirmed by whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent, User
from mm_lib.services.accounts import create_user
from tests.frontend.test_auth_local import link, mailing, make, send, sent
from tests.frontend.world import PASSWORD, sign_in, text
from tests.outbox.receivers import MailServer

pytestmark = [pytest.mark.usefixtures("ada"), pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
NEW = "countess@example.org"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with MailServer() as made:
        yield made


@pytest.fixture
def mails(server: MailServer) -> MailServer:
    server.mails.clear()
    return server


@pytest.fixture
def app(engine: Engine, mails: MailServer) -> Flask:
    return make(engine, {}, mail=mailing(mails))


def ask(client: FlaskClient, email: str = NEW, password: str = PASSWORD) -> object:
    return send(client, "/account/address", email=email, password=password)


def address(session: Session) -> str:
    session.rollback()
    return session.scalars(select(User.email).where(User.name == "ada")).one()


def test_the_address_changes_when_the_mailed_link_is_used_and_the_old_one_is_told(
    app: Flask, client: FlaskClient, mails: MailServer, session: Session
) -> None:
    sign_in(client)
    assert ask(client).location == "/login/mail-sent"  # type: ignore[attr-defined]
    assert address(session) == "ada@example.org"
    path = link(app, mails)
    reader = app.test_client()  # on another device, not signed in
    assert NEW in text(reader.get(path))
    assert address(session) == "ada@example.org"
    assert send(reader, path).location == "/account"
    assert address(session) == NEW
    told = sent(app, mails)
    assert [mail["To"] for mail in mails.mails] == [NEW, "ada@example.org"]
    assert NEW in told[1] and "If it was not you" in told[1]
    assert reader.get(path).status_code == 404


def test_the_change_is_recorded_and_the_address_counts_as_confirmed(
    app: Flask, client: FlaskClient, mails: MailServer, session: Session
) -> None:
    sign_in(client)
    ask(client)
    send(client, link(app, mails))
    event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert event is not None and event.after is not None and event.before is not None
    assert (event.actor, event.before["email"], event.after["email"]) == ("ada", "ada@example.org", NEW)
    assert event.after["email_confirmed_at"]
    assert len(sent(app, mails)) == 2  # the second one is not left to the next test


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ((NEW, "wrong"), "That is not your password."),
        (("nonsense", PASSWORD), "must have an @-sign"),
        (("ADA@example.org", PASSWORD), "another mail address than the one that you have"),
        (("", PASSWORD), "Enter your mail address."),
    ],
)
def test_what_cannot_be_is_explained_and_mails_nothing(
    app: Flask, client: FlaskClient, mails: MailServer, form: tuple[str, str], told: str
) -> None:
    sign_in(client)
    answer = ask(client, *form)
    assert (answer.status_code, told in text(answer)) == (422, True)  # type: ignore[attr-defined, arg-type]
    assert sent(app, mails) == []


def test_that_another_account_has_the_address_is_told_by_mail_only(
    app: Flask, client: FlaskClient, mails: MailServer, session: Session
) -> None:
    with transaction(session):
        create_user(session, "grace", PASSWORD, email="grace@example.org")
    sign_in(client)
    assert ask(client, "grace@example.org").location == "/login/mail-sent"  # type: ignore[attr-defined]
    (only,) = sent(app, mails)
    assert "Another account has it" in only and "/account/address/" not in only


def test_wrong_passwords_are_limited(client: FlaskClient) -> None:
    sign_in(client)
    assert [ask(client, password="wrong").status_code for _ in range(11)] == [422] * 10 + [429]  # type: ignore[attr-defined]


def test_people_from_elsewhere_change_their_address_there(client: FlaskClient, session: Session) -> None:
    sign_in(client)
    with transaction(session):
        session.scalars(select(User)).one().password_hash = None
    assert client.get("/account/address").status_code == 404
    assert "/account/address" not in client.get("/account").text


def test_a_link_dies_with_the_account(app: Flask, client: FlaskClient, mails: MailServer, session: Session) -> None:
    sign_in(client)
    ask(client)
    with transaction(session):
        session.scalars(select(User)).one().active = False
    assert app.test_client().get(link(app, mails)).status_code == 404


def test_without_mail_the_page_says_whom_to_ask(engine: Engine) -> None:
    client = make(engine, {}).test_client()
    sign_in(client)
    assert "This installation sends no mail." in text(client.get("/account/address"))
