"""Rows as CSV and JSON: what goes out can come in again, and no spreadsheet takes a text for a formula."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mm_lib.services.table_reading import header
from mm_lib.services.tables import Table

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MARK = "'"  # before a text that a spreadsheet would compute


def as_csv(table: Table, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line with the names, and one for each row."""
    names = header(table)
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(names)
    for row in rows:
        writer.writerow(to_cell(row[name]) for name in names)
        yield _taken(stream)
    yield _taken(stream)


def as_json(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A list of objects, one a line."""
    before = "["
    for row in rows:
        yield f"{before}\n{json.dumps(row, ensure_ascii=False)}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def to_cell(value: Any) -> str:
    """A value in a CSV file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{_MARK}{text}" if text.startswith((*_FORMULA, _MARK)) else text


def from_cell(text: str) -> str:
    """The text that to_cell() made this of."""
    return text[1:] if text.startswith(_MARK) and text[1:].startswith((*_FORMULA, _MARK)) else text


def _taken(stream: io.StringIO) -> str:
    text = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    return text
