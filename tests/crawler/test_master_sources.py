"""Every source of a master tree: from the same tree the same rows, in every database, and nothing read twice."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from mm_crawler.master.scanned import SourceError
from mm_lib.cli.common import Program
from mm_lib.database import make_sessions, transaction
from mm_lib.model.content import Category, Directory, FileDetail, Repository
from tests.crawler.master_lists import name_list, rsync_listing, time_list
from tests.crawler.master_tree import (
    LONG_AGO,
    NOW,
    OLD,
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
from tests.master_servers import Apache, Rsyncd
from tests.servers import Nginx

OS = "releases/20/Everything/x86_64/os"
Place = dict[str, Any]
Start = Callable[[ExitStack, Path, Path], Place]  # servers, tree, folder for lists


def _list(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def directory(_stack: ExitStack, top: Path, _folder: Path) -> Place:
    return {"type": "directory", "path": str(top)}


def timed(_stack: ExitStack, top: Path, folder: Path) -> Place:
    path = _list(folder, "fullfiletimelist-fedora", time_list(top, "linux"))
    return {"type": "fullfiletimelist", "path": path, "prefix": "linux", "content": str(top)}


def packed(_stack: ExitStack, top: Path, folder: Path) -> Place:
    path = _list(folder, "fullfiletimelist-fedora.gz", gzip.compress(time_list(top, "linux")))
    return {"type": "fullfiletimelist", "path": path, "prefix": "linux", "content": str(top)}


def named(_stack: ExitStack, top: Path, folder: Path) -> Place:
    return {"type": "fullfilelist", "path": _list(folder, "fullfilelist", name_list(top)), "content": str(top)}


def listing(_stack: ExitStack, top: Path, folder: Path) -> Place:
    return {"type": "listing", "path": _list(folder, "listing", rsync_listing(top)), "content": str(top)}


def rsync(stack: ExitStack, top: Path, _folder: Path) -> Place:
    return {"type": "rsync", "url": stack.enter_context(Rsyncd(top)).url}


def nginx(stack: ExitStack, top: Path, _folder: Path) -> Place:
    return {"type": "http", "url": f"{stack.enter_context(Nginx({'master': top})).urls['master']}/"}


def apache(stack: ExitStack, top: Path, _folder: Path) -> Place:
    return {"type": "http", "url": stack.enter_context(Apache(top)).url}


def apache_lines(stack: ExitStack, top: Path, _folder: Path) -> Place:
    return {"type": "http", "url": stack.enter_context(Apache(top, "FancyIndexing NameWidth=*")).url}


LOCAL: list[Start] = [directory, timed, packed, named, listing]
WEB: list[Start] = [nginx, apache, apache_lines]
ALL: list[Start] = [*LOCAL, rsync, *WEB]


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree that servers of other users may read; pytest's own folders are closed to them."""
    with TemporaryDirectory(prefix="mm-tree-") as name:
        Path(name).chmod(0o755)
        fill(Path(name) / "master")
        yield Path(name) / "master"


def fill(top: Path) -> None:
    """Repositories, images, links, names that need care, and what no scan may see."""
    put_repository(top, OS, 100, 200)
    image = "i" * 1_234_567
    put(top, "releases/20/Images/f 20.iso", image)
    put(top, "releases/20/Images/F-20-CHECKSUM", f"SHA256 (f 20.iso) = {sha256(image)}\n")
    (top / "releases/20/Images/latest.iso").symlink_to("f 20.iso")
    (top / "releases/20/Images/metadata").symlink_to("../Everything/x86_64/os/repodata/repomd.xml")
    for number in range(14):
        put(top, f"{OS}/Packages/p{number}.rpm", "x" * number)
    put(top, "atomic/20/summary", "summary")
    put(top, "atomic/20/objects/00/x")
    put(top, "README", "read me")
    put(top, "names/ünï & <c>.txt", "name")
    put(top, "names/100% #1?.txt", "name")
    put(top, ".snapshot/hourly/x")
    put(top, "releases/.~tmp~/half")
    put(top, "excluded/below/x")
    (top / "empty").mkdir()
    settle(top)
    for number in range(14):
        os.utime(top / f"{OS}/Packages/p{number}.rpm", (OLD - 60 * number, OLD - 60 * number))


class World:
    """A category, the tree that it is scanned from, and the servers that were started over it."""

    def __init__(self, engine: Engine, top: Path, folder: Path) -> None:
        self.top = top
        self.folder = folder
        self._engine = engine
        self._servers = ExitStack()

    def use(self, start: Start) -> Place:
        """Let the category be scanned from there, with lists that are made anew."""
        self.stop()
        place = start(self._servers, self.top, self.folder)
        with make_sessions(self._engine)() as session, transaction(session):
            source = {"excludes": ["^excluded$"], **place}
            session.execute(update(Category).values(source=source, updated_at=LONG_AGO))
        return place

    def stop(self) -> None:
        """End all servers."""
        self._servers.close()


@pytest.fixture
def world(engine: Engine, top: Path, tmp_path: Path) -> Iterator[World]:
    world = World(engine, top, tmp_path)
    yield world
    world.stop()


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    add_category(engine, top)
    return make_program(engine)


def everything(session: Session, *, top_time: bool = True) -> list[tuple[object, ...]]:
    """All that a scan records."""
    session.rollback()
    rows: list[tuple[object, ...]] = []
    for row in session.scalars(select(Directory).order_by(Directory.path)):
        mtime = row.mtime if top_time or row.path != TOPDIR else 0
        rows.append((row.path, mtime, row.readable, row.file_count, row.listing_digest, row.sample))
    query = select(FileDetail, Directory.path).join(Directory, Directory.id == FileDetail.directory_id)
    for file, path in session.execute(query.order_by(Directory.path, FileDetail.filename)):
        rows.append((path, file.filename, file.timestamp, file.size, file.md5, file.sha1, file.sha256, file.sha512))
    query = select(Repository.prefix, Directory.path).join(Directory, Directory.id == Repository.directory_id)
    return [*rows, *map(tuple, session.execute(query.order_by(Repository.prefix)))]


@pytest.mark.parametrize("start", ALL)
def test_every_source_gives_the_same_rows_and_the_next_one_finds_nothing_new(
    start: Start, program: Program, session: Session, world: World
) -> None:
    if start not in WEB:  # a page does not tell these links from what they pretend to be
        (world.top / "releases/20/Images/nowhere").symlink_to("gone")
        (world.top / "alias").symlink_to("releases")
        for changed in (world.top, world.top / "releases/20/Images"):
            os.utime(changed, (OLD, OLD))
    place = world.use(start)
    first = scan(program)
    assert not [problem for problem in first.problems if "no rule matches" not in problem]
    has_top_time = place["type"] != "http"
    found = everything(session, top_time=has_top_time)
    again = scan(program, NOW + timedelta(hours=1))
    assert (again.counts["changed"], again.counts["new"], again.counts["files_read"]) == (0, 0, 0)
    world.use(directory)
    walked = scan(program, NOW + timedelta(hours=2), full=True)
    assert walked.counts["directories"] == first.counts["directories"]
    assert everything(session, top_time=has_top_time) == found
    assert walked.counts["new"] == walked.counts["files_added"] == 0
    assert walked.counts["changed"] == (0 if has_top_time else 1)
    paths = {row[0] for row in found}
    assert f"{TOPDIR}/empty" in paths
    assert f"{TOPDIR}/names" in paths
    assert not any(part in str(path) for path in paths for part in ("excluded", "snapshot", "tmp~", "alias"))


@pytest.mark.parametrize("start", ALL)
def test_metadata_rewritten_in_place_is_seen(start: Start, program: Program, session: Session, world: World) -> None:
    world.use(start)
    scan(program)
    later = OLD + 86400
    for name, content in ((f"{OS}/repodata/repomd.xml", repomd(300, 400)), ("atomic/20/summary", b"SUMMARY")):
        before = (world.top / name).parent.stat().st_mtime
        put(world.top, name, content)
        os.utime(world.top / name, (later, later))
        os.utime((world.top / name).parent, (before, before))
    world.use(start)
    outcome = scan(program, NOW + timedelta(hours=1))
    assert (outcome.counts["files_read"], outcome.counts["files_added"]) == (2, 2)
    newest = session.scalars(select(FileDetail.timestamp).order_by(FileDetail.timestamp.desc())).first()
    assert newest == later
    assert 400 in session.scalars(select(FileDetail.timestamp))


@pytest.mark.parametrize("start", ALL)
def test_a_vanished_directory_is_kept_until_it_may_be_deleted(
    start: Start, program: Program, session: Session, world: World
) -> None:
    world.use(start)
    scan(program)
    (world.top / "empty").rmdir()
    settle(world.top, OLD + 60)
    world.use(start)
    kept = scan(program, NOW + timedelta(hours=1), force=True)
    assert (kept.counts["kept"], kept.counts["gone"]) == (1, 0)
    gone = scan(program, NOW + timedelta(hours=2), force=True, delete=True)
    assert (gone.counts["kept"], gone.counts["gone"]) == (0, 1)
    assert session.scalar(select(Directory.id).where(Directory.path == f"{TOPDIR}/empty")) is None


@pytest.mark.parametrize("start", [*LOCAL, rsync])
def test_what_is_below_a_directory_that_not_everybody_may_read_is_unreadable(
    start: Start, program: Program, session: Session, world: World
) -> None:
    (world.top / "releases/20").chmod(0o750)
    world.use(start)
    scan(program)
    query = select(Directory.path).where(Directory.readable.is_(False)).order_by(Directory.path)
    hidden = [path.removeprefix(f"{TOPDIR}/") for path in session.scalars(query)]
    assert hidden == sorted(path for path in hidden if path.startswith("releases/20"))
    assert {"releases/20", "releases/20/Images", f"{OS}/repodata"} <= set(hidden)


@pytest.mark.parametrize("start", ALL)
def test_a_master_that_is_not_there_changes_nothing(
    start: Start, program: Program, session: Session, world: World
) -> None:
    world.use(start)
    scan(program)
    before = everything(session)
    world.stop()
    world.top.rename(world.top.with_name("away"))
    for name in ("fullfiletimelist-fedora", "fullfiletimelist-fedora.gz", "fullfilelist", "listing"):
        (world.folder / name).unlink(missing_ok=True)
    with pytest.raises(SourceError):
        scan(program, NOW + timedelta(hours=1), force=True, delete=True)
    assert everything(session) == before
