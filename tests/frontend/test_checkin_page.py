"""The page for a site's check-in password: shown once, changed with an overlap, recorded without it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from argon2 import PasswordHasher, profiles
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.accounts import AuditEvent
from mm_lib.model.hosts import Host
from mm_lib.model.sites import Site
from mm_lib.services import accounts, site_passwords
from mm_lib.settings import DatabaseSettings
from tests.frontend import operators_world, world
from tests.frontend.operators_world import Registry


@pytest.fixture(scope="module", autouse=True)
def _all_hashes_quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for service in (accounts, site_passwords):
            patch.setattr(service, "_hasher", lambda: PasswordHasher.from_parameters(profiles.CHEAPEST))
        yield
    for service in (accounts, site_passwords):
        service._hash_of_nobody.cache_clear()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("checkin-page") / "registry.sqlite"
    shutil.copy(sqlite_template, path)
    made = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def registry(engine: Engine) -> Registry:
    with make_sessions(engine)() as session:
        registry = operators_world.build(session)
        with transaction(session):
            session.get_one(Host, registry.host.id).private = True
        return registry


@pytest.fixture(scope="module")
def owner(engine: Engine, registry: Registry) -> Iterator[FlaskClient]:
    app = create_app(world.settings(public_url="https://mirrors.example.org"), engine)
    guards.limiter.enabled = False
    yield operators_world.signed_in(app, "owner")
    guards.limiter.enabled = True


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine)() as session:
        yield session


def made(owner: FlaskClient, path: str, days: str = "14") -> str:
    """A new password, read from the page."""
    answer = owner.post(path, data={"csrf_token": world.token(owner, path), "days": days})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    page = unescape(answer.get_data(as_text=True))
    assert "server = https://mirrors.example.org/xmlrpc\n" in page
    assert re.search(r'name="days"[^>]*value="14"', page)  # the next one begins with the usual days again
    found = re.search(r"password = (\S+)</pre>", page)
    assert found
    return found[1]


def test_a_password_is_shown_once_changed_with_an_overlap_withdrawn_and_never_recorded(
    owner: FlaskClient, registry: Registry, session: Session
) -> None:
    path = f"/site/{registry.site.id}/check-in"
    assert "There is none" in world.text(owner.get(path))
    first, second = made(owner, path, "0"), made(owner, path, "5")
    again = owner.get(path).get_data(as_text=True)
    assert first not in again and second not in again
    site, now = session.get_one(Site, registry.site.id), datetime.now(UTC)
    opens = [
        site_passwords.matches(session, site, password, now + timedelta(days=days))
        for password, days in ((first, 4), (first, 6), (second, 6))
    ]
    assert opens == [True, False, True]
    events = session.scalars(select(AuditEvent).where(AuditEvent.object_type == "site_password")).all()
    assert {event.actor for event in events} == {"owner"}
    assert not any(
        secret in str((event.before, event.after)) for event in events for secret in (first, second, "argon")
    )
    session.rollback()
    away = f"{path}/withdraw"
    assert owner.post(away, data={"csrf_token": world.token(owner, away)}).location == path
    assert site_passwords.current(session, site, now) == []


@pytest.mark.parametrize("days", ["-1", "91", "soon", ""])
def test_an_overlap_that_makes_no_sense_changes_nothing(
    owner: FlaskClient, registry: Registry, session: Session, days: str
) -> None:
    path = f"/site/{registry.site.id}/check-in"
    answer = owner.post(path, data={"csrf_token": world.token(owner, path), "days": days})
    assert answer.status_code == 422
    assert "password = " not in answer.get_data(as_text=True)


def test_members_see_when_private_hosts_checked_in_last(
    owner: FlaskClient, registry: Registry, session: Session
) -> None:
    for path in (f"/site/{registry.site.id}", f"/site/{registry.site.id}/check-in"):
        assert re.search(r"m\.example\.org.{1,30}never", world.text(owner.get(path)))
    with transaction(session):
        session.get_one(Host, registry.host.id).last_checked_in_at = datetime.now(UTC) - timedelta(hours=2)
    for path in (f"/site/{registry.site.id}", f"/site/{registry.site.id}/check-in"):
        assert re.search(r"m\.example\.org.{1,30}2 hours ago", world.text(owner.get(path)))
