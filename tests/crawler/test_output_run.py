"""What a run leaves: its summary, results that lead to their logs, messages, and no results that are too old."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler import record
from mm_crawler.output import retention, summary
from mm_lib.database import transaction
from mm_lib.model.outbox import Delivery, DeliveryState, Event
from mm_lib.model.state import CrawlResult, CrawlRun, RunKind
from mm_lib.services import crawl_logs, webhooks
from mm_lib.services.outbox import Kind
from tests.crawler import hostile
from tests.crawler.builders import NOW, World
from tests.crawler.hostile import HostileServer
from tests.crawler.test_mirrors import PROGRAM, crawl, nginx, world
from tests.outbox.receivers import WebhookReceiver
from tests.postgres import free_port
from tests.servers import Nginx

__all__ = ["nginx", "world"]  # fixtures


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """What is tested here does not depend on the database."""
    (tmp_path / "test.sqlite").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where logs go."""
    monkeypatch.setenv("MM_CRAWLER__LOG_DIRECTORY", str(tmp_path / "logs"))
    return tmp_path / "logs"


def test_a_result_leads_to_the_log_of_its_crawl(world: World, nginx: Nginx, session: Session, directory: Path) -> None:
    with transaction(session):
        host = world.host("good", nginx.urls["good"])
    crawl()
    result = session.scalars(select(CrawlResult)).one()
    (log,) = crawl_logs.list_logs(directory, host.id)
    assert (result.log, log.run_id, log.finished) == (log.name, result.run_id, True)
    assert f"{nginx.urls['good']}/repodata/repomd.xml" in crawl_logs.read_text(directory, host.id, result.log)


def test_a_crawler_that_is_killed_leaves_logs_that_can_be_read(world: World, session: Session, directory: Path) -> None:
    with HostileServer(hostile.silent) as server:
        with transaction(session):
            host = world.host("silent", server.url)
        process = subprocess.Popen(PROGRAM, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_a_line(directory, server.url)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (log,) = crawl_logs.list_logs(directory, host.id)
    assert not log.finished
    entries = crawl_logs.read_lines(directory, host.id, log.name)
    assert [entry["event"] for entry in entries] == ["begin", "asked"]


def _wait_for_a_line(directory: Path, text: str) -> None:
    for _ in range(1500):
        if any('"asked"' in path.read_text() and text in path.read_text() for path in directory.rglob("*.jsonl")):
            return
        time.sleep(0.02)
    raise AssertionError("no log was written")


def test_the_end_of_a_run_sums_it_up(world: World, nginx: Nginx, session: Session, tmp_path: Path) -> None:
    with transaction(session):
        world.host("good", nginx.urls["good"])
        world.host("gone", f"http://127.0.0.1:{free_port()}")
    told = crawl("--summary", str(tmp_path / "summary.json")).stdout
    assert re.search(r"^done: 2 mirrors in \d+ s with \d+ requests$", told, re.MULTILINE)
    assert "how asking ended: 1 asked, 1 unreachable" in told
    assert re.search(r"slowest: (good|gone) [\d.]+ s, (good|gone) [\d.]+ s", told)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["hosts"], found["health"]) == (2, {"active": 1, "quarantined": 1})
    assert found["directories"]["ok"] == 2
    assert {each["host"] for each in found["slowest"]} == {"good", "gone"}


def test_the_slowest_hosts_are_those_whose_categories_took_longest_together() -> None:
    row = {
        "outcome": "asked",
        "health": "active",
        "requests": 1,
        **dict.fromkeys(("ok", "alternate", "stale", "missing", "unreadable", "unknown"), 1),
    }
    seconds = [("a", 3.0), ("b", 2.0), ("b", 2.0), *((f"c{n}", 1.0) for n in range(9))]
    found = summary.figures([{**row, "host": host, "seconds": took} for host, took in seconds], "done", 5.0)
    assert [each["host"] for each in found["slowest"]][:2] == ["b", "a"]
    assert (len(found["slowest"]), found["requests"], found["hosts"]) == (5, 12, 11)


def test_a_crawl_tells_of_what_it_found_and_costs_nothing_when_that_fails(
    world: World, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_MAIL__SERVER", "127.0.0.1")
    monkeypatch.setenv("MM_MAIL__PORT", str(free_port()))
    monkeypatch.setenv("MM_MAIL__SENDER", "mirrors@example.net")
    with WebhookReceiver() as receiver:
        with transaction(session):
            host = world.host("gone", f"http://127.0.0.1:{free_port()}")
            host.robot_email = "robot@example.org"
            webhooks.add_webhook(session, receiver.url)
        crawl()
    assert receiver.posts[0].json["type"] == Kind.FAILING
    states = {row.channel: row.state for row in session.scalars(select(Delivery))}
    assert states == {"mail": DeliveryState.WAITING, "webhook": DeliveryState.DELIVERED}


def test_a_dry_run_tells_nobody_and_writes_no_log(world: World, session: Session, directory: Path) -> None:
    with transaction(session):
        world.host("gone", f"http://127.0.0.1:{free_port()}")
    crawl("--dry-run")
    assert session.scalars(select(Event)).all() == []
    assert not directory.exists()


def test_old_results_are_forgotten_but_the_last_of_each_mirror_stays(session: Session) -> None:
    made = World(session)
    carried = [made.host(name, f"http://{name}/x").categories[0].id for name in ("often", "rare")]
    for day, host_category in ((0, carried[0]), (0, carried[1]), (50, carried[0]), (99, carried[0])):
        at = NOW + timedelta(days=day)
        run = record.open_run(session, {}, at)
        session.add(
            CrawlResult(
                run_id=run, host_category_id=host_category, started_at=at, seconds=1.0, outcome="asked", tier="full"
            )
        )
    record.open_run(session, {}, NOW, RunKind.PROPAGATION)
    session.flush()
    assert retention.forget(session, NOW + timedelta(days=60)) == 2
    left = session.execute(select(CrawlResult.host_category_id).order_by(CrawlResult.id)).scalars().all()
    assert left == [carried[1], carried[0]]
    assert len(session.scalars(select(CrawlRun)).all()) == 3  # with results, and the last of another kind
