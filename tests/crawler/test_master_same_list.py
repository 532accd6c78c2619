"""A list that is the same as at the last scan is not read for directories again, unless something else could differ."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from mm_crawler.master.filelist import ListTree
from mm_crawler.master.scanned import Memory, ScannedDirectory
from mm_lib.cli.common import Program
from mm_lib.database import transaction
from mm_lib.model.content import Category, FileDetail
from tests.crawler.master_lists import time_list
from tests.crawler.master_tree import NOW, OLD, add_category, make_program, put, put_repository, scan, settle

LATER, LAST = NOW + timedelta(hours=1), NOW + timedelta(hours=2)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "linux"
    put_repository(top, "releases/20/Everything/x86_64/os")
    put(top, "releases/20/Everything/x86_64/os/Packages/a.rpm")
    settle(top)
    return top


def write_list(top: Path) -> None:
    (top.parent / "list").write_bytes(time_list(top))


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    """A category with a list that was scanned once."""
    add_category(engine, top, type="fullfiletimelist", path=str(top.parent / "list"), content=str(top))
    program = make_program(engine)
    write_list(top)
    scan(program)
    return program


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the directories that a list was read for."""
    paths: list[str] = []
    original = ListTree.directories

    def directories(self: ListTree, memory: Memory) -> Iterator[ScannedDirectory]:
        for directory in original(self, memory):
            paths.append(directory.path)
            yield directory

    monkeypatch.setattr(ListTree, "directories", directories)
    return paths


def test_the_same_list_shows_the_same_directories_without_being_read(program: Program, read: list[str]) -> None:
    outcome = scan(program, LATER)
    assert read == []
    assert outcome.counts["directories"] == 8
    assert [outcome.counts[name] for name in ("new", "changed", "gone", "kept", "files_read")] == [0] * 5


def test_metadata_that_was_rewritten_in_place_is_seen(program: Program, session: Session, top: Path) -> None:
    repomd = put_repository(top, "releases/20/Everything/x86_64/os", 777)
    os.utime(repomd, (NOW.timestamp(), NOW.timestamp()))
    write_list(top)
    scan(program, LATER)
    assert 777 in session.scalars(select(FileDetail.timestamp)).all()


def test_a_list_with_links_is_read_again(program: Program, top: Path, read: list[str]) -> None:
    """What a link leads to can change without the list."""
    (top / "releases/20/link.iso").symlink_to("Everything/x86_64/os/Packages/a.rpm")
    write_list(top)
    scan(program, LATER)
    read.clear()
    scan(program, LAST)
    assert "releases/20" in read


def test_directories_that_vanished_and_are_kept_stay_vanished(program: Program, session: Session, top: Path) -> None:
    full = (top.parent / "list").read_bytes()
    rows = [row for row in full.splitlines(keepends=True) if b"Packages" not in row]
    (top.parent / "list").write_bytes(b"".join(rows))
    assert scan(program, LATER, force=True).counts["kept"] == 1
    assert scan(program, LAST, force=True).counts["kept"] == 1


def test_a_list_with_rows_that_are_left_out_tells_them_each_time(program: Program, top: Path) -> None:
    broken = (top.parent / "list").read_bytes().replace(b"[Files]\n", b"[Files]\nnonsense\n")
    (top.parent / "list").write_bytes(broken)
    assert scan(program, LATER).problems == scan(program, LAST).problems != ()


def test_after_the_category_was_edited_the_list_is_read_again(
    program: Program, session: Session, read: list[str]
) -> None:
    with transaction(session):
        session.execute(update(Category).values(updated_at=LATER))
    scan(program, LAST)
    assert read


def test_everything_is_read_where_that_is_asked_for(program: Program, read: list[str]) -> None:
    scan(program, LATER, full=True)
    assert read


def test_metadata_that_could_not_be_read_is_read_again_though_the_list_is_the_same(
    program: Program, session: Session, top: Path
) -> None:
    repomd = put_repository(top, "releases/20/Everything/x86_64/os", 777)
    os.utime(repomd, (OLD + 60, OLD + 60))
    write_list(top)
    content = repomd.read_bytes()
    repomd.unlink()
    assert scan(program, LATER).counts["files_read"] == 0
    repomd.write_bytes(content)
    assert scan(program, LAST).counts["files_read"] == 1
    assert 777 in session.scalars(select(FileDetail.timestamp)).all()
