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
from mm_lib.model.content import Arch, Category, Product, RepositoryRule
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
            assert service.load_rules(session, TWO, ["Fedora Linux"]).counts == {"Fedora Linux": 2}
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
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        service.parse_rules(text)


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
    assert "Fedora Linux: 18 rules" in result.output
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
        (["load", "ubuntu"], "There is no file 'ubuntu', and no shipped set of that name (there are: fedora)."),
        (["list", "--category", "Debian"], "There is no category 'Debian'"),
        (["explain", "x", "--category", "Fedora Linux"], "Fedora Linux has no rules"),
    ],
)
def test_a_refusal_is_one_message_and_exit_code_1(program: Program, arguments: list[str], message: str) -> None:
    result = run(program, *arguments)
    assert result.exit_code == 1
    assert message in result.output
