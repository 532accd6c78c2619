"""How fast updates reach the mirrors, for everybody: all repositories, and each with its history and its mirrors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from babel.dates import format_timedelta
from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from markupsafe import Markup

from mm_frontend import language
from mm_frontend.db import session
from mm_frontend.public import conditional, twins
from mm_frontend.public.views import kept_moment, kept_page, mirror_pages, served
from mm_frontend.settings import crawler
from mm_frontend.statistics import tables
from mm_frontend.statistics.asked import read_day
from mm_lib.services import propagation as services
from mm_lib.services.errors import NotFound
from mm_lib.services.mirrors import Served
from mm_lib.services.propagation import AGES, MILESTONES, Ages, Alarm, Behind, Measured, Reached, Standing

blueprint = Blueprint("propagation", __name__)
blueprint.after_request(conditional.finish)

DAYS = 7  # of measurements, unless others are asked for
ROWS = 50  # mirrors of a page, unless all are asked for
MANY = 200  # repositories: a list of more is shortened, unless one product's are asked for
ONE_DAY = timedelta(days=1)
_OF_VERSIONS = tuple(f"{of}_{percent}_seconds" for of in ("mirrors", "requests") for percent in MILESTONES)


@blueprint.before_request
def _let_charts_be_drawn() -> None:
    g.scripts = True


def _alarm() -> Alarm:
    return Alarm(crawler().propagation_alarm_percent, crawler().propagation_alarm_hours)


@blueprint.get("/propgation")
def misspelt() -> ResponseReturnValue:
    """An address that was in use for years."""
    return redirect(url_for("propagation.overview"))


@blueprint.get("/propagation/")
def overview() -> ResponseReturnValue:
    """All repositories that are measured, with their last measurement."""
    form = twins.wanted(twins.JSON, tables.CSV)
    if form == twins.HTML:
        return kept_page(
            kept_moment(),
            "statistics/propagation.html",
            _list,
        )
    found = _overview()
    if form == twins.JSON:
        page = url_for("propagation.overview")
        return twins.as_json({"repositories": [_standing(one, f"{page}{one.repository.id}") for one in found]})
    columns = ("id", "repository", "arch", "product", "version", "at", *AGES, "late", "mirrors_mean", "main")
    rows = (
        (*one.repository, one.ages.at.isoformat(), *one.ages[1:], _late(one), round(one.mirrors_mean, 1), one.main)
        for one in found
    )
    return tables.as_csv("propagation", columns, rows)


def _overview() -> list[Standing]:
    """Of the product that is asked for; of all where there is none of that name."""
    # No name has characters that cannot be printed, and PostgreSQL refuses to look for a NUL.
    now, product = datetime.now(UTC), "".join(filter(str.isprintable, request.args.get("product", "")))
    found = services.overview(session(), _alarm(), now, product) if product else []
    return found or services.overview(session(), _alarm(), now)


def _list() -> dict[str, Any]:
    """Of many repositories those that stand for others, and those that need a look, unless one product's are asked for.

    Products with how many they have, and those of them that are shown.
    """
    found = _overview()
    products = [(name, list(of)) for name, of in groupby(found, lambda one: one.repository.product)]
    short = len(products) > 1 and len(found) > MANY
    return {
        "product": products[0][0] if len(products) == 1 and request.args.get("product") else None,
        "products": [
            (name, len(of), [one for one in of if one.main or _late(one)] if short else of) for name, of in products
        ],
        "page": url_for("propagation.overview"),  # that of a repository has its number at the end
        "bar": _bar,
        "alarm": _alarm(),
    }


def _bar(ages: Ages) -> Markup:
    """The shares as SVG. Made here: there are thousands, and no text of anybody is in them."""
    parts, before, mirrors = [], 0.0, ages.mirrors or 1
    for name, number in zip(AGES, ages[1:], strict=True):
        width = 100 * number / mirrors
        parts.append(f'<rect class="age-{name}" x="{before:.2f}" width="{width:.2f}" height="10"/>')
        before += width
    return Markup("".join(parts))  # noqa: S704 - names and numbers of ours


def _late(one: Standing) -> bool:
    return one.newest is not None and one.newest.late


@dataclass(frozen=True)
class _Page:
    """Everything about one repository."""

    repository: Measured
    first: date
    last: date
    history: Sequence[Ages]
    versions: Sequence[Reached]
    mirrors: Sequence[tuple[Served, Behind]]


@blueprint.get("/propagation/<int:repository_id>")
def repository(repository_id: int) -> ResponseReturnValue:
    """One repository: its measurements over time, how each version spread, and who is behind."""
    try:
        found = _read(services.repository(session(), repository_id))
    except NotFound:
        raise NotFound(gettext("Repository not found.")) from None
    form = twins.wanted(twins.JSON, tables.CSV)
    if form == twins.JSON:
        return twins.as_json(_as_json(found))
    if form == tables.CSV:
        return _as_csv(found)
    whole = request.args.get("rows") == "all"
    return render_template(
        "statistics/repository.html",
        found=found,
        shown=found.mirrors if whole else found.mirrors[:ROWS],
        address={"repository_id": repository_id, "since": found.first.isoformat(), "until": found.last.isoformat()},
        ages=AGES,
        milestones=MILESTONES,
        alarm=_alarm(),
        took=took,
    )


def _read(measured: Measured) -> _Page:
    now = datetime.now(UTC)
    newest = services.last_measured(session(), measured.id) or now
    last = read_day(request.args.get("until", "")) or newest.date()
    first = read_day(request.args.get("since", "")) or last - (DAYS - 1) * ONE_DAY
    mirrors = served()
    return _Page(
        measured,
        first,
        last,
        services.history(session(), measured.id, _midnight(first), _midnight(last + ONE_DAY)),
        services.versions(session(), measured.id, _alarm(), now),
        [(mirrors[one.host_id], one) for one in services.slowest(session(), measured.id, mirrors.keys())],
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def took(seconds: int) -> str:
    """A time as people say it, in the unit that says it best; days only from two on."""
    return str(format_timedelta(timedelta(seconds=seconds), threshold=2, locale=language.current()))


def _standing(one: Standing, page: str) -> dict[str, Any]:
    return {
        **one.repository._asdict(),
        "page": page,
        "main": one.main,
        "mirrors_mean": round(one.mirrors_mean, 1),
        **_measurement(one.ages),
        "newest": _version(one.newest) if one.newest else None,
    }


def _measurement(ages: Ages) -> dict[str, Any]:
    return {**ages._asdict(), "at": ages.at.isoformat(), "mirrors": ages.mirrors}


def _version(one: Reached) -> dict[str, Any]:
    return {
        "published_at": one.published_at.isoformat(),
        "measured_at": one.measured_at.isoformat(),
        "mirrors": one.mirrors,
        "mirrors_reached": one.mirrors_reached,
        "requests_share": one.requests_share,
        "late": one.late,
        **dict(zip(_OF_VERSIONS, (*one.mirrors_seconds, *one.requests_seconds), strict=True)),
    }


def _mirror(mirror: Served, one: Behind, pages: str) -> dict[str, Any]:
    return {
        "host": mirror.name,
        "page": f"{pages}{mirror.id}",
        "organisation": mirror.site,
        "country": mirror.country,
        "current": one.current,
        "lag_seconds": one.lag_seconds,
        "checked_at": one.checked_at.isoformat(),
    }


def _mirrors(found: _Page) -> list[dict[str, Any]]:
    pages = mirror_pages()
    return [_mirror(*one, pages) for one in found.mirrors]


def _as_json(found: _Page) -> dict[str, Any]:
    return {
        **found.repository._asdict(),
        "since": found.first.isoformat(),
        "until": found.last.isoformat(),
        "history": [_measurement(ages) for ages in found.history],
        "versions": [_version(one) for one in found.versions],
        "mirrors": _mirrors(found),
    }


def _as_csv(found: _Page) -> Response:
    """The table that `table=` names: versions or mirrors, else the history."""
    table = request.args.get("table", "")
    rows: list[dict[str, Any]]
    if table == "versions":
        rows, columns = [_version(one) for one in found.versions], _VERSION_COLUMNS
    elif table == "mirrors":
        rows, columns = _mirrors(found), _MIRROR_COLUMNS
    else:
        table, columns = "history", ("at", *AGES, "mirrors")
        rows = [_measurement(ages) for ages in found.history]
    name = f"propagation-{found.repository.id}-{table}"
    return tables.as_csv(name, columns, ([row[column] for column in columns] for row in rows))


_VERSION_COLUMNS: tuple[str, ...] = (
    *("published_at", "measured_at", "mirrors", "mirrors_reached", "requests_share", "late"),
    *_OF_VERSIONS,
)
_MIRROR_COLUMNS: tuple[str, ...] = ("host", "page", "organisation", "country", "current", "lag_seconds", "checked_at")
