"""Figures for pages: of one period, beside another one, and over time. Few rows are read for any range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, String, and_, cast, func, literal_column, null, select, union_all
from sqlalchemy.orm import Session

from mm_lib.model.hosts import Host
from mm_lib.model.sites import Site
from mm_lib.model.statistics import AccessDimension, AccessStatistic, StatisticLevel
from mm_lib.statistics.periods import ONE_DAY, next_start, pieces, start_of

MOVERS = 10
OTHER = "other"  # the name of the row of hosts that are not named
LEAST_MOVE = 0.00005  # in shares of all requests; less is shown as 0.00 %
MANY_POINTS = 100  # of a curve; more are shown by longer periods


@dataclass(frozen=True, slots=True)
class Span:
    """From one day to another, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1


class Row(NamedTuple):
    """One name. Shares are of all requests of the period, as in the reference."""

    name: str
    requests: int
    share: float
    clients_per_day: float  # networks
    requests_before: int | None  # None: nothing is compared
    change: float | None  # of the share, in shares of all requests

    @property
    def moved(self) -> float:
        """How much it moved, up or down."""
        return abs(self.change or 0.0)


@dataclass(frozen=True, slots=True)
class Point:
    """One step of a curve."""

    start: date
    requests: int
    clients_per_day: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything about one dimension in one span."""

    rows: tuple[Row, ...]  # most requests first
    requests: int  # all of the span
    clients_per_day: float
    requests_before: int | None
    movers: tuple[Row, ...]  # the shares that changed most


class Known(NamedTuple):
    """What there are figures of."""

    first: date
    last: date
    last_complete: date  # the last day that is over; else the last one
    days_since: date = date.min  # figures of days, weeks and months before these have expired, or never were
    weeks_since: date = date.min
    months_since: date = date.min


def known(session: Session, today: date) -> Known | None:
    """None: nothing at all."""
    first = (select(func.min(_TABLE.start)).where(_of_all(level)) for level in StatisticLevel)
    last = select(func.max(_TABLE.start)).where(_ALL_DAYS)
    wanted = (*first, last, last.where(_TABLE.start < today))
    row = session.execute(select(*(each.scalar_subquery() for each in wanted))).one()
    day, week, month, year, last_day, last_over = tuple[date | None, ...](row)
    if day is None or last_day is None:
        return None
    week, month, year = week or day, month or day, year or day
    earliest = day
    for shorter, since, longer, start in (
        (StatisticLevel.DAY, day, StatisticLevel.MONTH, month),
        (StatisticLevel.MONTH, month, StatisticLevel.YEAR, year),
    ):
        if start < since and _have_expired(session, shorter, since, longer, start):
            earliest = min(earliest, start)
    return Known(earliest, last_day, last_over or last_day, day, week, month)


def _have_expired(session: Session, shorter: StatisticLevel, since: date, longer: StatisticLevel, start: date) -> bool:
    """Whether a period has more requests than the shorter ones in it that there are: some of these are gone."""
    end = next_start(longer, start)
    if end <= since:
        return True
    requests = select(func.sum(_TABLE.requests))
    whole = requests.where(_of_all(longer), _TABLE.start == start)
    parts = requests.where(_of_all(shorter), _TABLE.start >= since, _TABLE.start < end)
    all_of_it, there = session.execute(select(whole.scalar_subquery(), parts.scalar_subquery())).one()
    return bool(all_of_it > there)


def incomplete(span: Span, known: Known) -> bool:
    """Whether days are missing in the sums of a span, for only longer periods of then are still kept."""
    since = dict(zip(StatisticLevel, (known.days_since, known.weeks_since, known.months_since), strict=False))
    return any(known.first <= start < since.get(level, start) for level, start in pieces(span.first, span.last))


def neighbours(session: Session, span: Span) -> tuple[date | None, date | None]:
    """The nearest days before and after with figures: there links lead."""
    before = select(func.max(_TABLE.start)).where(_ALL_DAYS, _TABLE.start < span.first).scalar_subquery()
    after = select(func.min(_TABLE.start)).where(_ALL_DAYS, _TABLE.start > span.last).scalar_subquery()
    found: tuple[date | None, ...] = tuple(session.execute(select(before, after)).one())
    return found[0], found[1]


_TABLE = AccessStatistic


def _of_all(level: StatisticLevel) -> ColumnElement[bool]:
    return and_(_TABLE.level == level, _TABLE.dimension == AccessDimension.ALL)


_ALL_DAYS = _of_all(StatisticLevel.DAY)


def _days_known(span: Span, known: Known) -> int:
    """How many days of a span lie between the first and the last that anything is known of; at least one."""
    return max(1, Span(max(span.first, known.first), min(span.last, known.last)).days)


def read(session: Session, dimension: AccessDimension, span: Span, compared: Span | None, known: Known) -> Figures:
    """The figures of a span, beside those of another one."""
    found, total = _sums(session, dimension, span, compared)
    days, compares = _days_known(span, known), compared is not None
    requests, before = total.requests, total.before
    rows = []
    for name, sums in found.items():
        share = sums.requests / requests if requests else 0.0
        change = share - sums.before / before if before else None
        rows.append(Row(name, sums.requests, share, sums.clients / days, sums.before if compares else None, change))
    rows.sort(key=lambda row: (-row.requests, row.name))
    movers = sorted((row for row in rows if row.moved >= LEAST_MOVE), key=lambda row: (-row.moved, row.name))
    shown = tuple(row for row in rows if row.requests)
    return Figures(shown, requests, total.clients / days, before if compares else None, tuple(movers[:MOVERS]))


class _Sums(NamedTuple):
    requests: int
    clients: int
    before: int  # requests of the span that is compared


_NOTHING = _Sums(0, 0, 0)


def _sums(
    session: Session, dimension: AccessDimension, span: Span, compared: Span | None
) -> tuple[dict[str, _Sums], _Sums]:
    """By name, and of all requests; both spans in one query."""
    none, nameless = literal_column("0", BigInteger), cast(null(), String)
    now, then = (_TABLE.requests, _TABLE.clients, none), (none, none, _TABLE.requests)
    # Each run by itself: its rows stand side by side in the index. With OR, PostgreSQL reads the whole table.
    parts: list[Any] = [
        select(
            name.label("name"), *(column.label(label) for column, label in zip(columns, _Sums._fields, strict=True))
        ).where(_TABLE.level == level, _TABLE.dimension == counted, _TABLE.start.between(first, last))
        for counted, name in ((dimension, _TABLE.name), (AccessDimension.ALL, nameless))
        for columns, asked in ((now, span), (then, compared))
        if asked
        for level, first, last in _runs(asked)
    ]
    rows = union_all(*parts).subquery().c
    # As whole numbers of the machine: those without limits, that sums are, take long to read.
    sums = (cast(func.sum(rows[label]), BigInteger) for label in _Sums._fields)
    found = {name: _Sums(*of) for name, *of in session.execute(select(rows.name, *sums).group_by(rows.name))}
    total = found.pop(None, _NOTHING)
    return _without_private(session, found) if dimension is AccessDimension.HOST else found, total


def _without_private(session: Session, found: Mapping[str, _Sums]) -> dict[str, _Sums]:
    """Private mirrors, and those that are gone and may have been private, in one row: the pages are for everybody."""
    public = set(session.scalars(select(Host.name).join(Host.site).where(~Host.private, ~Site.private)))
    public.discard(OTHER)  # a mirror of that name is one of them
    shown = {name: sums for name, sums in found.items() if name in public}
    others = [sums for name, sums in found.items() if name not in public]
    if others:
        shown[OTHER] = _Sums(*map(sum, zip(*others, strict=True)))
    return shown


def _runs(span: Span) -> list[tuple[StatisticLevel, date, date]]:
    """The whole years, months and days of the span: from the start of one to that of another."""
    runs: list[tuple[StatisticLevel, date, date]] = []
    for level, start in pieces(span.first, span.last):
        if runs and runs[-1][0] is level:
            runs[-1] = (level, runs[-1][1], start)
        else:
            runs.append((level, start, start))
    return runs


def level_of_steps(span: Span) -> StatisticLevel:
    """The shortest periods of which a curve over the span has not too many."""
    for level, length in ((StatisticLevel.DAY, 1), (StatisticLevel.WEEK, 7), (StatisticLevel.MONTH, 30)):
        if span.days / length <= MANY_POINTS:
            return level
    return StatisticLevel.YEAR


def curve(session: Session, dimension: AccessDimension, name: str, span: Span, known: Known) -> tuple[Point, ...]:
    """One name over time; steps without figures are left out. The first and the last step may be longer than asked."""
    level = level_of_steps(span)
    rows = session.execute(
        select(_TABLE.start, _TABLE.requests, _TABLE.clients)
        .where(
            _TABLE.level == level,
            _TABLE.dimension == dimension,
            _TABLE.start.between(start_of(level, span.first), span.last),
            _TABLE.name == name,
        )
        .order_by(_TABLE.start)
    )
    return tuple(
        Point(start, requests, clients / _days_known(around(level, start), known)) for start, requests, clients in rows
    )


def around(level: StatisticLevel, day: date) -> Span:
    """The period that a day is in."""
    start = start_of(level, day)
    return Span(start, next_start(level, start) - ONE_DAY)


def before(span: Span, level: StatisticLevel | None) -> Span:
    """The period before; of a range as many days."""
    last = span.first - ONE_DAY
    return around(level, last) if level else Span(last - (span.days - 1) * ONE_DAY, last)


def year_before(span: Span) -> Span:
    """The same days of the weeks a year ago: 52 weeks, so that weekends meet weekends."""
    return Span(span.first - 364 * ONE_DAY, span.last - 364 * ONE_DAY)
