"""A file of rows taken in: what it would change is found out by doing it and taking it back, or it is done for good.

A dry run goes through the same use cases as the real one, row after row, so it refuses what the real one would refuse.
Its fingerprint covers the file and all that it was seen to change: what is applied is what was shown, or nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from mm_lib.database import begin
from mm_lib.model.base import Base
from mm_lib.services import table_changes, table_links, table_reading
from mm_lib.services.errors import InvalidValue, ServiceError
from mm_lib.services.table_files import from_cell
from mm_lib.services.table_filling import By, key_of_row
from mm_lib.services.table_queries import kept
from mm_lib.services.table_values import value_of
from mm_lib.services.tables import TABLES, Column, Kind, Table

MOST_BYTES = 350_000
MOST_ROWS = 1_500  # each goes through its use case: some 15 ms


class Verdict(StrEnum):
    """What a row of a file does."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Difference(NamedTuple):
    """A value that changes."""

    label: str
    before: str
    after: str


class Line(NamedTuple):
    """A row of the file."""

    number: int  # of its line in CSV, of the entry in JSON
    name: str
    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    reason: str = ""


class Stale(ServiceError):
    """What the file does is not what was shown."""


@dataclass(frozen=True)
class Outcome:
    """What a file does, row by row."""

    lines: tuple[Line, ...]
    left_out: tuple[str, ...]  # columns of the file that cannot be set
    fingerprint: str

    @property
    def counts(self) -> Counter[Verdict]:
        """How many rows are what."""
        return Counter(line.verdict for line in self.lines)

    @property
    def applicable(self) -> bool:
        """Whether it may be applied: nothing is refused, and something changes."""
        counts = self.counts
        return not counts[Verdict.REFUSED] and bool(counts[Verdict.NEW] + counts[Verdict.CHANGED])


class _Taken(Exception):
    """Take it back."""


def may_import(table: Table) -> bool:
    """Whether rows can be taken in: they are made here, and known by something better than a number."""
    return bool(table.key) and table_changes.may_add(table)


def dry_run(session: Session, table: Table, content: bytes, by: By) -> Outcome:
    """What a file would do. Nothing stays of it. Raises InvalidValue for a file that cannot be read."""
    begin(session)
    try:
        with session.begin_nested():
            outcome = _run(session, table, content, by)
            raise _Taken
    except _Taken:
        return outcome


def apply(session: Session, table: Table, content: bytes, by: By, fingerprint: str) -> Outcome:
    """Do what a dry run showed. Raises Stale when it would be something else by now; the caller then rolls back."""
    begin(session)
    outcome = _run(session, table, content, by)
    if outcome.fingerprint != fingerprint or not outcome.applicable:
        raise Stale("Something was changed since the dry run, so nothing was done. Look at the new one.")
    return outcome


def _run(session: Session, table: Table, content: bytes, by: By) -> Outcome:
    rows = _read(table, content)
    names = set().union(*(row for _, row in rows))
    columns, left_out = _settable(table, names)
    taker = _Taker(session, table, columns, by)
    lines = tuple(taker.take(number, row) for number, row in rows)
    told = json.dumps([hashlib.sha256(content).hexdigest(), *lines])
    return Outcome(lines, tuple(left_out), hashlib.sha256(told.encode()).hexdigest())


def _settable(table: Table, names: set[str]) -> tuple[list[Column], list[str]]:
    """Columns that the file sets, and what else it has. Raises InvalidValue."""
    known = table_reading.header(table)
    if unknown := sorted(names - set(known)):
        raise InvalidValue("file", f"there is no {unknown[0]!r} in {table.title}; there are {', '.join(known)}")
    if missing := [name for name in table_links.flat_key(table) if name not in names]:
        raise InvalidValue("file", f"has no {missing[0]!r}, by which the rows are known")
    how = table_changes.writer(table)
    possible = {*how.new.split(), *how.change.split(), *table.key.split()}
    columns = [column for column in table_reading.exported(table) if names & set(table_links.flat(column))]
    for column in columns:
        if lacking := sorted(set(table_links.flat(column)) - names):
            raise InvalidValue("file", f"has no {lacking[0]!r}, which belongs to {column.label}")
    left_out = [column.label for column in columns if column.name not in possible]
    return [column for column in columns if column.name in possible], left_out


class _Taker:
    """Takes in one row after the other."""

    def __init__(self, session: Session, table: Table, columns: Sequence[Column], by: By) -> None:
        self.session, self.table, self.columns, self.by = session, table, columns, by
        self.seen: dict[str, int] = {}
        self.links: dict[tuple[str, tuple[Any, ...]], int] = {}

    def take(self, number: int, row: Mapping[str, Any]) -> Line:
        """Do what a row says, or find out why it cannot be."""
        key = [row.get(name) for name in table_links.flat_key(self.table)]
        if any(part in (None, "") for part in key):
            others = [self.table.columns[name] for name in self.table.other_key.split()]
            key += [row.get(name) for column in others for name in table_links.flat(column)]
        name = table_links.JOINED.join("none" if part in (None, "") else str(part) for part in key)[:200]
        if name in self.seen:
            return Line(number, name, Verdict.REFUSED, reason=f"is in the file twice, also as {self.seen[name]}")
        self.seen[name] = number
        try:
            values = {column.name: self._value(column, row) for column in self.columns}
            with self.session.begin_nested():
                return self._write(number, name, values, row)
        except ServiceError as error:
            return Line(number, name, Verdict.REFUSED, reason=self._readable(error))

    def _write(self, number: int, name: str, values: dict[str, Any], row: Mapping[str, Any]) -> Line:
        existing = self._existing(values)
        if existing is None:
            filled = {column: value for column, value in values.items() if value is not None}
            table_changes.add(self.session, self.table, filled, self.by)
            shown = [column for column in self.columns if column.name in filled]
            return Line(number, name, Verdict.NEW, tuple(self._difference(column, None, row) for column in shown))
        changed = [column for column in self.columns if getattr(existing, column.name) != values[column.name]]
        if not changed:
            return Line(number, name, Verdict.UNCHANGED)
        fixed = [column for column in changed if column.name not in table_changes.writer(self.table).change.split()]
        if fixed:
            raise InvalidValue(fixed[0].name, "cannot be changed; remove the row and make another")
        differences = tuple(self._difference(column, existing, row) for column in changed)
        new = {column.name: values[column.name] for column in changed}
        table_changes.edit(self.session, self.table, key_of_row(self.table, existing), new, self.by)
        return Line(number, name, Verdict.CHANGED, differences)

    def _existing(self, values: Mapping[str, Any]) -> Base | None:
        names = self.table.key.split()
        if any(values[name] is None for name in names):
            names += self.table.other_key.split()
            if missing := [name for name in self.table.other_key.split() if values.get(name) is None]:
                raise InvalidValue(missing[0], "must have a value where the key has none")
        same = (self.table.attribute(name) == values[name] for name in names)
        query = select(self.table.model).where(and_(*same), kept(self.table))
        # Locked where the database can: between looking and writing nobody else changes it.
        return self.session.scalars(query.with_for_update()).first()

    def _value(self, column: Column, row: Mapping[str, Any]) -> Any:
        parts = [row.get(name) for name in table_links.flat(column)]
        if column.kind is not Kind.LINK:
            return value_of(self.table, column, parts[0])
        if all(part in (None, "") for part in parts):
            if column.nullable:
                return None
            raise InvalidValue(column.name, "must have a value")
        target = TABLES[column.target]
        typed = tuple(value_of(of, inner, part) for (of, inner), part in zip(_flat_columns(target), parts, strict=True))
        found = self.links.get((target.name, typed))
        if found is None:
            found = self.links[target.name, typed] = table_links.by_natural(self.session, target, typed)
        return found

    def _difference(self, column: Column, existing: Base | None, row: Mapping[str, Any]) -> Difference:
        parts = [row.get(name) for name in table_links.flat(column)]
        after = table_links.JOINED.join(_told(part) for part in parts)
        before = getattr(existing, column.name) if existing is not None else None
        if column.kind is Kind.LINK and before is not None:
            target = TABLES[column.target]
            before = table_links.JOINED.join(map(_told, table_links.naturals(self.session, target, [before])[before]))
        else:
            before = table_reading.plain(table_reading.shown(column, before))
        return Difference(column.label, "" if existing is None else _told(before), after)

    def _readable(self, error: ServiceError) -> str:
        if isinstance(error, InvalidValue) and error.field in self.table.columns:
            return f"{self.table.columns[error.field].label} {error.message}"
        return str(error)


def _flat_columns(table: Table) -> list[tuple[Table, Column]]:
    """The columns that the values of flat_key() are of."""
    if not table.key_columns:
        return [(table, table.columns["id"])]
    found = []
    for column in table.key_columns:
        found += _flat_columns(TABLES[column.target]) if column.kind is Kind.LINK else [(table, column)]
    return found


def _told(value: Any) -> str:
    if value in (None, ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- files


def _read(table: Table, content: bytes) -> list[tuple[int, dict[str, Any]]]:
    """The rows with the numbers of their lines or entries. Raises InvalidValue."""
    if len(content) > MOST_BYTES:
        raise InvalidValue("file", f"is larger than {MOST_BYTES // 1000} kB; take it in in pieces")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidValue("file", "is not text in UTF-8") from None
    rows = _of_json(text) if text.lstrip()[:1] in ("[", "{") else list(_of_csv(text))
    if not rows:
        raise InvalidValue("file", f"has no rows; export {table.title} to see what one looks like")
    if len(rows) > MOST_ROWS:
        raise InvalidValue("file", f"has more than {MOST_ROWS} rows; take it in in pieces")
    return rows


def _of_json(text: str) -> list[tuple[int, dict[str, Any]]]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValue("file", f"is no JSON: {error}") from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidValue("file", "must be a list of objects")
    return list(enumerate(entries, 1))


def _of_csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    first = text.partition("\n")[0]
    between = next((sign for sign in ",;\t" if sign in first), ",")  # spreadsheets of some countries use semicolons
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) < len(names):
            raise InvalidValue("file", "has two columns of the same name")
        before = reader.line_num
        for cells in reader:
            if cells and len(cells) != len(names):
                raise InvalidValue("file", f"line {before + 1} has {len(cells)} cells, and the first {len(names)}")
            if any(cells):
                yield before + 1, dict(zip(names, map(from_cell, cells), strict=True))
            before = reader.line_num
    except csv.Error as error:
        raise InvalidValue("file", f"line {reader.line_num} is no CSV: {error}") from None
