"""How reliable mirrors are, and which of them carry the load, for everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, g, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from mm_frontend import language
from mm_frontend.db import session
from mm_frontend.public import conditional, twins
from mm_frontend.public.views import kept_moment, kept_page, mirror_pages, served
from mm_frontend.statistics import tables
from mm_frontend.statistics.asked import read_day
from mm_lib.model.statistics import AccessDimension
from mm_lib.services.load import By, Load, Row, load
from mm_lib.services.mirrors import country_names
from mm_lib.services.uptime import WORST, Uptime, uptimes
from mm_lib.statistics import figures
from mm_lib.statistics.figures import Span

blueprint = Blueprint("mirror_health", __name__)
blueprint.after_request(conditional.finish)

LOAD_DAYS = 7  # of requests, unless others are asked for
BARS = 10
NAME = "name"
_HEALTH_COLUMNS = ("id", "name", "site", "country", "health", "since", "uptime_30", "uptime_90", "outages_90")
_LOAD_COLUMNS = ("name", "host_id", "mirrors", "requests", "share", "bandwidth_mbps", "bandwidth_share", "ratio")
# Those that need a look come first.
HEALTH_ORDERS: Mapping[str, Callable[[Uptime], Any]] = {
    "uptime_30": lambda one: _unknown_last(one.shares[0]),
    "uptime_90": lambda one: _unknown_last(one.shares[1]),
    "outages": lambda one: -one.outages,
    "health": lambda one: -WORST.index(one.health),
    "country": lambda one: one.country or "~",
    NAME: lambda one: one.name,
}
LOAD_ORDERS: Mapping[str, Callable[[Row], Any]] = {
    "requests": lambda row: -row.requests,
    "bandwidth": lambda row: -row.bandwidth_mbps,
    "ratio": lambda row: -row.ratio,
    NAME: lambda row: row.name,
}


def _unknown_last(share: float | None) -> tuple[bool, float]:
    return share is None, share or 0.0


def _order(orders: Mapping[str, Any]) -> str:
    """What `sort=` asks for, else the first."""
    asked = request.args.get("sort", "")
    return asked if asked in orders else next(iter(orders))


@blueprint.get("/statistics/health")
def health() -> ResponseReturnValue:
    """Every public mirror with its uptime, now or at the end of a day."""
    order, until = _order(HEALTH_ORDERS), _until()
    form = twins.wanted(twins.JSON, tables.CSV)
    if form == twins.HTML:
        return kept_page(
            kept_moment(),
            "statistics/health.html",
            lambda: {
                "found": _uptimes(order, until),
                "order": order,
                "served": served(),
                "mirror_page": mirror_pages(),
                "until": until,
                "days": {"until": until.isoformat()} if until else {},
                "today": datetime.now(UTC).date(),
            },
        )
    found = _uptimes(order, until)
    if form == twins.JSON:
        rows = [dict(zip(_HEALTH_COLUMNS, _values(one), strict=True)) for one in found]
        return twins.as_json({"until": until.isoformat() if until else None, "mirrors": rows})
    return tables.as_csv("mirror-health", _HEALTH_COLUMNS, map(_values, found))


def _until() -> date | None:
    """The day that is asked for, when it is over."""
    asked = read_day(request.args.get("until", ""))
    return asked if asked and asked < datetime.now(UTC).date() else None


def _uptimes(order: str, until: date | None) -> list[Uptime]:
    at = datetime.combine(until + timedelta(days=1), time(), UTC) if until else datetime.now(UTC)
    return sorted(uptimes(session(), at), key=HEALTH_ORDERS[order])


def _values(one: Uptime) -> tuple[Any, ...]:
    shares = (None if share is None else round(share, 6) for share in one.shares)
    since = one.since.isoformat() if one.since else None
    return one.id, one.name, one.site, one.country, one.health.value, since, *shares, one.outages


@blueprint.before_request
def _let_charts_be_drawn() -> None:
    g.scripts = request.endpoint == "mirror_health.carried"


@blueprint.get("/statistics/load")
def carried() -> ResponseReturnValue:
    """How often mirrors were offered first, beside their bandwidth; by mirror, country or autonomous system."""
    by = next((one for one in By if one.value == request.args.get("by")), By.HOST)
    order = _order(LOAD_ORDERS)
    span, requests = _requests()
    found = load(session(), requests, by)
    rows = sorted(found.rows, key=LOAD_ORDERS[order])
    form = twins.wanted(twins.JSON, tables.CSV)
    if form == twins.JSON:
        return twins.as_json(_load_as_json(by, span, found, rows))
    if form == tables.CSV:
        return tables.as_csv(f"load-{by.value}", _LOAD_COLUMNS, (tuple(_row(row).values()) for row in rows))
    days = {"since": span.first.isoformat(), "until": span.last.isoformat()} if span else {}
    return render_template(
        "statistics/load.html",
        found=found,
        rows=rows,
        by=by,
        all_by=tuple(By),
        order=order,
        span=span,
        days=days,
        served=served(),
        mirror_page=mirror_pages(),
        most=BARS,
        shown=_shown(by),
        link=lambda **changes: url_for("mirror_health.carried", **{"by": by.value, "sort": order, **days, **changes}),
    )


def _requests() -> tuple[Span | None, dict[str, int]]:
    known = figures.known(session(), datetime.now(UTC).date())
    if known is None:
        return None, {}
    last: date = read_day(request.args.get("until", "")) or known.last_complete
    first = read_day(request.args.get("since", "")) or last - timedelta(days=LOAD_DAYS - 1)
    span = Span(min(first, last), last)
    found = figures.read(session(), AccessDimension.HOST, span, None, known)
    return span, {row.name: row.requests for row in found.rows}


def _shown(by: By) -> Callable[[Row], str]:
    """A name as people read it."""
    names = country_names(language.current()) if by is By.COUNTRY else {}
    return lambda row: names.get(row.name, row.name) or str(gettext("Unknown"))


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "host_id": row.host_id,
        "mirrors": row.mirrors,
        "requests": row.requests,
        "share": round(row.share, 8),
        "bandwidth_mbps": row.bandwidth_mbps,
        "bandwidth_share": round(row.bandwidth_share, 8),
        "ratio": round(row.ratio, 4),
    }


def _load_as_json(by: By, span: Span | None, found: Load, rows: list[Row]) -> dict[str, Any]:
    return {
        "by": by.value,
        "first_day": span.first.isoformat() if span else None,
        "last_day": span.last.isoformat() if span else None,
        "requests": found.requests,
        "requests_to_others": found.others,
        "bandwidth_mbps": found.bandwidth_mbps,
        "rows": [_row(row) for row in rows],
    }
