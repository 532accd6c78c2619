"""The sign-in page with an LDAP directory behind it (slapd); the directory itself is in tests/lib."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import transaction
from mm_lib.model.accounts import Role
from mm_lib.services.accounts import create_user, set_user
from mm_lib.settings import Settings, SettingsError
from tests.frontend import world
from tests.frontend.world import text, token
from tests.slapd import PEOPLE, READER, Slapd

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    server = Slapd()
    yield server
    server.stop()


def browser(engine: Engine, slapd: Slapd, local: bool = True, **changes: Any) -> FlaskClient:
    values = world.SETTINGS.model_dump()
    values["frontend"]["secret_key"] = "0123456789abcdefghijklmnopqrstuvwxyz"
    values["login"]["local"] = local
    known = {"servers": [slapd.plain], "ca_file": slapd.certificate, "base": PEOPLE, "label": "Example directory"}
    values["ldap"] = {**known, "bind_dn": READER[0], "bind_password": READER[1], "timeout": 1.0, **changes}
    return create_app(Settings.model_validate(values), engine).test_client()


def sign_in(client: FlaskClient, name: str, password: str, source: str = "ldap") -> Any:
    form = {"csrf_token": token(client), "name": name, "password": password, "source": source}
    return client.post("/login", data=form)


def test_a_person_of_the_directory_signs_in_and_is_what_the_groups_say(engine: Engine, slapd: Slapd) -> None:
    client = browser(engine, slapd, admin_groups=["Mirror Admins"])
    assert sign_in(client, "alice", "alice-secret").location == "/account"
    page = text(client.get("/account"))
    assert "Alice Example" in page and "Role Administrator" in page and "Example directory" in page
    assert "One-time codes" not in page


def test_both_ways_are_on_one_page_and_are_different_people(engine: Engine, slapd: Slapd, session: Session) -> None:
    with transaction(session):
        create_user(session, "alice", world.PASSWORD, role=Role.ADMIN)
    client = browser(engine, slapd)
    page = text(client.get("/login"))
    assert "Example directory" in page and "Local account" in page
    assert sign_in(client, "alice", "alice-secret", source="local").status_code == 422
    assert sign_in(client, "alice", world.PASSWORD, source="ldap").status_code == 422
    assert sign_in(client, "alice", "alice-secret").status_code == 302
    assert "alice-2" in text(client.get("/account"))


def test_without_local_accounts_none_can_be_used(engine: Engine, slapd: Slapd, session: Session) -> None:
    with transaction(session):
        create_user(session, "ada", world.PASSWORD)
    client = browser(engine, slapd, local=False)
    assert "Local account" not in text(client.get("/login"))
    assert sign_in(client, "ada", world.PASSWORD, source="local").status_code == 422
    assert client.get("/login/forgotten").status_code == 404


@pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("nobody", "x"), ("*", "alice-secret")])
def test_refusals_look_all_the_same(engine: Engine, slapd: Slapd, name: str, password: str) -> None:
    answer = sign_in(browser(engine, slapd), name, password)
    assert answer.status_code == 422
    assert "User name and password do not match an account." in text(answer)


def test_who_is_in_no_required_group_is_told_so(engine: Engine, slapd: Slapd) -> None:
    answer = sign_in(browser(engine, slapd, required_groups=["Mirror Admins"]), "bob", "bob-secret")
    assert (answer.status_code, "none of the groups" in text(answer)) == (422, True)


def test_a_directory_that_is_down_is_said_to_be(engine: Engine, slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    answer = sign_in(browser(engine, slapd, servers=["ldap://127.0.0.1:9"]), "alice", "alice-secret")
    assert answer.status_code == 503
    assert "The directory cannot be asked right now." in text(answer)
    assert "ldap://127.0.0.1:9" in caplog.text and "alice-secret" not in caplog.text


def test_other_spellings_of_a_name_count_together(engine: Engine, slapd: Slapd) -> None:
    """A directory finds alice under all of them."""
    client = browser(engine, slapd)
    names = ["alice", "ALICE", " alice ", "\uff41lice", "Alice"] * 2
    assert [sign_in(client, name, "wrong").status_code for name in names] == [422] * 10
    assert sign_in(client, "alice", "wrong").status_code == 429


def test_a_package_that_is_missing_is_named(engine: Engine, slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mm_lib.services.ldap_directory", raising=False)
    monkeypatch.setitem(sys.modules, "ldap", None)
    with pytest.raises(SettingsError, match=r"pip install 'mirrormanager\[ldap\]'"):
        browser(engine, slapd)


def test_failures_are_limited_here_as_well(engine: Engine, slapd: Slapd) -> None:
    client = browser(engine, slapd)
    answers = [sign_in(client, "alice", "wrong").status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_a_disabled_person_is_refused(engine: Engine, slapd: Slapd, session: Session) -> None:
    client = browser(engine, slapd)
    sign_in(client, "alice", "alice-secret")
    with transaction(session):
        set_user(session, "alice", active=False)
    assert client.get("/account").status_code == 302
    assert "This account is disabled." in text(sign_in(client, "alice", "alice-secret"))
