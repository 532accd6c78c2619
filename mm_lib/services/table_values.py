"""What people and files say a value is, as the value itself; every refusal names the column and what would be right."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from enum import Enum as PythonEnum
from typing import Any

from sqlalchemy import BigInteger, SmallInteger, String

from mm_lib.services.errors import InvalidValue
from mm_lib.services.tables import Column, Kind, Table

MOST_TEXT = 10_000  # characters of a text that the model does not limit
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def value_of(table: Table, column: Column, said: Any) -> Any:
    """The value of a column that is no link, said as text or (in JSON) as itself. Raises InvalidValue."""
    if isinstance(said, str) and column.kind is not Kind.TEXT:
        said = said.strip()
    if said is None or (said == "" and (column.nullable or column.kind is not Kind.TEXT)):
        if column.nullable:
            return None
        raise InvalidValue(column.name, "must have a value")
    if column.kind in (Kind.WHOLE, Kind.NUMBER):
        return _number(table, column, said)
    if column.kind is Kind.YES_NO:
        return _yes_or_no(column, said)
    if column.kind is Kind.CHOICE:
        return _choice(table, column, said)
    if column.kind in (Kind.TIME, Kind.DAY):
        return _moment(column, said)
    return _data(column, said) if column.kind is Kind.DATA else _text(table, column, said)


def _number(table: Table, column: Column, said: Any) -> float:
    type_ = table.attribute(column.name).type
    bits = 15 if isinstance(type_, SmallInteger) else 63 if isinstance(type_, BigInteger) else 31
    try:
        number = int(said) if column.kind is Kind.WHOLE and not isinstance(said, float) else float(said)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if column.kind is Kind.NUMBER and math.isfinite(number) and not isinstance(said, bool):
        return float(number)
    if column.kind is Kind.WHOLE and isinstance(number, int) and not isinstance(said, bool) and abs(number) < 2**bits:
        return number
    raise InvalidValue(column.name, f"must be a {column.kind.value}")


def _yes_or_no(column: Column, said: Any) -> bool:
    known = said if isinstance(said, bool) else _YES.get(str(said).lower())
    if known is None:
        raise InvalidValue(column.name, "must be yes or no")
    return known


def _choice(table: Table, column: Column, said: Any) -> PythonEnum:
    if said not in column.choices:
        raise InvalidValue(column.name, f"must be one of {', '.join(column.choices)}")
    chosen: PythonEnum = table.attribute(column.name).type.enum_class(said)
    return chosen


def _moment(column: Column, said: Any) -> date:
    try:
        if column.kind is Kind.DAY:
            return date.fromisoformat(said)
        moment = datetime.fromisoformat(said)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        example = "2026-11-30" if column.kind is Kind.DAY else "2026-11-30 12:00, in UTC"
        raise InvalidValue(column.name, f"must be as {example}") from None


def _data(column: Column, said: Any) -> Any:
    if not isinstance(said, str):
        return said
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        raise InvalidValue(column.name, "must be JSON") from None


def _text(table: Table, column: Column, said: Any) -> str:
    type_ = table.attribute(column.name).type
    most = (type_.length if isinstance(type_, String) else None) or MOST_TEXT
    if not isinstance(said, str):
        raise InvalidValue(column.name, "must be a text")
    text = said.replace("\r\n", "\n").strip()
    if len(text) > most or not text.replace("\n", "").replace("\t", "").isprintable():
        raise InvalidValue(column.name, f"must have at most {most} printable characters")
    return text
