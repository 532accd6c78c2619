"""A category's keyring, as mm-admin sets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select

from mm_lib.cli.common import Program
from mm_lib.cli.content import category as command
from mm_lib.model.content import Category, Product


@pytest.fixture
def program(engine: Engine) -> Program:
    """What the commands work with; with a product."""
    program = Program(None)
    program.engine = engine
    with program.transaction() as session:
        session.add(Product(name="Debian"))
    return program


def run(program: Program, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, obj=program)


def source(program: Program) -> dict[str, Any]:
    with program.reading() as session:
        return session.scalars(select(Category)).one().source


def add(program: Program, top: Path, *options: str) -> None:
    result = run(program, "add", "Debian", "--product", "Debian", "--source", str(top), *options)
    assert result.exit_code == 0, result.output


def test_a_category_is_made_with_a_keyring(program: Program, tmp_path: Path) -> None:
    add(program, tmp_path, "--keyring", str(tmp_path / "keys.gpg"))
    assert source(program)["keyring"] == str(tmp_path / "keys.gpg")


def test_a_keyring_is_set_changed_and_taken_away(program: Program, tmp_path: Path) -> None:
    add(program, tmp_path)
    for name in ("old.gpg", "new.gpg"):
        assert run(program, "set", "Debian", "--keyring", str(tmp_path / name)).exit_code == 0
        assert source(program)["keyring"] == str(tmp_path / name)
    assert run(program, "set", "Debian", "--no-keyring").exit_code == 0
    assert source(program)["keyring"] is None
    assert source(program)["path"] == str(tmp_path)


def test_another_source_keeps_the_keyring(program: Program, tmp_path: Path) -> None:
    add(program, tmp_path, "--keyring", str(tmp_path / "keys.gpg"))
    (tmp_path / "moved").mkdir()
    assert run(program, "set", "Debian", "--source", str(tmp_path / "moved")).exit_code == 0
    assert source(program)["path"] == str(tmp_path / "moved")
    assert source(program)["keyring"] == str(tmp_path / "keys.gpg")


def test_a_keyring_without_a_source_is_refused(program: Program, tmp_path: Path) -> None:
    result = run(program, "add", "Debian", "--product", "Debian", "--keyring", "keys.gpg")
    assert result.exit_code == 1
    assert "the category has no source that could be signed" in result.output
