"""A crawl that is killed, collides, or does what somebody asked for: on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_crawler.cli import main
from mm_lib.database import transaction
from mm_lib.locks import held
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.state import CrawlResult, JobState
from mm_lib.services import jobs
from mm_lib.settings import DatabaseSettings
from tests.crawler.slow_mirrors import Mirrors, fill, wait_for

PROGRAM = [sys.executable, "-W", "error", "-c", "from mm_crawler.cli import main; main()", "mirrors"]


@pytest.fixture
def mirrors(session: Session, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Mirrors]:
    """Four mirrors in the database, of which one can be held."""
    monkeypatch.setenv("MM_DATABASE__URL", database_url)
    monkeypatch.setenv("MM_CRAWLER__TRIES", "1")
    monkeypatch.setenv("MM_CRAWLER__REQUEST_TIMEOUT", "120")
    monkeypatch.setenv("MM_CRAWLER__CONNECTIONS_PER_HOST", "1")
    with Mirrors() as mirrors:
        with transaction(session):
            fill(session, mirrors.url)
        yield mirrors


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["mirrors", *arguments])
    assert result.exit_code == code, result.output
    return result


def crawled(session: Session) -> set[str]:
    """The hosts of which all is known."""
    session.rollback()
    query = (
        select(Host.name)
        .join(HostCategory, HostCategory.host_id == Host.id)
        .join(CrawlResult, CrawlResult.host_category_id == HostCategory.id)
        .where(CrawlResult.outcome == "asked")
        .group_by(Host.name)
        .having(func.count() == 2)
    )
    return set(session.scalars(query))


def test_killing_a_crawl_loses_the_host_in_flight_only_and_the_next_one_can_start(
    session: Session, mirrors: Mirrors
) -> None:
    mirrors.hold()
    with subprocess.Popen(PROGRAM, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as crawler:
        mirrors.wait_until_held()
        wait_for(lambda: crawled(session) == {"b", "c", "d"})
        assert "The full crawl of Fedora EPEL is running already (process" in run("--tier", "full", code=75).output
        crawler.kill()
    mirrors.release()
    run("--wait=10", "--category", "Fedora Linux")
    run("--wait=10", "--category", "Fedora EPEL", "--host", "blocked")
    assert "blocked" in crawled(session)
    assert set(mirrors.most.values()) == {1}


def test_crawls_of_different_categories_and_tiers_do_not_exclude_each_other(
    mirrors: Mirrors, database_url: str
) -> None:
    mirrors.release()
    with held(DatabaseSettings(url=database_url), "full crawl of Fedora Linux"):
        run("--category", "Fedora Linux", code=75)
        run("--category", "Fedora EPEL")
        run("--category", "Fedora Linux", "--canary")
        run("--category", "Fedora Linux", "--host", "b")


def test_requested_checks_are_done_and_nothing_else(session: Session, mirrors: Mirrors) -> None:
    mirrors.release()
    assert run("--requested").output == ""
    with transaction(session):
        host = session.scalars(select(Host).where(Host.name == "c")).one()
        jobs.request_check(session, host, requested_by="ann")
    run("--requested")
    session.rollback()
    assert crawled(session) == {"c"}
    assert {(check.state, check.result[:6]) for check in jobs.list_checks(session)} == {(JobState.DONE, "2 of 2")}
    assert run("--requested", "--host", "c", code=2)


def test_a_requested_check_of_a_host_that_is_being_crawled_is_put_back(
    session: Session, mirrors: Mirrors, database_url: str
) -> None:
    mirrors.release()
    host = session.scalars(select(Host).where(Host.name == "c")).one()
    with transaction(session):
        jobs.request_check(session, host, ["Fedora EPEL"])
    with held(DatabaseSettings(url=database_url), f"crawl of host {host.id}"):
        run("--requested")
    session.rollback()
    assert [check.state for check in jobs.list_checks(session)] == [JobState.WAITING]
