"""mm-admin release, repository, branch, undo: what they change, what they leave alone, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.accounts import AuditEvent, User
from mm_lib.model.content import Category, Directory, FileDetail, Product, Repository, RepositoryRedirect, Version
from mm_lib.services import mirrors
from mm_lib.settings import DatabaseSettings
from tests import factories as make
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses

TOP = "pub/fedora/linux"
DEVEL, FINAL = "development/44/Everything/x86_64/os", "releases/44/Everything/x86_64/os"
MOVE = ("release", "move-devel", "--version", "44", "--category", "Fedora Linux")
ARCHIVE = ("release", "archive", "Fedora", "44")


@pytest.fixture
def admin(tmp_path: Path, database_url: str) -> Admin:
    """Version 44 in development/, with a repository that has a prefix and one that has none."""
    admin = Admin(tmp_path, database_url)
    with opened(admin) as session:
        fedora = make.category(session)
        make.category(session, "Fedora Archive", "pub/archive")
        devel = make.directory(session, fedora, DEVEL)
        make.repository(session, devel, "fedora-44")
        make.repository(session, make.directory(session, fedora, "development/44/x86_64/os"), None)
        make.repository(session, make.directory(session, fedora, "elsewhere"), "other-44")
    return admin


@contextmanager
def opened(admin: Admin) -> Iterator[Session]:
    engine = make_engine(DatabaseSettings(url=_url(admin)))
    with make_sessions(engine)() as session, transaction(session):
        yield session
    engine.dispose()


def _url(admin: Admin) -> str:
    return admin.config.read_text().split("'")[1]


def add_directory(admin: Admin, below: str, category: str = "Fedora Linux") -> None:
    with opened(admin) as session:
        make.directory(session, session.scalars(select(Category).where(Category.name == category)).one(), below)


def where(admin: Admin) -> dict[str | None, str]:
    return {row["prefix"]: row["directory"] for row in admin.rows("repository", "list")}


def events(admin: Admin) -> list[dict[str, Any]]:
    return admin.rows("events")


# -- move-devel (case 52)


def test_a_category_that_is_not_there_is_an_error_that_lists_those_that_are(admin: Admin) -> None:
    for arguments in (MOVE[:4], (*MOVE[:4], "--category", "Fedora")):
        said = admin.refused(*arguments)
        assert "There are: Fedora Archive, Fedora Linux." in said


def test_a_version_that_is_not_there_is_an_error(admin: Admin) -> None:
    assert "has no version '45'. It has: 44." in admin.refused(*MOVE[:3], "45", *MOVE[4:])


def test_nothing_to_move_is_no_error_and_says_nothing(admin: Admin) -> None:
    assert admin.ok(*MOVE, "--from", "stage") == ""
    assert events(admin) == []


def test_a_repository_moves_from_development_to_releases(admin: Admin) -> None:
    add_directory(admin, FINAL)
    before = admin.rows("repository", "list")
    said = admin.ok(*MOVE)
    assert f"fedora-44 x86_64: {TOP}/{DEVEL} -> {TOP}/{FINAL}" in said
    moved = [row | {"directory": f"{TOP}/{FINAL}"} if row["prefix"] == "fedora-44" else row for row in before]
    assert admin.rows("repository", "list") == moved


def test_a_repository_stays_where_its_new_directory_is_missing(admin: Admin) -> None:
    before = where(admin)
    assert f"fedora-44 x86_64 stays: there is no directory {TOP}/{FINAL}" in admin(*MOVE).output
    assert where(admin) == before


def test_a_repository_stays_where_the_new_directory_has_one(admin: Admin) -> None:
    with opened(admin) as session:
        fedora = session.scalars(select(Category).where(Category.name == "Fedora Linux")).one()
        make.repository(session, make.directory(session, fedora, FINAL), "fedora-final-44")
    assert "has a repository already" in admin(*MOVE).output
    assert where(admin)["fedora-44"] == f"{TOP}/{DEVEL}"


def test_a_pinned_repository_stays_until_it_is_unpinned(admin: Admin) -> None:
    add_directory(admin, FINAL)
    admin.ok("repository", "pin", "fedora-44")
    assert "it is pinned" in admin(*MOVE).output
    assert where(admin)["fedora-44"] == f"{TOP}/{DEVEL}"
    admin.ok("repository", "unpin", "fedora-44")
    admin.ok(*MOVE)
    assert where(admin)["fedora-44"] == f"{TOP}/{FINAL}"


# -- archive (case 53)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Fedora", "45"), "has no version '45'"),
        (("Gentoo", "45"), "no product 'Gentoo'"),
        (("Fedora", "44", "--archive-category", "Attic"), "no category 'Attic'"),
        (("--repository", "nosuch"), "no repository 'nosuch'"),
        ((), "Name a product and a version"),
        (("Fedora",), "Name a product and a version"),
        (("Fedora", "44", "--repository", "fedora-44"), "Name a product and a version"),
    ],
)
def test_what_cannot_be_archived_ends_with_exit_code_2(admin: Admin, arguments: tuple[str, ...], message: str) -> None:
    assert message in admin.refused("release", "archive", *arguments, code=2)


def test_a_directory_that_the_archive_lacks_is_named_and_nothing_moves(admin: Admin) -> None:
    add_directory(admin, f"fedora/linux/{DEVEL}", "Fedora Archive")
    before = admin.rows("repository", "list")
    said = admin.refused(*ARCHIVE)
    assert "pub/archive/fedora/linux/development/44/x86_64/os" in said
    assert "pub/archive/fedora/linux/elsewhere" in said
    assert admin.rows("repository", "list") == before


def archivable(admin: Admin) -> None:
    for below in (DEVEL, "development/44/x86_64/os", "elsewhere"):
        add_directory(admin, f"fedora/linux/{below}", "Fedora Archive")
    with opened(admin) as session:
        fedora = session.scalars(select(Category).where(Category.name == "Fedora Linux")).one()
        kept = make.repository(session, make.directory(session, fedora, "releases/45"), "fedora-45")
        kept.version = Version(product=fedora.product, name="45")


def test_only_the_versions_repositories_move_and_change_their_category(admin: Admin) -> None:
    archivable(admin)
    before = {row["prefix"]: row["id"] for row in admin.rows("repository", "list")}
    admin.ok(*ARCHIVE)
    rows = {row["prefix"]: (row["category"], row["directory"]) for row in admin.rows("repository", "list")}
    assert rows["fedora-44"] == ("Fedora Archive", f"pub/archive/fedora/linux/{DEVEL}")
    assert rows[None] == ("Fedora Archive", "pub/archive/fedora/linux/development/44/x86_64/os")
    assert rows["fedora-45"] == ("Fedora Linux", f"{TOP}/releases/45")
    assert {row["prefix"]: row["id"] for row in admin.rows("repository", "list")} == before


def test_what_is_archived_already_and_what_has_no_directory_is_left_alone(admin: Admin) -> None:
    archivable(admin)
    admin.ok(*ARCHIVE)
    assert admin.ok(*ARCHIVE) == ""
    with opened(admin) as session:
        repository = session.scalars(select(Repository).where(Repository.prefix == "fedora-44")).one()
        repository.directory_id = None
    assert admin.ok(*ARCHIVE) == ""


def test_what_the_archives_scan_found_itself_is_not_doubled(admin: Admin) -> None:
    archivable(admin)
    path = "pub/archive/fedora/linux/development/44/x86_64/os"
    with opened(admin) as session:
        make.repository(session, session.scalars(select(Directory).where(Directory.path == path)).one(), None)
    assert f"repository without prefix x86_64 stays: {path} has one already" in admin(*ARCHIVE).output
    assert where(admin)["fedora-44"] == f"pub/archive/fedora/linux/{DEVEL}"


def test_codecs_stay(admin: Admin) -> None:
    archivable(admin)
    with opened(admin) as session:
        codecs = make.category(session, "Fedora Codecs", "openh264")
        make.repository(session, make.directory(session, codecs, "44/x86_64"), "fedora-cisco-openh264-44")
    assert "fedora-cisco-openh264-44 x86_64 stays in Fedora Codecs" in admin(*ARCHIVE).output
    assert where(admin)["fedora-cisco-openh264-44"] == "openh264/44/x86_64"


def test_one_prefix_is_archived_by_itself(admin: Admin) -> None:
    archivable(admin)
    admin.ok("release", "archive", "--repository", "other-44")
    assert where(admin)["other-44"] == "pub/archive/fedora/linux/elsewhere"
    assert where(admin)["fedora-44"] == f"{TOP}/{DEVEL}"


# -- expire-old (case 54)


@pytest.fixture
def with_alternates(admin: Admin) -> Admin:
    """Three versions of one file, one of another, and three of a file outside of the release's repositories."""
    with opened(admin) as session:
        fedora = session.scalars(select(Category).where(Category.name == "Fedora Linux")).one()
        repodata, other = make.directory(session, fedora, f"{DEVEL}/repodata"), make.directory(session, fedora, "x")
        for index, digit in enumerate("abc"):
            make.file_detail(session, repodata, 100 + index, digit)
            make.file_detail(session, other, 100 + index, digit)
        make.file_detail(session, repodata, 1, "d", "summary")
    return admin


def timestamps(admin: Admin) -> list[tuple[str, str, int]]:
    query = select(Directory.path, FileDetail.filename, FileDetail.timestamp).join(Directory)
    with opened(admin) as session:
        rows = session.execute(query.order_by(Directory.path, FileDetail.filename, FileDetail.timestamp))
        return [(path.removeprefix(f"{TOP}/"), name, stamp) for path, name, stamp in rows]


def test_only_the_newest_of_a_file_is_kept(with_alternates: Admin) -> None:
    with_alternates.ok("repository", "expire-old", "Fedora", "44")
    assert timestamps(with_alternates) == [
        (f"{DEVEL}/repodata", "repomd.xml", 102),
        (f"{DEVEL}/repodata", "summary", 1),
        *(("x", "repomd.xml", stamp) for stamp in (100, 101, 102)),
    ]


def test_files_that_were_forgotten_come_back_whole(with_alternates: Admin) -> None:
    def rows() -> list[tuple[Any, ...]]:
        columns = [column for column in FileDetail.__table__.columns if column.name != "id"]
        with opened(with_alternates) as session:
            return sorted(tuple(row) for row in session.execute(select(*columns)))

    before = rows()
    with_alternates.ok("repository", "expire-old", "Fedora", "44")
    with_alternates.ok("undo", "1")
    assert rows() == before


def test_a_version_that_is_not_there_has_nothing_to_expire(admin: Admin) -> None:
    assert "has no version '45'" in admin.refused("repository", "expire-old", "Fedora", "45")


# -- switching, pinning, redirecting, branching


def test_a_repository_is_switched_off_and_on_for_one_arch(admin: Admin) -> None:
    with opened(admin) as session:
        devel = session.scalars(select(Directory).where(Directory.path == f"{TOP}/{DEVEL}")).one()
        make.repository(session, devel, "fedora-44", "aarch64")

    def enabled() -> dict[str, bool]:
        return {row["arch"]: row["enabled"] for row in admin.rows("repository", "list") if row["prefix"] == "fedora-44"}

    assert "fedora-44 aarch64: enabled -> disabled" in admin.ok(
        "repository", "disable", "fedora-44", "--arch", "aarch64"
    )
    assert enabled() == {"x86_64": True, "aarch64": False}
    admin.ok("repository", "enable", "fedora-44")
    assert enabled() == {"x86_64": True, "aarch64": True}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("enable", "nosuch"), "There is no repository 'nosuch'"),
        (("pin", "fedora-44", "--arch", "x86_64", "--arch", "mips"), "no repository 'fedora-44' for mips"),
        (("redirect", "a", "--remove"), "a is not redirected"),
        (("redirect", "a", "a"), "cannot be redirected to itself"),
        (("redirect", " ", "a"), "from: must have 1 to 255"),
    ],
)
def test_what_is_not_there_cannot_be_changed(admin: Admin, arguments: tuple[str, ...], message: str) -> None:
    assert message in admin.refused("repository", *arguments)


@pytest.mark.parametrize("arguments", [("a",), ("a", "b", "--remove")])
def test_a_redirect_has_a_target_or_ends(admin: Admin, arguments: tuple[str, ...]) -> None:
    assert "or else --remove" in admin.refused("repository", "redirect", *arguments, code=2)


def redirects(admin: Admin) -> dict[str, str]:
    return {row["from_prefix"]: row["to_prefix"] for row in admin.rows("redirect", "list")}


def test_a_redirect_is_made_changed_and_removed(admin: Admin) -> None:
    admin.ok("repository", "redirect", "epel-10", "epel-10.0")
    assert "epel-10.0 -> epel-10.1" in admin.ok("repository", "redirect", "epel-10", "epel-10.1")
    assert redirects(admin) == {"epel-10": "epel-10.1"}
    admin.ok("repository", "redirect", "epel-10", "--remove")
    assert redirects(admin) == {}


def test_a_new_version_is_answered_with_rawhide_until_it_branches(admin: Admin) -> None:
    admin.ok("branch", "redirect", "45")
    made = redirects(admin)
    assert len(made) == 9
    assert (made["fedora-45"], made["updates-testing-debug-f45"]) == ("rawhide", "rawhide-debug")
    assert admin.ok("branch", "redirect", "45") == ""
    said = admin("branch", "restore", "45").output
    assert "fedora-45 is answered with: rawhide -> itself" in said
    assert "fedora-45 has no repository yet" in said
    assert redirects(admin) == {}


def test_a_branch_leaves_alone_what_exists_and_what_is_redirected_elsewhere(admin: Admin) -> None:
    admin.ok("repository", "redirect", "fedora-source-44", "elsewhere")
    said = admin("branch", "redirect", "44").output
    assert "fedora-44 is left alone: it has a repository of its own" in said
    assert "fedora-source-44 is left alone: it is redirected to elsewhere" in said
    assert redirects(admin)["fedora-source-44"] == "elsewhere"
    assert "fedora-44" not in redirects(admin)
    admin.ok("branch", "restore", "44")
    assert redirects(admin) == {"fedora-source-44": "elsewhere"}


def test_a_distribution_names_its_own_branch_redirects(admin: Admin) -> None:
    admin.ok("branch", "redirect", "11", "--map", "almalinux-{version}=almalinux-kitten")
    assert redirects(admin) == {"almalinux-11": "almalinux-kitten"}
    assert "map: 'almalinux=x'" in admin.refused("branch", "redirect", "11", "--map", "almalinux=x")


# -- the category's scan


def test_what_a_scan_waits_for_and_how_long_it_keeps_is_set_per_category(admin: Admin) -> None:
    admin.ok(
        "category",
        "set",
        "Fedora Linux",
        "--must-exist",
        "../list",
        "--must-not-exist",
        ".sync",
        "--max-stale-days",
        "3",
    )
    assert "max_stale_days: 3.0 -> default" in admin.ok(
        "category", "set", "Fedora Linux", "--max-stale-days", "default"
    )
    with opened(admin) as session:
        row = session.scalars(select(Category).where(Category.name == "Fedora Linux")).one()
        assert (row.sentinels, row.max_stale_days) == ({"present": ["../list"], "absent": [".sync"]}, None)
    admin.ok("category", "set", "Fedora Linux", "--no-sentinels", "--max-vanished-share", "0.2")
    with opened(admin) as session:
        row = session.scalars(select(Category).where(Category.name == "Fedora Linux")).one()
        assert (row.sentinels, row.max_vanished_share) == ({}, 0.2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Say what to change"),
        (("--max-vanished-share", "5"), 1, "must be 0 to 1"),
        (("--max-stale-days", "-1"), 2, "neither a number from 0 nor 'default'"),
        (("--max-stale-days", "soon"), 2, "neither a number from 0 nor 'default'"),
        (("--must-exist", " "), 1, "printable paths"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(admin: Admin, arguments: tuple[str, ...], code: int, message: str) -> None:
    assert message in admin.refused("category", "set", "Fedora Linux", *arguments, code=code)


# -- dry runs, events, undo: of every operation


def prepare_nothing(_: Admin) -> None:
    """The world is ready."""


def prepare_move(admin: Admin) -> None:
    add_directory(admin, FINAL)


def prepare_restore(admin: Admin) -> None:
    with opened(admin) as session:
        session.add(RepositoryRedirect(from_prefix="fedora-45", to_prefix="rawhide"))


def prepare_alternates(admin: Admin) -> None:
    with opened(admin) as session:
        devel = session.scalars(select(Directory).where(Directory.path == f"{TOP}/{DEVEL}")).one()
        for index, digit in enumerate("abc"):
            make.file_detail(session, devel, 100 + index, digit)


OPERATIONS: dict[str, tuple[tuple[str, ...], Callable[[Admin], None]]] = {
    "move-devel": (MOVE, prepare_move),
    "archive": (ARCHIVE, archivable),
    "expire-old": (("repository", "expire-old", "Fedora", "44"), prepare_alternates),
    "disable": (("repository", "disable", "fedora-44"), prepare_nothing),
    "pin": (("repository", "pin", "fedora-44"), prepare_nothing),
    "redirect": (("repository", "redirect", "epel-10", "epel-10.1"), prepare_nothing),
    "branch redirect": (("branch", "redirect", "45"), prepare_nothing),
    "branch restore": (("branch", "restore", "45"), prepare_restore),
    "category set": (("category", "set", "Fedora Linux", "--must-exist", "x"), prepare_nothing),
    "product add": (("product", "add", "EPEL"), prepare_nothing),
}
operations = pytest.mark.parametrize("name", OPERATIONS)


def state(admin: Admin) -> list[object]:
    """Everything that an operation could change, but for when it was changed and the ids of rows that came back."""
    tables = (Product, Category, Repository, RepositoryRedirect, FileDetail)
    found: list[object] = []
    with opened(admin) as session:
        for table in tables:
            names = set(table.__table__.columns.keys()) - {"id", "updated_at"}
            columns = [table.__table__.columns[name] for name in sorted(names)]
            found.append(sorted(repr(tuple(row)) for row in session.execute(select(*columns))))
    return found


@operations
def test_a_dry_run_says_the_same_and_changes_nothing(admin: Admin, name: str) -> None:
    arguments, prepare = OPERATIONS[name]
    prepare(admin)
    before = state(admin)
    promised = admin.ok(*arguments, "--dry-run").splitlines()
    assert (state(admin), events(admin)) == (before, [])
    assert "nothing was changed" in promised[-1]
    done = admin.ok(*arguments).splitlines()
    assert done[:-1] == promised[:-1]
    assert state(admin) != before


@operations
def test_an_event_tells_who_did_what_and_undo_takes_it_back(admin: Admin, name: str) -> None:
    arguments, prepare = OPERATIONS[name]
    prepare(admin)
    before = state(admin)
    assert "`mm-admin undo 1` takes it back" in admin.ok(*arguments, "--as", "release-engineer")
    after = state(admin)
    (event,) = events(admin)
    assert (event["actor"], event["changes"] > 0) == ("release-engineer", True)
    admin.ok("undo", "1", "--dry-run")
    assert state(admin) == after
    admin.ok("undo", "1")
    assert state(admin) == before
    admin.ok("undo", str(events(admin)[0]["id"]))
    assert state(admin) == after


def test_an_event_holds_the_values_before_and_after(admin: Admin) -> None:
    admin.ok("repository", "disable", "fedora-44")
    with opened(admin) as session:
        event = session.scalars(select(AuditEvent)).one()
        sides = [(side or {})["changes"][0]["values"] for side in (event.before, event.after)]
        assert sides == [{"enabled": True}, {"enabled": False}]
        assert (event.action, event.object_name) == ("repository disable", "fedora-44")


def test_an_account_that_is_named_is_linked(admin: Admin) -> None:
    with opened(admin) as session:
        session.add(User(name="alice"))
    admin.ok("repository", "disable", "fedora-44", "--as", "alice")
    admin.ok("repository", "enable", "fedora-44")
    with opened(admin) as session:
        linked = [(event.actor_id is not None) for event in session.scalars(select(AuditEvent).order_by(AuditEvent.id))]
    assert linked == [True, False]
    assert events(admin)[0]["actor"].endswith(" (mm-admin)")


def test_what_changed_meanwhile_is_not_undone(admin: Admin) -> None:
    admin.ok("repository", "disable", "fedora-44")
    admin.ok("repository", "enable", "fedora-44")
    assert "something else changed it" in admin.refused("undo", "1")
    assert len(events(admin)) == 2


def test_an_event_that_is_not_there_or_changed_nothing_here_is_not_undone(admin: Admin) -> None:
    assert "There is no event 7" in admin.refused("undo", "7")
    with opened(admin) as session:
        session.add(AuditEvent(actor="x", action="sign-in", object_type="user"))
    assert "is not one that can be undone" in admin.refused("undo", "1")


def test_a_product_that_has_versions_is_not_taken_back(admin: Admin) -> None:
    admin.ok("product", "add", "EPEL")
    admin.ok("version", "add", "EPEL", "9")
    assert "has versions or categories by now" in admin.refused("undo", "1")


def test_a_file_whose_directory_is_gone_does_not_come_back(admin: Admin) -> None:
    prepare_alternates(admin)
    admin.ok("repository", "expire-old", "Fedora", "44")
    with opened(admin) as session:
        session.delete(session.scalars(select(Directory).where(Directory.path == f"{TOP}/{DEVEL}")).one())
    assert "what it belongs to is gone" in admin.refused("undo", "1")


# -- case 51


def test_versions_are_shown_with_names_first_and_numbers_downwards_and_hidden_ones_not(admin: Admin) -> None:
    with opened(admin) as session:
        product = Product(name="Shown")
        shown = dict.fromkeys(("25", "27", "development", "26"), True) | {"28": False}
        session.add_all(Version(product=product, name=name, display=display) for name, display in shown.items())
        session.flush()
        row = next(row for row in mirrors.read_registry(session).matrix().products if row.name == "Shown")
        assert [version.version.name for version in row.versions] == ["development", "27", "26", "25"]
