"""How mirrors were in a period: from the history of their health, so that a report of last month tells last month."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Category, Product
from mm_lib.model.hiding import WITH_DELETED
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth
from mm_lib.reports.document import percent
from mm_lib.services import uptime
from mm_lib.services.uptime import Change
from mm_lib.statistics.figures import Span

CERTIFICATE_SOON = timedelta(days=14)
ENOUGH_UPTIME = 0.95
CONDITIONS = ("switched off", "waiting", "quarantined", "suspect", "probation", "active")  # the worst first
MEANING = {
    "switched off": "switched off, by its owner, an administrator or the crawler",
    "waiting": "new, not approved yet",
    "quarantined": "not reached: clients are not sent there",
    "suspect": "gave no clear answer when it was asked last",
    "probation": "served again, on probation",
    "active": "served",
}


def midnight(day: date) -> datetime:
    """When a day begins."""
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True)
class Carried:
    """A category on a host, as it was in the period."""

    category: str
    product: str
    health: Health  # at the end
    reason: str
    outages: int  # times that it was quarantined
    known: float  # seconds of the period in which the host carried it
    away: float  # of them, those in quarantine

    @property
    def uptime(self) -> float | None:
        """Share of the time; None: it was not there yet."""
        return _uptime([self])


@dataclass(frozen=True)
class Mirror:
    """A host, with what it carries of what the report is about."""

    host_id: int
    site_id: int
    name: str
    site: str
    country: str
    hidden: bool
    created_at: datetime
    condition: str  # at the end: one of CONDITIONS
    decided: bool  # it is switched off by a person, who knows
    reason: str
    carried: tuple[Carried, ...]
    address_problems: tuple[str, ...]

    @property
    def uptime(self) -> float | None:
        """Of all its categories, as on /statistics/health: their times are added."""
        return _uptime(self.carried)

    @property
    def outages(self) -> int:
        """Of all its categories."""
        return sum(each.outages for each in self.carried)

    def to_do(self) -> list[str]:
        """What somebody has to look at, in words."""
        found = []
        if self.condition in ("switched off", "waiting"):  # for nothing else before that
            return [f"{self.condition} {self.reason}" if self.reason else f"{self.condition}: {MEANING['waiting']}"]
        for each in self.carried:
            if each.health in (Health.QUARANTINED, Health.SUSPECT):
                why = each.reason or "no reason was recorded"
                found.append(f"{each.category}: {MEANING[each.health.value]} ({why})")
        found.extend(self.address_problems)
        if self.uptime is not None and self.uptime < ENOUGH_UPTIME and self.outages:
            times = "once" if self.outages == 1 else f"{self.outages} times"
            found.append(f"not reached {times}; clients could be sent there {percent(self.uptime)} of the time")
        return found


def mirrors(session: Session, span: Span) -> list[Mirror]:
    """Every host that was there, by name."""
    start, end = midnight(span.first), midnight(span.last) + timedelta(days=1)
    hosts = (
        select(Host, Site).join(Site, Site.id == Host.site_id).where(Host.created_at < end).order_by(Host.name, Host.id)
    )
    carried, problems = _carried(session, start, end), _addresses(session, end)
    return [
        _mirror(host, site, tuple(carried.get(host.id, ())), tuple(problems.get(host.id, ())))
        for host, site in session.execute(hosts)
    ]


def of_product(every: Iterable[Mirror], product: str) -> list[Mirror]:
    """Those that carry something of a product, with that only."""
    found = []
    for mirror in every:
        has = tuple(each for each in mirror.carried if each.product == product)
        if has:
            condition = mirror.condition if mirror.condition in CONDITIONS[:2] else _worst(has)
            found.append(replace(mirror, carried=has, condition=condition))
    return found


def gone(session: Session, span: Span) -> list[tuple[str, str]]:
    """Hosts that were deleted in the period, with their sites."""
    start, end = midnight(span.first), midnight(span.last) + timedelta(days=1)
    query = (
        select(Host.name, Site.name)
        .join(Site, Site.id == Host.site_id)
        .where(Host.deleted_at >= start, Host.deleted_at < end)
        .order_by(Host.name, Site.name)
    )
    return [(name, site) for name, site in session.execute(query, execution_options=WITH_DELETED)]


def _mirror(host: Host, site: Site, has: tuple[Carried, ...], problems: tuple[str, ...]) -> Mirror:
    condition, reason, decided = _worst(has), "", False
    for thing in (host, site):
        if thing.state is State.WAITING:
            condition = "waiting"
        elif thing.state is not State.ACTIVE:
            condition, reason = "switched off", f"by {thing.state_by}: {thing.state_reason}"
            decided = thing.state is not State.AUTO_DISABLED
    return Mirror(
        host_id=host.id,
        site_id=site.id,
        name=host.name,
        site=site.name,
        country=host.country or "",
        hidden=host.private or site.private,
        created_at=host.created_at,
        condition=condition,
        decided=decided,
        reason=reason,
        carried=has,
        address_problems=problems,
    )


def _worst(has: Sequence[Carried]) -> str:
    return min((each.health.value for each in has), key=CONDITIONS.index, default="active")


def _carried(session: Session, start: datetime, end: datetime) -> dict[int, list[Carried]]:
    query = (
        select(HostCategory, Category.name, Product.name, HostCategoryHealth)
        .join(Host, Host.id == HostCategory.host_id)
        .join(Category, Category.id == HostCategory.category_id)
        .join(Product, Product.id == Category.product_id)
        .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
        .where(HostCategory.created_at < end)
        .order_by(Category.name)
    )
    before, during = uptime.history(session, start, end)
    found: dict[int, list[Carried]] = defaultdict(list)
    for has, category, product, now in session.execute(query):
        changes = during.get(has.id, [])
        first = before.get(has.id) or _first(changes, now, end)
        there = max(start, has.created_at)
        found[has.host_id].append(_told(category, product, first, changes, (there, end)))
    return found


def _first(changes: Sequence[Change], now: HostCategoryHealth | None, end: datetime) -> Change:
    """Without a history before the period: as new ones are; without any until its end (an import), as it was since."""
    if changes or now is None or now.since >= end:
        return Change(end, Health.ACTIVE)
    return Change(now.since, now.health, now.reason)


def _told(
    category: str, product: str, first: Change, changes: Sequence[Change], period: tuple[datetime, datetime]
) -> Carried:
    start, end = period
    last = changes[-1] if changes else first
    known = max(0.0, (end - start).total_seconds())
    away = uptime.quarantined(first.health, changes, start, end)
    return Carried(category, product, last.health, last.reason, uptime.outages(first.health, changes), known, away)


def _uptime(carried: Sequence[Carried]) -> float | None:
    known = sum(each.known for each in carried)
    return 1 - sum(each.away for each in carried) / known if known else None


def _addresses(session: Session, end: datetime) -> dict[int, list[str]]:
    """What is wrong with addresses, as the crawler saw it last."""
    url = HostCategoryUrl
    soon = url.certificate_ends_at < end + CERTIFICATE_SOON
    query = (
        select(HostCategory.host_id, url.url, url.problem, url.certificate_ends_at)
        .join(HostCategory, HostCategory.id == url.host_category_id)
        .where((url.problem != "") | soon)
        .order_by(url.url)
    )
    found: dict[int, list[str]] = defaultdict(list)
    for host_id, address, problem, ends_at in session.execute(query):
        told = f"is not published: {problem}" if problem else f"has a certificate that ends on {ends_at:%Y-%m-%d}"
        found[host_id].append(f"{address} {told}")
    return found
