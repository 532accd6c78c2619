"""Which rows of a table are wanted, and in which order: what the address of a list says, as SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, select, true
from sqlalchemy.orm import InstrumentedAttribute, aliased

from mm_lib.services.access import LARGEST_ID
from mm_lib.services.errors import InvalidValue
from mm_lib.services.table_links import matching, words
from mm_lib.services.tables import TABLES, Column, Kind, Table, Through

_ANYTHING = true()
NONE = "(none)"  # a filter for what has no value
_RANGE = re.compile(r"(?P<low>-?\d{1,18}(?:\.\d{1,9})?)\s*\.\.\s*(?P<high>-?\d{1,18}(?:\.\d{1,9})?)")
_COMPARED = re.compile(r"(?P<sign>>=|<=|>|<|=)?\s*(?P<number>-?\d{1,18}(?:\.\d{1,9})?)")


@dataclass(frozen=True)
class Wanted:
    """Which rows, in which order. Empty: all, as the table is usually read."""

    search: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)  # column -> what it has to be
    sort: str = ""  # a column, with - before it downwards
    page: int = 1


def kept(table: Table) -> ColumnElement[bool]:
    """Rows that are not deleted."""
    return table.attribute("deleted_at").is_(None) if table.deletable_softly else true()


def reachable(table: Table) -> ColumnElement[bool]:
    """Rows that belong to nothing that is deleted: files name what they belong to, and could not name that."""
    conditions = [kept(table)]
    for column in table.columns.values():
        if column.target and not column.nullable:
            target = TABLES[column.target]
            if (inner := reachable(target)) is not _ANYTHING:
                conditions.append(table.attribute(column.name).in_(select(target.primary[0]).where(inner)))
    return and_(*conditions) if len(conditions) > 1 or table.deletable_softly else _ANYTHING


def condition_for(table: Table, wanted: Wanted) -> ColumnElement[bool]:
    """Rows that are wanted. Raises InvalidValue for a filter that cannot be."""
    conditions = [kept(table)]
    if sought := words(wanted.search):
        conditions.append(matching(table, table.searched, sought))
    for name, text in wanted.filters.items():
        if name in table.through:
            conditions.append(_through(table, table.through[name], text.strip()))
            continue
        column = table.columns.get(name)
        if column is None or not column.asked_for:
            raise InvalidValue(name, "is nothing that can be filtered by")
        conditions.append(_filter(table, column, text.strip()))
    return and_(*conditions)


def _through(table: Table, way: Through, text: str) -> ColumnElement[bool]:
    between = TABLES[way.table]
    found = select(between.attribute(way.here)).where(_filter(between, between.columns[way.there], text))
    return table.primary[0].in_(found)


def _filter(table: Table, column: Column, text: str) -> ColumnElement[bool]:
    attribute = table.attribute(column.name)
    if not text.isprintable():
        raise InvalidValue(column.name, "holds a control character, which nothing is found by")
    if text == NONE:
        return attribute.is_(None)
    if column.kind is Kind.YES_NO:
        return attribute.is_(_one_of(column, text, {"yes": True, "no": False}))
    if column.kind is Kind.CHOICE:
        return attribute.in_([_one_of(column, text, {choice: choice for choice in column.choices})])
    if column.kind in (Kind.TIME, Kind.DAY):
        return _between(column, attribute, text)
    if column.kind in (Kind.WHOLE, Kind.NUMBER):
        return _compared(column, attribute, text)
    if column.kind is Kind.LINK and text.startswith("#") and text[1:].isdecimal():
        return attribute.in_([int(text[1:])] if len(text) < 10 or int(text[1:]) <= LARGEST_ID else [])
    if text.startswith("=") and column.kind is Kind.TEXT:
        return attribute.in_([text[1:]])
    return matching(table, [column], words(text))


def _one_of(column: Column, text: str, possible: Mapping[str, Any]) -> Any:
    if text not in possible:
        raise InvalidValue(column.name, f"must be one of {', '.join(possible)}")
    return possible[text]


def _between(column: Column, attribute: InstrumentedAttribute[Any], text: str) -> ColumnElement[bool]:
    """Of a day, or of the days from one to another; either end may be left out."""
    low, dots, high = (part.strip() for part in text.partition(".."))
    conditions = []
    try:
        if low:
            conditions.append(attribute >= _moment(column, low))
        if high or not dots:
            until = date.fromisoformat(high or low) + timedelta(days=1)
            conditions.append(attribute < _moment(column, until.isoformat()))
    except (ValueError, OverflowError):
        raise InvalidValue(column.name, "must be a day as 2026-11-30, or two as 2026-11-01..2026-11-30") from None
    return and_(*conditions)


def _moment(column: Column, text: str) -> date:
    day = date.fromisoformat(text)
    return day if column.kind is Kind.DAY else datetime(day.year, day.month, day.day, tzinfo=UTC)


def _compared(column: Column, attribute: InstrumentedAttribute[Any], text: str) -> ColumnElement[bool]:
    if match := _RANGE.fullmatch(text):
        return attribute.between(_number(match["low"]), _number(match["high"]))
    match = _COMPARED.fullmatch(text)
    if match is None:
        raise InvalidValue(column.name, "must be a number as 100, a comparison as >=100, or a range as 10..20")
    number = _number(match["number"])
    signs: dict[str, ColumnElement[bool]] = {
        ">=": attribute >= number,
        "<=": attribute <= number,
        ">": attribute > number,
        "<": attribute < number,
    }
    return signs.get(match["sign"] or "", attribute.in_([number]))


def _number(text: str) -> float:
    return float(text) if "." in text else int(text)


def order_for(table: Table, sort: str) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """What to join, and what to order by: a link by the name of what it leads to. The key decides between equals."""
    name, down = sort.removeprefix("-"), sort.startswith("-")
    if name not in table.sortable:
        name, down = "", table.newest_first
        if not name and not table.newest_first and table.in_list[0].name in table.sortable:
            name = table.in_list[0].name
    joins: list[tuple[Any, Any]] = []
    found = _sorted_by(table, table.model, name, joins) if name else []
    found += table.primary
    return joins, [expression.desc() if down else expression.asc() for expression in found]


def _sorted_by(table: Table, entity: Any, name: str, joins: list[tuple[Any, Any]]) -> list[Any]:
    column, attribute = table.columns[name], getattr(entity, name)
    if column.kind is not Kind.LINK or table.large:
        return [attribute]
    target = TABLES[column.target]
    other = aliased(target.model)
    joins.append((other, getattr(other, target.primary[0].key) == attribute))
    inner = [_sorted_by(target, other, part.name, joins) for part in target.label_columns]
    return [expression for part in inner for expression in part] or [attribute]
