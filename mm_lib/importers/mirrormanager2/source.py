"""A MirrorManager2 database: tables that may be there, columns that may be, rows as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Boolean, Connection, Integer, Text, cast, column, func, inspect, null, select, table

from mm_lib.database import make_engine
from mm_lib.services.errors import ServiceError
from mm_lib.settings import DatabaseSettings, SettingsError

CHUNK = 10_000  # rows that are fetched at once
FEW = 20  # that are large
MAX_INTEGER = 2**31 - 1  # that a column of ours can hold


class NotMirrorManager(ServiceError):
    """The database is none of MirrorManager2."""


class Source:
    """What is read, as of one moment. Versions of MirrorManager2 differ: what one does not have is empty."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        if missing := {"site", "host", "host_category", "category", "directory"} - self.tables:
            raise NotMirrorManager(f"This is no MirrorManager2 database: it has no table {', '.join(sorted(missing))}.")

    @cached_property
    def tables(self) -> frozenset[str]:
        """The names of its tables."""
        return frozenset(inspect(self._connection).get_table_names())

    def columns(self, name: str) -> dict[str, Any]:
        """A table's columns with their types; none when there is no such table."""
        if name not in self.tables:
            return {}
        return {found["name"]: found["type"] for found in inspect(self._connection).get_columns(name)}

    def rows(self, name: str, *wanted: str, order_by: Sequence[str] = ("id",)) -> Iterator[Any]:
        """The rows with these columns, by a cursor on the server. A column that is not there is NULL."""
        there = self.columns(name)
        if not there:
            return iter(())
        chosen = [column(each) if each in there else null().label(each) for each in wanted]
        query = select(*chosen).select_from(table(name)).order_by(*(column(each) for each in order_by if each in there))
        return iter(self._connection.execute(query, execution_options={"yield_per": CHUNK}))

    def up_to_date(self) -> Iterator[tuple[int, int, int, list[int]]]:
        """Per host category: its rows, those that are up to date, and the directories that these name.

        The database gathers them: millions of rows become a few hundred.
        """
        owner, directory = column("host_category_id", Integer), column("directory_id", Integer)
        current = column("up2date", Boolean).is_(True)
        ids = func.aggregate_strings(cast(directory, Text), ",").filter(current, directory.is_not(None))
        query: Any = (
            select(owner, func.count(), func.count().filter(current), ids)
            .select_from(table("host_category_dir"))
            .group_by(owner)
            .order_by(owner)
        )
        for id_, rows, number, joined in self._connection.execute(query, execution_options={"yield_per": FEW}):
            yield id_, rows, number, list(map(int, joined.split(","))) if joined else []

    def without_directory(self) -> Iterator[tuple[int, str]]:
        """Host category and path of the rows that are up to date and name no directory."""
        directory, current = column("directory_id", Integer), column("up2date", Boolean).is_(True)
        query: Any = select(column("host_category_id"), column("path")).select_from(table("host_category_dir"))
        return iter(
            (owner, str(path or ""))
            for owner, path in self._connection.execute(
                query.where(current, directory.is_(None)), execution_options={"yield_per": CHUNK}
            )
        )

    def count(self, name: str, used: str = "") -> int:
        """How many rows there are; with `used`, those where this column says something: not nothing, and not no."""
        there = self.columns(name)
        if not there or (used and used not in there):
            return 0
        query = select(func.count()).select_from(table(name))
        if used:
            is_flag = isinstance(there[used], Boolean)
            query = query.where(column(used, Boolean).is_(True) if is_flag else column(used).is_not(None))
        return self._connection.scalar(query) or 0


@contextmanager
def opened(dsn: str) -> Iterator[Source]:
    """The database behind a URL, read only and as of one moment. Raises NotMirrorManager."""
    try:
        engine = make_engine(DatabaseSettings(url=dsn))
    except SettingsError:
        raise NotMirrorManager(
            "--dsn is not the URL of a database that we can read, e.g. postgresql://USER@HOST/NAME"
        ) from None
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            else:
                connection.exec_driver_sql("BEGIN")
            yield Source(connection)
    finally:
        engine.dispose()


def text(value: object) -> str:
    """Printable text in one line, whatever was typed."""
    kept = "".join(character if character.isprintable() else " " for character in str(value or ""))
    return " ".join(kept.split())


def flag(value: object, default: bool = False) -> bool:
    """A truth value that may be missing."""
    return default if value is None else bool(value)


def number(value: object, default: int, most: int = MAX_INTEGER) -> int:
    """A whole number above zero that is not beyond all measure, or the default."""
    return value if isinstance(value, int) and 0 < value <= most else default


def moment(value: object) -> datetime | None:
    """A time; MirrorManager2 keeps them without zone, in UTC."""
    if isinstance(value, str):  # SQLite has no type for times
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def day(value: object) -> date | None:
    """A day."""
    if isinstance(value, str):
        value = date.fromisoformat(value[:10])
    return value.date() if isinstance(value, datetime) else value if isinstance(value, date) else None
