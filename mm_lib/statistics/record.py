"""Counts into the database: tallies of open days, and from them the figures that pages show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, insert, or_, select, tuple_
from sqlalchemy.orm import Session

from mm_lib.model.statistics import (
    AccessDay,
    AccessDimension,
    AccessLogRead,
    AccessStatistic,
    AccessTally,
    StatisticLevel,
)
from mm_lib.settings import StatisticsSettings
from mm_lib.statistics.lines import UNKNOWN_COUNTRY
from mm_lib.statistics.periods import start_of
from mm_lib.statistics.tally import Figure, Key, estimate, merged

OTHER = "other"
MOST_SYSTEMS = 1000  # of a day; there are 80,000, and most of them ask seldom
ROLLED_UP = (StatisticLevel.WEEK, StatisticLevel.MONTH, StatisticLevel.YEAR)
MANY = 500  # names in one statement

Name = tuple[AccessDimension, str]


class Numbers(NamedTuple):
    """Of one name in one period."""

    requests: int
    clients: int


class Part(NamedTuple):
    """What is known of one name of an open day."""

    requests: int
    clients: int  # from before the day was closed for the first time
    sketch: bytes


EMPTY = merged([])


def known_salts(session: Session) -> dict[date, bytes]:
    """Those of the days that are open."""
    return dict(session.execute(select(AccessDay.day, AccessDay.salt)).all())


def add(session: Session, figures: Mapping[Key, Figure], salts: Mapping[date, bytes], now: datetime) -> None:
    """Add counts to the tallies of their days; days that are not open are opened with these salts."""
    by_day: dict[date, dict[Name, Figure]] = defaultdict(dict)
    for (day, dimension, name), figure in figures.items():
        by_day[day][dimension, name] = figure
    for day, found in by_day.items():
        parts = _opened(session, day, salts, now)
        changed = {}
        for place, (requests, sketch) in found.items():
            old = parts.get(place, Part(0, 0, EMPTY))
            changed[place] = Part(old.requests + requests, old.clients, merged([old.sketch, sketch]))
        _write_tallies(session, day, changed)


def _opened(session: Session, day: date, salts: Mapping[date, bytes], now: datetime) -> dict[Name, Part]:
    """The tallies of a day. One that was closed begins with what was published of it."""
    row = session.get(AccessDay, day)
    if row is not None:
        row.touched_at = now
        return _tallies(session, day)
    session.add(AccessDay(day=day, salt=salts[day], touched_at=now))
    session.flush()
    parts = {name: Part(*numbers, EMPTY) for name, numbers in _figures(session, StatisticLevel.DAY, day).items()}
    _write_tallies(session, day, parts)
    return parts


def _tallies(session: Session, day: date) -> dict[Name, Part]:
    table = AccessTally
    columns = (table.dimension, table.name, table.requests, table.clients, table.sketch)
    rows = session.execute(select(*columns).where(table.day == day))
    return {(dimension, name): Part(requests, clients, sketch) for dimension, name, requests, clients, sketch in rows}


def _write_tallies(session: Session, day: date, parts: Mapping[Name, Part]) -> None:
    table = AccessTally
    for names in _portions(parts):
        session.execute(delete(table).where(table.day == day, tuple_(table.dimension, table.name).in_(names)))
    if parts:
        rows = [
            {"day": day, "dimension": dimension, "name": name, **part._asdict()}
            for (dimension, name), part in parts.items()
        ]
        session.execute(insert(table), rows)


def _portions(names: Iterable[Name]) -> Iterable[list[Name]]:
    every = list(names)
    return [every[start : start + MANY] for start in range(0, len(every), MANY)]


def _figures(session: Session, level: StatisticLevel, start: date) -> dict[Name, Numbers]:
    table = AccessStatistic
    columns = (table.dimension, table.name, table.requests, table.clients)
    rows = session.execute(
        select(*columns).where(table.level == level, table.dimension.in_(AccessDimension), table.start == start)
    )
    return {(dimension, name): Numbers(requests, clients) for dimension, name, requests, clients in rows}


def publish(session: Session, days: Iterable[date], minimum: int) -> None:
    """Make the figures of these days, and of the weeks, months and years around them, from the tallies.

    Longer periods get the difference to what was there: they stay right when their days have expired.
    """
    differences: dict[tuple[StatisticLevel, date], dict[Name, Numbers]] = defaultdict(dict)
    for day in sorted(days):
        new = _folded(_tallies(session, day), minimum)
        old = _figures(session, StatisticLevel.DAY, day)
        _write_figures(session, StatisticLevel.DAY, day, old, new)
        change = _sum(new, {name: Numbers(-numbers.requests, -numbers.clients) for name, numbers in old.items()})
        for level in ROLLED_UP:
            place = level, start_of(level, day)
            differences[place] = _sum(differences[place], change)
    for (level, start), change in differences.items():
        old = _figures(session, level, start)
        _write_figures(session, level, start, old, _sum(old, change))


def _sum(one: Mapping[Name, Numbers], other: Mapping[Name, Numbers]) -> dict[Name, Numbers]:
    total = dict(one)
    for name, (requests, clients) in other.items():
        old = total.get(name, Numbers(0, 0))
        total[name] = Numbers(old.requests + requests, old.clients + clients)
    return total


def _write_figures(
    session: Session, level: StatisticLevel, start: date, old: Mapping[Name, Numbers], new: Mapping[Name, Numbers]
) -> None:
    """Only what changed, and no rows without requests."""
    table = AccessStatistic
    gone = [name for name, numbers in old.items() if new.get(name) != numbers]
    for names in _portions(gone):
        wanted = tuple_(table.dimension, table.name).in_(names)
        session.execute(delete(table).where(table.level == level, table.start == start, wanted))
    rows = [
        {"level": level, "dimension": name[0], "start": start, "name": name[1], **numbers._asdict()}
        for name, numbers in new.items()
        if numbers.requests and old.get(name) != numbers
    ]
    if rows:
        session.execute(insert(table), rows)


def _folded(parts: Mapping[Name, Part], minimum: int) -> dict[Name, Numbers]:
    """Countries and systems with few requests together: a handful could be told apart."""
    few = {dimension: _few(parts, dimension, minimum) for dimension in (AccessDimension.COUNTRY, AccessDimension.ASN)}
    hidden = {name for names in few.values() for name in names}
    found = {name: _numbers([part]) for name, part in parts.items() if name not in hidden}
    for dimension, names in few.items():
        if names:
            found[dimension, OTHER] = _numbers([parts[name] for name in names])
    return found


def _few(parts: Mapping[Name, Part], dimension: AccessDimension, minimum: int) -> list[Name]:
    """Those that are not told by themselves."""
    named = [name for name in parts if name[0] is dimension and name[1] != UNKNOWN_COUNTRY]
    few = [name for name in named if name[1] == OTHER or parts[name].requests < minimum]
    if dimension is AccessDimension.ASN:
        many = sorted(set(named) - set(few), key=lambda name: (-parts[name].requests, name[1]))
        few += many[MOST_SYSTEMS:]
    return few


def _numbers(parts: list[Part]) -> Numbers:
    clients = estimate(merged(part.sketch for part in parts)) if len(parts) > 1 else estimate(parts[0].sketch)
    # Who came before the day was closed cannot be told from who came late: at least so many.
    return Numbers(sum(part.requests for part in parts), max(clients, sum(part.clients for part in parts)))


class Expired(NamedTuple):
    """What was let go."""

    closed_days: int
    figures: dict[str, int]  # by level
    logs: int


def expire(session: Session, settings: StatisticsSettings, now: datetime) -> Expired:
    """Close days for which no lines come in any more, and delete what has been kept for long enough."""
    done = AccessDay.touched_at < now - timedelta(days=settings.open_days)
    if settings.keep_days is not None:
        # Else the next lines of such a day would add all of it once more to longer periods: its figures are gone.
        done = or_(done, AccessDay.day < (now - timedelta(days=settings.keep_days)).date())
    old_days = session.scalars(select(AccessDay.day).where(done)).all()
    session.execute(delete(AccessTally).where(AccessTally.day.in_(old_days)))
    session.execute(delete(AccessDay).where(AccessDay.day.in_(old_days)))
    figures = {}
    for level, keep in (
        (StatisticLevel.DAY, settings.keep_days),
        (StatisticLevel.WEEK, settings.keep_weeks),
        (StatisticLevel.MONTH, settings.keep_months),
        (StatisticLevel.YEAR, settings.keep_years),
    ):
        if keep is not None:
            figures[level.value] = _let_go(session, level, (now - timedelta(days=keep)).date())
    forgotten = now - timedelta(days=settings.keep_logs)
    logs = _count(session.execute(delete(AccessLogRead).where(AccessLogRead.read_at < forgotten)))
    return Expired(len(old_days), figures, logs)


def _let_go(session: Session, level: StatisticLevel, before: date) -> int:
    """Delete the figures of periods that ended before a day; how many. Those with days that are kept are needed."""
    table = AccessStatistic
    ended = table.start < start_of(level, before)
    gone = delete(table).where(table.level == level, table.dimension.in_(AccessDimension), ended)
    return _count(session.execute(gone))


def _count(result: object) -> int:
    number = getattr(result, "rowcount", 0)
    return int(number)
