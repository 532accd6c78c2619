"""The forms of a statistics page for programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from flask import Response

from mm_frontend.statistics.asked import Asked
from mm_lib.statistics.figures import Figures, Point, Row, Span

COLUMNS = ("name", "requests", "share", "clients_per_day", "requests_before", "change")


def as_json(asked: Asked, found: Figures, points: Iterable[Point]) -> dict[str, Any]:
    """Everything that the page shows, and every row."""
    return {
        "dimension": asked.dimension.value,
        "period": asked.level.value if asked.level else "range",
        **_span(asked.span),
        "compared_with": _span(asked.compared) if asked.compared else None,
        "requests": found.requests,
        "clients_per_day": round(found.clients_per_day, 1),
        "requests_before": found.requests_before,
        "rows": [_row(row) for row in found.rows],
        "top_movers": [_row(row) for row in found.movers],
        "over_time": [
            {
                "start": point.start.isoformat(),
                "requests": point.requests,
                "clients_per_day": round(point.clients_per_day, 1),
            }
            for point in points
        ],
    }


def _span(span: Span) -> dict[str, str]:
    return {"first_day": span.first.isoformat(), "last_day": span.last.isoformat()}


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "requests": row.requests,
        "share": round(row.share, 8),
        "clients_per_day": round(row.clients_per_day, 1),
        "requests_before": row.requests_before,
        "change": None if row.change is None else round(row.change, 8),
    }


def as_csv(asked: Asked, found: Figures) -> Response:
    """Every row, for a spreadsheet."""
    written = io.StringIO()
    table = csv.DictWriter(written, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows({**_row(row), "name": _harmless(row.name)} for row in found.rows)
    answer = Response(written.getvalue(), content_type="text/csv; charset=utf-8")
    name = f"{asked.dimension.value}-{asked.span.first}-{asked.span.last}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


def _harmless(name: str) -> str:
    """A spreadsheet must not take a name for a formula."""
    return f"'{name}" if name[:1] in tuple("=+-@\t\r") else name
