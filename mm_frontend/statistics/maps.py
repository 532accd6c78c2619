"""A map of the world with the public mirrors, countries shaded by requests, and the same as lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _

from mm_frontend import language
from mm_frontend.db import session
from mm_frontend.public import conditional, twins
from mm_frontend.public.views import kept_moment, kept_page, mirror_pages, served
from mm_frontend.statistics import drawing, tables
from mm_frontend.statistics.asked import read_day
from mm_frontend.statistics.drawing import View
from mm_lib.model.statistics import AccessDimension
from mm_lib.services import world as services
from mm_lib.services.mirrors import country_names
from mm_lib.services.world import Place, Service
from mm_lib.statistics import figures
from mm_lib.statistics.figures import Span

blueprint = Blueprint("maps", __name__)
blueprint.after_request(conditional.finish)

DAYS = 7  # of requests, unless others are asked for
SHADES = (0.001, 0.005, 0.02, 0.08)  # of all requests: where the next darker one begins
PARTS = (
    (_("Africa"), (20, 3), 2),
    (_("Asia"), (95, 35), 2),
    (_("Europe"), (13, 50), 4),
    (_("North America"), (-98, 45), 2),
    (_("Oceania"), (140, -25), 4),
    (_("South America"), (-60, -20), 2),
)


@dataclass(frozen=True)
class _Row:
    """A country with what it asks for and what it has."""

    code: str
    name: str
    requests: int
    share: float
    mirrors: int

    @property
    def shade(self) -> int:
        """0: nobody asks from there, or too few to be counted by themselves."""
        return 1 + sum(self.share >= least for least in SHADES) if self.requests else 0


@dataclass(frozen=True)
class _Mark:
    """A mirror on the map, or several."""

    places: Sequence[Place]
    point: tuple[int, int]
    service: Service  # how most of them are
    worst: Service
    worst_places: int  # so many are like that
    link: str


@blueprint.get("/maps/interactive")
def interactive() -> ResponseReturnValue:
    """An address of MirrorManager."""
    return redirect(url_for("maps.world"))


@blueprint.get("/map/mirrors_location.txt")
def locations() -> Response:
    """Where mirrors are, as MirrorManager's map reads it."""
    lines = services.locations(session(), url_for("static", filename="mirror.svg"))
    return twins.as_text(lines)


@blueprint.get("/maps")
def world() -> ResponseReturnValue:
    """The map, or a part of it."""
    form = twins.wanted(twins.JSON, tables.CSV)
    if form == twins.HTML:
        return kept_page(kept_moment(), "statistics/map.html", lambda: _page(*_read(language.current())))
    span, places, countries = _read("en")  # the same for every program
    if form == twins.JSON:
        return twins.as_json(_as_json(span, places, countries))
    return _as_csv(places, countries)


def _read(words: str) -> tuple[Span | None, Sequence[Place], list[_Row]]:
    span, rows = _requests()
    places = services.places(session(), served())
    return span, places, _countries(places, rows, country_names(words))


def _requests() -> tuple[Span | None, Mapping[str, tuple[int, float]]]:
    """Country -> requests and their share, in the days asked for, else in the last ones that are over."""
    known = figures.known(session(), datetime.now(UTC).date())
    if known is None:
        return None, {}
    last = read_day(request.args.get("until", "")) or known.last_complete
    first = read_day(request.args.get("since", "")) or last - timedelta(days=DAYS - 1)
    span = Span(min(first, last), last)
    found = figures.read(session(), AccessDimension.COUNTRY, span, None, known)
    return span, {row.name: (row.requests, row.share) for row in found.rows}


def _countries(places: Sequence[Place], rows: Mapping[str, tuple[int, float]], names: Mapping[str, str]) -> list[_Row]:
    mirrors = Counter(place.country for place in places if place.country)
    codes = {code for code in rows if code in names} | mirrors.keys()
    found = [_Row(code, names.get(code, code), *rows.get(code, (0, 0.0)), mirrors[code]) for code in codes]
    return sorted(found, key=lambda row: (-row.requests, row.name))


def _page(span: Span | None, places: Sequence[Place], countries: Sequence[_Row]) -> dict[str, Any]:
    view = _view()
    days = {"since": span.first.isoformat(), "until": span.last.isoformat()} if span else {}
    link = partial(_link, days)
    shown = [place for place in places if _on(view, place)]
    return {
        "view": view,
        "whole": View(),
        "span": span,
        "link": link,
        "days": days,
        "outlines": drawing.world(),
        "by_code": {row.code: row for row in countries},
        "countries": countries,
        "places": shown,
        "mirror_page": mirror_pages(),
        "nowhere": sum(place.latitude is None for place in places),
        "marks": _marks(shown, view, link),
        "parts": [(name, link(View(*drawing.project(*middle), zoom))) for name, middle, zoom in PARTS],
        "shades": SHADES,
    }


def _view() -> View:
    """What the address asks for; what makes no sense is the whole map."""
    zoom = request.args.get("zoom", 1, type=int)
    whole = View()
    x, y = request.args.get("x", whole.x, type=int), request.args.get("y", whole.y, type=int)
    return View(x, y, zoom) if zoom in drawing.ZOOMS else whole


def _link(days: Mapping[str, str], view: View, **more: str) -> str:
    where = {} if view.zoom == 1 else {"x": view.x, "y": view.y, "zoom": view.zoom}
    return url_for("maps.world", **where, **days, **more)  # type: ignore[arg-type]


def _point(place: Place) -> tuple[int, int] | None:
    if place.longitude is None or place.latitude is None:
        return None
    return drawing.project(place.longitude, place.latitude)


def _on(view: View, place: Place) -> bool:
    """Mirrors of which nobody knows where they are belong to the whole map only."""
    point = _point(place)
    return view.zoom == 1 if point is None else view.shows(point)


def _marks(places: Sequence[Place], view: View, link: partial[str]) -> list[_Mark]:
    """One mark leads to the mirror's place in the list; several together to a larger map."""
    known = [(place, point) for place in places if (point := _point(place))]
    order = list(Service)
    marks = []
    for cluster in drawing.clusters([each[1] for each in known], drawing.CLOSE / view.zoom):
        members = [known[number][0] for number in cluster.members]
        nearer = view.nearer(cluster.point) if len(members) > 1 else None
        target = link(nearer) if nearer else f"#mirror-{members[0].id}"
        counts = Counter(place.service for place in members)
        most = max(counts, key=lambda service: (counts[service], order.index(service)))
        worst = max(counts, key=order.index)
        marks.append(_Mark(members, cluster.point, most, worst, counts[worst], target))
    return marks


def _as_json(span: Span | None, places: Sequence[Place], countries: Sequence[_Row]) -> dict[str, Any]:
    return {
        "first_day": span.first.isoformat() if span else None,
        "last_day": span.last.isoformat() if span else None,
        "mirrors": [place._asdict() for place in places],
        "countries": [
            {"code": row.code, "requests": row.requests, "share": round(row.share, 8), "mirrors": row.mirrors}
            for row in countries
        ],
    }


def _as_csv(places: Sequence[Place], countries: Sequence[_Row]) -> Response:
    """The table that `table=` names: countries, else the mirrors."""
    if request.args.get("table") == "countries":
        rows = ((row.code, row.name, row.requests, round(row.share, 8), row.mirrors) for row in countries)
        return tables.as_csv("map-countries", ("code", "name", "requests", "share", "mirrors"), rows)
    return tables.as_csv("map-mirrors", Place._fields, places)
