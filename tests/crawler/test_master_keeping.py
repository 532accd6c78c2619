"""What a scan keeps and forgets in the database: vanished directories, old versions, and when it does not begin."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from mm_crawler.inputs import read
from mm_crawler.master.command import master
from mm_crawler.master.deletion import TooManyVanished
from mm_crawler.master.scanned import SourceError
from mm_crawler.master.sentinels import MasterBusy
from mm_lib.cli.common import Group, Program
from mm_lib.database import make_sessions, transaction
from mm_lib.model.content import Category, Directory, FileDetail
from mm_lib.model.hosts import HostCategory
from tests import factories as make
from tests.crawler.master_tree import NOW, add_category, make_program, put, put_repository, repomd, scan, settle

LATER = NOW + timedelta(hours=1)
REPOSITORY = "releases/20/Everything/x86_64/os"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A hundred directories, a repository in six of them."""
    top = tmp_path / "master"
    put_repository(top, REPOSITORY)
    for number in range(92):
        put(top, f"many/{number:02}/x")
    settle(top)
    return top


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    add_category(engine, top)
    return make_program(engine)


def set_category(engine: Engine, **values: object) -> None:
    with make_sessions(engine)() as session, transaction(session):
        session.execute(update(Category).values(updated_at=Category.updated_at, **values))


def known(session: Session) -> int:
    session.rollback()
    return session.scalar(select(func.count(Directory.id))) or 0


def run(program: Program, *arguments: str) -> Result:
    group = Group(name="mm-crawler")
    group.add_command(master)
    return CliRunner().invoke(group, ["master", *arguments], obj=program)


# -- vanished directories


def test_the_command_says_what_it_kept_and_what_it_forgot(program: Program, session: Session, top: Path) -> None:
    run(program)
    shutil.rmtree(top / "many/00")
    assert "1 gone but kept" in run(program).stdout
    assert known(session) == 100
    assert "1 forgotten" in run(program, "--delete").stdout
    assert known(session) == 99


def test_a_subtree_of_five_percent_goes_and_a_larger_one_does_not(
    program: Program, session: Session, top: Path
) -> None:
    scan(program)
    shutil.rmtree(top / "releases/20")  # 5 of 100
    assert scan(program, LATER, delete=True).counts["gone"] == 5
    for number in range(5):
        shutil.rmtree(top / f"many/{number:02}")
    with pytest.raises(TooManyVanished, match=r"5 of 95 known directories are gone \(5%\)"):
        scan(program, LATER, delete=True)
    assert known(session) == 95
    assert scan(program, LATER, delete=True, force=True).counts["gone"] == 5


@pytest.mark.parametrize("delete", [False, True])
def test_a_master_that_is_mounted_by_half_is_an_error_with_and_without_delete(
    program: Program, session: Session, top: Path, delete: bool
) -> None:
    scan(program)
    shutil.rmtree(top / "many")
    put(top, "new/x")
    with pytest.raises(TooManyVanished):
        scan(program, LATER, delete=delete)
    assert known(session) == 100
    assert not session.scalars(select(Directory.id).where(Directory.path.like("%/new"))).all()


def test_what_is_kept_never_adds_up_to_half_a_master(program: Program, session: Session, top: Path) -> None:
    """Scans without --delete go on, however much has gone little by little."""
    scan(program)
    for hour in range(1, 5):
        for number in range(4):
            shutil.rmtree(top / f"many/{hour}{number}")
        assert scan(program, NOW + timedelta(hours=hour)).counts["kept"] == hour * 4
    assert known(session) == 100


def test_a_kept_directory_that_comes_back_is_the_same_one(program: Program, session: Session, top: Path) -> None:
    """Bitmaps of mirrors refer to its id."""

    def identity() -> int:
        session.rollback()
        return session.scalars(select(Directory.id).where(Directory.path.like("%/many/00"))).one()

    scan(program)
    before = identity()
    shutil.rmtree(top / "many/00")
    scan(program, LATER)
    put(top, "many/00/x")
    assert scan(program, LATER + timedelta(hours=1)).counts["kept"] == 0
    assert identity() == before


def test_case_14_the_same_directory_of_another_category_is_kept(
    program: Program, engine: Engine, session: Session, top: Path
) -> None:
    with make_sessions(engine)() as other, transaction(other):
        fedora = other.scalars(select(Category)).one()
        other.add(Category(name="Twin", topdir=fedora.topdir, product_id=fedora.product_id, source=fedora.source))
    scan(program)
    scan(program, name="Twin")
    shutil.rmtree(top / REPOSITORY)
    scan(program, LATER, delete=True)
    left = session.execute(select(Category.name).join(Directory).where(Directory.path.like(f"%/{REPOSITORY}")))
    assert left.scalars().all() == ["Twin"]
    assert session.scalar(select(func.count(FileDetail.id))) == 1


# -- old versions


def age_of_versions(session: Session) -> list[float]:
    session.rollback()
    session.expire_all()
    rows = session.scalars(select(FileDetail).order_by(FileDetail.timestamp.desc()))
    return [round((LATER - row.first_seen_at) / timedelta(days=1), 1) for row in rows]


@pytest.mark.parametrize(
    ("own", "kept"),
    [({}, [0.0, 2.0, 3.0]), ({"max_stale_days": 0, "max_propagation_days": 0}, [0.0]), ({"max_stale_days": 1}, [0.0])],
)
def test_a_category_has_days_of_its_own(
    *, program: Program, engine: Engine, session: Session, top: Path, own: dict[str, float], kept: list[float]
) -> None:
    set_category(engine, **own)
    for days, stamp in ((9, 100), (5, 200), (3, 300), (2, 400), (0, 500)):
        put(top, f"{REPOSITORY}/repodata/repomd.xml", repomd(stamp))
        scan(program, LATER - timedelta(days=days), full=True)
    assert age_of_versions(session) == kept


def test_a_crawl_judges_a_categorys_mirrors_by_its_own_days(program: Program, engine: Engine, session: Session) -> None:
    set_category(engine, max_stale_days=2)
    fedora = session.scalars(select(Category)).one()
    host = make.host(session, "m")
    make.carries(session, host, fedora)
    assert session.scalar(select(func.count(HostCategory.id))) == 1
    assert read(session).categories[fedora.id].max_stale_days == 2


# -- sentinels


def test_a_scan_waits_while_a_file_is_there(program: Program, engine: Engine, session: Session, top: Path) -> None:
    set_category(engine, sentinels={"absent": [".sync_in_progress"]})
    put(top, ".sync_in_progress")
    result = run(program)
    assert (result.exit_code, known(session)) == (0, 0)
    assert "Fedora Linux: skipped while .sync_in_progress is there" in result.stderr
    (top / ".sync_in_progress").unlink()
    assert run(program).exit_code == 0
    assert known(session) == 100


def test_a_scan_needs_a_file(program: Program, engine: Engine, session: Session, top: Path) -> None:
    set_category(engine, sentinels={"present": ["../fullfiletimelist-fedora"]})
    result = run(program)
    assert (result.exit_code, known(session)) == (1, 0)
    assert "Error: Fedora Linux: ../fullfiletimelist-fedora is not there" in result.stderr
    put(top.parent, "fullfiletimelist-fedora")
    assert run(program).exit_code == 0


@pytest.mark.parametrize(
    ("sentinels", "error"), [({"absent": ["now"]}, MasterBusy), ({"present": ["many/00/x"]}, SourceError)]
)
def test_what_begins_during_a_scan_is_seen_too(
    *,
    program: Program,
    engine: Engine,
    session: Session,
    top: Path,
    monkeypatch: pytest.MonkeyPatch,
    sentinels: dict[str, list[str]],
    error: type[Exception],
) -> None:
    from mm_crawler.master import scan as module

    real = module.compare

    def compare(*arguments: object) -> object:
        put(top, "now")
        (top / "many/00/x").unlink()
        return real(*arguments)  # type: ignore[arg-type]

    set_category(engine, sentinels=sentinels)
    monkeypatch.setattr(module, "compare", compare)
    with pytest.raises(error):
        scan(program)
    assert known(session) == 0
