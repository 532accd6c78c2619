"""The report about distributions: requests, mirrors and the spreading of updates in some period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.content import Product
from mm_lib.model.statistics import AccessDimension, StatisticLevel
from mm_lib.reports import mirrors, requests, spreading
from mm_lib.reports.document import (
    Block,
    Bullets,
    Document,
    Section,
    Table,
    Text,
    change,
    chart,
    days,
    duration,
    number,
    percent,
)
from mm_lib.reports.mirrors import CONDITIONS, MEANING, Mirror, midnight
from mm_lib.reports.requests import ProductRequests
from mm_lib.reports.spreading import Spreading
from mm_lib.services.errors import NotFound
from mm_lib.services.mirrors import country_names
from mm_lib.statistics.figures import OTHER, Figures, Row, Span

TOP = 10
MOST = 100  # mirrors in one table
NO_REQUESTS = "No requests are counted for this period. Were the logs read (mm-admin statistics ingest)?"
NOT_ASKED_FOR = "Nobody asked for it."
COUNTRIES = {"N/": "not known", "other": "other countries"}  # beside those that have a name
_PRIVATE = " (private)"


@dataclass(frozen=True)
class Period:
    """What a report is about, and what it is compared with."""

    word: str  # "day", "week", "year" or "period"
    span: Span
    compared: Span


def products(session: Session, named: Sequence[str]) -> list[str]:
    """All, or those of these names. Raises NotFound."""
    known = list(session.scalars(select(Product.name).order_by(Product.sort_order, Product.name)))
    if missing := [name for name in named if name not in known]:
        raise NotFound(f"There is no product {missing[0]!r}. `mm-admin product list` shows them.")
    return [name for name in known if not named or name in named]


def report(session: Session, period: Period, named: Sequence[str], steps: tuple[StatisticLevel, date]) -> Document:
    """The report; its charts go back in these steps to that day. Raises NotFound."""
    wanted = products(session, named)
    counted = requests.by_product(session, period.span, period.compared)
    every = mirrors.mirrors(session, period.span)
    updates = spreading.by_product(session, period.span)
    curves = requests.over_time(session, *steps, period.span.last)
    sections: list[Section] = []
    for name in wanted:
        found = _Found(
            name,
            counted.get(name),
            any(each.requests for each in counted.values()),
            mirrors.of_product(every, name),
            updates.get(name, Spreading(())),
            curves.get(name, []),
        )
        if found.anything:
            sections.extend(_product(found, period))
    if not named:
        sections.extend(_unknown(counted.get("")))
    sections.extend(_everything(session, period))
    title = title_of(", ".join(wanted) if named else "All distributions", period)
    introduction = _introduction(session, period)
    return Document(title, midnight(period.span.last) + timedelta(days=1), introduction, tuple(sections))


@dataclass(frozen=True)
class _Found:
    """Everything about one product."""

    product: str
    requests: ProductRequests | None
    others_requests: bool  # somebody asked for something
    mirrors: list[Mirror]
    updates: Spreading
    curve: list[tuple[str, int]]

    @property
    def anything(self) -> bool:
        return bool(self.requests or self.mirrors or self.updates.updates)


def title_of(subject: str, period: Period) -> str:
    """What every report begins with."""
    return f"{subject}: {period.word} of {days(period.span.first, period.span.last)}"


def _introduction(session: Session, period: Period) -> tuple[Block, ...]:
    said = f"Days are those of UTC. Compared with {days(period.compared.first, period.compared.last)}."
    gone = mirrors.gone(session, period.span)
    blocks: list[Block] = [Text(said)]
    if gone:
        blocks.append(Text("Mirrors that were deleted:"))
        blocks.append(Bullets(tuple(f"{name} of {site}" for name, site in gone)))
    return tuple(blocks)


def _product(found: _Found, period: Period) -> Iterator[Section]:
    yield Section(found.product, 2, (Bullets(tuple(_in_short(found))),))
    yield Section("Requests", 3, tuple(_requests(found)))
    yield Section("Mirrors", 3, tuple(_mirrors(found, period)))
    yield Section("How fast updates spread", 3, tuple(_spreading(found.updates)))


def _in_short(found: _Found) -> Iterator[str]:
    if found.requests:
        told = change(found.requests.requests, found.requests.before)
        yield f"{number(found.requests.requests)} requests ({told})"
    if not found.mirrors:
        yield "no mirrors"
        return
    served = sum(mirror.condition in ("active", "suspect", "probation") for mirror in found.mirrors)
    yield f"{served} of {len(found.mirrors)} mirrors are served"
    yield f"mirrors that need attention: {len(_wanting(found.mirrors))}"
    if found.updates.updates:
        median = found.updates.median_of("mirrors_80")
        if median is None:
            yield "no update reached 80 % of the mirrors"
        else:
            yield f"80 % of the mirrors had an update after {duration(median)} (median)"


def _requests(found: _Found) -> Iterator[Block]:
    counted = found.requests
    if counted is None or not (counted.requests or counted.before):
        yield Text(NOT_ASKED_FOR if found.others_requests else NO_REQUESTS)
        return
    share = counted.requests / counted.everything if counted.everything else None
    yield Text(
        f"{number(counted.requests)} requests, {number(counted.before)} before "
        f"({change(counted.requests, counted.before)}); {percent(share)} of the requests for everything."
    )
    if len(found.curve) > 1:
        yield chart(f"Requests of {found.product}", "requests", found.curve)
    if counted.repositories:
        yield _rows("Most asked for", "Repository", counted.repositories, counted.requests)


def _rows(caption: str, what: str, rows: Sequence[Row], total: int) -> Table:
    shown = tuple(
        (row.name, number(row.requests), percent(row.requests / total), change(row.requests, row.requests_before))
        for row in rows[:TOP]
    )
    return Table(caption, (what, "Requests", "Share", "Change"), shown, frozenset((1, 2, 3)))


def _mirrors(found: _Found, period: Period) -> Iterator[Block]:
    counts = Counter(mirror.condition for mirror in found.mirrors)
    rows = tuple((name, number(counts[name]), MEANING[name]) for name in reversed(CONDITIONS) if counts[name])
    if not rows:
        yield Text("No mirror carries it.")
        return
    yield Table("Mirrors by condition at the end", ("Condition", "Mirrors", "Meaning"), rows, frozenset((1,)))
    start = midnight(period.span.first)
    if new := [mirror for mirror in found.mirrors if mirror.created_at >= start]:
        yield Text("New mirrors:")
        yield Bullets(tuple(f"{_name(mirror)} of {mirror.site}" for mirror in new))
    yield from _unsteady(found.mirrors)
    yield from _attention(found.mirrors)


def _unsteady(every: Sequence[Mirror]) -> Iterator[Block]:
    """What changed: mirrors that went away in the period, and how they are now."""
    changed = sorted((mirror for mirror in every if mirror.outages), key=lambda one: (-one.outages, one.name))
    rows = tuple(
        (_name(mirror), number(mirror.outages), percent(mirror.uptime), mirror.condition) for mirror in changed[:MOST]
    )
    if rows:
        columns = ("Mirror", "Outages", "Uptime", "At the end")
        yield Table("Mirrors that could not be reached for a time", columns, rows, frozenset((1, 2)))
        yield from _left_out(len(changed))


def _attention(every: Sequence[Mirror]) -> Iterator[Block]:
    wanting = _wanting(every)
    rows = tuple((_name(mirror), mirror.site, "; ".join(todo)) for mirror, todo in wanting[:MOST])
    if rows:
        yield Table("Mirrors that need attention", ("Mirror", "Site", "Why"), rows)
        yield from _left_out(len(wanting))


def _wanting(every: Sequence[Mirror]) -> list[tuple[Mirror, list[str]]]:
    """With what is wrong, the worst first, but last those that the crawler switched off: maybe long ago."""
    found = [(mirror, todo) for mirror in every if not mirror.decided and (todo := mirror.to_do())]
    order = [*CONDITIONS[1:], CONDITIONS[0]]
    return sorted(found, key=lambda one: (order.index(one[0].condition), one[0].name))


def _left_out(number_of_rows: int) -> Iterator[Block]:
    if number_of_rows > MOST:
        yield Text(f"{number(number_of_rows - MOST)} more are not shown.")


def _name(mirror: Mirror) -> str:
    return mirror.name + (_PRIVATE if mirror.hidden else "")


def _spreading(updates: Spreading) -> Iterator[Block]:
    if not updates.updates:
        yield Text("No update was measured.")
        return
    mirrors_80, requests_80 = updates.median_of("mirrors_80"), updates.median_of("requests_80")
    many = len(updates.updates)
    said = ["1 update was followed." if many == 1 else f"{number(many)} updates were followed."]
    if mirrors_80 is not None:
        said.append(f"80 % of the mirrors had one after {duration(mirrors_80)}.")
    if requests_80 is not None:
        said.append(f"80 % of the requests could get one after {duration(requests_80)}.")
    if mirrors_80 is not None or requests_80 is not None:
        said.append("These are medians of those that got there.")
    yield Text(f"{' '.join(said)} {number(updates.not_reached)} did not reach 80 % of the mirrors.")
    rows = tuple(
        (
            name,
            number(len(found.updates)),
            duration(found.median_of("mirrors_80")),
            duration(found.median_of("requests_80")),
            number(found.not_reached),
        )
        for name, found in updates.by_repository()[:TOP]
    )
    columns = ("Repository", "Updates", "80 % of mirrors", "80 % of requests", "Not reached")
    yield Table("The slowest", columns, rows, frozenset((1, 2, 3, 4)))


def _unknown(found: ProductRequests | None) -> Iterator[Section]:
    if found and found.repositories:
        table = _rows("Most asked for", "Repository", found.repositories, found.requests)
        said = (
            f"{number(found.requests)} requests ({change(found.requests, found.before)}) for names that no product has."
        )
        yield Section("Unknown repositories", 2, (Text(said), table))


def _everything(session: Session, period: Period) -> Iterator[Section]:
    """Countries, networks and clients are counted for all distributions together."""
    read = {
        dimension: requests.counted(session, dimension, period.span, period.compared)
        for dimension in (AccessDimension.COUNTRY, AccessDimension.ASN, AccessDimension.CLIENT)
    }
    countries, clients = read[AccessDimension.COUNTRY], read[AccessDimension.CLIENT]
    if not countries.requests:
        yield Section("Where requests come from", 2, (Text(NO_REQUESTS),))
        return
    said = f"Of all distributions together: {number(countries.requests)} requests ({_than(countries)})."
    blocks: list[Block] = [Text(said)]
    if countries.rows:
        names = country_names() | COUNTRIES
        rows = [row._replace(name=names.get(row.name, row.name)) for row in countries.rows[:TOP]]
        points = [(row.name, row.requests) for row in rows]
        blocks.append(chart("Requests by country", "requests", points, bars=True))
        blocks.append(_rows("Countries", "Country", rows, countries.requests))
    if systems := [row for row in read[AccessDimension.ASN].rows if row.name != OTHER]:
        blocks.append(_rows("Autonomous systems", "System", systems[:TOP], countries.requests))
    if clients.rows:
        blocks.append(_rows("Kinds of clients", "Client", clients.rows, clients.requests))
    yield Section("Where requests come from", 2, tuple(blocks))


def _than(found: Figures) -> str:
    return change(found.requests, found.requests_before)
