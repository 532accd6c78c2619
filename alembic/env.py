"""Runs migrations on the connection that mm-admin hands over, or on the configured database."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from mm_lib.database import make_engine
from mm_lib.model.base import UtcDateTime
from mm_lib.model.tables import metadata
from mm_lib.settings import load


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Migrations stand alone: they name the database's own type, not our Python type."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    """All migrations in one transaction where the database can do that; batch mode lets SQLite alter tables."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
        render_item=render_item,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Alembic runs this file; a connection in the attributes comes from mm_lib.services.schema."""
    given: Connection | None = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    engine = make_engine(load().database)
    with engine.connect() as connection:
        run(connection)
    engine.dispose()


main()
