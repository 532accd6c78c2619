"""Locks: one holder at a time, on both databases, and none left behind by a process that was killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from mm_crawler.cli import main as mm_crawler
from mm_lib import locks
from mm_lib.cli.main import main as mm_admin
from mm_lib.database import driver_url, make_engine, make_sessions, transaction
from mm_lib.locks import Busy, held
from mm_lib.settings import DatabaseSettings
from tests.crawler.builders import World
from tests.postgres import Postgres

HOLD = """
import sys, time
from mm_lib.locks import held
from mm_lib.settings import DatabaseSettings
with held(DatabaseSettings(url=sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def settings(database_url: str) -> DatabaseSettings:
    return DatabaseSettings(url=database_url)


@pytest.fixture
def other(settings: DatabaseSettings) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the lock "scan"."""
    command = [sys.executable, "-W", "error", "-c", HOLD, settings.url, "scan"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_the_lock(
    settings: DatabaseSettings, other: subprocess.Popen[str]
) -> None:
    with pytest.raises(Busy, match=rf"The scan is running already \(process {other.pid} on \S+ since 20\d\d-.*--wait"):
        held(settings, "scan").__enter__()


def test_another_name_is_free(settings: DatabaseSettings, other: subprocess.Popen[str]) -> None:
    with held(settings, "other scan"):
        pass


def test_the_lock_of_a_killed_process_is_free(settings: DatabaseSettings, other: subprocess.Popen[str]) -> None:
    os.kill(other.pid, signal.SIGKILL)
    with held(settings, "scan", wait=10):
        pass


def test_waiting_ends_when_time_is_over(settings: DatabaseSettings, other: subprocess.Popen[str]) -> None:
    started = time.monotonic()
    with pytest.raises(Busy):
        held(settings, "scan", wait=0.2).__enter__()
    assert 0.2 <= time.monotonic() - started < 5


def test_within_one_process_a_lock_is_held_once(settings: DatabaseSettings) -> None:
    with locks.opened(settings) as mine:
        assert mine.take("host 1") == ""
        assert str(os.getpid()) in mine.take("host 1")
        mine.release("host 1")
        assert mine.take("host 1") == ""


def test_whoever_waits_gets_the_lock_when_it_is_released(
    settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.02)
    got = threading.Event()

    def wait() -> None:
        with held(settings, "scan", wait=10):
            got.set()

    with held(settings, "scan"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert not got.wait(0.1)
    assert got.wait(10)
    thread.join()


def test_several_locks_are_taken_together_or_not_at_all(settings: DatabaseSettings) -> None:
    with held(settings, "b"), pytest.raises(Busy, match="The b is"):
        held(settings, "a", "b").__enter__()
    with held(settings, "a"):
        pass


def test_a_session_that_the_server_ends_is_opened_again_and_its_locks_are_named(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    name = postgres.create()
    settings = DatabaseSettings(url=postgres.url(name))
    engine = create_engine(driver_url(settings.url), isolation_level="AUTOCOMMIT")
    with locks.opened(settings) as mine:
        mine.take("host 1")
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
        assert mine.take("host 2") == ""
        assert "closed the connection that held these locks: host 1" in caplog.text
    engine.dispose()
    postgres.drop(name)


def run(program: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


@pytest.fixture
def configured(settings: DatabaseSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with one category, found through the environment."""
    monkeypatch.setenv("MM_DATABASE__URL", settings.url)
    monkeypatch.setenv("MM_CACHE__FILE", str(tmp_path / "cache"))
    engine = make_engine(settings)
    with make_sessions(engine)() as session, transaction(session):
        World(session)
    engine.dispose()


@pytest.mark.usefixtures("configured")
def test_a_second_scan_of_the_same_category_ends_with_its_own_exit_code(settings: DatabaseSettings) -> None:
    with held(settings, "scan of Fedora Linux"):
        refused = run(mm_crawler, "master")
        assert (refused.exit_code, "scan of Fedora Linux is running already (process" in refused.output) == (75, True)
        assert run(mm_crawler, "master", "--wait=0.1").exit_code == 75
        assert run(mm_crawler, "master", "--dry-run").exit_code == 0
    assert run(mm_crawler, "master", "--wait").exit_code == 0


@pytest.mark.usefixtures("configured")
def test_a_second_build_of_the_same_cache_file_is_refused(settings: DatabaseSettings, tmp_path: Path) -> None:
    with held(settings, f"build of {tmp_path / 'cache'} on {socket.gethostname()}"):
        assert run(mm_admin, "cache", "build").exit_code == 75
    assert run(mm_admin, "cache", "build").exit_code == 0
