"""The monitor: what runs, waits and failed, what is stuck, and its buttons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from mm_crawler import jobs as crawl_jobs
from mm_crawler.jobs import Order, Work
from mm_lib.database import transaction
from mm_lib.model.outbox import Channel, Delivery, DeliveryState, Event
from mm_lib.model.state import CrawlRun, Job, JobState, RunKind
from mm_lib.settings import CacheSettings, DatabaseSettings, Settings
from tests.conftest import TEMPLATE
from tests.frontend import admin_world, world
from tests.frontend.admin_world import Stage
from tests.postgres import Postgres

NOW = datetime.now(UTC)


def with_cache(path: Path) -> Settings:
    return world.SETTINGS.model_copy(update={"cache": CacheSettings(file=path)})


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("monitor")
    with admin_world.stage(sqlite_template, folder, with_cache(folder / "mirrorlist.cache")) as made:
        yield made


@pytest.fixture
def session(stage: Stage) -> Iterator[Session]:
    with stage.sessions() as session:
        yield session


def put(session: Session, *rows: Any) -> list[int]:
    with transaction(session):
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


def hours(number: float) -> datetime:
    return NOW - timedelta(hours=number)


def test_without_postgresql_the_queue_says_plainly_why_it_is_empty(stage: Stage) -> None:
    for path in ("/admin/monitor", "/admin/monitor/jobs"):
        assert "works on SQLite, where one machine crawls and needs no queue" in stage.page(path)
    press(stage, "/admin/monitor/jobs/1/cancel")
    assert "The queue needs PostgreSQL." in stage.page("/admin/monitor/checks")


def test_runs_are_marked_when_they_take_long_and_when_they_were_killed(stage: Stage, session: Session) -> None:
    """A run may take six hours (crawler.total_timeout)."""
    put(
        session,
        CrawlRun(kind=RunKind.MASTER, started_at=hours(9), finished_at=hours(8), outcome="ok", counts={"new": 7}),
        CrawlRun(kind=RunKind.MIRRORS, started_at=hours(4), outcome="running"),
        CrawlRun(kind=RunKind.PROPAGATION, started_at=hours(30), outcome="running"),
    )
    page = stage.page("/admin/monitor/runs")
    assert "mirrors running takes long" in page and "propagation running stuck" in page
    assert "master ok 60 min 1 number new 7" in page
    assert "propagation running" not in stage.page("/admin/monitor/runs?kind=master")
    assert "propagation: " in stage.page("/admin/monitor")


def check(stage: Stage, state: JobState, **fields: Any) -> Job:
    carried = stage.registry.ids["carried_id"]
    return Job(kind="check", host_category_id=carried, state=state, requested_by="owner", **fields)


def test_checks_are_cancelled_and_repeated(stage: Stage, session: Session) -> None:
    (id_,) = put(session, check(stage, JobState.WAITING, created_at=hours(2)))
    assert "m.example.org Fedora Linux waiting takes long" in stage.page("/admin/monitor/checks")
    press(stage, f"/admin/monitor/checks/{id_}/cancel")
    assert "cancelled by super" in stage.page("/admin/monitor/checks")
    press(stage, f"/admin/monitor/checks/{id_}/again")
    session.expire_all()
    assert session.get_one(Job, id_).state is JobState.WAITING
    press(stage, f"/admin/monitor/checks/{id_}/cancel")
    press(stage, f"/admin/monitor/checks/{id_}/cancel")
    assert f"No check {id_} waits or runs." in stage.page("/admin/monitor")


def test_a_check_whose_crawler_is_gone_is_stuck(stage: Stage, session: Session) -> None:
    put(session, check(stage, JobState.RUNNING, started_at=hours(1), lease_until=hours(0.5)))
    assert "running stuck" in stage.page("/admin/monitor/checks")


def press(stage: Stage, path: str) -> None:
    """A button of the page of messages has the token for all."""
    browser = stage.browser("super")
    token = world.token(browser, "/logout")
    assert browser.post(path, data={"csrf_token": token}).status_code == 302


def delivery(**fields: Any) -> Delivery:
    event = Event(kind="host.updated", at=NOW, payload={"host": {"name": "told.example"}}, spread_at=NOW)
    return Delivery(event=event, channel=Channel.MAIL, target="a@example.org", next_try_at=NOW, **fields)


def test_messages_that_were_given_up_are_delivered_again(stage: Stage, session: Session) -> None:
    ids = put(
        session,
        delivery(state=DeliveryState.DEAD, attempts=12, last_error="550 no such user"),
        delivery(state=DeliveryState.DEAD, attempts=12, last_error="timeout"),
        delivery(state=DeliveryState.DELIVERED, attempts=1),
    )
    assert "2 messages were given up" in stage.page("/admin/monitor")
    page = stage.page("/admin/monitor/messages?state=dead")
    assert "told.example" in page and "550 no such user" in page and " delivered 1" not in page
    press(stage, f"/admin/monitor/messages/{ids[0]}/again")
    session.expire_all()
    assert [session.get_one(Delivery, id_).state.value for id_ in ids] == ["waiting", "dead", "delivered"]
    press(stage, "/admin/monitor/messages/again")
    session.expire_all()
    assert [session.get_one(Delivery, id_).state.value for id_ in ids] == ["waiting", "waiting", "delivered"]
    press(stage, f"/admin/monitor/messages/{ids[2]}/again")
    assert "Not among the dead deliveries" in stage.page("/admin/monitor")


def test_the_published_cache_is_told_with_its_age(stage: Stage, tmp_path: Path) -> None:
    assert "This machine has no" in stage.page("/admin/monitor")
    path = Path(stage.page("/admin/monitor").partition("This machine has no ")[2].split()[0].rstrip("."))
    path.write_bytes(b"x" * 2_000_000)
    assert "published just now , 1.9 MB" in stage.page("/admin/monitor")


def test_auditors_look_and_have_no_buttons(stage: Stage, session: Session) -> None:
    put(session, delivery(state=DeliveryState.DEAD, last_error="refused"), check(stage, JobState.WAITING))
    for path in ("/admin/monitor/messages", "/admin/monitor/checks"):
        assert "csrf_token" not in stage.browser("auditor").get(path).text


@pytest.fixture(scope="module")
def queued(postgres: Postgres) -> Iterator[Stage]:
    """The application on PostgreSQL, with three jobs."""
    settings = DatabaseSettings(url=postgres.url(postgres.create(TEMPLATE)))
    with admin_world.stage_on(settings.url) as made, made.sessions() as session:
        ids = made.registry.ids["host_id"], made.registry.ids["carried_id"]
        orders = [Order(ids[0], 0, Work(ids[1], tier, {})) for tier in ("canary", "metadata", "full")]
        with transaction(session):
            assert crawl_jobs.enqueue(session, settings, orders) == 3
        with transaction(session):
            session.execute(text("SET LOCAL search_path TO job_queue"))
            for tier, status in (("full", "doing"), ("full", "failed"), ("metadata", "doing")):
                query = "UPDATE procrastinate_jobs SET status = CAST(:status AS procrastinate_job_status)"
                where = " WHERE args->>'tier' = :tier"
                session.execute(text(query + where), {"status": status, "tier": tier})
        yield made


def statuses(stage: Stage) -> dict[str, tuple[int, str]]:
    query = "SELECT args->>'tier', id, status::text FROM job_queue.procrastinate_jobs"
    with stage.sessions() as session:
        return {tier: (id_, status) for tier, id_, status in session.execute(text(query))}


def test_jobs_are_listed_cancelled_and_repeated(queued: Stage) -> None:
    """A job that runs without a worker that lives is stuck."""
    page = queued.page("/admin/monitor/jobs")
    for told in ("metadata, job 2 running stuck", "canary, job 1 waiting", "full, job 3 failed"):
        assert told in page
    assert "metadata" not in queued.page("/admin/monitor/jobs?state=waiting")
    found = statuses(queued)
    press(queued, f"/admin/monitor/jobs/{found['canary'][0]}/cancel")
    press(queued, f"/admin/monitor/jobs/{found['full'][0]}/again")
    assert {tier: status for tier, (_, status) in statuses(queued).items()} == {
        "canary": "cancelled",
        "metadata": "doing",
        "full": "todo",
    }
    press(queued, f"/admin/monitor/jobs/{found['metadata'][0]}/cancel")
    assert "No job 2 waits. It may have begun, or ended." in queued.page("/admin/monitor")
