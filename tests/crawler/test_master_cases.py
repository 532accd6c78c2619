"""Black-box cases of a master scan with the shipped rules: important files, versions and repositories.

The numbers are those of the reference's list of cases.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_crawler.master.diff import ReadOrder
from mm_crawler.master.important import collect
from mm_crawler.master.scan import Outcome
from mm_crawler.master.scanned import Content, ScannedFile
from mm_lib.cli.common import Program
from mm_lib.model.content import Arch, Directory, FileDetail, Repository, Version
from mm_lib.rules.repositories import Match, Rule, decide
from mm_lib.services.content import add_redirect
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

SHIPPED = resources.files("mm_lib.data").joinpath("rules/fedora.toml").read_text(encoding="utf-8")
SKIP_ALT = """
[["Fedora Linux"]]
pattern = 'alt/.*'
skip = true

[["Fedora Linux"]]
pattern = '(?:alt/)?releases/(?P<version>\\\\d+)/Everything/(?P<arch>[^/]+)/os'
prefix = "fedora-{version}"
"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "master"
    top.mkdir()
    return top


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    add_category(engine, top, rules=SHIPPED)
    return make_program(engine)


def run(program: Program, top: Path) -> Outcome:
    settle(top)
    return scan(program)


def repositories(session: Session) -> list[tuple[str | None, str, str, str]]:
    """(prefix, version, arch, directory) of each."""
    query = (
        select(Repository.prefix, Version.name, Arch.name, Directory.path)
        .join(Version, Version.id == Repository.version_id)
        .join(Arch, Arch.id == Repository.arch_id)
        .join(Directory, Directory.id == Repository.directory_id)
        .order_by(Directory.path)
    )
    return [(p, v, a, d.removeprefix(f"{TOPDIR}/")) for p, v, a, d in session.execute(query)]


def versions(session: Session) -> dict[str, tuple[bool, bool]]:
    """Name -> (is a test release, is displayed)."""
    return {row.name: (row.is_test, row.display) for row in session.scalars(select(Version))}


def details(session: Session) -> dict[str, FileDetail]:
    """The recorded versions by file name; each has one."""
    return {row.filename: row for row in session.scalars(select(FileDetail))}


# -- case 12


def test_case_12_both_styles_of_checksum_lines_count_and_only_for_files_that_are_there(
    program: Program, session: Session, top: Path
) -> None:
    folder = "releases/44/Live"
    for name in ("old.iso", "bsd.iso", "short.iso", "kind.iso"):
        put(top, f"{folder}/{name}", name)
    lines = (
        f"{sha256('old.iso')} *old.iso",
        f"SHA256 (bsd.iso) = {sha256('bsd.iso')}",
        f"{sha256('short.iso')[:-1]} *short.iso",
        f"MD5 (kind.iso) = {sha256('kind.iso')}",
        f"{sha256('gone.iso')} *gone.iso",
        f"{sha256('old.iso')} three words",
    )
    put(top, f"{folder}/Fedora-44-CHECKSUM", "\n".join(lines))
    assert run(program, top).problems == ()
    found = details(session)
    assert {name: row.sha256 for name, row in found.items()} == {n: sha256(n) for n in ("old.iso", "bsd.iso")}
    assert found["old.iso"].size == len("old.iso") and found["old.iso"].md5 is None


def test_case_12_a_clearsigned_checksum_file_counts_only_as_far_as_it_is_signed(
    program: Program, session: Session, top: Path
) -> None:
    folder = "releases/44/Live"
    for name in ("in.iso", "before.iso", "after.iso", "- dash.iso"):
        put(top, f"{folder}/{name}", name)
    line = {name: f"SHA256 ({name}) = {sha256(name)}\n" for name in ("in.iso", "before.iso", "after.iso")}
    put(
        top,
        f"{folder}/CHECKSUM",
        f"{line['before.iso']}-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# in.iso: 6 bytes\n{line['in.iso']}"
        f"- {sha256('- dash.iso')} *- dash.iso\n-----BEGIN PGP SIGNATURE-----\n\niQ\n=\n-----END PGP SIGNATURE-----\n"
        f"{line['after.iso']}",
    )
    run(program, top)
    assert set(details(session)) == {"in.iso", "- dash.iso"}


@pytest.mark.parametrize(
    "name", ["SHA256SUMS", "sha256sum.txt", "SHA256SUM", "x.sha256sum", "Fedora-44-CHECKSUM", "x.iso.CHECKSUM"]
)
def test_case_12_every_name_of_a_checksum_file_is_known(
    program: Program, session: Session, top: Path, name: str
) -> None:
    put(top, "iso/x.iso", "x")
    put(top, f"iso/{name}", f"{sha256('x')}  ./x.iso\n")
    run(program, top)
    assert details(session)["x.iso"].sha256 == sha256("x")


@pytest.mark.parametrize("name", ["../x.iso", "/iso/x.iso", "a/../x.iso", "..", "a\x00b", "sub//x.iso"])
def test_case_12_a_name_that_leads_out_of_the_directory_is_refused_with_a_message(
    program: Program, session: Session, top: Path, name: str
) -> None:
    put(top, "iso/sub/y")
    put(top, "x.iso", "x")
    put(top, "iso/SHA256SUMS", f"{sha256('x')}  {name}\n")
    (problem,) = run(program, top).problems
    assert problem == f"iso/SHA256SUMS: names that lead elsewhere are left out: {name!a}"
    assert details(session) == {}


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab./\\~ \u0085é\x00", min_size=1, max_size=12), max_size=5))
def test_case_12_no_names_whatever_lead_out_of_the_directory(names: list[str]) -> None:
    text = "".join(f"{sha256('x')}  {name}\n" for name in names).encode()
    files = {name: ScannedFile(name, 1, 0) for part in names for name in ({part} | set(part.split("/")))}
    order = ReadOrder("iso", files, (), ("SHA256SUMS",))
    everywhere = dict.fromkeys(("", "..", "a", "iso", "iso/a", "/a"), files)
    findings = collect(lambda _path, _limit: Content(text, len(text), 0, {}), [order], 1 << 20, everywhere)
    for file in findings.files:
        assert file.path == "iso" or file.path.startswith("iso/")
        assert not {"", ".", ".."} & {*file.path.split("/"), file.filename} and "/" not in file.filename


# -- cases 17 to 21


@pytest.mark.parametrize("variant", ["Server", "Cloud", "Workstation"])
def test_case_17_installation_trees_have_file_details_and_no_repository(
    program: Program, session: Session, top: Path, variant: str
) -> None:
    put_repository(top, f"releases/41/{variant}/x86_64/os")
    assert run(program, top).problems == ()
    assert details(session)["repomd.xml"].sha256 == sha256(repomd(100))
    assert repositories(session) == [] and versions(session) == {}


@pytest.mark.parametrize("folder", ["releases/test", "stage"])
def test_case_18_a_test_release_has_no_prefix_and_is_not_displayed(
    program: Program, session: Session, top: Path, folder: str
) -> None:
    path = f"{folder}/42_Beta/Everything/x86_64/os"
    put_repository(top, path)
    run(program, top)
    assert repositories(session) == [(None, "42_Beta", "x86_64", path)]
    assert versions(session) == {"42_Beta": (True, False)}


def test_case_19_an_unknown_arch_is_a_warning_and_no_repository(program: Program, session: Session, top: Path) -> None:
    put_repository(top, "releases/41/Everything/riscv64/os")
    (problem,) = run(program, top).problems
    assert "there is no arch 'riscv64'" in problem
    assert list(details(session)) == ["repomd.xml"]
    assert repositories(session) == [] and versions(session) == {}


@pytest.mark.parametrize(("name", "version"), [("21", "21"), ("rawhide", "development")])
def test_case_20_an_ostree_repository_is_one_of_x86_64(
    program: Program, session: Session, top: Path, name: str, version: str
) -> None:
    put(top, f"atomic/{name}/summary", "commits")
    put(top, f"atomic/{name}/objects/00/x.filez")
    run(program, top)
    assert repositories(session) == [(f"atomic-{name}", version, "x86_64", f"atomic/{name}")]
    row = details(session)["summary"]
    assert row.sha256 == sha256("commits") and row.md5 and row.sha1 and row.sha512


def test_case_21_what_a_rule_skips_makes_neither_repository_nor_version(
    engine: Engine, session: Session, top: Path
) -> None:
    add_category(engine, top, rules=SKIP_ALT.replace("\\\\", "\\"))
    put_repository(top, "alt/releases/43/Everything/x86_64/os")
    put_repository(top, "releases/44/Everything/x86_64/os")
    assert run(make_program(engine), top).problems == ()
    assert [row[0] for row in repositories(session)] == ["fedora-44"]
    assert list(versions(session)) == ["44"]


# -- cases 22 and 23: what the reference's rule engine did, as rules


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("", None),
        ("top/77/base", "77"),
        ("top/8.8/base", "8.8"),
        ("top/development/rawhide/os", "development"),
        ("top/development/os", None),
        ("top/development/1030/os", "1030"),
        ("SIGs/9-stream/infra/x86_64/infra-common", "9-stream"),
    ],
)
def test_case_22_the_version_is_the_part_of_the_path_that_looks_like_one(path: str, version: str | None) -> None:
    rules = [
        Rule("(?:.*/)?rawhide(?:/.*)?", version="development", arch="x86_64", position=1),
        Rule(r"(?:.*/)?(?P<version>\d[\d.]*(?:[-_]\w+)?)/.*", arch="x86_64", position=2),
    ]
    decision = decide(rules, path)
    assert (decision.version if isinstance(decision, Match) else None) == version


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("path/76/os", "some-76"),
        ("path/76/SRPMS/debug", "some-source-76"),
        ("path/76/src/any", "some-source-76"),
        ("path/76/source/tree", "some-source-76"),
        ("path/76/debug/os", "some-debug-76"),
        ("path/rawhide/os", "some"),
        ("path/rawhide/debug/os", "some-debug"),
        ("f/76/os", "some-f76"),
        ("else/76/os", ""),
    ],
)
def test_case_23_source_goes_before_debug_and_rawhide_has_no_version(path: str, prefix: str) -> None:
    rules = [
        Rule(r"path/(?P<version>\d+)/(?:SRPMS|src|source)(?:/.*)?", "some-source-{version}", arch="source", position=1),
        Rule(r"path/(?P<version>\d+)/(?:(?P<debug>debug)/)?os", "some{-debug}-{version}", arch="x86_64", position=2),
        Rule("path/rawhide/(?:(?P<debug>debug)/)?os", "some{-debug}", "development", "x86_64", position=3),
        Rule(r"f/(?P<version>\d+)/os", "some-f{version}", arch="x86_64", position=4),
    ]
    decision = decide(rules, path)
    assert (decision.prefix if isinstance(decision, Match) else "") == prefix


def test_case_23_an_alias_is_a_redirect_of_the_whole_prefix(program: Program, session: Session, top: Path) -> None:
    put_repository(top, "updates/testing/44/Everything/x86_64/debug")
    run(program, top)
    assert [row[0] for row in repositories(session)] == ["updates-testing-debug-f44"]
    redirect = add_redirect(session, "debug-testing-updates-fedora44", "updates-testing-debug-f44")
    assert (redirect.from_prefix, redirect.to_prefix) == ("debug-testing-updates-fedora44", "updates-testing-debug-f44")


# -- case 24


@pytest.mark.parametrize(
    ("timestamps", "newest"), [((7.9, 9, -1, 3), 9), (("7.9",), 7), ((1386855914, 1386855915), 1386855915)]
)
def test_case_24_the_newest_timestamp_in_the_file_is_recorded(
    program: Program, session: Session, top: Path, timestamps: tuple[object, ...], newest: int
) -> None:
    put_repository(top, "releases/44/Everything/x86_64/os", *timestamps)
    run(program, top)
    assert details(session)["repomd.xml"].timestamp == newest


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (repomd("soon"), "'soon' is not a number"),
        (repomd(5)[:-12], "not well-formed XML"),
        (b"", "not well-formed XML"),
        (b"<repomd>" + b"<a>" * 10_000, "nested more than 20 deep"),
        (b"<repomd>" + b"<a/>" * 150_000 + b"</repomd>", "more than 100000 elements"),
        (b'<!DOCTYPE r [<!ENTITY a "x">]>' + repomd("&a;"), "document type declaration"),
        (b"\x00" * 100_000, "not well-formed XML"),
        (b"<repomd " + b"x" * 100_000, "not well-formed XML"),
    ],
)
def test_case_24_a_broken_or_hostile_repomd_is_a_problem_and_no_version(
    program: Program, session: Session, top: Path, content: bytes, problem: str
) -> None:
    put(top, "releases/44/Everything/x86_64/os/repodata/repomd.xml", content)
    (message,) = run(program, top).problems
    assert problem in message
    assert details(session) == {}


def test_case_24_bytes_outside_ascii_are_no_obstacle(program: Program, session: Session, top: Path) -> None:
    content = repomd(9, extra="<tags><content>Fedora – schön</content></tags>")
    put(top, "releases/44/Everything/x86_64/os/repodata/repomd.xml", content)
    assert run(program, top).problems == ()
    assert details(session)["repomd.xml"].timestamp == 9
