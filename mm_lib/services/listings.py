"""What programs list: each function reads the rows of one slice of one table, with what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload, selectinload, undefer

from mm_lib.model.accounts import AuditEvent
from mm_lib.model.content import Arch, Category, FileDetail, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.sites import Site, SiteMember
from mm_lib.model.state import CrawlResult, CrawlRun, RepositoryMirrorState
from mm_lib.model.statistics import AccessDimension, AccessStatistic, PropagationStatistic, StatisticLevel
from mm_lib.services.errors import NotFound
from mm_lib.services.slices import Slice


class Visible(NamedTuple):
    """Which sites somebody may see: all, those of a user, or one."""

    user_id: int | None = None
    site_id: int | None = None
    everything: bool = False


def sites(session: Session, visible: Visible, part: Slice, name: str = "") -> Sequence[Site]:
    """Sites; with this name, where one is given."""
    query = _visible(select(Site), visible)
    return session.scalars(part.of(query.where(Site.name == name) if name else query, Site.id)).all()


def hosts(
    session: Session, visible: Visible, part: Slice, *, site_id: int | None = None, name: str = ""
) -> Sequence[Host]:
    """Hosts, with their networks."""
    query = _visible(select(Host).join(Site, Site.id == Host.site_id), visible).options(selectinload(Host.asns))
    if site_id is not None:
        query = query.where(Host.site_id == site_id)
    return session.scalars(part.of(query.where(Host.name == name) if name else query, Host.id)).all()


def _visible(query: Select[Any], visible: Visible) -> Select[Any]:
    if visible.everything:
        return query
    if visible.user_id is not None:
        own = select(SiteMember.site_id).where(SiteMember.user_id == visible.user_id)
        return query.where(Site.id.in_(own))
    return query.where(Site.id == visible.site_id)


# -- content


def products(session: Session, part: Slice, hidden: bool) -> Sequence[Product]:
    """Products; `hidden`: those as well that are not public."""
    query = select(Product)
    return session.scalars(part.of(query if hidden else query.where(Product.public), Product.id)).all()


def versions(session: Session, part: Slice, hidden: bool, product: str = "") -> Sequence[Version]:
    """Versions with their products."""
    query = select(Version).join(Version.product).options(joinedload(Version.product))
    if product:
        query = query.where(Product.name == product)
    return session.scalars(part.of(query if hidden else query.where(Product.public), Version.id)).all()


def arches(session: Session, part: Slice, hidden: bool) -> Sequence[Arch]:
    """Arches."""
    query = select(Arch)
    return session.scalars(part.of(query if hidden else query.where(Arch.public), Arch.id)).all()


def categories(session: Session, part: Slice, hidden: bool) -> Sequence[Category]:
    """Categories with their products."""
    query = select(Category).options(joinedload(Category.product))
    return session.scalars(part.of(query if hidden else query.where(*_PUBLIC), Category.id)).all()


_PUBLIC = (Category.public, ~Category.admin_only)
_REPOSITORY = (
    joinedload(Repository.version).joinedload(Version.product),
    joinedload(Repository.arch),
    joinedload(Repository.category),
    joinedload(Repository.directory),
)


def repositories(session: Session, part: Slice, hidden: bool, prefix: str = "", arch: str = "") -> Sequence[Repository]:
    """Repositories; `hidden`: those as well that are switched off, or belong to a category that is not public."""
    query = select(Repository).join(Repository.category).join(Repository.arch).options(*_REPOSITORY)
    if not hidden:
        query = query.where(*_PUBLIC, Repository.enabled)
    if prefix:
        query = query.where(Repository.prefix == prefix)
    if arch:
        query = query.where(Arch.name == arch)
    return session.scalars(part.of(query, Repository.id)).all()


def repository(session: Session, id_: int, hidden: bool) -> Repository:
    """One repository. Raises NotFound."""
    found = repositories(session, Slice(id_ - 1, 1), hidden)
    if not found or found[0].id != id_:
        raise NotFound("There is no such repository.")
    return found[0]


class Fresh(NamedTuple):
    """How a mirror's copy of a repository was when it was last asked for."""

    host_id: int
    verdict: str
    lag_seconds: int | None
    checked_at: datetime
    has: int | None  # Unix seconds of the metadata that the mirror has


def freshness(session: Session, repository_id: int, host_ids: Sequence[int]) -> list[Fresh]:
    """How these hosts' copies of a repository are, by host."""
    rows = session.execute(
        select(
            HostCategory.host_id,
            RepositoryMirrorState.verdict,
            RepositoryMirrorState.lag_seconds,
            RepositoryMirrorState.checked_at,
            FileDetail.timestamp,
        )
        .join(HostCategory, HostCategory.id == RepositoryMirrorState.host_category_id)
        .outerjoin(FileDetail, FileDetail.id == RepositoryMirrorState.file_detail_id)
        .where(RepositoryMirrorState.repository_id == repository_id, HostCategory.host_id.in_(host_ids))
        .order_by(HostCategory.host_id)
    )
    return [Fresh(*row) for row in rows]


def propagation(session: Session, repository_id: int, since: datetime) -> Sequence[PropagationStatistic]:
    """How a repository's updates reached the mirrors, the oldest first."""
    query = select(PropagationStatistic).where(
        PropagationStatistic.repository_id == repository_id, PropagationStatistic.at >= since
    )
    return session.scalars(query.order_by(PropagationStatistic.at)).all()


def figures(
    session: Session, dimension: AccessDimension, level: StatisticLevel, start: date
) -> Sequence[AccessStatistic]:
    """Requests of one period, the most first."""
    query = select(AccessStatistic).where(
        AccessStatistic.level == level, AccessStatistic.dimension == dimension, AccessStatistic.start == start
    )
    return session.scalars(query.order_by(AccessStatistic.requests.desc(), AccessStatistic.name)).all()


def host_figures(session: Session, host: Host, level: StatisticLevel, since: date) -> Sequence[AccessStatistic]:
    """How often a host was handed out in each period. Logs know hosts by name: of one that two sites have, nothing."""
    if len(session.scalars(select(Host.id).where(Host.name == host.name).limit(2)).all()) > 1:
        return []
    query = select(AccessStatistic).where(
        AccessStatistic.level == level,
        AccessStatistic.dimension == AccessDimension.HOST,
        AccessStatistic.name == host.name,
        AccessStatistic.start >= since,
    )
    return session.scalars(query.order_by(AccessStatistic.start)).all()


# -- crawls


def crawl_runs(session: Session, part: Slice) -> Sequence[CrawlRun]:
    """Runs of the scanner and the crawler, the newest first."""
    return session.scalars(part.of(select(CrawlRun), CrawlRun.id, newest_first=True)).all()


class Crawl(NamedTuple):
    """What a run found for a host and category."""

    result: CrawlResult
    category: str


def crawls(session: Session, host_id: int, part: Slice) -> list[Crawl]:
    """What was found of a host, the newest first."""
    return [Crawl(*row) for row in session.execute(part.of(_crawls(host_id), CrawlResult.id, newest_first=True))]


def crawl(session: Session, host_id: int, id_: int) -> Crawl:
    """One result with its evidence. Raises NotFound."""
    query = _crawls(host_id).where(CrawlResult.id == id_).options(undefer(CrawlResult.evidence))
    row = session.execute(query).one_or_none()
    if row is None:
        raise NotFound("There is no such crawl of this host; old ones are forgotten.")
    return Crawl(*row)


def _crawls(host_id: int) -> Select[CrawlResult, str]:
    return (
        select(CrawlResult, Category.name)
        .join(HostCategory, HostCategory.id == CrawlResult.host_category_id)
        .join(Category, Category.id == HostCategory.category_id)
        .where(HostCategory.host_id == host_id)
    )


# -- changes


def events(session: Session, part: Slice, site_id: int | None = None) -> Sequence[AuditEvent]:
    """Who changed what, the newest first: of a site, or of everything."""
    query = select(AuditEvent)
    if site_id is not None:
        query = query.where(AuditEvent.site_id == site_id)
    return session.scalars(part.of(query, AuditEvent.id, newest_first=True)).all()
