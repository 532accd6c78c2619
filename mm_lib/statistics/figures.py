"""Figures for pages: of one period, beside another one, and over time. Few rows are read for any range."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from mm_lib.model.statistics import AccessDimension, AccessStatistic, StatisticLevel
from mm_lib.statistics.periods import ONE_DAY, next_start, pieces, start_of

MOVERS = 10
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


@dataclass(frozen=True, slots=True)
class Row:
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


def recorded(session: Session) -> Span | None:
    """The first and the last day that anything is known of; None: nothing at all."""
    table = AccessStatistic
    wanted = table.dimension == AccessDimension.ALL
    days = select(func.min(table.start), func.max(table.start)).where(wanted, table.level == StatisticLevel.DAY)
    oldest = select(func.min(table.start)).where(wanted, table.level == StatisticLevel.YEAR)
    bounds: tuple[date | None, ...] = tuple(session.execute(days).one())  # of no rows NULL
    first, last = bounds
    if first is None or last is None:
        return None
    return Span(min(first, session.scalars(oldest).one() or first), last)


def _days_known(span: Span, known: Span | None) -> int:
    """How many days of a span lie between the first and the last that anything is known of; at least one."""
    if known is None:
        return span.days
    return max(1, Span(max(span.first, known.first), min(span.last, known.last)).days)


def last_complete(session: Session, today: date) -> date | None:
    """The last day with figures that is over; else the last day that has any."""
    table = AccessStatistic
    days = select(func.max(table.start)).where(
        table.level == StatisticLevel.DAY, table.dimension == AccessDimension.ALL
    )
    found: date | None = session.scalars(days.where(table.start < today)).one() or session.scalars(days).one()
    return found


def neighbours(session: Session, span: Span) -> tuple[date | None, date | None]:
    """The nearest days before and after with figures: there links lead."""
    table = AccessStatistic
    wanted = and_(table.level == StatisticLevel.DAY, table.dimension == AccessDimension.ALL)
    before = session.scalars(select(func.max(table.start)).where(wanted, table.start < span.first)).one()
    after = session.scalars(select(func.min(table.start)).where(wanted, table.start > span.last)).one()
    return before, after


def read(session: Session, dimension: AccessDimension, span: Span, compared: Span | None) -> Figures:
    """The figures of a span, beside those of another one."""
    now, total = _sums(session, dimension, span), _total(session, span)
    days = _days_known(span, recorded(session))
    before: Mapping[str, _Sums] = {}
    total_before = None
    if compared:
        before, total_before = _sums(session, dimension, compared), _total(session, compared).requests
    rows = []
    for name in now.keys() | before.keys():
        sums, then = now.get(name, _NOTHING), before.get(name, _NOTHING).requests
        share = sums.requests / total.requests if total.requests else 0.0
        change = share - then / total_before if total_before else None
        then_shown = None if compared is None else then
        rows.append(Row(name, sums.requests, share, sums.clients / days, then_shown, change))
    rows.sort(key=lambda row: (-row.requests, row.name))
    movers = sorted((row for row in rows if row.moved >= LEAST_MOVE), key=lambda row: (-row.moved, row.name))
    shown = tuple(row for row in rows if row.requests)
    return Figures(shown, total.requests, total.clients / days, total_before, tuple(movers[:MOVERS]))


@dataclass(frozen=True, slots=True)
class _Sums:
    requests: int
    clients: int


_NOTHING = _Sums(0, 0)


def _sums(session: Session, dimension: AccessDimension, span: Span) -> dict[str, _Sums]:
    table = AccessStatistic
    sums = select(table.name, func.sum(table.requests), func.sum(table.clients))
    found = session.execute(sums.where(table.dimension == dimension, _within(span)).group_by(table.name))
    return {name: _Sums(int(requests), int(clients)) for name, requests, clients in found}


def _total(session: Session, span: Span) -> _Sums:
    return _sums(session, AccessDimension.ALL, span).get("", _NOTHING)


def _within(span: Span) -> ColumnElement[bool]:
    """The whole years, months and days of the span."""
    starts: dict[StatisticLevel, list[date]] = defaultdict(list)
    for level, start in pieces(span.first, span.last):
        starts[level].append(start)
    table = AccessStatistic
    return or_(*(and_(table.level == level, table.start.in_(found)) for level, found in starts.items()))


def level_of_steps(span: Span) -> StatisticLevel:
    """The shortest periods of which a curve over the span has not too many."""
    for level, length in ((StatisticLevel.DAY, 1), (StatisticLevel.WEEK, 7), (StatisticLevel.MONTH, 30)):
        if span.days / length <= MANY_POINTS:
            return level
    return StatisticLevel.YEAR


def curve(session: Session, dimension: AccessDimension, name: str, span: Span) -> tuple[Point, ...]:
    """One name over time; steps without figures are left out. The first and the last step may be longer than asked."""
    table = AccessStatistic
    level = level_of_steps(span)
    known = recorded(session)
    rows = session.execute(
        select(table.start, table.requests, table.clients)
        .where(
            table.level == level,
            table.dimension == dimension,
            table.start.between(start_of(level, span.first), span.last),
            table.name == name,
        )
        .order_by(table.start)
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
