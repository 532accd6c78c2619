"""Rows by the names that people know them by: of many at once, found by a part of the name, and by what a file says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, and_, cast, false, or_, select, true
from sqlalchemy.orm import Session

from mm_lib.model.hiding import WITH_DELETED
from mm_lib.services.access import LARGEST_ID
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.tables import TABLES, Column, Kind, Table, find

MAX_FOUND = 20  # candidates that a look-up shows
FEW = 200  # rows of a table that a form may offer all of
JOINED = " · "


class Link(NamedTuple):
    """A row of another table."""

    table: str
    key: str
    text: str


def labels(session: Session, table: Table, ids: Collection[int]) -> dict[int, str]:
    """What people call these rows; deleted ones are marked. One query, and one for each table that a name leads to."""
    return {id_: JOINED.join(map(_text, parts)) for id_, parts in _parts(session, table, ids, label=True).items()}


def naturals(session: Session, table: Table, ids: Collection[int]) -> dict[int, tuple[Any, ...]]:
    """What files call these rows: the values of flat_key(), in its order."""
    return _parts(session, table, ids, label=False)


def flat_key(table: Table) -> list[str]:
    """The names of the values that a row is known by in files, those of other tables with a dot."""
    if not table.key_columns:
        return ["id"]
    return [name for column in table.key_columns for name in flat(column)]


def flat(column: Column) -> list[str]:
    """The names of a column's values in files: several where it is a link to a row that is known by several."""
    if column.kind is not Kind.LINK:
        return [column.name]
    stem, inner = column.name.removesuffix("_id"), flat_key(TABLES[column.target])
    if inner == ["id"]:
        return [column.name]
    return [stem] if len(inner) == 1 else [f"{stem}.{name}" for name in inner]


def _parts(session: Session, table: Table, ids: Collection[int], *, label: bool) -> dict[int, tuple[Any, ...]]:
    """The values that name the rows, links followed to the end."""
    columns = table.label_columns if label else table.key_columns
    if not ids:
        return {}
    if not columns:
        return {id_: (f"#{id_}",) if label else (id_,) for id_ in ids}
    marks = [table.attribute("deleted_at")] if label and table.deletable_softly else []
    chosen = [table.attribute(column.name) for column in columns]
    query = select(table.primary[0], *chosen, *marks).where(table.primary[0].in_(ids))
    rows = session.execute(query, execution_options=WITH_DELETED).all()
    inner = {
        index: _parts(session, TABLES[column.target], {row[index] for row in rows} - {None}, label=label)
        for index, column in enumerate(columns, 1)
        if column.kind is Kind.LINK
    }
    found = {}
    for row in rows:
        parts: list[Any] = []
        for index in range(1, len(columns) + 1):
            parts += inner[index].get(row[index], ("?",)) if index in inner else [row[index]]
        if marks and row[-1] is not None:
            parts[-1] = f"{parts[-1]} (deleted)"
        found[row[0]] = tuple(parts)
    return found


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return "none" if value is None else str(getattr(value, "value", value))


# -- finding


def words(text: str) -> list[str]:
    """What is looked for. Raises InvalidValue for what databases refuse to look for."""
    if not text.isprintable():
        raise InvalidValue("q", "holds a control character, which nothing is found by")
    return [word for word in text.split() if word != JOINED.strip()][:8]


def matching(table: Table, columns: Sequence[Column], sought: Iterable[str]) -> ColumnElement[bool]:
    """Rows in which every word is part of one of the columns, or of the name of what they lead to."""
    return and_(true(), *(or_(false(), *(_holds(table, column, word) for column in columns)) for word in sought))


def _holds(table: Table, column: Column, word: str) -> ColumnElement[bool]:
    attribute = table.attribute(column.name)
    if column.kind is Kind.LINK:
        target = TABLES[column.target]
        inner = select(target.primary[0]).where(matching(target, target.label_columns, [word]))
        return attribute.in_(inner)
    if column.kind not in (Kind.TEXT, Kind.CHOICE):
        return cast(attribute, String) == word
    if table.large:  # paths and names of files: capitals count there, and comparing them so is much quicker
        return attribute.contains(word, autoescape=True)
    return cast(attribute, String).icontains(word, autoescape=True)


def candidates(session: Session, name: str, text: str, limit: int = MAX_FOUND) -> list[Link]:
    """Rows whose name holds these words, those that begin with them first."""
    table = find(name)
    condition = matching(table, table.label_columns, words(text))
    ids = session.scalars(_kept(table).where(condition).order_by(*_in_order(table)).limit(limit)).all()
    named = labels(session, table, ids)
    found = [Link(name, str(id_), named[id_]) for id_ in ids]
    return sorted(found, key=lambda link: not link.text.lower().startswith(text.strip().lower()))


def few(session: Session, name: str) -> list[Link]:
    """All rows of a small table, by name; nothing when there are many."""
    table = find(name)
    ids = session.scalars(_kept(table).order_by(*_in_order(table)).limit(FEW + 1)).all()
    if len(ids) > FEW:
        return []
    named = labels(session, table, ids)
    return [Link(name, str(id_), named[id_]) for id_ in ids]


def _kept(table: Table) -> Any:
    query = select(table.primary[0])
    return query.where(table.attribute("deleted_at").is_(None)) if table.deletable_softly else query


def _in_order(table: Table) -> list[Any]:
    plain = [table.attribute(column.name) for column in table.label_columns if column.kind is not Kind.LINK]
    return [*plain, table.primary[0]]


def named(session: Session, name: str, text: str) -> int | None:
    """The row that a text names: its number after #, or its whole name. None: nothing, or several."""
    table, text = find(name), text.strip()
    if text.startswith("#") and text[1:].isdecimal() and int(text[1:]) <= LARGEST_ID:
        number = int(text[1:])
        found: int | None = session.scalar(_kept(table).where(table.primary[0] == number))
        return found
    exact = [link for link in candidates(session, name, text, FEW) if link.text.lower() == text.lower()] if text else []
    return int(exact[0].key) if len(exact) == 1 else None


def by_natural(session: Session, table: Table, values: Sequence[Any]) -> int:
    """The row that a file names by the values of flat_key(). Raises NotFound."""
    found = session.scalar(_kept(table).where(_is_named(table, list(values))).limit(1))
    if found is None:
        raise NotFound(f"There is no {table.one} {JOINED.join(map(_text, values))}.")
    return int(found)


def _is_named(table: Table, values: list[Any]) -> ColumnElement[bool]:
    """Takes what it needs off the front of the values."""
    if not table.key_columns:
        return table.primary[0].in_([values.pop(0)])
    conditions: list[ColumnElement[bool]] = []
    for column in table.key_columns:
        attribute = table.attribute(column.name)
        if column.kind is Kind.LINK:
            target = TABLES[column.target]
            inner = _is_named(target, values)
            kept = target.attribute("deleted_at").is_(None) if target.deletable_softly else None
            query = select(target.primary[0]).where(inner)
            conditions.append(attribute.in_(query if kept is None else query.where(kept)))
        else:
            conditions.append(attribute == values.pop(0))
    return and_(*conditions)
