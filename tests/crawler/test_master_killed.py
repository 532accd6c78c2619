"""A scan that is killed at any moment leaves the last complete state; and what mm-crawler says of a saved listing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from mm_crawler.master.command import master
from mm_lib.cli.common import Group
from mm_lib.model.content import Directory, FileDetail
from tests.crawler.master_lists import rsync_listing
from tests.crawler.master_tree import NOW, add_category, make_program, put, put_repository, scan, settle

ROOT = Path(__file__).parents[2]
# Runs a scan and kills itself, as hard as can be, when the named function is called or has returned.
KILLED = """
import os, signal, sys
from datetime import timedelta
from importlib import import_module
from mm_crawler.master import scan as scan_module
from mm_lib.database import make_engine
from mm_lib.settings import DatabaseSettings
from tests.crawler.master_tree import NOW, make_program, scan
url, module, name, when = sys.argv[1:]
place = import_module(module)
original = getattr(place, name)
def deadly(*arguments, **options):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(place, name, deadly)
scan(make_program(make_engine(DatabaseSettings(url=url))), NOW + timedelta(hours=1), delete=True, force=True)
"""
MOMENTS = [
    ("mm_crawler.master.scan", "compare", "before"),
    ("mm_crawler.master.scan", "collect", "before"),
    ("mm_crawler.master.scan", "record", "before"),
    ("mm_crawler.master.record", "_delete_directories", "after"),
    ("mm_crawler.master.directories", "add", "after"),
    ("mm_crawler.master.directories", "change", "after"),
    ("mm_crawler.master.record", "_record_files", "after"),
    ("mm_crawler.master.scan", "record", "after"),
]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "master"
    put_repository(top, "releases/20/Everything/x86_64/os")
    put(top, "old/x")
    settle(top)
    return top


def everything(session: Session) -> list[tuple[object, ...]]:
    session.rollback()
    rows = session.execute(select(Directory.id, Directory.path, Directory.mtime, Directory.listing_digest))
    files = session.execute(select(FileDetail.id, FileDetail.filename, FileDetail.timestamp))
    return sorted((str(row) for row in [*rows, *files]), key=str)  # type: ignore[arg-type]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: " ".join(moment[1:]))
def test_a_killed_scan_changes_nothing_and_the_next_one_does_all(
    engine: Engine, session: Session, top: Path, moment: tuple[str, str, str]
) -> None:
    add_category(engine, top)
    program = make_program(engine)
    scan(program)
    before = everything(session)
    session.rollback()
    put_repository(top, "releases/20/Everything/x86_64/os", 500)
    put(top, "new/x")
    (top / "old/x").unlink()
    (top / "old").rmdir()
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", KILLED, url, *moment]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert everything(session) == before
    session.rollback()
    outcome = scan(program, NOW + timedelta(hours=2), delete=True, force=True)
    assert (outcome.counts["new"], outcome.counts["gone"], outcome.counts["files_added"]) == (1, 1, 1)


def run(engine: Engine, *arguments: str) -> Result:
    group = Group(name="mm-crawler")
    group.add_command(master)
    return CliRunner().invoke(group, ["master", *arguments], obj=make_program(engine))


def test_a_category_can_be_scanned_from_a_saved_listing(
    engine: Engine, session: Session, top: Path, tmp_path: Path
) -> None:
    add_category(engine, top)
    (tmp_path / "listing").write_bytes(rsync_listing(top))
    result = run(engine, "--category", "Fedora Linux", "--listing", str(tmp_path / "listing"))
    assert result.exit_code == 0, result.output
    assert session.scalar(select(func.count(Directory.id))) == 8
    assert session.scalar(select(func.count(FileDetail.id))) == 1
    assert scan(make_program(engine), NOW + timedelta(days=3650)).counts["changed"] == 0


def test_a_saved_listing_is_of_one_category(engine: Engine, top: Path, tmp_path: Path) -> None:
    (tmp_path / "listing").write_bytes(rsync_listing(top))
    result = run(engine, "--listing", str(tmp_path / "listing"))
    assert result.exit_code == 2
    assert "name it with --category" in result.output
