"""Who asks for what, for everybody: figures of a day, week, month, year or range beside those of another one."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _

from mm_frontend import language, theme
from mm_frontend.db import session
from mm_frontend.public import conditional, twins
from mm_frontend.statistics import documents, tables
from mm_frontend.statistics.asked import DIMENSIONS, RANGE, Asked, read
from mm_lib.model.statistics import AccessDimension, StatisticLevel
from mm_lib.services.mirrors import country_names
from mm_lib.statistics import figures
from mm_lib.statistics.figures import Figures, Known, Point, Span
from mm_lib.statistics.periods import ONE_DAY

blueprint = Blueprint("statistics", __name__)
blueprint.after_request(conditional.finish)

ROWS = 50  # of a page, unless all are asked for
BARS = 10
BEFORE_A_DAY = 27  # days that the curve of one day begins before it
UNKNOWN, OTHER = "N/", "other"  # as they are stored

TITLES = {
    AccessDimension.COUNTRY: _("Countries"),
    AccessDimension.REPOSITORY: _("Repositories"),
    AccessDimension.ARCH: _("Architectures"),
    AccessDimension.TIER: _("Nearness"),
    AccessDimension.HOST: _("Mirrors offered first"),
    AccessDimension.PROTOCOL: _("Protocols"),
    AccessDimension.FAMILY: _("Address families"),
    AccessDimension.CLIENT: _("Programs"),
    AccessDimension.KIND: _("Kinds of answers"),
    AccessDimension.ASN: _("Autonomous systems"),
}
# Names that are words; others, such as "dnf" and "https", are the same in every language.
WORDS = {
    AccessDimension.COUNTRY: {UNKNOWN: _("Unknown"), OTHER: _("Countries with few requests")},
    AccessDimension.HOST: {OTHER: _("Other mirrors")},
    AccessDimension.CLIENT: {OTHER: _("Other programs")},
    AccessDimension.KIND: {"redirect": _("Redirect")},
    AccessDimension.ASN: {OTHER: _("Autonomous systems with few requests")},
    AccessDimension.TIER: {  # what the first mirror and the client have in common
        "netblock": _("Same netblock"),
        "location": _("Location group"),
        "asn": _("Same autonomous system"),
        "requested": _("Country that was asked for"),
        "country": _("Same country"),
        "continent": _("Same continent"),
        "global": _("Anywhere in the world"),
    },
}


@blueprint.before_request
def _let_charts_be_drawn() -> None:
    g.scripts = True  # mm_frontend.security: these pages may load our own scripts


@blueprint.get("/statistics")
@blueprint.get("/statistics/<day>")
@blueprint.get("/statistics/<day>/<dimension>")
def statistics(**path: str) -> ResponseReturnValue:
    """The figures; without a day of the last one that is over."""
    known = figures.known(session(), datetime.now(UTC).date())
    if known is None:
        return _nothing()
    asked = read(path, request.args, known.last_complete)
    if "day" in request.args:  # the form was sent: one page has one address
        return redirect(_link(asked))
    found = figures.read(session(), asked.dimension, asked.span, asked.compared, known)
    form = twins.wanted(twins.JSON, tables.CSV)
    points = _points(asked, known)
    if form == tables.CSV:
        return documents.as_csv(asked, found, points, request.args.get("table", ""))
    if form == twins.JSON:
        return twins.as_json(documents.as_json(asked, found, points) | {"incomplete": _incomplete(asked, known)})
    missing = known.days_since if _incomplete(asked, known) else None
    return render_template("statistics/figures.html", missing_before=missing, **_page(asked, found, points))


def _incomplete(asked: Asked, known: Known) -> bool:
    """Whether days are missing that have expired, now or in the time beside it."""
    spans = [asked.span, *([asked.compared] if asked.compared else [])]
    return any(figures.incomplete(span, known) for span in spans)


def _nothing() -> ResponseReturnValue:
    form = twins.wanted(twins.JSON, tables.CSV)
    if form == tables.CSV:
        return tables.as_csv("statistics", documents.COLUMNS, ())
    if form == twins.JSON:
        return twins.as_json({"rows": []})
    return render_template("statistics/nothing.html")


def _points(asked: Asked, known: Known) -> tuple[Point, ...]:
    """All requests over time. Of one day there is no curve, so it shows the weeks before it."""
    span = asked.span
    if span.days == 1:
        span = Span(span.first - BEFORE_A_DAY * ONE_DAY, span.last)
    return figures.curve(session(), AccessDimension.ALL, "", span, known)


def _link(asked: Asked, **changes: Any) -> str:
    more = {name: changes.pop(name) for name in ("format", "table") if name in changes}
    return url_for("statistics.statistics", **asked.values(**changes), **more)


def _page(asked: Asked, found: Figures, points: tuple[Point, ...]) -> dict[str, Any]:
    before, after = figures.neighbours(session(), asked.span)
    return {
        "asked": asked,
        "found": found,
        "rows": found.rows if asked.whole else found.rows[:ROWS],
        "bars": found.rows[:BARS],
        "points": points,
        "before": before,
        "after": after,
        "titles": TITLES,
        "dimensions": DIMENSIONS,
        "one_day": StatisticLevel.DAY,
        "range": RANGE,
        "link": partial(_link, asked),
        "shown": partial(_shown, asked.dimension),
        "span": _span,
    }


def _span(span: Span) -> str:
    first, last = theme.day(span.first), theme.day(span.last)
    return first if span.days == 1 else f"{first} – {last}"


def _shown(dimension: AccessDimension, name: str) -> str:
    """A name as people read it."""
    if dimension in (AccessDimension.TIER, AccessDimension.KIND):
        name = name.lower()  # as they are in the redirector's log; others' may have capitals
    words = WORDS.get(dimension, {})
    if name in words:
        return str(words[name])
    return country_names(language.current()).get(name, name) if dimension is AccessDimension.COUNTRY else name
