"""New sites wait for an administrator, by configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent
from mm_lib.model.base import State
from mm_lib.model.outbox import Event
from mm_lib.model.sites import Site
from mm_lib.outbox.message import Told, letter
from mm_lib.services.outbox import Kind
from tests.frontend import admin_world, world
from tests.frontend.admin_world import Stage

SITE = {"org_url": "https://new.example.org"}


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("approvals")
    with admin_world.stage(sqlite_template, folder, world.settings(approve_sites=True)) as made:
        yield made


def new_site(stage: Stage, name: str, person: str = "stranger") -> int:
    answer = stage.send("/site/new", person, name=name, **SITE)
    assert answer.status_code == 302
    return int(re.sub(r"\D", "", answer.location))


def found(stage: Stage, id_: int) -> Site:
    with stage.sessions() as session:
        return session.get_one(Site, id_)


def letters(stage: Stage, kind: Kind, name: str) -> list[str]:
    with stage.sessions() as session:
        events = session.scalars(select(Event).where(Event.kind == kind.value)).all()
        told = [Told(event.id, kind, event.at, event.payload, "https://m.example.org") for event in events]
    return [letter(each)[1] for each in told if each.site_name == name]


def test_a_new_site_of_an_operator_waits_and_its_owner_reads_why(stage: Stage) -> None:
    id_ = new_site(stage, "Waiting College")
    assert found(stage, id_).state is State.WAITING
    page = stage.page(f"/site/{id_}", "stranger")
    assert "waits for approval" in page and "new sites are looked at before they are used" in page


def test_the_owner_cannot_switch_a_waiting_site_on(stage: Stage) -> None:
    id_ = new_site(stage, "Impatient College")
    assert "/state" not in stage.browser("stranger").get(f"/site/{id_}").text
    answer = stage.send(f"/site/{id_}/state", "stranger", wanted="on", reason="please")
    assert "waits for an administrator" in world.text(answer)
    answer = stage.send(f"/site/{id_}/state", "stranger", wanted="off", reason="first off, then on")
    assert answer.status_code == 422
    assert found(stage, id_).state is State.WAITING


def test_a_new_site_of_an_administrator_takes_part_at_once(stage: Stage) -> None:
    assert found(stage, new_site(stage, "Own Site", "super")).state is State.ACTIVE


def test_auditors_see_the_queue_and_administrators_decide(stage: Stage) -> None:
    id_ = new_site(stage, "Queued College")
    assert "Queued College" in stage.page("/admin/approvals", "auditor")
    assert "for a decision." in stage.page("/admin/", "auditor")
    assert f"/admin/approvals/{id_}" not in stage.browser("auditor").get("/admin/approvals").text
    assert f"/admin/approvals/{id_}" in stage.browser("super").get("/admin/approvals").text


def test_an_approved_site_takes_part_and_its_people_get_a_mail(stage: Stage) -> None:
    id_ = new_site(stage, "Good College")
    answer = stage.send(f"/admin/approvals/{id_}", decision="approve", reason="welcome")
    assert answer.location == "/admin/approvals"
    assert found(stage, id_).state is State.ACTIVE
    assert f"/admin/approvals/{id_}" not in stage.browser("super").get("/admin/approvals").text
    (mail,) = letters(stage, Kind.SITE_APPROVED, "Good College")
    assert "approved it" in mail and f"https://m.example.org/site/{id_}" in mail and "welcome" in mail


def test_declining_needs_a_reason_which_its_people_are_told(stage: Stage) -> None:
    id_ = new_site(stage, "Bad College")
    assert stage.send(f"/admin/approvals/{id_}", decision="decline", reason="").status_code == 422
    assert stage.send(f"/admin/approvals/{id_}", decision="decline", reason="no such place").status_code == 302
    site = found(stage, id_)
    assert (site.state, site.state_reason) == (State.ADMIN_DISABLED, "not accepted: no such place")
    assert "no such place" in stage.page(f"/site/{id_}", "stranger")
    (mail,) = letters(stage, Kind.SITE_DECLINED, "Bad College")
    assert "did not accept" in mail and "no such place" in mail


def test_a_decision_is_an_audit_event_with_who_made_it(stage: Stage) -> None:
    id_ = new_site(stage, "Recorded College")
    stage.send(f"/admin/approvals/{id_}", decision="approve", reason="")
    with stage.sessions() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.object_id == id_).order_by(AuditEvent.id)).all()[-1]
    assert (event.actor, event.action) == ("super", "change site")
    assert event.before is not None and event.after is not None
    assert (event.before["state"], event.after["state"]) == ("waiting", "active")


def test_the_second_of_two_decisions_is_refused(stage: Stage) -> None:
    id_ = new_site(stage, "Contested College")
    with stage.sessions() as session, transaction(session):
        session.get_one(Site, id_).state = State.ACTIVE
    assert stage.browser("super").get(f"/admin/approvals/{id_}").status_code == 404
