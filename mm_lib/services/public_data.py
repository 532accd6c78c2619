"""What programs may know of the public mirrors: everything on the public pages, and how fresh each version is there.

Everything is read at once into a Snapshot of plain values, like the registry of the public pages. Nothing in it depends
on when it was read, only on what was found out last: as long as nothing changed, its documents stay the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pyroaring import BitMap
from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from mm_lib.model.content import Arch, Category, Directory, FileDetail, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.sites import Site
from mm_lib.model.state import CrawlResult, HostCategoryCrawl, HostCategoryState, RepositoryMirrorState
from mm_lib.services import mirrors as public
from mm_lib.services.mirrors import Mirror, MirrorCategory

CHECKS_FOR = timedelta(days=1)  # results of crawls that the share of good ones is taken of
_THERE = ("ok", "alternate", "stale")  # verdicts of the crawler on a repository that a mirror has
_ASKED = "asked"  # outcome of a crawl that was answered


class Freshness(StrEnum):
    """How a mirror's copy of the repositories of one version and arch is."""

    CURRENT = "current"  # all are as on the master
    PARTIAL = "partial"  # some are, the others are not there
    BEHIND = "behind"  # at least one is older than the master's
    MISSING = "missing"  # none is there
    UNKNOWN = "unknown"  # nobody looked yet


@dataclass(frozen=True)
class VersionState:
    """The enabled repositories of a version for an arch on one mirror."""

    version: str
    arch: str
    state: Freshness
    repositories: int
    current: int  # of these are as on the master
    delay_seconds: int | None  # how much older the oldest one's metadata is than the master's
    last_sync: datetime | None  # then the mirror had at least everything that it has of them now
    checked_at: datetime | None


@dataclass(frozen=True)
class Checks:
    """The crawls of a day."""

    number: int = 0
    share: float = 1.0  # of them were answered
    seconds: float | None = None  # per question, on average
    deviation: float | None = None


@dataclass(frozen=True)
class Carried:
    """A category on a mirror."""

    category: MirrorCategory
    product: str
    versions: tuple[VersionState, ...]
    delay_seconds: int | None
    last_sync: datetime | None
    checks: Checks
    images: bool  # the category has installation images


@dataclass(frozen=True)
class PublicMirror:
    """A public mirror with its place and what it carries."""

    mirror: Mirror
    latitude: float | None
    longitude: float | None
    carried: tuple[Carried, ...]


@dataclass(frozen=True)
class Snapshot:
    """What there is to know at one moment."""

    as_of: datetime | None  # when the newest part of it was found out
    categories: frozenset[str]  # names of those that the public may know
    mirrors: tuple[PublicMirror, ...]

    def only(self, categories: frozenset[str], protocols: frozenset[str], country: str) -> Snapshot:
        """The part with these categories (None named: all), URLs of these protocols, and mirrors of this country."""
        narrowed = (_narrowed(mirror, categories, protocols, country) for mirror in self.mirrors)
        return replace(self, mirrors=tuple(mirror for mirror in narrowed if mirror.carried))


def protocol(url: str) -> str:
    """What a URL begins with."""
    return url.partition("://")[0]


def _narrowed(
    mirror: PublicMirror, categories: frozenset[str], protocols: frozenset[str], country: str
) -> PublicMirror:
    if country not in ("", mirror.mirror.country):
        return replace(mirror, carried=())
    found = []
    for carried in mirror.carried:
        urls = tuple(url for url in carried.category.urls if not protocols or protocol(url) in protocols)
        if urls and (not categories or carried.category.name in categories):
            found.append(replace(carried, category=replace(carried.category, urls=urls)))
    return replace(mirror, carried=tuple(found))


def read(session: Session, now: datetime) -> Snapshot:
    """Everything, in a dozen queries whatever the number of mirrors."""
    registry = public.read_registry(session)
    facts = _Facts.read(session, now)
    mirrors = tuple(facts.of(mirror) for mirror in registry.mirrors)
    times = [carried.category.checked_at for mirror in mirrors for carried in mirror.carried]
    times += [each.checked_at for mirror in mirrors for carried in mirror.carried for each in carried.versions]
    known = [time for time in times if time]
    as_of = max(known, default=None)
    return Snapshot(as_of, facts.categories, tuple(_always_current(mirror, as_of) for mirror in mirrors))


def _always_current(mirror: PublicMirror, as_of: datetime | None) -> PublicMirror:
    """Masters and caches are as they should be at any moment, also at this one."""
    carried = tuple(
        replace(each, last_sync=as_of, delay_seconds=0) if each.category.always_up_to_date else each
        for each in mirror.carried
    )
    return replace(mirror, carried=carried)


class _HostRow(NamedTuple):
    """What the public pages do not show of a host's category."""

    id: int  # of the host category
    latitude: float | None
    longitude: float | None
    synced_at: datetime | None
    up_to_date: bytes | None


class _Release(NamedTuple):
    """A version for an arch, in one category."""

    version_id: int
    arch_id: int
    version: str
    arch: str


class _Seen(NamedTuple):
    """What crawls found of the repositories of a release on a mirror."""

    repositories: int
    current: int
    there: int
    older: int
    delay: int | None
    last_sync: datetime | None
    checked_at: datetime | None


@dataclass(frozen=True)
class _Facts:
    """What is looked up for every mirror."""

    categories: frozenset[str]
    products: Mapping[int, str]  # by category
    rows: Mapping[tuple[int, int], _HostRow]  # by host and category
    releases: Mapping[int, list[tuple[_Release, BitMap]]]  # category -> its releases with their directories
    seen: Mapping[tuple[int, int, int], _Seen]  # by host category, version and arch
    checks: Mapping[int, Checks]  # by host category
    images: frozenset[int]  # categories

    @classmethod
    def read(cls, session: Session, now: datetime) -> _Facts:
        """The queries."""
        query = select(Category.id, Category.name, Product.name.label("product")).join(Product).where(*_PUBLIC)
        rows = session.execute(query).all()
        return cls(
            categories=frozenset(row.name for row in rows),
            products={row.id: row.product for row in rows},
            rows=_host_rows(session),
            releases=_releases(session),
            seen=_seen(session),
            checks=_checks(session, now - CHECKS_FOR),
            images=frozenset(session.scalars(_IMAGES)),
        )

    def of(self, mirror: Mirror) -> PublicMirror:
        """A mirror with what is known of it."""
        rows = [self.rows.get((mirror.id, category.id)) for category in mirror.categories]
        place = next((row for row in rows if row), None)
        carried = tuple(
            self._carried(category, row) for category, row in zip(mirror.categories, rows, strict=True) if row
        )
        latitude, longitude = (place.latitude, place.longitude) if place else (None, None)
        return PublicMirror(mirror, latitude, longitude, carried)

    def _carried(self, category: MirrorCategory, row: _HostRow) -> Carried:
        has = BitMap.deserialize(row.up_to_date) if row.up_to_date else BitMap()
        versions = tuple(
            self._version(category, row.id, release, directories, has)
            for release, directories in self.releases.get(category.id, ())
        )
        delay, last_sync = _sync(category, versions, row.synced_at)
        return Carried(
            category,
            self.products.get(category.id, ""),
            versions,
            delay,
            last_sync,
            self.checks.get(row.id, Checks()),
            category.id in self.images,
        )

    def _version(
        self, category: MirrorCategory, carried: int, release: _Release, directories: BitMap, has: BitMap
    ) -> VersionState:
        total = len(directories)
        if category.always_up_to_date:
            found = _Seen(total, total, total, 0, 0, None, None)
        else:
            found = self.seen.get((carried, release.version_id, release.arch_id)) or _by_bitmap(
                category, directories, has
            )
        return VersionState(
            version=release.version,
            arch=release.arch,
            state=_freshness(found),
            repositories=max(total, found.repositories),
            current=found.current,
            delay_seconds=found.delay,
            last_sync=found.last_sync,
            checked_at=found.checked_at,
        )


def _by_bitmap(category: MirrorCategory, directories: BitMap, has: BitMap) -> _Seen:
    """As far as it follows from which directories are up to date: it does not say how old the others are."""
    if category.checked_at is None:
        return _Seen(len(directories), 0, 0, 0, None, None, None)
    current = len(directories & has)
    whole = current == len(directories)
    return _Seen(
        repositories=len(directories),
        current=current,
        there=current,
        older=0 if current else len(directories),
        delay=0 if whole else None,
        last_sync=category.checked_at if whole else None,
        checked_at=category.checked_at,
    )


def _freshness(found: _Seen) -> Freshness:
    if found.repositories and found.current == found.repositories:
        return Freshness.CURRENT
    if found.checked_at is None:
        return Freshness.UNKNOWN
    if found.older:
        return Freshness.BEHIND
    return Freshness.PARTIAL if found.there else Freshness.MISSING


def _sync(
    category: MirrorCategory, versions: Iterable[VersionState], synced_at: datetime | None
) -> tuple[int | None, datetime | None]:
    """How late a mirror is with a category, and when it was like the master last."""
    delays = [each.delay_seconds for each in versions if each.delay_seconds is not None]
    times = [each.last_sync for each in versions if each.last_sync]
    if delays and times:
        return max(delays), min(times)
    if category.percent == 100:
        return 0, category.checked_at
    if synced_at and category.checked_at:
        return max(0, int((category.checked_at - synced_at).total_seconds())), synced_at
    return None, None


_PUBLIC = (Category.public, ~Category.admin_only)
_IMAGES = (
    select(Directory.category_id)
    .join(FileDetail, FileDetail.directory_id == Directory.id)
    .where(FileDetail.filename.like("%.iso"))
    .distinct()
)


def _host_rows(session: Session) -> dict[tuple[int, int], _HostRow]:
    query = (
        select(
            HostCategory.host_id,
            HostCategory.category_id,
            HostCategory.id,
            Host.latitude,
            Host.longitude,
            HostCategoryCrawl.synced_at,
            HostCategoryState.up_to_date,
        )
        .join(Host, Host.id == HostCategory.host_id)
        .join(Site, Site.id == Host.site_id)
        .outerjoin(HostCategoryCrawl, HostCategoryCrawl.host_category_id == HostCategory.id)
        .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
        .where(~Host.private, ~Site.private)
    )
    return {(host, category): _HostRow._make(row) for host, category, *row in session.execute(query)}


def _releases(session: Session) -> dict[int, list[tuple[_Release, BitMap]]]:
    """Category -> the displayed versions and public arches of its enabled repositories, with where their metadata is.

    Of YUM repositories that is the directory repodata, of others their own.
    """
    metadata = aliased(Directory)
    below = case((Directory.path == "", "repodata"), else_=Directory.path + "/repodata")
    query = (
        select(
            Repository.category_id,
            Version.id,
            Arch.id,
            Version.name,
            Arch.name,
            func.coalesce(metadata.id, Directory.id),
        )
        .join(Directory, Directory.id == Repository.directory_id)
        .outerjoin(metadata, and_(metadata.category_id == Directory.category_id, metadata.path == below))
        .join(Version, Version.id == Repository.version_id)
        .join(Arch, Arch.id == Repository.arch_id)
        .join(Category, Category.id == Repository.category_id)
        .where(Repository.enabled, Version.display, Arch.public, *_PUBLIC)
        .order_by(Version.sort_order, Version.name, Arch.primary.desc(), Arch.name)
    )
    found: dict[int, dict[_Release, BitMap]] = defaultdict(lambda: defaultdict(BitMap))
    for category, version_id, arch_id, version, arch, directory in session.execute(query):
        found[category][_Release(version_id, arch_id, version, arch)].add(directory)
    return {category: list(releases.items()) for category, releases in found.items()}


def _seen(session: Session) -> dict[tuple[int, int, int], _Seen]:
    """By host category, version and arch; counted by the database, for there is a row per mirror and repository."""
    state = RepositoryMirrorState
    there = state.verdict.in_(_THERE)
    query = (
        select(
            state.host_category_id,
            Repository.version_id,
            Repository.arch_id,
            func.count(),
            func.sum(case((and_(state.verdict == "ok", func.coalesce(state.lag_seconds, 0) <= 0), 1), else_=0)),
            func.sum(case((there, 1), else_=0)),
            func.sum(case((and_(there, or_(state.verdict != "ok", state.lag_seconds > 0)), 1), else_=0)),
            func.max(case((there, state.lag_seconds))),
            func.min(state.checked_at),
        )
        .join(Repository, Repository.id == state.repository_id)
        .where(Repository.enabled)
        .group_by(state.host_category_id, Repository.version_id, Repository.arch_id)
    )
    found = {}
    for carried, version, arch, total, current, there_, older, delay, at in session.execute(query):
        synced = at - timedelta(seconds=delay) if delay is not None else None
        found[carried, version, arch] = _Seen(total, current, there_, older, delay, synced, at)
    return found


def _checks(session: Session, since: datetime) -> dict[int, Checks]:
    """By host category."""
    each = CrawlResult.seconds / func.nullif(CrawlResult.requests, 0)
    query = (
        select(
            CrawlResult.host_category_id,
            func.count(),
            func.sum(case((CrawlResult.outcome == _ASKED, 1), else_=0)),
            func.avg(each),
            func.avg(each * each),
        )
        .where(CrawlResult.started_at >= since)
        .group_by(CrawlResult.host_category_id)
    )
    found = {}
    for carried, total, good, mean, squares in session.execute(query):
        deviation = max(0.0, squares - mean * mean) ** 0.5 if mean is not None else None
        found[carried] = Checks(total, good / total, mean, deviation)
    return found
