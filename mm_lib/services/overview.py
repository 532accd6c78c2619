"""What the page of a host tells its people: state and why, categories, repositories, crawls; in a few queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, selectinload

from mm_lib.model.base import State
from mm_lib.model.content import Arch, Category, FileDetail, Repository, Version
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.model.state import (
    CrawlResult,
    CrawlSchedule,
    Health,
    HostCategoryHealth,
    HostCategoryState,
    RepositoryMirrorState,
)
from mm_lib.services import host_details, maintenance


@dataclass(frozen=True)
class CategoryOverview:
    """A category on a host."""

    id: int
    name: str
    admin_only: bool
    always_up_to_date: bool
    urls: Sequence[HostCategoryUrl]
    up_to_date: int  # directories
    total: int
    established_at: datetime | None
    health: Health
    reason: str
    since: datetime | None
    failures: int

    @property
    def percent(self) -> int:
        """Of the directories, never rounded up to all of them."""
        if self.always_up_to_date or (self.total and self.up_to_date >= self.total):
            return 100
        return 100 * self.up_to_date // self.total if self.total else 0


@dataclass(frozen=True)
class RepositoryOverview:
    """A repository on a host, as it was last seen."""

    category: str
    prefix: str
    version: str
    arch: str
    verdict: str
    lag_seconds: int | None
    checked_at: datetime
    has: int | None  # Unix seconds of the metadata that the host has


def categories(session: Session, host: Host) -> list[CategoryOverview]:
    """What the host carries, by name."""
    rows = session.execute(
        select(HostCategory, Category, HostCategoryState, HostCategoryHealth)
        .join(Category, Category.id == HostCategory.category_id)
        .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
        .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
        .where(HostCategory.host_id == host.id)
        .options(selectinload(HostCategory.urls))
        .order_by(Category.name)
    )
    return [_category(*row) for row in rows.all()]


def _category(
    carried: HostCategory, category: Category, state: HostCategoryState | None, health: HostCategoryHealth | None
) -> CategoryOverview:
    return CategoryOverview(
        id=carried.id,
        name=category.name,
        admin_only=category.admin_only,
        always_up_to_date=carried.always_up_to_date,
        urls=carried.urls,
        up_to_date=state.directories_up_to_date if state else 0,
        total=state.directories_total if state else 0,
        established_at=state.established_at if state else None,
        health=health.health if health else Health.ACTIVE,
        reason=health.reason if health else "",
        since=health.since if health else None,
        failures=health.failures if health else 0,
    )


def turns(session: Session, host: Host) -> dict[int, list[tuple[str, datetime]]]:
    """When each category of the host is asked next, by tier; those that are due soonest first."""
    query = (
        select(CrawlSchedule.host_category_id, CrawlSchedule.tier, CrawlSchedule.next_due_at)
        .join(HostCategory, HostCategory.id == CrawlSchedule.host_category_id)
        .where(HostCategory.host_id == host.id)
        .order_by(CrawlSchedule.next_due_at)
    )
    found: dict[int, list[tuple[str, datetime]]] = {}
    for carried, tier, due in session.execute(query):
        found.setdefault(carried, []).append((tier.value, due))
    return found


def repositories(session: Session, host: Host) -> list[RepositoryOverview]:
    """How fresh each repository was when the host was last asked for it."""
    rows = session.execute(
        select(
            Category.name,
            Repository.prefix,
            func.coalesce(func.nullif(Version.display_name, ""), Version.name),
            Arch.name,
            RepositoryMirrorState.verdict,
            RepositoryMirrorState.lag_seconds,
            RepositoryMirrorState.checked_at,
            FileDetail.timestamp,
        )
        .select_from(RepositoryMirrorState)
        .join(HostCategory, HostCategory.id == RepositoryMirrorState.host_category_id)
        .join(Repository, Repository.id == RepositoryMirrorState.repository_id)
        .join(Category, Category.id == Repository.category_id)
        .join(Version, Version.id == Repository.version_id)
        .join(Arch, Arch.id == Repository.arch_id)
        .outerjoin(FileDetail, FileDetail.id == RepositoryMirrorState.file_detail_id)
        .where(HostCategory.host_id == host.id)
        .order_by(Category.name, Repository.prefix, Arch.name)
    )
    return [RepositoryOverview(row[0], row[1] or "", *row[2:]) for row in rows.all()]


@dataclass(frozen=True)
class Freshness:
    """How fresh the repositories of a category are on a host."""

    total: int
    up_to_date: int
    worst: list[RepositoryOverview]  # some, those that are most behind first


def freshness(rows: Sequence[RepositoryOverview], most: int = 12) -> dict[str, Freshness]:
    """By category; what is wrong comes first, for that is what people look for."""
    found: dict[str, list[RepositoryOverview]] = {}
    for row in worst_first(rows):
        found.setdefault(row.category, []).append(row)
    return {name: Freshness(len(of), sum(row.verdict == "ok" for row in of), of[:most]) for name, of in found.items()}


def worst_first(rows: Sequence[RepositoryOverview]) -> list[RepositoryOverview]:
    """Those that are not as on the master, by how far they are behind, then the others by name."""
    return sorted(rows, key=lambda row: (row.verdict == "ok", -(row.lag_seconds or 0), row.prefix, row.arch))


def crawls(session: Session, host: Host, limit: int = 20) -> list[dict[str, Any]]:
    """The latest results, the newest first."""
    rows = session.execute(
        select(CrawlResult, Category.name)
        .join(HostCategory, HostCategory.id == CrawlResult.host_category_id)
        .join(Category, Category.id == HostCategory.category_id)
        .where(HostCategory.host_id == host.id)
        .order_by(CrawlResult.started_at.desc(), CrawlResult.id.desc())
        .limit(limit)
    )
    return [
        {
            "started_at": result.started_at,
            "category": category,
            "outcome": result.outcome,
            "reason": result.reason,
            "counts": result.counts,
            "seconds": result.seconds,
            "requests": result.requests,
            "log": result.log,
        }
        for result, category in rows.all()
    ]


def why_not_asked(session: Session, host: Host, now: datetime) -> str:
    """Why the crawler asks this host for nothing at the moment; empty when it does ask."""
    site = host.site
    if site.state is State.WAITING:
        return f"the site {site.name} is new, and no administrator has approved it yet"
    if site.state is not State.ACTIVE:
        return f"the site {site.name} is switched off ({site.state_reason})"
    if host.state is State.ADMIN_DISABLED:
        return f"an administrator switched the host off ({host.state_reason})"
    if window := maintenance.current(session, host, now):
        return f"it is under maintenance until {window.ends_at:%Y-%m-%d %H:%M} UTC"
    if not is_public(host) and not host.crawl_private:
        return f"the {'host' if host.private else 'site'} is private, and reports what it has"
    if host_details.is_embargoed(session, host.country):
        return "mirrors of that country are not used"
    return ""


@dataclass(frozen=True)
class Badge:
    """How a mirror is, in two words; `level` is good, fair, bad or none."""

    message: str
    level: str


def badge(session: Session, host: Host, now: datetime) -> Badge:
    """How the host is, for a picture on its own pages."""
    if host.state is not State.ACTIVE or host.site.state is not State.ACTIVE:
        return Badge("switched off", "none")
    if maintenance.current(session, host, now):
        return Badge("maintenance", "none")
    found = categories(session, host)
    if not found:
        return Badge("nothing carried", "none")
    if any(category.health is Health.QUARANTINED for category in found):
        return Badge("not reached", "bad")
    total = sum(category.total for category in found if not category.always_up_to_date)
    current = sum(category.up_to_date for category in found if not category.always_up_to_date)
    if all(category.percent == 100 for category in found):
        return Badge("in sync", "good")
    percent = 100 * current // total if total else 0
    return Badge(f"{percent} % in sync", "fair" if percent >= 50 else "bad")


def is_public(host: Host) -> bool:
    """Whether everybody may know of the host."""
    return not (host.private or host.site.private)


def sites_with_hosts(session: Session, sites: Sequence[Site]) -> dict[int, list[Host]]:
    """The hosts of these sites, by name."""
    found: dict[int, list[Host]] = {site.id: [] for site in sites}
    query = select(Host).where(Host.site_id.in_(found)).order_by(Host.name)
    for host in session.scalars(query):
        found[host.site_id].append(host)
    return found


@dataclass(frozen=True)
class SitePage:
    """Some sites, and how many there are."""

    sites: list[Site]
    total: int
    number: int
    pages: int


def find_sites(session: Session, text: str, number: int, size: int) -> SitePage:
    """Sites that are named so, or have a host that is, by name. A number beyond the last page means the last one."""
    query = select(Site)
    if text:
        named = select(Host.site_id).where(Host.name.icontains(text, autoescape=True))
        query = query.where(or_(Site.name.icontains(text, autoescape=True), Site.id.in_(named)))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    pages = max(1, -(-total // size))
    number = min(max(1, number), pages)
    rows = session.scalars(query.order_by(Site.name, Site.created_at).limit(size).offset((number - 1) * size))
    return SitePage(list(rows), total, number, pages)


def askable(session: Session) -> list[tuple[str, str]]:
    """What clients can ask for, as prefix and arch."""
    query = (
        select(Repository.prefix, Arch.name)
        .join(Arch, Arch.id == Repository.arch_id)
        .where(Repository.enabled, Repository.prefix.is_not(None))
        .order_by(Repository.prefix, Arch.name)
    )
    return [(prefix or "", arch) for prefix, arch in session.execute(query)]
