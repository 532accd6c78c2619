"""The job queue that several machines share: procrastinate's tables, in a PostgreSQL schema of their own.

They are procrastinate's, not ours, so its own SQL makes them. The comment on the schema says how far they are.
"""

from __future__ import annotations

from importlib import resources

from sqlalchemy import Connection, Engine, text

SCHEMA = "job_queue"


def supported(engine: Engine) -> bool:
    """Only PostgreSQL has a queue; with SQLite there is one machine, which needs none."""
    return engine.dialect.name == "postgresql"


def current(connection: Connection) -> str | None:
    """The last of procrastinate's migrations that was applied; None: there is no queue."""
    query = text("SELECT coalesce(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = :name")
    found: str | None = connection.scalar(query, {"name": SCHEMA})
    return found


def newest() -> str:
    """The last migration of the procrastinate that is installed."""
    return _migrations()[-1]


def upgrade(engine: Engine) -> None:
    """Make the queue, or bring it up to date: a transaction per file, as some need what an earlier one committed."""
    with engine.begin() as connection:
        before = current(connection)
        if before is None:
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
            _apply(connection, "schema.sql", newest())
    for name in _migrations():
        if before is not None and name > before:
            with engine.begin() as connection:
                _apply(connection, f"migrations/{name}", name)


def remove(connection: Connection) -> None:
    """Remove the queue and all that is in it."""
    connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))


def problem(connection: Connection) -> str:
    """What is wrong with the queue and what to do; empty when nothing is."""
    found = current(connection)
    if found is None:
        return "The database has no job queue yet. Run `mm-admin db upgrade`."
    if found < newest():
        return f"The job queue is at {found}, not {newest()}. Run `mm-admin db upgrade`."
    return ""


def _migrations() -> list[str]:
    folder = resources.files("procrastinate.sql").joinpath("migrations")
    return sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))


def _apply(connection: Connection, file: str, reached: str) -> None:
    statements = resources.files("procrastinate.sql").joinpath(file).read_text(encoding="utf-8")
    # Its functions name its tables without their schema.
    connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))
    connection.execution_options(no_parameters=True).exec_driver_sql(statements)  # a percent sign is no parameter
    connection.execute(text(f"COMMENT ON SCHEMA {SCHEMA} IS '{reached}'"))
