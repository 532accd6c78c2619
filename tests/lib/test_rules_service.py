"""Rules in the database: loaded as a whole, listed, explained; and the mm-admin commands over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from mm_lib.cli.common import Program
from mm_lib.cli.rules import rules as command
from mm_lib.database import make_sessions, transaction
from mm_lib.model.content import Arch, Category, Directory, FileDetail, Product, RepositoryRule
from mm_lib.rules.repositories import Match, NoMatch
from mm_lib.services import rules as service
from mm_lib.services.errors import InvalidValue, NotFound

TWO = """
[["Fedora Linux"]]
comment = "images"
pattern = 'images/.*'
skip = true

[["Fedora Linux"]]
pattern = 'releases/(?P<version>\\d+)/(?P<arch>[^/]+)/os'
prefix = "fedora-{version}"
test = true
display = false

[["Fedora EPEL"]]
pattern = '(?P<version>\\d+)/(?P<arch>[^/]+)'
prefix = "epel-{version}"
"""


@pytest.fixture
def fedora(session: Session) -> Category:
    """A category with an arch to go with it."""
    category = Category(name="Fedora Linux", topdir="pub/fedora/linux", product=Product(name="Fedora"))
    with transaction(session):
        session.add_all([category, Arch(name="x86_64")])
    return category


def test_loading_replaces_the_rules_of_the_category(session: Session, fedora: Category) -> None:
    for _ in range(2):
        with transaction(session):
            changes = service.load_rules(session, TWO, ["Fedora Linux"]).changes
            assert changes["Fedora Linux"].count == 2
    rows = service.list_rules(session, "Fedora Linux")
    assert [(row.position, row.flags, row.comment) for row in rows] == [
        (1, {"skip": True}, "images"),
        (2, {"test": True, "display": False}, ""),
    ]


def test_a_category_that_does_not_exist_is_left_out_and_named(session: Session, fedora: Category) -> None:
    with transaction(session):
        loaded = service.load_rules(session, TWO)
    assert loaded.missing == ("Fedora EPEL",)


def test_nothing_is_replaced_when_one_rule_is_wrong(session: Session, fedora: Category) -> None:
    with transaction(session):
        service.load_rules(session, TWO)
    with pytest.raises(InvalidValue, match=r"Fedora EPEL rule 2: pattern: is not a regular expression"):
        service.load_rules(session, TWO + '[["Fedora EPEL"]]\npattern = "("\n')
    assert session.scalar(select(func.count(RepositoryRule.id))) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[", "not TOML"),
        ("", "the file has none"),
        ('[["X"]]\npattern = "a"\ncolour = 1', "X 1 colour: unknown key"),
        ('[["X"]]\npattern = 1', "X 1 pattern: Input should be a valid string"),
        ('X = "y"', "X: Input should be a valid list"),
        ('[["X"]]\ncomment = "a"', "X 1: .*has no pattern"),
        ('[["X"]]\npattern = "a"\nbelow = "b"', "X 1: .*there is none"),
        ('[["X"]]\ninclude = "Y"\nprefix = "b"', "X 1: .*only below and comment"),
        ('[["X"]]\ninclude = "Y"', "X 1 include: .*no rules for 'Y'"),
        (
            '[["X"]]\ninclude = "Y"\n[["Y"]]\ninclude = "Z"\n[["Z"]]\npattern = "a"\nskip = true',
            "'Y' itself has an include",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        service.parse_rules(text)


def test_rules_of_another_category_are_included_where_its_tree_hangs() -> None:
    text = """
[["A"]]
pattern = 'a|(?P<suite>b)/.*'
version = "1"
arch = "x"
directory = "{suite}"
[["B"]]
include = "A"
below = "x.y/"
[["C"]]
include = "A"
"""
    rules = service.parse_rules(text)
    assert [(entry.pattern, entry.directory) for entry in rules["B"]] == [
        (r"x\.y/(?:a|(?P<suite>b)/.*)", "x.y/{suite}")
    ]
    assert rules["C"] == rules["A"]


def test_loading_says_what_changed(session: Session, fedora: Category) -> None:
    def load(*patterns: str) -> service.RuleChanges:
        text = "".join(f'[["Fedora Linux"]]\npattern = "{pattern}"\nskip = true\n' for pattern in patterns)
        with transaction(session):
            return service.load_rules(session, text).changes["Fedora Linux"]

    assert load("a", "b", "c") == service.RuleChanges(3, ("a", "b", "c"), (), ())
    assert load("a", "b", "c") == service.RuleChanges(3, (), (), ())
    assert load("a", "d", "c") == service.RuleChanges(3, ("d",), ("b",), ())
    assert load("c", "a", "d").moved == ("c",)
    with transaction(session):
        text = '[["Fedora Linux"]]\npattern = "c"\nskip = true\n[["Fedora Linux"]]\npattern = "x"\nskip = true\n'
        changes = service.load_rules(session, text).changes["Fedora Linux"]
    assert (changes.added, changes.removed) == (("x",), ("a", "d"))


def test_a_category_that_the_file_or_the_database_lacks_is_refused_when_named(session: Session) -> None:
    with pytest.raises(NotFound, match="no rules for 'Debian'"):
        service.load_rules(session, TWO, ["Debian"])
    with pytest.raises(NotFound, match="no category 'Fedora Linux'"):
        service.load_rules(session, TWO, ["Fedora Linux"])


def test_stored_rules_decide_as_written(session: Session, fedora: Category) -> None:
    with transaction(session):
        service.load_rules(session, TWO)
    found = service.explain_path(session, "Fedora Linux", "/pub/fedora/linux/releases/44/x86_64/os/")
    assert found.path == "releases/44/x86_64/os"
    assert found.arch_known
    assert found.explanation.decision == Match(2, "fedora-44", "44", "x86_64", is_test=True, display=False)
    skipped = service.explain_path(session, "Fedora Linux", "images/x")
    assert isinstance(skipped.explanation.decision, NoMatch)


def test_a_row_with_a_flag_that_nobody_knows_is_refused(session: Session, fedora: Category) -> None:
    with transaction(session):
        session.add(RepositoryRule(category_id=fedora.id, position=1, pattern="x", flags={"tset": True}))
    with pytest.raises(InvalidValue, match="Fedora Linux rule 1: flags: unknown: tset"):
        service.rules_of(session, "Fedora Linux")


# -- mm-admin rules


@pytest.fixture
def program(engine: Engine) -> Program:
    """What the commands work with, on the test's database."""
    program = Program(None)
    program.engine = engine
    with make_sessions(engine)() as session, transaction(session):
        session.add(Category(name="Fedora Linux", topdir="pub/fedora/linux", product=Product(name="Fedora")))
    return program


def run(program: Program, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, obj=program)


def test_the_shipped_rules_are_loaded_by_name(program: Program) -> None:
    result = run(program, "load", "fedora")
    assert result.exit_code == 0
    assert "Fedora Linux: 18 rules, 18 added\n" in result.output
    assert "Fedora Linux: 18 rules, nothing changed\n" in run(program, "load", "fedora").output
    assert "Fedora EPEL: no such category here, left out" in result.output


def test_a_file_is_loaded_listed_and_explained(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(TWO)
    assert run(program, "load", str(file)).exit_code == 0
    listed = json.loads(run(program, "list", "--category", "Fedora Linux", "--json").output)
    assert [row["prefix"] for row in listed] == ["", "fedora-{version}"]
    assert "skip=True" in run(program, "list", "--category", "Fedora Linux").output
    explained = run(program, "explain", "releases/44/x86_64/os", "--category", "Fedora Linux").output
    assert "repo=fedora-44, version 44, arch x86_64 (rule 2, a test release, not displayed)" in explained
    assert "The arch 'x86_64' does not exist" in explained
    as_json = run(program, "explain", "releases/44/x86_64/os", "--category", "Fedora Linux", "--json").output
    assert json.loads(as_json)["explanation"]["decision"]["prefix"] == "fedora-44"
    refused = run(program, "explain", "elsewhere", "--category", "Fedora Linux").output
    assert "elsewhere: no repository: no rule matches" in refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["load", "slackware"],
            "There is no file 'slackware', and no shipped set of that name (there are: almalinux, ",
        ),
        (["explain", "pub/else"], "pub/else begins with no category's topdir. Name the category with --category."),
        (["list", "--category", "Debian"], "There is no category 'Debian'"),
        (["explain", "x", "--category", "Fedora Linux"], "Fedora Linux has no rules"),
    ],
)
def test_a_refusal_is_one_message_and_exit_code_1(program: Program, arguments: list[str], message: str) -> None:
    result = run(program, *arguments)
    assert result.exit_code == 1
    assert message in result.output


def test_a_change_of_a_loaded_set_is_shown_line_by_line(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(TWO)
    run(program, "load", str(file))
    file.write_text(TWO.replace("images", "pictures"))
    output = run(program, "load", str(file)).output
    assert "Fedora Linux: 2 rules, 1 added, 1 removed\n  + pictures/.*\n  - images/.*\n" in output


def test_the_category_of_a_path_is_that_of_the_longest_topdir(program: Program, tmp_path: Path) -> None:
    with program.transaction() as session:
        session.add(Category(name="Outer", topdir="pub/fedora", product=Product(name="Other")))
    file = tmp_path / "rules.toml"
    file.write_text(TWO)
    run(program, "load", str(file))
    output = run(program, "explain", "/pub/fedora/linux/releases/44/x86_64/os/").output
    assert "Fedora Linux: releases/44/x86_64/os: repo=fedora-44" in output
    assert "does not match: it does not begin with images" in output
    assert run(program, "explain", "pub/fedora/x").output.startswith("Error: Outer has no rules.")


def test_expressions_are_shown_as_they_are_written(program: Program) -> None:
    run(program, "load", "fedora")
    pattern = r"atomic/(?P<version>\d+)"
    listed = run(program, "list", "--category", "Fedora Linux").output
    explained = run(program, "explain", "atomic/21", "--category", "Fedora Linux").output
    for text in ("(?P<arch>[^/]+)/os", r"(?:test|stage)/(?P<version>[\w.-]+)", pattern):
        assert text in listed and text in explained


# -- mm-admin rules check


def check(program: Program, *arguments: str) -> tuple[int, list[dict[str, object]]]:
    result = run(program, "check", "--json", *arguments)
    return result.exit_code, json.loads(result.output)


def load(program: Program, folder: Path, text: str) -> None:
    (folder / "loaded.toml").write_text(text)
    assert run(program, "load", str(folder / "loaded.toml")).exit_code == 0


def add_repository(program: Program, category: str, path: str, filename: str = "repomd.xml") -> None:
    """A directory with metadata, as a scan records it."""
    with program.transaction() as session:
        owner = session.scalars(select(Category).where(Category.name == category)).one()
        directory = Directory(category_id=owner.id, path=path, mtime=0)
        session.add(directory)
        session.flush()
        session.add(
            FileDetail(
                directory_id=directory.id,
                filename=filename,
                content_id=f"sha256:{'a' * 64}",
                timestamp=0,
                size=0,
                sha256="a" * 64,
            )
        )


def test_sound_rules_are_called_so(program: Program) -> None:
    assert run(program, "load", "fedora").exit_code == 0
    result = run(program, "check")
    assert (result.exit_code, result.output) == (0, "Nothing is wrong with the rules.\n")


def test_a_rule_that_others_hide_is_found(program: Program, tmp_path: Path) -> None:
    hidden = """[["Fedora Linux"]]
pattern = 'releases/(?P<version>4\\d)/(?P<arch>x86_64|aarch64)/os'
prefix = "never"
"""
    load(program, tmp_path, TWO + hidden)
    code, (finding,) = check(program)
    assert code == 1
    assert (finding["category"], finding["position"], finding["kind"]) == ("Fedora Linux", 3, "unreachable")
    assert "rule 2 comes first for each of" in str(finding["message"])
    assert "unreachable" in run(program, "check").output


def test_a_rule_that_two_others_hide_together_is_found(program: Program, tmp_path: Path) -> None:
    text = "".join(f'[["Fedora Linux"]]\npattern = "{p}"\nskip = true\n' for p in ("a+/.*", "b+/.*", "[ab]/x"))
    load(program, tmp_path, text)
    code, (finding,) = check(program)
    assert code == 1 and "rule 1, 2 comes first" in str(finding["message"])


def test_a_rule_that_decides_only_a_part_of_its_paths_is_fine(program: Program, tmp_path: Path) -> None:
    text = "".join(f'[["Fedora Linux"]]\npattern = "{p}"\nskip = true\n' for p in ("a/.*", r"(?:a|b)/x"))
    load(program, tmp_path, text)
    assert check(program) == (0, [])


def test_two_directories_that_claim_one_key_are_found(program: Program, tmp_path: Path) -> None:
    text = """
[["Fedora Linux"]]
pattern = '(?:releases|development)/(?P<version>\\d+)/(?P<arch>[^/]+)/os'
prefix = "fedora-{version}"
"""
    load(program, tmp_path, text)
    add_repository(program, "Fedora Linux", "pub/fedora/linux/releases/44/x86_64/os/repodata")
    assert check(program) == (0, [])
    add_repository(program, "Fedora Linux", "pub/fedora/linux/development/44/x86_64/os/repodata")
    code, (finding,) = check(program)
    assert code == 1 and finding["kind"] == "clash"
    assert finding["message"] == (
        "repo=fedora-44 arch=x86_64 is claimed by development/44/x86_64/os (Fedora Linux rule 1) "
        "and releases/44/x86_64/os (Fedora Linux rule 1)"
    )


def test_categories_that_claim_one_key_are_found(program: Program, tmp_path: Path) -> None:
    with program.transaction() as session:
        session.add(Category(name="Fedora EPEL", topdir="", product=Product(name="EPEL")))
    load(program, tmp_path, TWO.replace("epel-{version}", "fedora-{version}"))
    add_repository(program, "Fedora Linux", "pub/fedora/linux/releases/44/x86_64/os/repodata")
    add_repository(program, "Fedora EPEL", "44/x86_64/repodata")
    code, (finding,) = check(program)
    assert code == 1 and "44/x86_64 (Fedora EPEL rule 1) and releases/44/x86_64/os" in str(finding["message"])
    assert check(program, "--category", "Fedora Linux") == (0, []), (
        "it is told once, with the category that comes first"
    )


def test_components_of_an_apt_suite_do_not_clash(program: Program, tmp_path: Path) -> None:
    with program.transaction() as session:
        session.add(Category(name="Debian", topdir="debian", product=Product(name="Debian")))
    assert run(program, "load", "debian").exit_code == 0
    for component in ("main", "contrib"):
        add_repository(program, "Debian", f"debian/dists/sid/{component}/binary-amd64", "Packages.xz")
    assert check(program) == (0, [])


def test_a_row_that_cannot_be_used_is_found(program: Program) -> None:
    with program.transaction() as session:
        category = session.scalars(select(Category)).one()
        session.add(RepositoryRule(category_id=category.id, position=1, pattern="(", flags={"skip": True}))
        session.add(
            RepositoryRule(category_id=category.id, position=2, pattern="(?P<version>a)", arch="x", prefix="{b}")
        )
    code, findings = check(program)
    assert code == 1
    assert [finding["kind"] for finding in findings] == ["invalid", "invalid"]
    assert "is not a regular expression" in str(findings[0]["message"])
    assert "{b} is not a named group" in str(findings[1]["message"])


def test_a_file_is_checked_before_it_is_loaded(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(TWO.replace("'images/.*'", "'.*'"))
    code, (finding,) = check(program, str(file))
    assert code == 1 and finding["kind"] == "unreachable"
    file.write_text('[["Fedora Linux"]]\npattern = "("\n')
    result = run(program, "check", str(file))
    assert result.exit_code == 1 and "Fedora Linux rule 1: pattern" in result.output
    assert check(program) == (0, [])
