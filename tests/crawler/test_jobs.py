"""Crawls on several machines: the queue, the workers, and what happens when one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from mm_crawler import crawling
from mm_crawler import jobs as crawl_jobs
from mm_crawler.cli import main
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.hosts import Host
from mm_lib.model.state import CrawlResult, HostCategoryState, JobState
from mm_lib.services import jobs
from mm_lib.settings import DatabaseSettings
from tests.crawler.slow_mirrors import HOSTS, Mirrors, fill, wait_for
from tests.postgres import Postgres

PROGRAM = [sys.executable, "-W", "error", "-c", "from mm_crawler.cli import main; main()"]


@pytest.fixture
def mirrors() -> Iterator[Mirrors]:
    with Mirrors() as mirrors:
        mirrors.release()
        yield mirrors


@pytest.fixture
def session(postgres: Postgres, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A PostgreSQL database with four hosts of two categories each; the programs find it in the environment."""
    name = postgres.create("migrated")
    url = postgres.url(name)
    for key, value in {
        "DATABASE__URL": url,
        "CRAWLER__TRIES": "1",
        "CRAWLER__REQUEST_TIMEOUT": "120",
        "CRAWLER__CONNECTIONS_PER_HOST": "1",
        "CRAWLER__WORKER_HEARTBEAT": "0.2",
        "CRAWLER__WORKER_STALLED": "1.5",
        "CRAWLER__WORKER_GRACE": "0.2",
        "LOG__FORMAT": "text",
    }.items():
        monkeypatch.setenv(f"MM_{key}", value)
    engine = make_engine(DatabaseSettings(url=url))
    with make_sessions(engine)() as session:
        with transaction(session):
            fill(session, mirrors.url)
        yield session
    engine.dispose()
    postgres.drop(name)


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("jobs", "--json", *arguments).stdout)
    return found


@contextmanager
def worker(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*PROGRAM, "worker", *arguments], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def drain(*arguments: str) -> None:
    """A worker does all that can be done now."""
    run("worker", "--drain", *arguments)


def change(session: Session, values: str) -> None:
    """Set columns of all jobs, as if it had happened."""
    with transaction(session):
        session.execute(text("SET LOCAL search_path TO job_queue"))  # procrastinate's triggers need it
        session.execute(text(f"UPDATE procrastinate_jobs SET {values}"))


def states(session: Session) -> Counter[str]:
    session.rollback()
    query = text("SELECT status::text FROM job_queue.procrastinate_jobs")
    return Counter(session.scalars(query))


def crawled(session: Session) -> Counter[int]:
    """How often each host and category was crawled to an end."""
    session.rollback()
    return Counter(session.scalars(select(CrawlResult.host_category_id).where(CrawlResult.outcome == "asked")))


def test_a_job_per_host_and_category_is_queued_once(session: Session) -> None:
    assert run("enqueue", "--tier", "full").output == "Put 8 jobs into the queue.\n"
    assert run("enqueue", "--tier", "full").output == "Put 0 jobs into the queue; 8 were there already.\n"
    assert run("enqueue", "--due", "--host", "b").output == "Put 2 jobs into the queue.\n"
    assert run("enqueue", "--tier", "metadata", "--category", "Fedora EPEL").output == "Put 4 jobs into the queue.\n"
    order = [(job["tier"], job["host"], job["category"]) for job in listed()]
    assert order[:2] == [("metadata", "blocked", "Fedora EPEL"), ("metadata", "b", "Fedora EPEL")]
    assert Counter(tier for tier, _, _ in order) == {"metadata": 4, "full": 8, "due": 2}


def test_a_worker_does_what_the_command_does(session: Session, mirrors: Mirrors) -> None:
    run("enqueue")
    drain("--concurrency", "3")
    assert crawled(session) == dict.fromkeys(range(1, 9), 1)
    assert set(session.scalars(select(HostCategoryState.directories_up_to_date))) == {2}
    assert set(mirrors.most.values()) == {1}
    assert {job["state"] for job in listed("--state", "done")} == {"done"}
    assert listed() == []
    assert run("enqueue", "--due").output == "Put 0 jobs into the queue.\n"


def test_no_host_is_lost_or_crawled_twice_at_once_when_a_worker_is_killed(session: Session, mirrors: Mirrors) -> None:
    mirrors.hold()
    run("enqueue")
    with worker("--concurrency", "2") as first:
        mirrors.wait_until_held()
        with worker("--concurrency", "2") as second:
            wait_for(lambda: states(session)["succeeded"] == 6)  # all that do not hang on the blocked host
            assert crawled(session) == dict.fromkeys(range(3, 9), 1)
            os.kill(first.pid, signal.SIGKILL)
            mirrors.release()
            wait_for(lambda: states(session) == {"succeeded": 8})
            second.terminate()
            assert second.wait(60) == 0
            assert second.stderr
            assert "the worker of job 1 is gone; the job is put back" in second.stderr.read()
    assert crawled(session) == dict.fromkeys(range(1, 9), 1)
    assert dict(mirrors.most) == dict.fromkeys(HOSTS, 1)


def test_a_worker_that_has_to_end_puts_back_what_it_did_not_finish(session: Session, mirrors: Mirrors) -> None:
    mirrors.hold()
    run("enqueue", "--host", "blocked", "--category", "Fedora EPEL")
    with worker() as process:
        mirrors.wait_until_held()
        assert [(job["state"], job["host"], job["category"]) for job in listed()] == [
            ("running", "blocked", "Fedora EPEL")
        ]
        process.terminate()
        assert process.wait(60) == 0
    assert states(session) == {"todo": 1}
    mirrors.release()
    drain()
    assert states(session) == {"succeeded": 1}


def test_a_host_that_another_program_is_asking_is_left_for_later(session: Session, mirrors: Mirrors) -> None:
    mirrors.hold()
    command = [*PROGRAM, "mirrors", "--host", "blocked", "--category", "Fedora Linux"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as operator:
        mirrors.wait_until_held()
        run("enqueue", "--host", "blocked", "--category", "Fedora EPEL")
        drain()
        (job,) = listed()
        assert (job["state"], job["not_before"] is not None) == ("waiting", True)
        mirrors.release()
        assert operator.wait(60) == 0
    assert mirrors.most["blocked"] == 1


def test_a_job_that_crashes_is_tried_again_later_and_fails_at_last(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(crawling, "crawl", crash)
    run("enqueue", "--host", "b", "--category", "Fedora EPEL")
    drain()
    (job,) = listed()
    pause = (datetime.fromisoformat(job["not_before"]) - datetime.now(UTC)).total_seconds()
    assert (job["state"], job["tries"], 30 < pause < 80) == ("waiting", 1, True)
    assert "has not failed, it is waiting" in run("jobs", "--retry", str(job["id"]), code=1).output
    change(session, "attempts = 4, scheduled_at = NULL")
    drain()
    assert [job["state"] for job in listed("--state", "failed")] == ["failed"]
    monkeypatch.undo()


def test_a_failed_job_is_put_back_by_hand_and_old_ones_are_forgotten(session: Session) -> None:
    run("enqueue", "--host", "b", "--category", "Fedora EPEL")
    change(session, "status = 'doing'")
    change(session, "status = 'failed'")
    assert run("jobs", "--retry", "1").output == "Job 1 is waiting again.\n"
    assert "There is no job 99" in run("jobs", "--retry", "99", code=1).output
    drain()
    assert run("jobs", "--prune", "1").output == "Forgot 0 jobs.\n"
    assert run("jobs", "--prune", "0").output == "Forgot 1 jobs.\n"


def test_a_requested_check_is_done_by_the_next_worker(session: Session) -> None:
    with transaction(session):
        host = session.scalars(select(Host).where(Host.name == "b")).one()
        jobs.request_check(session, host, ["Fedora EPEL"], "ann")
    drain()
    session.rollback()
    (check,) = jobs.list_checks(session)
    assert (check.state, check.host, check.category) == (JobState.DONE, "b", "Fedora EPEL")
    assert "2 of 2" in check.result
    assert list(crawled(session).values()) == [1]


def test_a_job_that_ends_its_worker_again_and_again_is_given_up(session: Session) -> None:
    run("enqueue", "--host", "b", "--category", "Fedora EPEL")
    change(session, f"status = 'doing', attempts = {crawl_jobs.TRIES - 1}")  # as a worker leaves it that was killed
    drain()
    assert states(session) == {"failed": 1}


@pytest.mark.parametrize("command", ["enqueue", "worker", "jobs"])
def test_with_sqlite_the_commands_say_what_to_do_instead(
    command: str, sqlite_template: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MM_DATABASE__URL", f"sqlite:///{sqlite_template}")
    assert "mm-crawler mirrors" in run(command, code=1).output
