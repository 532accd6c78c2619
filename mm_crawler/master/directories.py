"""Write directories in bulk: by COPY on PostgreSQL, by prepared statements on SQLite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Text, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from mm_crawler.master.diff import DirectoryState
from mm_crawler.master.known import KnownCategory, below
from mm_crawler.master.scanned import join
from mm_lib.model.content import Directory

_BATCH = 2000
_TABLE = Directory.metadata.tables["directory"]
_LISTING = ("file_count", "listing_digest", "sample")
_NOTHING_LISTED = {"file_count": 0, "listing_digest": None, "sample": "[]"}

Row = dict[str, Any]


def add(
    session: Session, category: KnownCategory, states: Iterable[DirectoryState], wanted: Collection[str]
) -> dict[str, int]:
    """Insert them; the ids of those whose paths are wanted."""
    last = session.scalar(select(func.max(Directory.id)).where(Directory.category_id == category.id)) or 0
    rows = (_new_row(category, state) for state in states)
    if session.get_bind().dialect.name == "postgresql":
        columns = ("category_id", "path", "mtime", "readable", *_LISTING)
        _copy(session, f"directory ({', '.join(columns)})", columns, rows)
    else:
        # The sample is JSON text already.
        # As for the time, the database's own would have no fractions of a second.
        query = insert(_TABLE).values(sample=bindparam("sample", type_=Text), changed_at=datetime.now(UTC))
        for batch in _batches(rows):
            session.connection().execute(query, batch)
    new = select(Directory.path, Directory.id).where(Directory.category_id == category.id, Directory.id > last)
    found = session.execute(new.execution_options(yield_per=_BATCH))
    paths = ((below(category.topdir, path), id_) for path, id_ in found)
    return {path: id_ for path, id_ in paths if path in wanted}


def change(session: Session, states: Iterable[DirectoryState]) -> None:
    """Update them; without a listing, what is recorded of their files stays."""
    rows = ({"id": state.id, **_values(state)} for state in states)
    if session.get_bind().dialect.name == "postgresql":
        _change_by_copy(session, rows)
        return
    columns = _TABLE.c
    for batch in _batches(rows):
        for listed in (True, False):
            part = [row | {"_id": row["id"]} for row in batch if ("sample" in row) is listed]
            if not part:
                continue
            names = ("mtime", "readable", *(_LISTING if listed else ()))
            values: Row = {
                name: bindparam(name, type_=Text if name == "sample" else columns[name].type) for name in names
            }
            values["changed_at"] = datetime.now(UTC)
            query = update(_TABLE).where(columns.id == bindparam("_id")).values(values)
            session.connection().execute(query, part)


def _change_by_copy(session: Session, rows: Iterator[Row]) -> None:
    first = list(islice(rows, 1))
    if not first:
        return
    columns = ("id", "mtime", "readable", *_LISTING)
    connection = session.connection()
    connection.exec_driver_sql(
        "CREATE TEMPORARY TABLE scanned (id integer PRIMARY KEY, mtime bigint, readable boolean,"
        " file_count integer, listing_digest bytea, sample json) ON COMMIT DROP"
    )
    _copy(session, "scanned", columns, _chain(first, rows))
    kept = ", ".join(f"{name} = coalesce(scanned.{name}, directory.{name})" for name in _LISTING)
    connection.exec_driver_sql(
        f"UPDATE directory SET mtime = scanned.mtime, readable = scanned.readable, changed_at = now(), {kept}"  # noqa: S608 - our own names
        " FROM scanned WHERE directory.id = scanned.id"
    )
    connection.exec_driver_sql("DROP TABLE scanned")


def _chain(first: Iterable[Row], rest: Iterable[Row]) -> Iterator[Row]:
    yield from first
    yield from rest


def _new_row(category: KnownCategory, state: DirectoryState) -> Row:
    path = join(category.topdir, state.path) if state.path else category.topdir
    return {"category_id": category.id, "path": path, **_NOTHING_LISTED, **_values(state)}


def _values(state: DirectoryState) -> Row:
    values: Row = {"mtime": state.mtime, "readable": state.readable}
    if (listing := state.listing) is not None:
        values |= {"file_count": listing.file_count, "listing_digest": listing.digest, "sample": listing.sample}
    return values


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch


# -- COPY


def _copy(session: Session, target: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    lines = ("\t".join([_field(row.get(name)) for name in columns]) + "\n" for row in rows)
    driver = session.connection().connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor:
        cursor.copy_expert(f"COPY {target} FROM STDIN", _Reader(lines))


def _field(value: object) -> str:
    """As COPY's text format wants it."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    text = str(value)
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text if text.isprintable() else text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


class _Reader:
    """Lines as a file that psycopg2 reads."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def read(self, _size: int) -> str:
        """Some lines, about as many as were asked for; at the end nothing."""
        return "".join(islice(self._lines, 20))
