"""One crawl by the command over all mirrors of the laboratory: each gets its due, and the others feel nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from mm_crawler.report import Verdict
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.state import CrawlResult
from mm_lib.settings import DatabaseSettings
from tests.crawler.builders import NEW, TOPDIR, World
from tests.crawler.laboratory.mirrors import DIRECTORIES, WEB, Laboratory, Mirror

PROGRAM = [sys.executable, "-W", "error", "-c", "from mm_crawler.cli import main; main()", "mirrors", "--json"]
SETTINGS = {
    "TRIES": "2",
    "CONNECT_TIMEOUT": "1.5",
    "REQUEST_TIMEOUT": "1.5",
    "HOST_TIMEOUT": "12",
    "HOSTS": "100",
    "CONNECTIONS": "400",
}


class Crawled(NamedTuple):
    """What came of it: the mirrors, the rows of the table, all that was said of each, and what it cost."""

    mirrors: list[Mirror]
    rows: dict[str, dict[str, Any]]
    said: dict[str, str]
    memory: float  # MB at its peak
    seconds: float


@pytest.fixture(scope="module")
def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("laboratory") / "test.sqlite"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def crawled(database: str) -> Iterator[Crawled]:
    """The one crawl that all tests look at."""
    with Laboratory() as laboratory:
        _fill(database, laboratory.mirrors)
        started = time.monotonic()
        rows, memory = _crawl(database, laboratory.authority.file)
        seconds = time.monotonic() - started
        yield Crawled(laboratory.mirrors, {row["host"]: row for row in rows}, _said(database), memory, seconds)


def _fill(database: str, mirrors: list[Mirror]) -> None:
    engine = make_engine(DatabaseSettings(url=database))
    with make_sessions(engine)() as session, transaction(session):
        world = World(session)
        for path, names in DIRECTORIES.items():
            made = world.directory(f"{TOPDIR}/{path}", *names, size=len(NEW) if path == "repodata" else 4)
            if path == "repodata":
                world.detail(made, NEW, 1)
                world.repository("fedora-44", made)
        for mirror in mirrors:
            world.host(mirror.name, *mirror.urls)
    engine.dispose()


def _crawl(database: str, authority: Path) -> tuple[list[dict[str, Any]], float]:
    """Run the command in a process of its own; the rows that it printed, and its peak memory in MB."""
    environment = {f"MM_CRAWLER__{name}": value for name, value in SETTINGS.items()}
    environment |= {"MM_DATABASE__URL": database, "MM_CRAWLER__CA_FILE": str(authority)}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(PROGRAM, stdout=output, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        assert process.returncode == 0
        return json.load(output), usage.ru_maxrss / 1024


def _said(database: str) -> dict[str, str]:
    """The reason and all evidence, by host."""
    engine = make_engine(DatabaseSettings(url=database))
    query = select(Host.name, CrawlResult).join(HostCategory, HostCategory.host_id == Host.id)
    with make_sessions(engine)() as session:
        rows = session.execute(query.join(CrawlResult, CrawlResult.host_category_id == HostCategory.id))
        said = {name: f"{result.reason} {json.dumps(result.evidence)}" for name, result in rows}
    engine.dispose()
    return said


def _verdicts(row: dict[str, Any]) -> str:
    return ", ".join(f"{row[verdict.value]} {verdict.value}" for verdict in Verdict if row[verdict.value])


def test_every_mirror_gets_what_it_deserves(crawled: Crawled) -> None:
    found = {}
    for mirror in crawled.mirrors:
        row, said = crawled.rows[mirror.name], crawled.said[mirror.name]
        expected = mirror.expected
        found[mirror.name] = (row["outcome"], _verdicts(row), expected.says if expected.says in said else said)
    due = {mirror.name: tuple(mirror.expected) for mirror in crawled.mirrors}
    assert {name: (said, due[name]) for name, said in found.items() if said != due[name]} == {}


def test_the_healthy_ones_do_not_notice_the_others(crawled: Crawled) -> None:
    seconds = [row["seconds"] for name, row in crawled.rows.items() if name.startswith("control")]
    assert len(seconds) == 4
    assert max(seconds) < 4


def test_the_crawler_stays_small(crawled: Crawled) -> None:
    assert crawled.memory < 160


def test_the_whole_laboratory_is_done_in_time(crawled: Crawled) -> None:
    assert crawled.seconds < 20
    assert len(WEB) > 12
