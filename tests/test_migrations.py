"""The migrations and the model say the same, on both databases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint, Engine, Inspector, inspect, text

from mm_lib.model.tables import metadata
from mm_lib.services import schema

ROOT = Path(__file__).parent.parent


def test_the_migrated_schema_equals_the_model(engine: Engine) -> None:
    assert schema.state(engine).problem == ""


def test_every_table_of_the_model_exists(engine: Engine) -> None:
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())


def test_the_migration_makes_every_check_of_the_model(engine: Engine) -> None:
    """`alembic check` does not compare them, and they are what keeps nonsense out of the database."""
    assert _checks(inspect(engine)) == {
        (name, str(check.name))
        for name, table in metadata.tables.items()
        for check in table.constraints
        if isinstance(check, CheckConstraint)
    }


def _checks(inspector: Inspector) -> set[tuple[str, str]]:
    return {
        (table, str(check["name"])) for table in metadata.tables for check in inspector.get_check_constraints(table)
    }


def test_upgrade_downgrade_upgrade_ends_where_it_began(engine: Engine) -> None:
    schema.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    schema.upgrade(engine)
    assert schema.state(engine).up_to_date


def test_an_empty_database_is_said_to_have_no_schema(engine: Engine) -> None:
    schema.downgrade(engine, "base")
    assert "mm-admin db upgrade" in schema.state(engine).problem


def test_a_column_that_the_model_does_not_know_is_reported(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE product ADD COLUMN stray INTEGER"))
    assert "stray" in schema.state(engine).problem


def test_alembic_check_is_clean_for_a_developer(database_url: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "alembic", "check"],
        cwd=ROOT,
        env={"MM_DATABASE__URL": database_url, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_deleting_is_left_to_the_database(table: str) -> None:
    """Every foreign key says what happens to its rows when the row it points to goes."""
    for key in metadata.tables[table].foreign_keys:
        assert key.ondelete in ("CASCADE", "SET NULL"), f"{table}.{key.parent.name}"
