"""Tables for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from flask import Response

CSV = "csv"


def as_csv(name: str, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Response:
    """A file that is called so."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(columns)
    table.writerows([_harmless(value) for value in row] for row in rows)
    answer = Response(written.getvalue(), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


def _harmless(value: Any) -> Any:
    """A spreadsheet must not take a name for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
