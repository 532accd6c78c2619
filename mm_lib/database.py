"""Engine and sessions, and transaction(): the only commit in the system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from mm_lib.model import tables
from mm_lib.settings import DatabaseSettings, SettingsError

SQLITE_BUSY_MS = 30_000  # how long a writer waits for another before it gives up


def driver_url(url: str) -> str:
    """The URL with its driver named: `postgresql://` means psycopg2 here, whatever SQLAlchemy's default is.

    Raises SettingsError when it is not the URL of a database that we run on.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError("database.url: not a database URL, e.g. postgresql://mm@localhost/mirrormanager") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    if parsed.get_backend_name() not in ("postgresql", "sqlite"):
        raise SettingsError(f"database.url: {parsed.get_backend_name()} is not supported; use postgresql or sqlite")
    return parsed.render_as_string(hide_password=False)


def engine_options(settings: DatabaseSettings) -> dict[str, Any]:
    """What create_engine needs besides the URL."""
    if make_url(settings.url).get_backend_name() == "sqlite":
        return {}
    options: dict[str, Any] = {"pool_size": settings.pool_size, "pool_pre_ping": True}
    if make_url(driver_url(settings.url)).get_driver_name() == "psycopg2":
        options["executemany_mode"] = "values_plus_batch"  # else each row of many makes its own trip to the server
    return options


def make_engine(settings: DatabaseSettings) -> Engine:
    """An engine; nothing is connected yet."""
    engine = create_engine(driver_url(settings.url), **engine_options(settings))
    prepare(engine)
    return engine


def prepare(engine: Engine) -> None:
    """SQLite needs to be told on each connection to keep foreign keys and to let readers pass a writer."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_connect)


def _sqlite_connect(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_MS}")
    cursor.close()


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """Makes sessions; their objects stay readable after the commit."""
    assert tables.metadata.tables  # a session that knows only half of the tables fails in odd ways
    return sessionmaker(engine, expire_on_commit=False)


def freeze(session: Session) -> None:
    """Let a new session see the database as of one moment, whatever others write while it reads."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    else:
        # Python's sqlite3 opens a transaction for writes only; without one, each query sees the moment it runs in.
        session.connection().exec_driver_sql("BEGIN")


def begin(session: Session) -> None:
    """Open the transaction now. Python's sqlite3 opens one late, and a savepoint before that would commit."""
    connection = session.connection()
    if connection.dialect.name == "sqlite" and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def transaction(session: Session) -> Iterator[Session]:
    """Commit when the block ends, roll back when it raises."""
    try:
        yield session
        session.commit()
    except BaseException:
        session.rollback()
        raise
