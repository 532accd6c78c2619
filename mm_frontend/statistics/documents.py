"""The forms of a statistics page for programs: JSON and CSV."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response

from mm_frontend.statistics import tables
from mm_frontend.statistics.asked import Asked
from mm_lib.statistics.figures import Figures, Point, Row, Span

COLUMNS = ("name", "requests", "share", "clients_per_day", "requests_before", "change")
OF_POINTS = ("start", "requests", "clients_per_day")
OVER_TIME, MOVERS = "over_time", "movers"


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
        "over_time": [_point(point) for point in points],
    }


def _span(span: Span) -> dict[str, str]:
    return {"first_day": span.first.isoformat(), "last_day": span.last.isoformat()}


def _point(point: Point) -> dict[str, Any]:
    return {
        "start": point.start.isoformat(),
        "requests": point.requests,
        "clients_per_day": round(point.clients_per_day, 1),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "requests": row.requests,
        "share": round(row.share, 8),
        "clients_per_day": round(row.clients_per_day, 1),
        "requests_before": row.requests_before,
        "change": None if row.change is None else round(row.change, 8),
    }


def as_csv(asked: Asked, found: Figures, points: Iterable[Point], table: str) -> Response:
    """The table that `table` names, whole: over_time, movers, else all names."""
    days = f"{asked.span.first}-{asked.span.last}"
    if table == OVER_TIME:
        return tables.as_csv(f"requests-{days}", OF_POINTS, (_point(point).values() for point in points))
    rows = found.movers if table == MOVERS else found.rows
    name = f"movers-{asked.dimension.value}" if table == MOVERS else asked.dimension.value
    return tables.as_csv(f"{name}-{days}", COLUMNS, (_row(row).values() for row in rows))
