"""Any table of the model, read for people: page by page, with the names of what it refers to, or whole for files.

No page costs more than a few queries, however many rows there are: nothing is counted to its end, and nobody can leaf
further than the database finds quickly; a filter leads there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from pyroaring import BitMap
from sqlalchemy import BigInteger, ColumnElement, Select, and_, func, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from mm_lib.model.base import UtcDateTime
from mm_lib.model.hiding import WITH_DELETED
from mm_lib.services.errors import NotFound
from mm_lib.services.table_links import Link, flat, labels, naturals
from mm_lib.services.table_queries import Wanted, condition_for, kept, order_for, reachable
from mm_lib.services.tables import TABLES, Column, Kind, Table

PAGE = 50
MOST_PAGES = 200  # beyond, databases count through everything before
MOST_COUNTED = 10_000
MOST_REFERRERS = 1_000
CHUNK = 1_000  # rows that an export reads at once


class Row(NamedTuple):
    """A row, with Link values where it leads elsewhere."""

    key: str
    values: dict[str, Any]


class Count(NamedTuple):
    """How many there are at least; exactly when it was counted to the end."""

    number: int
    exact: bool


@dataclass(frozen=True)
class Page:
    """Some rows of a list."""

    rows: list[Row]
    number: int
    more: bool
    total: Count | None  # None: not counted, for that would take as long as looking at every row


class Referrers(NamedTuple):
    """Rows of a table that lead to a row."""

    table: Table
    column: Column
    number: Count
    goes_with_it: bool  # deleted with it, not only left without it


def page(session: Session, table: Table, wanted: Wanted) -> Page:
    """The rows of a page. Raises InvalidValue for a filter that cannot be."""
    number = min(max(1, wanted.page), MOST_PAGES)
    condition = condition_for(table, wanted)
    joins, order = order_for(table, wanted.sort)
    query = _chosen(table, [column.name for column in table.in_list]).where(condition)
    for target, on in joins:
        query = query.outerjoin(target, on)
    query = query.order_by(*order).offset((number - 1) * PAGE).limit(PAGE + 1)
    found = session.execute(query, execution_options=WITH_DELETED).all()
    rows = _rows(session, table, table.in_list, found[:PAGE])
    return Page(rows, number, len(found) > PAGE and number < MOST_PAGES, _total(session, table, wanted, condition))


def _total(session: Session, table: Table, wanted: Wanted, condition: ColumnElement[bool]) -> Count | None:
    if table.large and (wanted.search or wanted.filters):
        return None
    few = select(literal(1)).select_from(table.model).where(condition).limit(MOST_COUNTED + 1).subquery()
    return _counted(session.scalar(select(func.count()).select_from(few)) or 0, MOST_COUNTED)


def _counted(number: int, most: int) -> Count:
    return Count(min(number, most), number <= most)


def counts(session: Session) -> dict[str, Count]:
    """How many rows each table has, in one query."""
    queries = []
    for table in TABLES.values():
        few = select(literal(1)).select_from(table.model).where(kept(table)).limit(MOST_COUNTED + 1).subquery()
        number = select(func.count()).select_from(few).scalar_subquery()
        queries.append(select(literal(table.name).label("name"), number.label("number")))
    found = session.execute(union_all(*queries), execution_options=WITH_DELETED)
    return {name: _counted(number, MOST_COUNTED) for name, number in found}


def matching_keys(session: Session, table: Table, wanted: Wanted, limit: int) -> list[str]:
    """The keys of all rows that match, up to a limit and one more."""
    query = select(*table.primary).where(condition_for(table, wanted)).order_by(*table.primary).limit(limit + 1)
    return [key_of(row) for row in session.execute(query, execution_options=WITH_DELETED)]


def row(session: Session, table: Table, key: str) -> Row:
    """A row with everything that is shown of it, also when it is deleted. Raises NotFound."""
    columns = tuple(table.columns.values())
    query = _chosen(table, list(table.columns)).where(is_key(table, key))
    found = session.execute(query, execution_options=WITH_DELETED).all()
    if not found:
        raise NotFound(f"There is no such {table.one}. It may have been deleted.")
    return _rows(session, table, columns, found)[0]


def title(session: Session, table: Table, key: str) -> str:
    """What people call a row. Raises NotFound."""
    if len(table.primary) == 1 and table.label_columns and key.isdecimal():
        named = labels(session, table, [int(key)])
        if named:
            return named[int(key)]
    shown = row(session, table, key).values
    columns = table.label_columns or tuple(table.columns.values())[:1]
    return " · ".join(as_text(column, shown[column.name]) for column in columns)


def referrers(session: Session, table: Table, key: str) -> list[Referrers]:
    """What leads to a row, in one query."""
    if len(table.primary) != 1 or not key.isdecimal():
        return []
    leading = [
        (other, column) for other in TABLES.values() for column in other.columns.values() if column.target == table.name
    ]
    queries = []
    for index, (other, column) in enumerate(leading):
        few = select(literal(1)).select_from(other.model).where(other.attribute(column.name) == int(key), kept(other))
        number = select(func.count()).select_from(few.limit(MOST_REFERRERS + 1).subquery()).scalar_subquery()
        queries.append(select(literal(index).label("index"), number.label("number")))
    found = session.execute(union_all(*queries), execution_options=WITH_DELETED).all() if queries else []
    return [
        Referrers(leading[index][0], leading[index][1], _counted(number, MOST_REFERRERS), _goes_with(*leading[index]))
        for index, number in sorted(tuple(row) for row in found)
        if number
    ]


def _goes_with(table: Table, column: Column) -> bool:
    keys = table.attribute(column.name).property.columns[0].foreign_keys
    return any(key.ondelete == "CASCADE" for key in keys)


def export(session: Session, table: Table, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Every row that matches, as files have it: plain values under flat names, in the order of the key.

    It is read piece by piece, so that a large table neither fills the memory nor makes others wait.
    """
    columns = exported(table)
    condition, last = condition_for(table, wanted), None
    if table.key:  # these come in again
        condition = and_(condition, reachable(table))
    known: dict[str, dict[int, tuple[Any, ...]]] = {}
    while True:
        query = _chosen(table, [column.name for column in columns]).where(condition)
        if last is not None:
            bounds = [literal(value, attribute.type) for value, attribute in zip(last, table.primary, strict=True)]
            query = query.where(tuple_(*table.primary) > tuple_(*bounds))
        found = session.execute(query.order_by(*table.primary).limit(CHUNK), execution_options=WITH_DELETED).all()
        _learn(session, columns, found, len(table.primary), known)
        for each in found:
            yield _flattened(columns, each[len(table.primary) :], known)
        if len(found) < CHUNK:
            return
        last = tuple(found[-1][: len(table.primary)])


def exported(table: Table) -> tuple[Column, ...]:
    """What files have: everything, but no number where there is a better key, nor what only deleted rows have."""
    left_out = {"deleted_at", "deleted_by", *(("id",) if table.key else ())}
    return tuple(column for column in table.columns.values() if column.name not in left_out)


def header(table: Table) -> list[str]:
    """The names of what files have."""
    return [name for column in exported(table) for name in flat(column)]


def _learn(
    session: Session, columns: Sequence[Column], rows: Sequence[Any], skip: int, known: dict[str, dict[int, Any]]
) -> None:
    for index, column in enumerate(columns, skip):
        if column.kind is Kind.LINK:
            names = known.setdefault(column.target, {})
            missing = {row[index] for row in rows} - {None} - set(names)
            names.update(naturals(session, TABLES[column.target], missing))


def _flattened(
    columns: Sequence[Column], values: Sequence[Any], known: Mapping[str, Mapping[int, Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column, value in zip(columns, values, strict=True):
        names = flat(column)
        if column.kind is Kind.LINK:
            found |= dict(zip(names, known[column.target].get(value, (None,) * len(names)), strict=True))
        else:
            found[names[0]] = shown(column, value)
    return {name: plain(value) for name, value in found.items()}


# -- values


def _chosen(table: Table, names: Sequence[str]) -> Select[Any]:
    return select(
        *(attribute.label(f"key_{n}") for n, attribute in enumerate(table.primary)), *map(table.attribute, names)
    )


def _rows(session: Session, table: Table, columns: Sequence[Column], found: Sequence[Any]) -> list[Row]:
    skip = len(table.primary)
    ids: dict[str, set[int]] = {}
    for index, column in enumerate(columns, skip):
        if column.kind is Kind.LINK:
            ids.setdefault(column.target, set()).update({row[index] for row in found} - {None})
    named = {target: labels(session, TABLES[target], wanted) for target, wanted in ids.items()}

    def value(column: Column, raw: Any) -> Any:
        if column.kind is not Kind.LINK or raw is None:
            return shown(column, raw)
        return Link(column.target, str(raw), named[column.target].get(raw, f"#{raw}"))

    return [
        Row(key_of(each[:skip]), {column.name: value(column, each[n]) for n, column in enumerate(columns, skip)})
        for each in found
    ]


def shown(column: Column, value: Any) -> Any:
    """The value as it may be shown."""
    if value is None:
        return None
    if column.kind is Kind.SET:
        return len(BitMap.deserialize(value)) if value else 0
    if column.kind is Kind.BYTES:
        return str(ipaddress.ip_address(value)) if column.name.endswith("_address") else bytes(value).hex()
    if column.partly:
        address, sign, _ = str(value).partition("?")
        return f"{address}?(hidden)" if sign else address
    return getattr(value, "value", value) if column.kind is Kind.CHOICE else value


def plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    return getattr(value, "value", value)


def as_text(column: Column, value: Any) -> str:
    """In a sentence."""
    if isinstance(value, Link):
        return value.text
    if value is None:
        return "none"
    if column.kind is Kind.YES_NO:
        return "yes" if value else "no"
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else str(value)


def key_of(values: Sequence[Any]) -> str:
    """The primary key as an address has it."""
    return ",".join(str(plain(value)) for value in values)


def is_key(table: Table, key: str) -> ColumnElement[bool]:
    """A condition for the row with this key. Raises NotFound for one that cannot be."""
    parts = key.split(",", len(table.primary) - 1)
    if len(parts) != len(table.primary) or not key.isprintable():
        raise NotFound(f"There is no such {table.one}.")
    try:
        values = [_of_key(attribute, part) for attribute, part in zip(table.primary, parts, strict=True)]
    except (ValueError, OverflowError):
        raise NotFound(f"There is no such {table.one}.") from None
    return and_(*(attribute == value for attribute, value in zip(table.primary, values, strict=True)))


def _of_key(attribute: Any, text: str) -> Any:
    if isinstance(attribute.type, UtcDateTime):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return moment
    kind = attribute.type.python_type
    if kind is int:
        number = int(text)
        if not 0 <= number < 2 ** (63 if isinstance(attribute.type, BigInteger) else 31):
            raise ValueError(text)
        return number
    return date.fromisoformat(text) if kind is date else kind(text)
