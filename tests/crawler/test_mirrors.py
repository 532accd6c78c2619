"""The command `mm-crawler mirrors`, from the database through real servers back into the database."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyroaring import BitMap
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from mm_crawler import record
from mm_crawler.cli import main
from mm_lib.database import transaction
from mm_lib.locks import held
from mm_lib.model.content import Directory
from mm_lib.model.state import CrawlResult, CrawlRun, Health, HostCategoryHealth, HostCategoryState
from mm_lib.settings import DatabaseSettings
from tests.crawler import hostile
from tests.crawler.builders import NEW, TOPDIR, World
from tests.crawler.hostile import HostileServer
from tests.servers import Nginx

PROGRAM = [sys.executable, "-W", "error", "-c", "from mm_crawler.cli import main; main()", "mirrors"]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    root = tmp_path / "mirror"
    (root / "repodata").mkdir(parents=True)
    (root / "repodata" / "repomd.xml").write_bytes(NEW)
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"good")
    (tmp_path / "empty").mkdir()
    with Nginx({"good": root, "empty": tmp_path / "empty"}) as server:
        yield server


@pytest.fixture
def world(session: Session, monkeypatch: pytest.MonkeyPatch, database_url: str) -> World:
    """A category with a repository; the command finds its database in the environment."""
    monkeypatch.setenv("MM_DATABASE__URL", database_url)
    monkeypatch.setenv("MM_CRAWLER__TRIES", "1")
    monkeypatch.setenv("MM_CRAWLER__REQUESTS_PER_SECOND", "1000")
    monkeypatch.setenv("MM_CRAWLER__REQUEST_TIMEOUT", "20")
    with transaction(session):
        world = World(session)
        repodata = world.directory(f"{TOPDIR}/repodata")
        world.detail(repodata, NEW, 1)
        world.repository("fedora-44", repodata)
        world.directory(f"{TOPDIR}/a", "f")
    return world


def crawl(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["mirrors", *arguments])
    assert result.exit_code == code, result.output
    return result


def rows(*arguments: str) -> dict[str, dict[str, Any]]:
    return {row["host"]: row for row in json.loads(crawl("--json", *arguments).stdout)}


def test_a_crawl_finds_out_and_keeps_what_each_mirror_has(world: World, nginx: Nginx, session: Session) -> None:
    with transaction(session):
        good, empty = world.host("good", nginx.urls["good"]), world.host("empty", nginx.urls["empty"])
        gone = world.host("gone", f"{nginx.urls['empty']}/fedora")
    found = rows()
    assert {name: (row["outcome"], row["health"], row["ok"], row["missing"]) for name, row in found.items()} == {
        "good": ("asked", "active", 2, 0),
        "empty": ("asked", "active", 0, 2),
        "gone": ("unreachable", "quarantined", 0, 0),
    }
    everything = BitMap(session.scalars(select(Directory.id)))
    kept = {row.host_category_id: row for row in session.scalars(select(HostCategoryState))}
    assert BitMap.deserialize(kept[good.categories[0].id].up_to_date) == everything
    assert BitMap.deserialize(kept[empty.categories[0].id].up_to_date) == BitMap()
    assert gone.categories[0].id not in kept
    assert session.get_one(HostCategoryHealth, gone.categories[0].id).health is Health.QUARANTINED
    run = session.scalars(select(CrawlRun)).one()
    assert (run.outcome, run.counts["hosts"], run.counts["asked"], run.counts["unreachable"]) == ("done", 3, 2, 1)
    assert len(session.scalars(select(CrawlResult).where(CrawlResult.run_id == run.id)).all()) == 3


def test_the_table_for_people_says_in_words_what_is_not_good(world: World, nginx: Nginx, session: Session) -> None:
    with transaction(session):
        world.host("good", nginx.urls["good"])
        world.host("empty", nginx.urls["empty"])
    table = crawl().stdout
    assert re.search(r"^good +Fedora Linux +active +[0-9.]+ +2 of 2 directories are up to date *$", table, re.MULTILINE)
    assert "0 of 2 directories are up to date (2 missing)" in table
    assert len(table.splitlines()[0].rstrip()) <= 80


def test_at_the_log_level_of_the_cron_sample_a_crawl_without_trouble_sends_no_mail(
    world: World, nginx: Nginx, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = (Path(__file__).parents[2] / "utils/cron/mirrormanager").read_text()
    name, level = next(line for line in sample.splitlines() if line.startswith("MM_LOG__LEVEL=")).split("=")
    monkeypatch.setenv(name, level)
    with transaction(session):
        world.host("good", nginx.urls["good"])
    assert crawl().stderr == ""


def test_a_dry_run_tells_and_keeps_nothing(world: World, nginx: Nginx, session: Session) -> None:
    with transaction(session):
        host = world.host("good", nginx.urls["good"])
    assert rows("--dry-run")["good"]["result"] == "2 of 2 directories are up to date"
    session.expire_all()
    for table in (CrawlRun, CrawlResult, HostCategoryState, HostCategoryHealth):
        assert session.scalars(select(table)).all() == []
    assert host.last_crawled_at is None


def test_only_the_named_host_and_category_are_asked(world: World, nginx: Nginx, session: Session) -> None:
    with transaction(session):
        world.host("good", nginx.urls["good"])
        world.host("other", nginx.urls["empty"])
    assert list(rows("--host", "good", "--category", "Fedora Linux")) == ["good"]
    assert nginx.requests("empty") == []
    assert "no category Ubuntu" in crawl("--category", "Ubuntu", code=1).output


def test_nothing_to_crawl_is_said(world: World) -> None:
    assert "There is nothing to ask" in crawl().output


def test_when_time_runs_out_the_exit_code_is_1_and_nobody_is_blamed(
    world: World, nginx: Nginx, session: Session
) -> None:
    with HostileServer(hostile.silent) as server:
        with transaction(session):
            world.host("good", nginx.urls["good"])
            world.host("silent", server.url)
        assert "Time ran out after 1 s" in crawl("--timeout", "1", code=1).output
        assert session.scalars(select(CrawlRun)).one().outcome == "timed out"
        assert sorted(session.scalars(select(CrawlResult.outcome))) == ["asked", "not asked"]
        crawl("--timeout", "1", "--no-fail")


def test_a_host_that_is_too_slow_for_its_own_deadline_is_to_blame(world: World, session: Session) -> None:
    with HostileServer(hostile.silent) as server:
        with transaction(session):
            world.host("silent", server.url)
        assert rows("--host-timeout", "1")["silent"]["health"] == "suspect"


def test_a_second_crawl_of_the_same_tier_is_refused_and_one_of_another_tier_or_part_is_not(
    world: World, database_url: str
) -> None:
    with held(DatabaseSettings(url=database_url), "full crawl of Fedora Linux"):
        assert "The full crawl of Fedora Linux is running already" in crawl(code=75).output
        crawl("--due")
        crawl("--fraction", "1:2")
        crawl("--dry-run")


def test_one_result_that_cannot_be_kept_costs_no_other(
    world: World, nginx: Nginx, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction(session):
        lost, kept = world.host("lost", nginx.urls["good"]), world.host("kept", f"{nginx.urls['good']}/.")
    store = record.store

    def fail_for_one(session: Session, run_id: int, report: Any, decision: Any, log: str) -> None:
        if report.host_id == lost.id:
            raise OperationalError("UPDATE", {}, Exception("deadlock"))
        store(session, run_id, report, decision, log)

    monkeypatch.setattr(record, "store", fail_for_one)
    assert "What was found on lost could not be kept" in crawl(code=1).output
    assert list(session.scalars(select(HostCategoryState.host_category_id))) == [kept.categories[0].id]


def _wait_until_asked(server: HostileServer) -> None:
    for _ in range(500):
        if server.asked:
            return
        time.sleep(0.02)
    raise AssertionError("the crawler asked nothing")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_crawl_that_is_stopped_keeps_what_it_has_found(
    world: World, nginx: Nginx, session: Session, how: signal.Signals
) -> None:
    with HostileServer(hostile.silent) as server:
        with transaction(session):
            world.host("good", nginx.urls["good"])
            world.host("silent", server.url)
        process = subprocess.Popen(PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        _wait_until_asked(server)
        time.sleep(1)  # for the good one's result to be kept
        process.send_signal(how)
        _, told = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert "good: active: 2 of 2 directories are up to date" in told
    assert session.scalars(select(CrawlRun)).one().outcome == "interrupted"
    assert session.scalars(select(CrawlResult)).one().outcome == "asked"


def test_a_person_at_a_terminal_sees_progress(world: World, nginx: Nginx, session: Session) -> None:
    with transaction(session):
        world.host("good", nginx.urls["good"])
    ours, its = pty.openpty()
    finished = subprocess.run(
        PROGRAM, stdout=subprocess.PIPE, stderr=its, env={**os.environ, "TERM": "xterm"}, check=True
    )
    os.close(its)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "1/1" in shown
    assert "good: active" in shown
    assert "Fedora Linux" in finished.stdout.decode()
