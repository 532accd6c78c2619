"""Banners: who sees them where and when, and that pages which are kept change with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent
from mm_lib.model.banners import Audience, Banner, Level
from tests.frontend import admin_world, world
from tests.frontend.admin_world import Stage

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Public pages are kept for a minute."""
    folder = tmp_path_factory.mktemp("banners")
    with admin_world.stage(sqlite_template, folder, world.settings(cache_seconds=60)) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_banner(stage: Stage) -> Iterator[None]:
    yield
    with stage.sessions() as session, transaction(session):
        for row in session.scalars(select(Banner)):
            session.delete(row)
    _forget(stage)


def _forget(stage: Stage) -> None:
    stage.app.extensions["mm_banners"] = None


def put(stage: Stage, words: str, **fields: object) -> int:
    with stage.sessions() as session, transaction(session):
        row = Banner(text=words, **{"starts_at": NOW - timedelta(hours=1), **fields})
        session.add(row)
        session.flush()
        id_ = row.id
    _forget(stage)
    return id_


def test_a_banner_is_on_every_page_also_on_errors(stage: Stage) -> None:
    put(stage, "Maintenance on Sunday", level=Level.WARNING)
    for path in ("/", "/mirrors", "/login", "/nothing/here"):
        assert "Warning: Maintenance on Sunday" in world.text(stage.app.test_client().get(path))


def test_a_kept_page_and_its_etag_change_when_a_banner_is_written_and_removed(stage: Stage) -> None:
    reader = stage.app.test_client()
    before = reader.get("/mirrors")
    same = reader.get("/mirrors", headers={"If-None-Match": before.headers["ETag"]})
    assert same.status_code == 304
    answer = stage.send("/admin/banners/new", text="Read this", level="notice", audience="all")
    assert answer.location == "/admin/banners"
    after = reader.get("/mirrors", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, "Read this" in after.text) == (200, True)
    with stage.sessions() as session:
        id_ = session.scalars(select(Banner.id)).one()
    stage.send(f"/admin/banners/{id_}/delete")
    assert reader.get("/mirrors").headers["ETag"] == before.headers["ETag"]


@pytest.mark.parametrize(
    ("audience", "readers"),
    [
        (Audience.ALL, ["anonymous", "stranger", "viewer", "auditor", "super"]),
        (Audience.SIGNED_IN, ["stranger", "viewer", "auditor", "super"]),
        (Audience.OPERATORS, ["stranger", "viewer", "super"]),
        (Audience.ADMINISTRATORS, ["super"]),
    ],
)
def test_a_banner_is_seen_by_those_it_is_for(stage: Stage, audience: Audience, readers: list[str]) -> None:
    """The stranger is a member of another site."""
    put(stage, "Only for some", audience=audience)
    everybody = ("anonymous", "stranger", "viewer", "auditor", "super")
    assert [person for person in everybody if "Only for some" in stage.page("/countries", person)] == readers


@pytest.mark.parametrize(
    ("starts", "ends", "seen"), [(-1, None, True), (-1, 1, True), (1, None, False), (-2, -1, False)]
)
def test_a_banner_is_seen_between_its_moments(stage: Stage, starts: int, ends: int | None, seen: bool) -> None:
    ends_at = None if ends is None else NOW + timedelta(hours=ends)
    put(stage, "In time", starts_at=NOW + timedelta(hours=starts), ends_at=ends_at)
    assert ("In time" in stage.page("/", "anonymous")) is seen


def test_what_is_written_is_text_and_no_markup(stage: Stage) -> None:
    put(stage, "<script>alert(1)</script> & more")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in stage.app.test_client().get("/").text


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"text": " "}, "say something"),
        ({"text": "x", "starts_at": "2026-12-02T10:00", "ends_at": "2026-12-01T10:00"}, "later than the start"),
        ({"text": "x" * 501}, "longer than 500"),
        ({"text": "x", "level": "loud"}, "Not a valid choice"),
    ],
)
def test_a_banner_that_cannot_be_used_is_explained(stage: Stage, form: dict[str, str], told: str) -> None:
    answer = stage.send("/admin/banners/new", **{"level": "notice", "audience": "all", **form})
    assert (answer.status_code, told in world.text(answer)) == (422, True)


def test_a_banner_is_changed_with_an_audit_event(stage: Stage) -> None:
    id_ = put(stage, "Old words")
    assert 'value="2' in stage.browser("super").get(f"/admin/banners/{id_}").text
    form = {"text": "New words", "level": "outage", "audience": "all"}
    assert stage.send(f"/admin/banners/{id_}", **form).status_code == 302
    assert "Outage: New words" in stage.page("/", "anonymous")
    with stage.sessions() as session:
        event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
        assert event is not None
        assert (event.actor, event.action, event.object_name) == ("super", "change banner", "New words")


def test_auditors_see_the_list_and_change_nothing(stage: Stage) -> None:
    id_ = put(stage, "For the list")
    page = stage.browser("auditor").get("/admin/banners").text
    assert "For the list" in page and f"/admin/banners/{id_}" not in page
    assert stage.browser("auditor").get(f"/admin/banners/{id_}").status_code == 403


def test_pages_are_shown_without_banners_when_those_cannot_be_read(stage: Stage) -> None:
    put(stage, "Unreadable")
    with stage.sessions() as session:
        session.execute(text("ALTER TABLE banner RENAME TO lost"))
        session.commit()
        try:
            _forget(stage)
            answer = stage.app.test_client().get("/crawler")
        finally:
            session.execute(text("ALTER TABLE lost RENAME TO banner"))
            session.commit()
    assert (answer.status_code, "Unreadable" in answer.text) == (200, False)
