"""The database's schema: bring it up to date, take it down, and say how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

import mm_lib
from mm_lib.model.tables import metadata
from mm_lib.services import queue


@dataclass(frozen=True)
class SchemaState:
    """How the schema stands. `differences` are tables or columns that differ from the model."""

    current: str | None
    head: str
    differences: tuple[str, ...]
    queue_problem: str = ""

    @property
    def up_to_date(self) -> bool:
        """At the newest revision, and as the model says."""
        return not self.problem

    @property
    def problem(self) -> str:
        """What is wrong and what to do; empty when nothing is."""
        if self.current is None:
            return "The database has no schema yet. Run `mm-admin db upgrade`."
        if self.current != self.head:
            return f"The schema is at revision {self.current}, not {self.head}. Run `mm-admin db upgrade`."
        if self.differences:
            return f"The schema differs from the model: {'; '.join(self.differences)}"
        return self.queue_problem


def migrations() -> Path:
    """The migration scripts: inside an installed package, or the top-level alembic/ folder of a checkout."""
    package = Path(mm_lib.__path__[0])
    installed = package / "migrations"
    return installed if (installed / "env.py").is_file() else package.parent / "alembic"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Apply every missing migration up to the revision; the job queue comes with the newest."""
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision)
    if revision == "head" and queue.supported(engine):
        queue.upgrade(engine)


def downgrade(engine: Engine, revision: str) -> None:
    """Take migrations back down to the revision; "base" removes everything."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)
        if revision == "base" and queue.supported(engine):
            queue.remove(connection)


def current_revision(engine: Engine) -> tuple[str | None, str]:
    """The database's revision and the newest one: two cheap looks, for health checks."""
    head = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert head is not None
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision(), head


def state(engine: Engine) -> SchemaState:
    """Compare the database with the migrations and the model."""
    current, head = current_revision(engine)
    if current != head:
        return SchemaState(current, head, ())
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, metadata)
        queue_problem = queue.problem(connection) if queue.supported(engine) else ""
    return SchemaState(current, head, tuple(str(difference) for difference in differences), queue_problem)


def _config(connection: object) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(migrations()))
    config.set_main_option("path_separator", "os")
    return config
