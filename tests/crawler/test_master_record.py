"""Scanning a real tree into the database, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from mm_crawler.master import important
from mm_crawler.master import scan as scan_module
from mm_crawler.master.deletion import TooManyVanished
from mm_crawler.master.record import ScannedMeanwhile
from mm_crawler.master.scanned import SourceError
from mm_lib.cli.common import Program
from mm_lib.database import transaction
from mm_lib.model.content import Arch, Category, Directory, FileDetail, Repository, RepositoryRule, Version
from mm_lib.services.errors import NotFound
from tests.crawler.master_tree import (
    NOW,
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

LATER = NOW + timedelta(hours=1)
ISOS = ("live.iso", "netinst.iso")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Like the reference's test tree: three repositories, packages, images with a checksum file."""
    top = tmp_path / "master"
    put_repository(top, "development/22/x86_64/os", 1386855914, 1386855915)
    put_repository(top, "releases/20/Everything/x86_64/os", 1386855800)
    put_repository(top, "releases/20/Server/x86_64/os", 1386855800)
    srpms = "releases/20/Everything/source/SRPMS/a"
    for name in ("a.rpm", "b.rpm", "c.rpm", "d.rpm"):
        put(top, f"{srpms}/{name}", "0123456789")
    put(top, f"{srpms}/index.html", "<html>")
    for index in range(14):
        path = put(top, f"releases/20/Everything/x86_64/os/Packages/p{index:02}.rpm", "x")
        os.utime(path, (index, index))
    images = "releases/20/Live/x86_64"
    for name in ISOS:
        put(top, f"{images}/{name}", name)
    put(
        top,
        f"{images}/Fedora-20-CHECKSUM",
        f"SHA256 (live.iso) = {sha256('live.iso')}\n{sha256('netinst.iso')} *netinst.iso\n",
    )
    return top


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    """A program on a database that knows the tree's category; the tree is old, but for what a test changes."""
    packages = top / "releases/20/Everything/x86_64/os/Packages"
    times = {path: path.stat().st_mtime for path in packages.iterdir()}
    settle(top)
    for path, mtime in times.items():
        os.utime(path, (mtime, mtime))
    add_category(engine, top)
    return make_program(engine)


def paths(session: Session) -> list[str]:
    found = session.scalars(select(Directory.path))
    return sorted(path.removeprefix(TOPDIR).removeprefix("/") for path in found)


def directory(session: Session, path: str) -> Directory:
    return session.scalars(select(Directory).where(Directory.path == f"{TOPDIR}/{path}")).one()


def details(session: Session, filename: str = "repomd.xml") -> list[FileDetail]:
    query = select(FileDetail).where(FileDetail.filename == filename)
    return list(session.scalars(query.order_by(FileDetail.directory_id, FileDetail.timestamp)))


def repositories(session: Session) -> list[tuple[str | None, str, str, str | None]]:
    query = (
        select(Repository.prefix, Version.name, Arch.name, Directory.path)
        .join(Version, Version.id == Repository.version_id)
        .join(Arch, Arch.id == Repository.arch_id)
        .outerjoin(Directory, Directory.id == Repository.directory_id)
        .order_by(Repository.id)
    )
    return [(p, v, a, d and d.removeprefix(f"{TOPDIR}/")) for p, v, a, d in session.execute(query)]


def everything(session: Session) -> list[tuple[object, ...]]:
    """Every row that a scan could touch."""
    session.expire_all()
    rows: list[tuple[object, ...]] = []
    for table in (Directory, FileDetail, Repository, Version):
        rows += [tuple(row) for row in session.execute(select(table.__table__).order_by(table.id))]
    return rows


# -- directories and their files


def test_every_directory_is_recorded_with_the_topdir(program: Program, session: Session, top: Path) -> None:
    outcome = scan(program)
    expected = ["", *(str(path.relative_to(top)) for path in top.rglob("*") if path.is_dir())]
    assert paths(session) == sorted(expected)
    assert outcome.counts["new"] == outcome.counts["directories"] == len(expected)


def test_a_directory_that_was_there_before_is_reused(program: Program, session: Session) -> None:
    with transaction(session):
        category = session.scalars(select(Category)).one()
        row = Directory(category_id=category.id, path=TOPDIR, mtime=0)
        session.add(row)
    scan(program)
    session.expire_all()
    assert session.scalars(select(Directory).where(Directory.path == TOPDIR)).one().id == row.id
    assert row.listing_digest is not None


def test_all_files_of_a_small_directory_are_recorded_with_their_sizes(program: Program, session: Session) -> None:
    scan(program)
    row = directory(session, "releases/20/Everything/source/SRPMS/a")
    assert [(name, size) for name, size, _ in row.sample] == [
        ("a.rpm", 10),
        ("b.rpm", 10),
        ("c.rpm", 10),
        ("d.rpm", 10),
        ("index.html", 6),
    ]


def test_of_fourteen_packages_the_three_newest_are_recorded(program: Program, session: Session) -> None:
    scan(program)
    row = directory(session, "releases/20/Everything/x86_64/os/Packages")
    assert [name for name, _, _ in row.sample] == ["p11.rpm", "p12.rpm", "p13.rpm"]
    assert row.file_count == 14


def test_a_second_scan_of_the_same_tree_changes_nothing(program: Program, session: Session) -> None:
    scan(program)
    before = everything(session)
    outcome = scan(program, LATER)
    assert everything(session) == before
    assert {key: outcome.counts[key] for key in ("new", "changed", "gone", "files_read", "files_added")} == {
        "new": 0,
        "changed": 0,
        "gone": 0,
        "files_read": 0,
        "files_added": 0,
    }


def test_a_full_scan_of_the_same_tree_reads_everything_and_changes_nothing(program: Program, session: Session) -> None:
    scan(program)
    before = everything(session)
    counts = scan(program, LATER, full=True).counts
    assert (counts["files_read"], counts["changed"]) == (4, 0)
    assert everything(session) == before


def test_a_scan_is_no_edit_of_its_category(program: Program, session: Session) -> None:
    edited = session.scalars(select(Category.updated_at)).one()
    session.rollback()
    scan(program)
    assert session.scalars(select(Category.updated_at)).one() == edited


def test_after_an_edit_of_the_category_everything_is_listed_again(
    program: Program, session: Session, top: Path
) -> None:
    """What was excluded until now stands in directories that did not change."""
    with transaction(session):
        category = session.scalars(select(Category)).one()
        category.source = {**category.source, "excludes": ["^releases"]}
    scan(program, NOW + timedelta(days=999))
    assert paths(session) == ["", "development", *[f"development/22{rest}" for rest in OS]]
    with transaction(session):
        category.source = {**category.source, "excludes": []}
        category.updated_at = NOW + timedelta(days=1000)
    scan(program, NOW + timedelta(days=1001))
    assert "releases/20/Live/x86_64" in paths(session)


OS = ("", "/x86_64", "/x86_64/os", "/x86_64/os/repodata")


def test_an_unreadable_directory_is_recorded_as_such_with_all_below(
    program: Program, session: Session, top: Path
) -> None:
    (top / "releases/20/Live").chmod(0o750)
    assert scan(program).counts["unreadable"] == 2
    assert not directory(session, "releases/20/Live").readable
    assert not directory(session, "releases/20/Live/x86_64").readable
    assert directory(session, "releases/20").readable
    (top / "releases/20/Live").chmod(0o755)  # on the day of the release
    scan(program, LATER)
    session.expire_all()
    assert directory(session, "releases/20/Live/x86_64").readable


def test_a_directory_that_vanished_is_deleted_and_its_repository_waits(
    program: Program, session: Session, top: Path
) -> None:
    """Case 14: with --delete, and not without."""
    scan(program)
    before = paths(session)
    with transaction(session):
        session.execute(update(Category).values(max_vanished_share=1, updated_at=Category.updated_at))
    shutil.rmtree(top / "releases/20/Everything")
    kept = scan(program, LATER)
    assert (kept.counts["gone"], kept.counts["kept"]) == (0, 8)
    assert paths(session) == before
    assert ("fedora-20", "20", "x86_64", "releases/20/Everything/x86_64/os") in repositories(session)
    session.rollback()
    assert scan(program, LATER + timedelta(hours=1), delete=True, force=True).counts["gone"] == 8
    assert not [path for path in paths(session) if path.startswith("releases/20/Everything")]
    assert ("fedora-20", "20", "x86_64", None) in repositories(session)
    assert len(details(session)) == 2


def test_a_repository_without_key_goes_with_its_directory(program: Program, session: Session, top: Path) -> None:
    scan(program)
    shutil.rmtree(top / "development")
    scan(program, LATER, delete=True, force=True)
    assert repositories(session) == [("fedora-20", "20", "x86_64", "releases/20/Everything/x86_64/os")]


def test_an_excluded_directory_is_not_scanned_and_not_deleted(program: Program, session: Session, top: Path) -> None:
    scan(program)
    before = paths(session)
    with transaction(session):
        category = session.scalars(select(Category)).one()
        category.source = {**category.source, "excludes": ["^development"]}
    put(top, "development/23/x")
    assert scan(program, LATER).counts["gone"] == 0
    assert paths(session) == before


# -- protection against half a master


def test_a_master_that_is_half_there_changes_nothing(program: Program, session: Session, top: Path) -> None:
    for index in range(30):
        (top / f"many/{index}").mkdir(parents=True)
    scan(program)
    before = everything(session)
    shutil.rmtree(top / "many")
    shutil.rmtree(top / "releases")
    put(top, "new/x")
    with pytest.raises(TooManyVanished, match="--force"):
        scan(program, LATER)
    assert everything(session) == before
    assert scan(program, LATER, delete=True, force=True).counts["gone"] > 30
    assert "new" in paths(session)


def test_the_share_that_may_vanish_is_the_categorys(program: Program, session: Session, top: Path) -> None:
    for index in range(30):
        (top / f"many/{index}").mkdir(parents=True)
    scan(program)
    with transaction(session):
        category = session.scalars(select(Category)).one()
        category.max_vanished_share = 1.0
    shutil.rmtree(top / "many")
    shutil.rmtree(top / "releases")
    assert scan(program, LATER, delete=True).counts["gone"] > 30


@pytest.mark.parametrize("loss", ["empty", "missing"])
def test_an_empty_or_missing_master_changes_nothing(program: Program, session: Session, top: Path, loss: str) -> None:
    scan(program)
    before = everything(session)
    shutil.rmtree(top)
    if loss == "empty":
        top.mkdir()
    with pytest.raises(TooManyVanished if loss == "empty" else SourceError):
        scan(program, LATER)
    assert everything(session) == before


def test_a_dry_run_says_what_would_happen_and_changes_nothing(program: Program, session: Session) -> None:
    before = everything(session)
    dry = scan(program, dry_run=True)
    assert everything(session) == before
    assert scan(program).counts == dry.counts


def test_a_scan_that_another_one_overtook_records_nothing(
    program: Program, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = scan_module.compare

    def compare(*arguments: object) -> object:
        monkeypatch.undo()
        scan(program, LATER)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scan_module, "compare", compare)
    with pytest.raises(ScannedMeanwhile):
        scan(program)
    assert session.scalars(select(Category.last_scanned_at)).one() == LATER


# -- important files


def test_repomd_has_four_hashes_and_its_own_time_and_images_what_their_checksum_file_says(
    program: Program, session: Session
) -> None:
    scan(program)
    assert session.scalar(select(func.count(FileDetail.id))) == 5
    content = repomd(1386855914, 1386855915)
    row = next(row for row in details(session) if row.timestamp == 1386855915)
    assert (row.size, row.sha256, row.content_id) == (len(content), sha256(content), f"sha256:{sha256(content)}")
    assert all((row.md5, row.sha1, row.sha512))
    for name in ISOS:
        (image,) = details(session, name)
        assert (image.size, image.sha256, image.md5, image.sha512) == (len(name), sha256(name), None, None)


def test_a_file_that_its_checksum_file_names_but_is_absent_has_no_record(
    program: Program, session: Session, top: Path
) -> None:
    (top / "releases/20/Live/x86_64/live.iso").unlink()
    scan(program)
    assert details(session, "live.iso") == []


def test_new_metadata_is_added_and_the_older_kept(program: Program, session: Session, top: Path) -> None:
    scan(program)
    path = top / "development/22/x86_64/os/repodata/repomd.xml"
    path.unlink()
    path.write_bytes(repomd(1386859999))
    assert scan(program, LATER).counts["files_added"] == 1
    assert [row.timestamp for row in details(session)].count(1386855915) == 1
    assert 1386859999 in [row.timestamp for row in details(session)]


def test_metadata_rewritten_in_place_is_noticed(program: Program, session: Session, top: Path) -> None:
    scan(program)
    path = top / "development/22/x86_64/os/repodata/repomd.xml"
    folder = path.parent.stat().st_mtime
    size = path.stat().st_size
    path.write_bytes(repomd(1386859998, 1386859999))
    assert (path.parent.stat().st_mtime, path.stat().st_size) == (folder, size)
    outcome = scan(program, LATER)
    assert outcome.counts["files_added"] == 1
    assert [row.timestamp for row in details(session)][:2] == [1386855915, 1386859999]


def test_metadata_that_the_master_took_back_is_withdrawn(program: Program, session: Session, top: Path) -> None:
    path = top / "development/22/x86_64/os/repodata/repomd.xml"
    original = path.read_bytes()
    scan(program)
    for hours, content in ((1, repomd(1386859999)), (2, original)):
        path.write_bytes(content)
        os.utime(path, (hours, hours))
        scan(program, NOW + timedelta(hours=hours))
    assert 1386859999 not in [row.timestamp for row in details(session)]


def test_an_alternate_is_forgotten_days_after_it_was_superseded(program: Program, session: Session, top: Path) -> None:
    path = top / "development/22/x86_64/os/repodata/repomd.xml"
    scan(program)
    path.write_bytes(repomd(1386859999))
    scan(program, LATER)
    assert scan(program, LATER + timedelta(days=3.9)).counts["files_dropped"] == 0
    assert scan(program, LATER + timedelta(days=4)).counts["files_dropped"] == 1
    assert 1386855915 not in [row.timestamp for row in details(session)]


def test_more_hashes_complete_what_is_recorded(program: Program, session: Session, top: Path) -> None:
    folder = top / "releases/20/Live/x86_64"
    scan(program)
    put(folder, "MD5SUMS", f"{'0' * 32}  live.iso\n")
    outcome = scan(program, LATER)
    (row,) = details(session, "live.iso")
    assert (row.md5, row.sha256) == ("0" * 32, sha256("live.iso"))
    assert outcome.counts["files_added"] == 0


def test_the_record_of_a_file_that_was_deleted_goes(program: Program, session: Session, top: Path) -> None:
    scan(program)
    (top / "releases/20/Live/x86_64/live.iso").unlink()
    assert scan(program, LATER).counts["files_dropped"] == 1
    assert details(session, "live.iso") == []
    assert len(details(session, "netinst.iso")) == 1


def test_checksum_files_that_contradict_each_other_are_not_believed(
    program: Program, session: Session, top: Path
) -> None:
    put(top, "releases/20/Live/x86_64/SHA256SUMS", f"{'0' * 64}  live.iso\n")
    outcome = scan(program)
    assert outcome.problems == ("releases/20/Live/x86_64/live.iso: its checksum files contradict each other",)
    assert details(session, "live.iso") == []


@pytest.mark.parametrize("content", [b"<repomd>", b"<html/>", b"\xff\x00", repomd("tomorrow")])
def test_broken_metadata_is_a_problem_each_time_until_it_is_right(
    program: Program, session: Session, top: Path, content: bytes
) -> None:
    path = top / "development/22/x86_64/os/repodata/repomd.xml"
    good = path.read_bytes()
    scan(program)
    path.write_bytes(content)
    settle(path.parent)
    for hours in (1, 2):
        (problem,) = scan(program, NOW + timedelta(hours=hours)).problems
        assert problem.startswith("development/22/x86_64/os/repodata/repomd.xml: ")
        assert len(details(session)) == 3
    path.write_bytes(good)
    settle(path.parent)
    assert scan(program, NOW + timedelta(hours=3)).problems == ()


def test_metadata_larger_than_the_limit_is_a_problem(program: Program, top: Path) -> None:
    limits = program.settings.crawler.model_copy(update={"max_metadata_bytes": 10})
    program.settings = program.settings.model_copy(update={"crawler": limits})
    outcome = scan(program)
    assert len(outcome.problems) == 4
    assert "more than the 10 that are read" in outcome.problems[0]


def test_metadata_that_changes_while_it_is_read_is_recorded_by_the_next_scan(
    program: Program, session: Session, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = top / "development/22/x86_64/os/repodata/repomd.xml"
    original = important._chunks

    def chunks(descriptor: int, limit: int) -> list[bytes]:
        data = list(original(descriptor, limit))
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            path.write_bytes(repomd(1386859998, 1386859999))
        return data

    monkeypatch.setattr(important, "_chunks", chunks)
    (problem,) = scan(program).problems
    assert problem.endswith("changed while it was read; the next scan reads it again")
    assert len(details(session)) == 2
    monkeypatch.undo()
    assert scan(program, LATER).problems == ()
    assert 1386859999 in [row.timestamp for row in details(session)]


# -- repositories


def test_versions_and_repositories_come_from_the_rules(program: Program, session: Session) -> None:
    outcome = scan(program)
    assert sorted(session.scalars(select(Version.name))) == ["20", "22"]
    assert not any(session.scalars(select(Version.is_test)))
    assert repositories(session) == [
        ("fedora-20", "20", "x86_64", "releases/20/Everything/x86_64/os"),
        (None, "22", "x86_64", "development/22/x86_64/os"),
    ]
    assert (outcome.counts["repositories_created"], outcome.counts["unmatched"]) == (2, 0)
    assert len(details(session)) == 3  # of the Server tree too


def test_an_unknown_arch_is_reported_and_makes_no_repository(program: Program, session: Session, top: Path) -> None:
    put_repository(top, "releases/20/Everything/riscv64/os")
    outcome = scan(program)
    assert outcome.problems == ("releases/20/Everything/riscv64/os: no repository, there is no arch 'riscv64'",)
    assert outcome.counts["unmatched"] == 1
    assert len(repositories(session)) == 2
    assert len(details(session)) == 4


def test_a_path_that_no_rule_knows_is_reported(program: Program, top: Path) -> None:
    put_repository(top, "elsewhere")
    assert scan(program).problems == ("elsewhere: no repository, no rule matches",)


def test_a_test_release_is_marked_and_not_displayed(program: Program, session: Session, top: Path) -> None:
    put_repository(top, "releases/test/42_Beta/x86_64/os")
    scan(program)
    version = session.scalars(select(Version).where(Version.name == "42_Beta")).one()
    assert (version.is_test, version.display) == (True, False)
    assert (None, "42_Beta", "x86_64", "releases/test/42_Beta/x86_64/os") in repositories(session)


def test_an_ostree_repository_is_known_by_its_summary(program: Program, session: Session, top: Path) -> None:
    put(top, "atomic/21/summary", "content")
    put(top, "atomic/21/objects/00/x")
    settle(top)
    scan(program)
    assert ("atomic-21", "21", "x86_64", "atomic/21") in repositories(session)
    (row,) = details(session, "summary")
    assert row.sha512 and row.timestamp == int((top / "atomic/21/summary").stat().st_mtime)


def test_a_disabled_repository_stays_disabled(program: Program, session: Session, top: Path) -> None:
    scan(program)
    with transaction(session):
        session.execute(update(Repository).values(enabled=False))
    put_repository(top, "releases/20/Everything/x86_64/os", 5)
    scan(program, LATER)
    assert not any(session.scalars(select(Repository.enabled)))
    assert len(repositories(session)) == 2


BRANCHED = "development/20/Everything/x86_64/os"


def test_a_key_stays_with_its_directory_as_long_as_that_exists(program: Program, session: Session, top: Path) -> None:
    scan(program)
    put_repository(top, BRANCHED)
    outcome = scan(program, LATER)
    assert outcome.problems == (f"{BRANCHED}: repo=fedora-20 arch=x86_64 is already releases/20/Everything/x86_64/os",)
    assert ("fedora-20", "20", "x86_64", "releases/20/Everything/x86_64/os") in repositories(session)


def test_a_release_does_not_take_the_key_from_the_branch_by_itself(
    program: Program, session: Session, top: Path
) -> None:
    shutil.rmtree(top / "releases")
    put_repository(top, BRANCHED)
    scan(program)
    put_repository(top, "releases/20/Everything/x86_64/os")
    (problem,) = scan(program, LATER).problems[:1]
    assert problem == (
        "releases/20/Everything/x86_64/os: repo=fedora-20 arch=x86_64 stays with "
        f"{TOPDIR}/{BRANCHED}: that directory still exists"
    )


@pytest.mark.parametrize("pinned", [False, True])
def test_a_repository_whose_directory_vanished_moves_unless_it_is_pinned(
    program: Program, session: Session, top: Path, pinned: bool
) -> None:
    scan(program)
    with transaction(session):
        session.execute(update(Repository).values(pinned=pinned))
    (top / BRANCHED).parent.mkdir(parents=True)
    (top / "releases/20/Everything/x86_64/os").rename(top / BRANCHED)
    outcome = scan(program, LATER, force=True)
    assert outcome.counts["repositories_moved"] == (not pinned)
    where = "releases/20/Everything/x86_64/os" if pinned else BRANCHED
    assert ("fedora-20", "20", "x86_64", where) in repositories(session)
    assert bool(outcome.problems) == pinned


def test_where_two_new_directories_claim_a_key_the_earlier_rule_wins(
    program: Program, session: Session, top: Path
) -> None:
    put_repository(top, BRANCHED)
    scan(program)
    assert ("fedora-20", "20", "x86_64", "releases/20/Everything/x86_64/os") in repositories(session)


def test_without_rules_there_are_no_repositories_and_one_notice(program: Program, session: Session) -> None:
    with transaction(session):
        session.query(RepositoryRule).delete()
    outcome = scan(program)
    (problem,) = outcome.problems
    assert "3 repositories, but the category has no rules" in problem
    assert repositories(session) == []


def test_rules_that_were_added_later_apply_to_unchanged_directories(
    program: Program, session: Session, engine: Engine
) -> None:
    scan(program)
    with transaction(session):
        session.execute(update(Repository).values(prefix="other").where(Repository.prefix == "fedora-20"))
    assert scan(program, LATER).counts["repositories_created"] == 1


def test_a_category_without_topdir_has_paths_without_a_leading_slash(
    engine: Engine, session: Session, tmp_path: Path
) -> None:
    put(tmp_path / "centos", "7/os/x")
    add_category(engine, tmp_path / "centos", name="CentOS", topdir="", rules="")
    scan(make_program(engine), name="CentOS")
    assert sorted(session.scalars(select(Directory.path))) == ["", "7", "7/os"]


def test_a_category_that_does_not_exist_cannot_be_scanned(program: Program) -> None:
    with pytest.raises(NotFound):
        scan(program, name="Debian")
