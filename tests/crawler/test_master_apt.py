"""APT archives: what Release files say, well-formed and hostile, and the versions that a scan records of indexes."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_crawler.master.apt import in_archive, leads_suite, parse_release
from mm_crawler.master.formats import FormatError
from mm_crawler.master.important import hash_all
from mm_lib.cli.common import Program
from mm_lib.model.content import Directory, FileDetail, Repository
from tests.crawler.master_tree import NOW, OLD, add_category, make_program, put, scan, settle, sha256
from tests.crawler.openpgp import Signer

DATE = "Sat, 09 Aug 2025 08:54:33 UTC"
STAMP = 1754729673
A, B = "a" * 64, "b" * 64
HEAD = f"Suite: stable\nCodename: trixie\nDate: {DATE}\n"


def release(*lines: str, head: str = HEAD, kind: str = "SHA256") -> bytes:
    """A Release file with these lines in its list of indexes."""
    return (head + f"{kind}:\n" + "".join(f" {line}\n" for line in lines)).encode()


def test_a_release_file_tells_its_time_and_each_index_with_size_and_all_hashes() -> None:
    text = release(f"{A} 12 main/x") + f"MD5Sum:\n {'c' * 32} 12 main/x\n {'d' * 32}   7 main/y\n".encode()
    found = parse_release(text)
    assert found.timestamp == STAMP
    assert {name: (claim.size, claim.hashes) for name, claim in found.claims.items()} == {
        "main/x": (12, {"md5": "c" * 32, "sha256": A}),
        "main/y": (7, {"md5": "d" * 32}),
    }


def test_only_what_a_clearsigned_release_covers_counts() -> None:
    body = release(f"{A} 12 main/x").decode()
    text = (
        f"SHA256:\n {B} 1 main/evil\n\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{body}"
        f"-----BEGIN PGP SIGNATURE-----\n\nxx\n-----END PGP SIGNATURE-----\nSHA1:\n {'c' * 40} 1 main/evil\n"
    )
    assert set(parse_release(text.encode()).claims) == {"main/x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "neither a suite nor an index"),
        (b"\xff\xfe\x00", "neither a suite nor an index|not a Release file"),
        (b"<html></html>", "neither a suite nor an index|not a Release file"),
        (release(f"{A} 12"), "lacks a hash, a size or a name"),
        (release(f"{A} x main/x"), "lacks a hash, a size or a name"),
        (release(f"{A} -1 main/x"), "lacks a hash, a size or a name"),
        (release(f"{A} {'9' * 30} main/x"), "lacks a hash, a size or a name"),
        (release(f"{'a' * 63} 12 main/x"), "sha256 hash for main/x is none"),
        (release(f"{'g' * 64} 12 main/x"), "sha256 hash for main/x is none"),
        (release(f"{A} 12 main/x", f"{B} 12 main/x"), "two things about main/x"),
        (release(f"{A} 12 main/x", f"{A} 13 main/x"), "two things about main/x"),
        (release(f"{A} 12 main/x", head="Suite: x\nDate: tomorrow\n"), "Date 'tomorrow' is none"),
    ],
)
def test_what_is_no_release_file_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_release(text)


@pytest.mark.parametrize("text", [b"Suite: x " * (1 << 20), b"Suite: x\nSHA256:\n" + f" {A} 1 x\n".encode() * 100_000])
def test_a_gigantic_release_file_is_refused_unread(text: bytes) -> None:
    with pytest.raises(FormatError, match="more than any Release file needs"):
        parse_release(text)


def test_a_gigantic_line_is_contained() -> None:
    tracemalloc.start()
    with suppress(FormatError):
        parse_release(b"SHA256: " + b"a" * (7 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["SHA256:", "MD5Sum:", f"Date: {DATE}", "Suite: a", f" {A} 12 b/c", " x", "", f"SHA256: {A} 1 x"]
            + [f"-----{edge} PGP {what}-----" for edge in ("BEGIN", "END") for what in ("SIGNED MESSAGE", "SIGNATURE")]
        ),
        st.text(max_size=30),
    ),
    max_size=12,
).map(lambda lines: "\n".join(lines).encode("utf-8", "replace"))


@settings(deadline=None)
@given(st.one_of(LINES, st.binary(max_size=200)))
def test_no_bytes_whatever_crash_the_parser(data: bytes) -> None:
    with suppress(FormatError):
        parse_release(data)


@pytest.mark.parametrize(
    ("path", "name", "leads"),
    [
        ("dists/trixie", "Release", True),
        ("debian/dists/trixie", "InRelease", True),
        ("dists/buster/updates", "Release", True),
        ("dists/trixie/main/binary-amd64", "Release", False),
        ("dists/trixie/main/source", "Release", False),
        ("dists/trixie", "Release.gpg", False),
        ("releases/44", "Release", False),
    ],
)
def test_a_suite_is_led_by_its_own_release_files(path: str, name: str, leads: bool) -> None:
    assert leads_suite(path, name) is leads


def test_files_that_are_named_by_their_hashes_are_left_alone() -> None:
    assert in_archive("debian/dists/trixie/main/binary-amd64")
    assert not in_archive("dists/trixie/main/binary-amd64/by-hash/SHA256")
    assert not in_archive("distsx/trixie")


# -- a scan of an archive

RULES = r"""
[["Debian"]]
pattern = 'dists/(?P<version>\w+)/main/binary-(?P<arch>\w+)'
prefix = "debian-{version}"
directory = "dists/{version}"
"""
SUITE = "dists/trixie"
PACKAGES = "main/binary-x86_64/Packages.xz"
OTHER = "main/i18n/Translation-en.bz2"


def line(name: str, content: bytes | str, **wrong: object) -> str:
    return f"{wrong.get('hash') or sha256(content)} {wrong.get('size') or len(content)} {name}"


def publish(top: Path, packages: str = "old", *extra: str, when: int = OLD, lists: str | None = None) -> bytes:
    """An archive with one suite; `lists` is what its Release says of Packages.xz, if not the truth."""
    put(top, f"{SUITE}/{PACKAGES}", packages)
    put(top, f"{SUITE}/{OTHER}", "words")
    put(top, f"{SUITE}/main/binary-x86_64/Release", "Archive: stable\n")
    put(top, "pool/main/h/hello.deb", "deb")
    text = release(
        line(PACKAGES, packages if lists is None else lists),
        line(OTHER, "words"),
        line("main/binary-x86_64/Release", "Archive: stable\n"),
        line("main/binary-x86_64/Packages", "never on disk"),
        *extra,
    )
    put(top, f"{SUITE}/Release", text)
    put(top, f"{SUITE}/InRelease", text)
    settle(top, when)
    return text


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path / "master"


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    top.mkdir()
    add_category(engine, top, name="Debian", topdir="debian", rules=RULES)
    return make_program(engine)


def later(program: Program, hours: int = 0) -> list[str]:
    outcome = scan(program, NOW + timedelta(hours=hours), name="Debian")
    return [*outcome.problems, *outcome.alarms]


def versions(session: Session) -> dict[str, list[str]]:
    """Path -> sha256 of the versions that clients are told, oldest first."""
    session.expire_all()
    rows = session.execute(
        select(Directory.path, FileDetail).join(Directory).order_by(FileDetail.timestamp, FileDetail.id)
    )
    found: dict[str, list[str]] = {}
    for path, row in rows:
        found.setdefault(f"{path}/{row.filename}".removeprefix(f"debian/{SUITE}/"), []).append(row.sha256 or "")
    return found


def test_a_release_and_the_indexes_that_it_lists_are_recorded(program: Program, session: Session, top: Path) -> None:
    text = publish(top)
    assert later(program) == []
    assert versions(session) == {
        "Release": [sha256(text)],
        "InRelease": [sha256(text)],
        PACKAGES: [sha256("old")],
        OTHER: [sha256("words")],
        "main/binary-x86_64/Release": [sha256("Archive: stable\n")],
    }
    row = session.scalars(select(FileDetail).where(FileDetail.filename == "Release", FileDetail.md5.is_not(None))).one()
    assert row.timestamp == STAMP
    assert {kind: getattr(row, kind) for kind in ("md5", "sha1", "sha256", "sha512")} == hash_all(text)


def test_an_index_keeps_its_former_version(program: Program, session: Session, top: Path) -> None:
    publish(top, "old")
    later(program)
    publish(top, "new one", when=OLD + 60)
    assert later(program, 1) == []
    assert versions(session)[PACKAGES] == [sha256("old"), sha256("new one")]
    assert later(program, 2) == []
    assert versions(session)[OTHER] == [sha256("words")]


def test_an_index_that_is_not_yet_what_the_release_says_is_taken_later(
    program: Program, session: Session, top: Path
) -> None:
    publish(top, "old")
    later(program)
    publish(top, "old", lists="new one", when=OLD + 60)
    problem, other = later(program, 1)
    assert f"{SUITE}/InRelease: other sizes than it says: {SUITE}/{PACKAGES}; the next" in problem
    assert f"{SUITE}/Release: other sizes" in other
    assert versions(session)[PACKAGES] == [sha256("old")]
    publish(top, "new one", when=OLD + 60)
    assert later(program, 2) == []
    assert versions(session)[PACKAGES] == [sha256("old"), sha256("new one")]


def test_an_index_that_came_before_its_release_is_taken_with_it(program: Program, session: Session, top: Path) -> None:
    publish(top, "old")
    later(program)
    put(top, f"{SUITE}/{PACKAGES}", "new one")
    put(top, f"{SUITE}/main/binary-x86_64/Packages.gz", "zip")
    settle(top, OLD + 60)
    later(program, 1)
    assert versions(session)[PACKAGES] == [sha256("old")]
    publish(top, "new one", line("main/binary-x86_64/Packages.gz", "zip"), when=OLD + 60)
    settle(top / SUITE / "main", OLD + 60)
    later(program, 2)
    found = versions(session)
    assert found[PACKAGES] == [sha256("old"), sha256("new one")]
    assert found["main/binary-x86_64/Packages.gz"] == [sha256("zip")]


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "main/../../x", "main//x", "a\x7fb", "./x/..", "main/\x01"]
)
def test_a_name_that_leads_out_of_the_suite_is_refused_with_a_message(
    program: Program, session: Session, top: Path, name: str
) -> None:
    publish(top, "old", line(name, "x"))
    problems = later(program)
    assert problems and all("names that lead elsewhere are left out" in problem for problem in problems)
    assert versions(session)[PACKAGES] == [sha256("old")]


def test_a_broken_release_leaves_the_versions_as_they_are(program: Program, session: Session, top: Path) -> None:
    publish(top, "old")
    later(program)
    before = versions(session)
    for name in ("Release", "InRelease"):
        put(top, f"{SUITE}/{name}", "<html>503</html>")
    settle(top, OLD + 60)
    assert len(later(program, 1)) == 2
    assert versions(session) == before


def test_a_repository_stands_at_its_suite(program: Program, session: Session, top: Path) -> None:
    """Its Release files tell whether a mirror's copy is current."""
    publish(top)
    for hours in range(2):
        later(program, hours)
        repository = session.scalars(select(Repository)).one()
        assert (repository.prefix, repository.arch.name, repository.version.name) == (
            "debian-trixie",
            "x86_64",
            "trixie",
        )
        assert repository.directory is not None and repository.directory.path == f"debian/{SUITE}"


# -- signed archives


@pytest.fixture
def signed(engine: Engine, top: Path, keyring: Path) -> Program:
    top.mkdir()
    add_category(engine, top, name="Debian", topdir="debian", rules=RULES, keyring=str(keyring))
    return make_program(engine)


def sign(top: Path, signer: Signer, name: str, *, detached: bool = True, when: int = OLD) -> None:
    text = (top / SUITE / "Release").read_bytes()
    put(top, f"{SUITE}/InRelease", signer.inline(text, name))
    if detached:
        put(top, f"{SUITE}/Release.gpg", signer.detached(name, text))
    settle(top, when)


@pytest.mark.parametrize("detached", [True, False])
def test_a_signed_suite_is_published(
    signed: Program, session: Session, top: Path, signer: Signer, detached: bool
) -> None:
    """Without Release.gpg, an InRelease with the same text vouches for Release."""
    publish(top)
    sign(top, signer, "archive", detached=detached)
    assert later(signed) == []
    assert versions(session)[PACKAGES] == [sha256("old")]
    assert len(session.scalars(select(Repository)).all()) == 1


def test_a_suite_that_a_stranger_signed_changes_nothing(
    signed: Program, session: Session, top: Path, signer: Signer
) -> None:
    publish(top, "old")
    sign(top, signer, "archive")
    later(signed)

    def state() -> object:
        session.expire_all()
        rows = session.scalars(select(Directory).order_by(Directory.path))
        return [(row.path, row.mtime, row.sample) for row in rows if SUITE in row.path], versions(session)

    before = state()
    publish(top, "new one", when=OLD + 60)
    (top / SUITE / "main/i18n/Translation-en.bz2").unlink()
    sign(top, signer, "stranger", when=OLD + 60)
    for hours in (1, 2):
        (alarm,) = later(signed, hours)
        assert f"{SUITE}/InRelease: refused, it is signed by key" in alarm
        assert state() == before
    sign(top, signer, "archive", when=OLD + 60)
    later(signed, 3)
    assert versions(session)[PACKAGES] == [sha256("old"), sha256("new one")]


def test_a_release_that_nobody_signed_makes_no_repository(signed: Program, session: Session, top: Path) -> None:
    publish(top)
    (top / SUITE / "InRelease").unlink()
    settle(top)
    (alarm,) = later(signed)
    assert "refused, its signature Release.gpg cannot be read" in alarm
    assert versions(session) == {}
    assert session.scalars(select(Repository)).all() == []


def test_an_unsigned_release_with_another_text_than_the_signed_one_is_refused(
    signed: Program, session: Session, top: Path, signer: Signer
) -> None:
    publish(top)
    sign(top, signer, "archive", detached=False)
    put(top, f"{SUITE}/Release", release(line(PACKAGES, "old"), line(OTHER, "words"), head="Suite: x\n"))
    settle(top)
    (alarm,) = later(signed)
    assert f"{SUITE}/Release: refused" in alarm
    assert versions(session) == {}
