"""A scan that finds nothing new writes nothing but the record of its run; the next ones still know what to trust."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, event, select, update
from sqlalchemy.orm import Session

from mm_crawler.master.command import master
from mm_lib.cli.common import Program
from mm_lib.cli.content import category
from mm_lib.database import transaction
from mm_lib.model.content import Category
from mm_lib.model.state import CrawlRun
from tests.crawler.master_lists import time_list
from tests.crawler.master_tree import NOW, add_category, make_program, put, put_repository, scan, settle

HOUR = timedelta(hours=1)
_WRITE = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM|COPY|CREATE TEMPORARY TABLE)\s+\"?(\w+)", re.IGNORECASE)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "linux"
    put_repository(top, "releases/20/Everything/x86_64/os")
    put(top, "releases/20/Everything/x86_64/os/Packages/a.rpm")
    settle(top)
    return top


@pytest.fixture(params=["directory", "fullfiletimelist"])
def program(request: pytest.FixtureRequest, engine: Engine, top: Path) -> Program:
    """A category that was scanned once, from a tree or from a list."""
    if request.param == "directory":
        add_category(engine, top)
    else:
        (top.parent / "list").write_bytes(time_list(top))
        add_category(engine, top, type=request.param, path=str(top.parent / "list"), content=str(top))
    program = make_program(engine)
    scan(program)
    return program


@pytest.fixture
def written(engine: Engine) -> Iterator[Counter[str]]:
    """How many rows were written to each table."""
    rows: Counter[str] = Counter()

    def note(_connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if match := _WRITE.match(statement):
            rows[match[1]] += cursor.rowcount

    event.listen(engine, "after_cursor_execute", note)
    yield rows
    event.remove(engine, "after_cursor_execute", note)


def test_a_scan_without_changes_writes_no_row(program: Program, written: Counter[str]) -> None:
    scan(program, NOW + HOUR)
    assert written == {}


def test_the_command_writes_only_the_record_of_its_run(
    program: Program, session: Session, written: Counter[str]
) -> None:
    assert CliRunner().invoke(master, [], obj=program).exit_code == 0
    assert written == {"crawl_run": 2}
    assert session.scalars(select(CrawlRun.outcome)).one() != "running"


def test_a_scan_with_changes_is_seen_by_the_counter(program: Program, top: Path, written: Counter[str]) -> None:
    put(top, "releases/20/new/file")
    (top.parent / "list").write_bytes(time_list(top))
    scan(program, NOW + HOUR)
    assert written["category"] == 1


def test_what_was_too_new_to_be_trusted_is_trusted_once_it_rested(
    program: Program, top: Path, written: Counter[str]
) -> None:
    """Metadata of the minute of a scan is read again by the next one, and not for ever."""
    moment = (NOW + HOUR).timestamp() - 5
    repomd = put_repository(top, "releases/20/Everything/x86_64/os", 777)
    for path in (repomd, repomd.parent):
        os.utime(path, (moment, moment))
    (top.parent / "list").write_bytes(time_list(top))
    read = [scan(program, NOW + hours * HOUR).counts["files_read"] for hours in (1, 2)]
    written.clear()
    read.append(scan(program, NOW + 3 * HOUR).counts["files_read"])
    assert read == [1, 1, 0]
    assert written == {}


def test_a_file_with_a_time_in_the_future_is_no_reason_to_write(
    program: Program, top: Path, written: Counter[str]
) -> None:
    future = (NOW + 99 * HOUR).timestamp()
    os.utime(put(top, "releases/20/later"), (future, future))
    (top.parent / "list").write_bytes(time_list(top))
    scan(program, NOW + HOUR)
    scan(program, NOW + 2 * HOUR)
    written.clear()
    scan(program, NOW + 3 * HOUR)
    assert written == {}


def test_after_an_edit_of_the_category_one_scan_looks_at_everything_and_says_so(
    program: Program, session: Session, written: Counter[str]
) -> None:
    with transaction(session):
        session.execute(update(Category).values(updated_at=NOW + HOUR))
    written.clear()
    scan(program, NOW + 2 * HOUR)
    assert written == {"category": 1}
    scan(program, NOW + 3 * HOUR)
    assert written == {"category": 1}


def test_categories_are_listed_with_their_last_scan_even_when_it_changed_nothing(
    program: Program, session: Session
) -> None:
    assert CliRunner().invoke(master, [], obj=program).exit_code == 0
    (shown,) = json.loads(CliRunner().invoke(category, ["list", "--json"], obj=program).output)
    started = session.scalars(select(CrawlRun.started_at)).one()
    assert datetime.fromisoformat(shown["last_scanned_at"]) == started
