"""How much of the time public mirrors were served, from the history of their health.

Counted is, for each public category of a host, the time within the period since it carries the category; uptime is the
share of that in which it was not in quarantine. Of several categories the times are added. Before its first change a
category was active, as new ones are; without any change (an import) it always was as it is now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Double, Select, case, func, literal, select
from sqlalchemy.orm import Session

from mm_lib.model.base import UtcDateTime
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth
from mm_lib.services.world import of_public

DAYS = (30, 90)  # the longest one last
WORST = (Health.ACTIVE, Health.PROBATION, Health.SUSPECT, Health.QUARANTINED)  # the last one is the worst


class Change(NamedTuple):
    """From when on a category was how."""

    at: datetime
    health: Health
    reason: str = ""


@dataclass(frozen=True)
class Uptime:
    """A public mirror at one moment; shares are None while nothing is known."""

    id: int
    name: str
    site: str
    country: str | None
    health: Health  # of its worst category
    since: datetime | None  # when that began; None: never changed
    shares: tuple[float | None, ...]  # in the order of DAYS
    outages: int  # quarantines that began in the longest period


class _Carried(NamedTuple):
    """A category on a host: how it was at the end of the period, and what is known of it."""

    health: Health
    changed_at: datetime | None
    known: tuple[float, ...]  # seconds, in the order of DAYS
    away: tuple[float, ...]  # of them, those in quarantine
    outages: int


class _Quarantines(NamedTuple):
    """Of a category with changes within the period: what happened from the first of them on."""

    first_at: datetime
    first_is_one: bool  # whether the first change was into quarantine
    others: int  # that began later
    away: tuple[float, ...]  # seconds, in the order of DAYS


def uptimes(session: Session, at: datetime) -> list[Uptime]:
    """All mirrors that are public now, as they were at a moment, by name; in two queries, or four for a past day."""
    begins = [at - timedelta(days=days) for days in DAYS]
    whole = tuple(_seconds(begin, at) for begin in begins)
    rows = [row for row in session.execute(_rows(begins[-1])).all() if row.created_at < at]
    during = _quarantines(session, begins, at)
    later = {row.host_category_id for row in rows if row.since is not None and row.since >= at}
    last = _last(session, at) if later else {}
    hosts: dict[int, tuple[str, str, str | None]] = {}
    carried: dict[int, list[_Carried]] = defaultdict(list)
    for host_id, name, site, country, id_, since, state, stored_at, before in rows:
        health, changed_at, within = state or Health.ACTIVE, stored_at, during.get(id_)
        first = before if before is not None else not within and health is Health.QUARANTINED
        # What is stored is how the category is now; what changed later does not count yet.
        if id_ in later:
            first = bool(before)
            then = last.get(id_)
            health, changed_at = (then.health, then.at) if then else (Health.ACTIVE, None)
        if since > begins[-1]:
            starts = [max(begin, since) for begin in begins]
            known = tuple(_seconds(start, at) for start in starts)
        else:
            starts, known = begins, whole
        away, began = _told(first, within, starts, at)
        hosts[host_id] = (name, site, country)
        carried[host_id].append(_Carried(health, changed_at, known, away, began))
    found = [_uptime(id_, of, carried[id_]) for id_, of in hosts.items()]
    return sorted(found, key=lambda one: (one.name, one.id))


def _told(
    first: bool, within: _Quarantines | None, starts: Sequence[datetime], end: datetime
) -> tuple[tuple[float, ...], int]:
    """Seconds in quarantine, and how often it began. `first`: whether the period began in it."""
    away, began = (within.away, within.others) if within else ((0.0,) * len(starts), 0)
    if first:
        until = within.first_at if within else end
        return tuple(gone + _seconds(start, until) for gone, start in zip(away, starts, strict=True)), began
    return away, began + (within.first_is_one if within else 0)


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def _uptime(id_: int, of: tuple[str, str, str | None], carried: Sequence[_Carried]) -> Uptime:
    worst = max(carried, key=lambda one: WORST.index(one.health))
    shares = []
    for place in range(len(DAYS)):
        known = sum(one.known[place] for one in carried)
        shares.append(max(0.0, 1 - sum(one.away[place] for one in carried) / known) if known else None)
    return Uptime(id_, *of, worst.health, worst.changed_at, tuple(shares), sum(one.outages for one in carried))


def _of_last_change(told: Any, moment: datetime) -> Any:
    """Of the last change of each category on a host before a moment; looked up one by one, not found among all."""
    table = HealthChange
    of_each = select(told).where(table.host_category_id == HostCategory.id, table.at < moment)
    return of_each.order_by(table.at.desc(), table.id.desc()).limit(1).scalar_subquery()


def _last(session: Session, moment: datetime) -> dict[int, Change]:
    """The last change of each category on a host before a moment."""
    table = HealthChange
    ids = [id_ for id_ in session.scalars(select(_of_last_change(table.id, moment)).select_from(HostCategory)) if id_]
    query = select(table.host_category_id, table.at, table.health).where(table.id.in_(ids))
    return {id_: Change(at, health) for id_, at, health in session.execute(query)}


def _quarantines(session: Session, begins: Sequence[datetime], end: datetime) -> dict[int, _Quarantines]:
    """Summed up by the database: there are thousands of changes, and one row for each category on a host is enough."""
    table = HealthChange
    of, order = table.host_category_id, (table.at, table.id)
    gone = case((table.health == Health.QUARANTINED, 1), else_=0)
    changes = (
        select(
            table.host_category_id,
            HostCategory.created_at.label("since"),
            table.at,
            gone.label("gone"),
            func.lag(gone).over(partition_by=of, order_by=order).label("was_gone"),
            func.lead(table.at, 1, literal(end, UtcDateTime)).over(partition_by=of, order_by=order).label("until"),
        )
        .join(HostCategory, HostCategory.id == table.host_category_id)
        .where(table.at >= min(begins), table.at < end)
        .subquery()
        .c
    )
    query = select(
        changes.host_category_id,
        func.min(changes.at),
        func.sum(case((changes.was_gone.is_(None), changes.gone), else_=0)),
        func.sum(case((changes.was_gone == 0, changes.gone), else_=0)),
        *(_away(session, changes, begin) for begin in begins),
    ).group_by(changes.host_category_id)
    return {
        id_: _Quarantines(at, bool(one), others, tuple(away)) for id_, at, one, others, *away in session.execute(query)
    }


def _away(session: Session, changes: Any, begin: datetime) -> Any:
    """Seconds in quarantine from a moment on."""
    start = case((changes.since > begin, changes.since), else_=literal(begin, UtcDateTime))
    since = case((changes.at > start, changes.at), else_=start)
    inside = (changes.gone == 1) & (changes.until > start)
    return func.sum(case((inside, _clock(session, changes.until) - _clock(session, since)), else_=0.0))


def _clock(session: Session, moment: Any) -> Any:
    """Seconds since some beginning, with their fractions."""
    if session.get_bind().dialect.name == "postgresql":
        return func.date_part("epoch", moment, type_=Double)
    return func.julianday(moment) * 86_400.0


def _rows(start: datetime) -> Select[Any]:
    """Categories on public mirrors, last whether each was in quarantine at a moment; none: no change before that."""
    health = HostCategoryHealth
    return of_public(
        Host.id,
        Host.name,
        Site.name.label("site"),
        Host.country,
        HostCategory.id.label("host_category_id"),
        HostCategory.created_at,
        health.health,
        health.since,
        _of_last_change(HealthChange.health == Health.QUARANTINED, start),
    ).outerjoin(health, health.host_category_id == HostCategory.id)


def history(session: Session, start: datetime, end: datetime) -> tuple[dict[int, Change], dict[int, list[Change]]]:
    """The last change of each category on a host before the period, and those in it, in order."""
    table = HealthChange
    last = select(func.max(table.id)).where(table.at < start).group_by(table.host_category_id)
    told = (table.host_category_id, table.at, table.health, table.reason)
    earlier = session.execute(select(*told).where(table.id.in_(last)))
    before = {id_: Change(at, health, reason) for id_, at, health, reason in earlier}
    during: dict[int, list[Change]] = defaultdict(list)
    inside = select(*told).where(table.at >= start, table.at < end)
    for id_, at, health, reason in session.execute(inside.order_by(table.at, table.id)):
        during[id_].append(Change(at, health, reason))
    return before, during


def quarantined(first: Health, changes: Sequence[Change], begin: datetime, end: datetime) -> float:
    """Seconds in quarantine between two moments."""
    seconds, health, at = 0.0, first, begin
    for change in (*changes, Change(end, Health.ACTIVE)):
        until = min(max(change.at, begin), end)
        if health is Health.QUARANTINED:
            seconds += (until - at).total_seconds()
        health, at = change.health, until
    return seconds


def outages(first: Health, changes: Sequence[Change]) -> int:
    """How often quarantine began."""
    states = [first, *(change.health for change in changes)]
    return sum(now is Health.QUARANTINED and then is not Health.QUARANTINED for then, now in pairwise(states))
