"""How much of the time public mirrors were served, from the history of their health.

Counted is, for each public category of a host, the time within the period since it carries the category; uptime is the
share of that in which it was not in quarantine. Of several categories the times are added. Before its first change a
category was active, as new ones are; without any change (an import) it always was as it is now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth
from mm_lib.services.world import of_public

DAYS = (30, 90)
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
    """A category on a host: how it was when the period began, and how it was at its end."""

    since: datetime
    first: Health
    changes: Sequence[Change]
    health: Health
    changed_at: datetime | None


def uptimes(session: Session, at: datetime) -> list[Uptime]:
    """All mirrors that are public now, as they were at a moment, by name; in three queries."""
    start = at - timedelta(days=max(DAYS))
    before, during = history(session, start, at)
    hosts: dict[int, tuple[str, str, str | None]] = {}
    carried: dict[int, list[_Carried]] = defaultdict(list)
    for row in session.execute(_rows()).all():
        if row.created_at >= at:
            continue
        hosts[row.id] = (row.name, row.site, row.country)
        changes = during.get(row.host_category_id, [])
        carried[row.id].append(_carried(row, before.get(row.host_category_id), changes, at))
    found = []
    for id_, (name, site, country) in hosts.items():
        worst = max(carried[id_], key=lambda one: WORST.index(one.health))
        shares = tuple(_share(carried[id_], at - timedelta(days=days), at) for days in DAYS)
        began = sum(outages(one.first, one.changes) for one in carried[id_])
        found.append(Uptime(id_, name, site, country, worst.health, worst.changed_at, shares, began))
    return sorted(found, key=lambda one: (one.name, one.id))


def _carried(row: Any, earlier: Change | None, changes: Sequence[Change], at: datetime) -> _Carried:
    """What is stored is how the category is now; what changed later does not count yet."""
    stored = row.health or Health.ACTIVE
    later = row.since is not None and row.since >= at
    first = earlier.health if earlier else Health.ACTIVE if changes or later else stored
    last = changes[-1] if changes else earlier
    if not later:
        return _Carried(row.created_at, first, changes, stored, row.since)
    return _Carried(row.created_at, first, changes, last.health if last else first, last.at if last else None)


def _rows() -> Any:
    health = HostCategoryHealth
    return (
        of_public(
            Host.id,
            Host.name,
            Site.name.label("site"),
            Host.country,
            HostCategory.id.label("host_category_id"),
            HostCategory.created_at,
            health.health,
            health.since,
        )
        .outerjoin(health, health.host_category_id == HostCategory.id)
        .distinct()
    )


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


def _share(carried: Iterable[_Carried], start: datetime, end: datetime) -> float | None:
    known = away = 0.0
    for one in carried:
        begin = max(start, one.since)
        if begin < end:
            known += (end - begin).total_seconds()
            away += quarantined(one.first, one.changes, begin, end)
    return 1 - away / known if known else None


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
