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
from tests.crawler.laboratory.mirrors import DIRECTORIES, Laboratory, Mirror

# What the kernel counts for a finished process has in it what its parent had when it forked, so it tells by itself.
CODE = """
from pathlib import Path
from mm_crawler.cli import main
try:
    main()
finally:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    Path(MEMORY).write_text(status["VmHWM"].split()[0])
"""
HOST_TIMEOUT = 25  # on a busy machine it takes long to list a million files
SETTINGS = {
    "TRIES": "2",
    "PRIVATE_MIRRORS": "true",
    "CONNECT_TIMEOUT": "1.5",
    "REQUEST_TIMEOUT": "1",
    "HOST_TIMEOUT": str(HOST_TIMEOUT),
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
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder) / "memory"
        code = CODE.replace("MEMORY", repr(str(memory)))
        command = [sys.executable, "-W", "error", "-c", code, "mirrors", "--json"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment}).stdout
        return json.loads(output), int(memory.read_text()) / 1024


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


def test_every_mirror_gets_its_due(crawled: Crawled) -> None:
    wrong = []
    for name, _, due in crawled.mirrors:
        row, said = crawled.rows[name], crawled.said[name]
        if (row["outcome"], _verdicts(row)) != (due.outcome, due.verdicts) or due.says not in said:
            wrong.append(f"{name}: {row['outcome']}, {_verdicts(row) or 'no verdicts'}, not {due}: {said}")
    assert not wrong, "\n".join(wrong)


def test_the_healthy_ones_do_not_notice_the_others(crawled: Crawled) -> None:
    seconds = [row["seconds"] for name, row in crawled.rows.items() if name.startswith("control")]
    assert len(seconds) == 4
    assert max(seconds) < 4


def test_the_crawler_stays_small(crawled: Crawled) -> None:
    assert crawled.memory < 160


def test_nobody_holds_up_the_crawl_beyond_the_deadline_of_a_mirror(crawled: Crawled) -> None:
    assert crawled.seconds < HOST_TIMEOUT
