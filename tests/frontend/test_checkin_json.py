"""Check-in by JSON: with a token of the site, of a person who may change it, or with the site's password."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_frontend import guards
from mm_lib.database import make_sessions, transaction
from mm_lib.model.accounts import AuditEvent, Role, User
from mm_lib.model.base import State
from mm_lib.model.hosts import Host
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.rules import checkin as rules
from mm_lib.services import tokens
from tests import checkins
from tests.frontend.test_checkin import _quick_site_hashes, app, engine, reply  # noqa: F401 # fixtures

PATH = "/api/v1/checkin"
ALL = {"fedora linux": ["", "releases", "updates", "nowhere"]}


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:  # noqa: F811
    with make_sessions(engine)() as session:
        yield session


@pytest.fixture(scope="module")
def keys(engine: Engine) -> dict[str, str]:  # noqa: F811
    """A token of the site, one without the scope, and those of a member who may change it and one who may not."""
    with make_sessions(engine)() as session, transaction(session):
        site = session.scalars(select(Site).where(Site.name == checkins.SITE)).one()
        found = {"site": _token(session, site, "checkin"), "other scope": _token(session, site, "registry:read")}
        for role in (MemberRole.ADMIN, MemberRole.VIEWER):
            person = User(name=f"person-{role}")
            session.add(person)
            session.flush()
            session.add(SiteMember(site_id=site.id, user_id=person.id, role=role))
            found[role] = _token(session, person, "checkin")
        return found


def _token(session: Session, owner: Site | User, scope: str) -> str:
    made = tokens.make(session, owner, scope, [scope], by="test", role=Role.USER, now=datetime.now(UTC), lifetime=None)
    return made[1]


def sent(app: Flask, body: Any, key: str = "", **headers: str) -> TestResponse:  # noqa: F811
    """A report, by somebody without a cookie."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    sign = {"Authorization": f"Bearer {key}"} if key else {}
    return app.test_client().post(PATH, data=text, content_type="application/json", headers=sign | headers)


def by_password(**more: Any) -> dict[str, Any]:
    return {"site": checkins.SITE, "password": checkins.PASSWORD, "host": checkins.HOST} | more


def test_a_site_s_token_needs_no_password_and_the_answer_counts(app: Flask, keys: dict[str, str]) -> None:  # noqa: F811
    reply(app.test_client(), checkins.config(fedora_linux=["", "releases", "releases/44"]))
    body = {"host": checkins.HOST, "categories": ALL | {"another": ["x"]}}
    answer = sent(app, body, keys["site"])
    assert answer.status_code == 200
    said = answer.get_json()
    assert said.pop("checked_in_at")[:4].isdigit()
    assert said == {
        "host": checkins.HOST,
        "state": "active",
        "categories": [{"name": "Fedora Linux", "updated": 2, "added": 1, "removed": 1, "unknown": 1}],
        "ignored": ["another"],
    }


@pytest.mark.parametrize(
    "case",
    [
        ("", {}, 200, ""),
        ("admin", {}, 200, ""),
        ("site", {"password": "wrong"}, 200, ""),
        ("site", {"site": ""}, 200, ""),
        ("viewer", {}, 403, "only those who may change it do"),
        ("admin", {"site": "Site of elsewhere.example.net"}, 403, "only those who may change it do"),
        ("admin", {"site": "Nowhere"}, 403, "only those who may change it do"),
        ("site", {"site": "Site of elsewhere.example.net"}, 422, "is not the one that the token belongs to"),
        ("other scope", {}, 403, "takes the scope checkin"),
        ("unknown", {}, 401, "This token opens nothing"),
        ("", {"password": "wrong"}, 401, "site name or password incorrect"),
        ("", {"site": "Nowhere"}, 401, "site name or password incorrect"),
        ("", {"host": "elsewhere.example.net"}, 404, "host name for site not found"),
        ("", {"host": "public.example.org"}, 403, "Only private mirrors are allowed"),
        ("", {"more": 1}, 422, "more"),
        ("", {"categories": {"fedora linux": "x"}}, 422, "categories"),
        ("", {"categories": {"fedora linux": ["x" * 5000]}}, 422, "categories"),
        ("", {"password": "\0"}, 422, "password"),
    ],
)
def test_who_may_report_for_which_mirror(
    app: Flask,  # noqa: F811
    keys: dict[str, str],
    case: tuple[str, dict[str, Any], int, str],
) -> None:
    key, changes, status, text = case
    answer = sent(app, by_password() | changes, keys.get(key, "mms_unknown") if key else "")
    assert (answer.status_code, text in answer.get_data(as_text=True)) == (status, True)
    assert checkins.PASSWORD not in answer.get_data(as_text=True)


def test_a_mirror_switches_itself_off_and_on_in_the_name_of_its_token(
    app: Flask,  # noqa: F811
    session: Session,
    keys: dict[str, str],
) -> None:
    for active, state in ((False, State.OWNER_DISABLED), (True, State.ACTIVE)):
        answer = sent(app, {"host": checkins.HOST, "active": active}, keys["site"])
        assert answer.json is not None
        assert answer.json["state"] == state.value
        assert session.scalars(select(Host.state).where(Host.name == checkins.HOST)).one() is state
        session.rollback()
    newest = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert newest is not None
    assert newest.actor == f"site {checkins.SITE} by token checkin"


def test_a_body_may_be_packed(app: Flask) -> None:  # noqa: F811
    packed = gzip.compress(json.dumps(by_password(categories=ALL)).encode())
    answer = sent(app, packed, **{"Content-Encoding": "gzip"})
    assert answer.json is not None
    assert answer.json["categories"][0]["updated"] + answer.json["categories"][0]["added"] == 3


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"{}")[:-3], "gzip", 400),
        (gzip.compress(b" " * (rules.MAX_TEXT + 1)), "gzip", 400),
        (gzip.compress(b"[" + b"{}," * (rules.MAX_PATHS + 101) + b"1]"), "gzip", 413),
        (b"{}", "br", 415),
        (b" " * (rules.MAX_BODY + 1), "identity", 413),
        (b"[" * 100_000, "identity", 400),
    ],
    ids=["no gzip", "cut off", "a bomb", "many values", "another encoding", "too long", "deep"],
)
def test_a_body_that_would_do_harm_is_refused(app: Flask, body: bytes, encoding: str, status: int) -> None:  # noqa: F811
    assert sent(app, body, **{"Content-Encoding": encoding}).status_code == status


def test_what_a_proxy_before_us_asks_for_is_not_taken_for_a_token(app: Flask) -> None:  # noqa: F811
    """Basic authentication in a URL of report_mirror: the proxy looks at it, and hands it on."""
    assert sent(app, by_password(), Authorization="Basic bWlycm9yOnNlY3JldA==").status_code == 200


def test_calls_are_limited_whatever_they_say(app: Flask) -> None:  # noqa: F811
    """A few kilobytes that become megabytes cost much before anybody knows who sent them."""
    guards.limiter.enabled = True
    try:
        guards.limiter.reset()
        statuses = [sent(app, b"{}").status_code for _ in range(121)]
        assert statuses == [422] * 120 + [429]
    finally:
        guards.limiter.reset()
        guards.limiter.enabled = False


def test_guessing_ends_on_both_interfaces_together(app: Flask) -> None:  # noqa: F811
    """19 tries here and one there are 20; a token works on."""
    guards.limiter.enabled = True
    try:
        guards.limiter.reset()
        statuses = [sent(app, by_password(password="wrong")).status_code for _ in range(19)]
        assert statuses == [401] * 19
        assert "incorrect" in reply(app.test_client(), checkins.config() | {"site": {"name": "x", "password": "y"}})
        assert sent(app, by_password(password="wrong")).status_code == 429
        assert reply(app.test_client(), checkins.config()).startswith("Too many calls")
    finally:
        guards.limiter.reset()
        guards.limiter.enabled = False
