"""mm-crawler update-file: one important file is read again, without a scan (case 27)."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from mm_crawler.master.update_file import update_file
from mm_lib.cli.common import Group, Program
from mm_lib.database import make_sessions, transaction
from mm_lib.model.accounts import AuditEvent
from mm_lib.model.content import Category, Directory, FileDetail
from mm_lib.services import changes
from tests.crawler.master_tree import (
    TOPDIR,
    add_category,
    make_program,
    put,
    put_repository,
    repomd,
    scan,
    settle,
    sha256,
)

REPOMD = "releases/20/Everything/x86_64/os/repodata/repomd.xml"
FULL = f"{TOPDIR}/{REPOMD}"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "master"
    put_repository(top, "releases/20/Everything/x86_64/os", 100)
    settle(top)
    return top


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    add_category(engine, top)
    return make_program(engine)


def run(program: Program, *arguments: str) -> Result:
    group = Group(name="mm-crawler")
    group.add_command(update_file)
    return CliRunner().invoke(group, ["update-file", *arguments], obj=program)


def versions(session: Session) -> list[tuple[int, str | None]]:
    session.rollback()
    session.expire_all()
    rows = session.scalars(select(FileDetail).order_by(FileDetail.timestamp))
    return [(row.timestamp, row.sha256) for row in rows]


def test_a_file_whose_directory_is_known_gets_one_version_with_all_hashes(
    program: Program, session: Session, top: Path
) -> None:
    scan(program)
    session.query(FileDetail).delete()
    session.commit()
    assert run(program, FULL).exit_code == 0
    (row,) = session.scalars(select(FileDetail))
    assert (row.sha256, row.timestamp) == (sha256(repomd(100)), 100)
    assert all((row.md5, row.sha1, row.sha512))
    assert run(program, FULL).stdout == f"{FULL}: unchanged\n"
    assert len(versions(session)) == 1


def test_a_new_version_is_recorded_beside_the_old_one(program: Program, session: Session, top: Path) -> None:
    scan(program)
    put(top, REPOMD, repomd(200))
    assert "not recorded -> recorded" in run(program, FULL).stdout
    assert versions(session) == [(100, sha256(repomd(100))), (200, sha256(repomd(200)))]


def test_the_file_may_be_named_where_it_lies(program: Program, session: Session, top: Path) -> None:
    scan(program)
    put(top, REPOMD, repomd(200))
    assert run(program, str(top / REPOMD)).exit_code == 0
    assert len(versions(session)) == 2


def test_a_version_that_the_master_took_back_is_withdrawn(program: Program, session: Session, top: Path) -> None:
    scan(program)
    put(top, REPOMD, repomd(200))
    run(program, FULL)
    put(top, REPOMD, repomd(100))
    assert "recorded -> withdrawn" in run(program, FULL).stdout
    assert versions(session) == [(100, sha256(repomd(100)))]


def test_hashes_that_were_missing_are_completed_and_taken_away_again(
    program: Program, session: Session, top: Path
) -> None:
    scan(program)
    bare = {"sha256": None, "sha512": None, "md5": None}
    (row,) = session.scalars(select(FileDetail))
    session.execute(update(FileDetail).values(content_id=f"sha1:{row.sha1}", **bare))
    session.commit()
    assert "recorded -> completed" in run(program, FULL).stdout
    assert versions(session) == [(100, sha256(repomd(100)))]
    with transaction(session):
        changes.apply(session, changes.undo(session, 1), "test")
    assert versions(session) == [(100, None)]


def test_a_dry_run_records_nothing_and_a_real_one_an_event(program: Program, session: Session, top: Path) -> None:
    scan(program)
    put(top, REPOMD, repomd(200))
    assert "nothing was changed" in run(program, FULL, "--dry-run").stdout
    assert len(versions(session)) == 1
    run(program, FULL, "--as", "alice")
    event = session.scalars(select(AuditEvent)).one()
    assert (event.actor, event.action, event.object_name) == ("alice", "update-file", FULL)


@pytest.mark.parametrize("path", [FULL, "pub/elsewhere/repodata/repomd.xml", "/elsewhere/repomd.xml"])
def test_a_file_of_an_unknown_directory_is_an_error(program: Program, path: str) -> None:
    """Nothing was scanned yet."""
    result = run(program, path)
    assert (result.exit_code, "`mm-crawler master` finds new ones" in result.stderr) == (1, True)


def test_what_is_no_important_file_or_cannot_be_read_is_an_error(program: Program, session: Session, top: Path) -> None:
    put(top, "releases/20/x.rpm")
    scan(program)
    assert "is no repomd.xml" in run(program, f"{TOPDIR}/releases/20/x.rpm").stderr
    put(top, REPOMD, "<repomd")
    result = run(program, FULL)
    assert (result.exit_code, REPOMD in result.stderr) == (1, True)
    (top / REPOMD).unlink()
    assert "No such file" in run(program, FULL).stderr
    assert len(versions(session)) == 1


def test_a_path_of_several_categories_needs_the_category(
    program: Program, engine: Engine, session: Session, top: Path
) -> None:
    scan(program)
    with make_sessions(engine)() as other, transaction(other):
        fedora = other.scalars(select(Category)).one()
        twin = Category(name="Twin", topdir=TOPDIR, product_id=fedora.product_id, source=fedora.source)
        other.add(twin)
        other.flush()
        other.add(Directory(category_id=twin.id, path=FULL.rpartition("/")[0], mtime=0))
    assert "say which with --category" in run(program, FULL).stderr
    assert run(program, FULL, "--category", "Twin").exit_code == 0
    assert len(versions(session)) == 2
    assert "The category 'X' knows no directory" in run(program, FULL, "--category", "X").stderr
