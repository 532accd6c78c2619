"""What the mirrorlist cache is built from: named queries, plain rows, one read transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Arch, Category, Directory, FileDetail, Repository, RepositoryRedirect
from mm_lib.model.geography import EmbargoedCountry, NetblockCountry
from mm_lib.model.hosts import (
    DirectoryHost,
    Host,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostLocation,
    HostNetblock,
    Location,
    Maintenance,
)
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth, HostCategoryState
from mm_lib.services.geography import effective_continents

CHUNK = 10_000  # rows that are fetched at once


CHUNK = 10_000  # rows that are fetched at once


class HostRow(NamedTuple):
    """A host of a site, switched on or not."""

    id: int
    name: str
    site: str
    country: str | None
    bandwidth_mbps: int
    private: bool
    asn_clients: bool
    max_connections: int
    latitude: float | None
    longitude: float | None
    ipv4: bool | None = None
    ipv6: bool | None = None
    state: State = State.ACTIVE
    site_state: State = State.ACTIVE
    since: int = 0  # Unix seconds of the last time that it or its site was switched on


class CarriedRow(NamedTuple):
    """A host carries a category; `up_to_date` is its bitmap of directory ids, None before the first crawl."""

    id: int
    host_id: int
    category_id: int
    always_up_to_date: bool
    up_to_date: bytes | None
    health: Health = Health.ACTIVE
    since: int = 0  # Unix seconds since when it carries it, or has it back after an outage


class CategoryRow(NamedTuple):
    """A category."""

    id: int
    name: str
    topdir: str


class FileRow(NamedTuple):
    """One version of an important file; rows come newest first."""

    category_id: int
    directory: str
    filename: str
    timestamp: int
    size: int
    md5: str | None
    sha1: str | None
    sha256: str | None
    sha512: str | None


class RepositoryRow(NamedTuple):
    """A repository that clients can ask for."""

    prefix: str
    arch: str
    category_id: int | None
    directory: str | None
    enabled: bool


class NetblockRow(NamedTuple):
    """A network in normal form, or a DNS name that stands for its addresses, whose clients get the host first."""

    host_id: int
    text: str
    is_name: bool


class ReservedRow(NamedTuple):
    """A directory that only some hosts may serve, with one of them."""

    category_id: int
    directory_id: int
    path: str
    host_id: int


class MaintenanceRow(NamedTuple):
    """A host's owner works on it between these Unix seconds."""

    host_id: int
    starts_at: int
    ends_at: int


@dataclass
class Rows:
    """Everything that build() needs."""

    hosts: list[HostRow]
    categories: list[CategoryRow]
    carried: list[CarriedRow]
    urls: list[tuple[int, str]]  # (host category, public URL)
    directories: Callable[[int], Iterable[tuple[int, str]]]  # category -> (id, path), by id: too many to hold all
    files: list[FileRow]
    repositories: list[RepositoryRow]
    redirects: dict[str, str] = field(default_factory=dict)
    unreadable: list[int] = field(default_factory=list)  # directories that nobody may read on the master
    netblocks: list[NetblockRow] = field(default_factory=list)
    asns: list[tuple[int, int, str]] = field(default_factory=list)  # (host, ASN, "own" or "peer")
    countries: list[tuple[int, str, str]] = field(default_factory=list)  # (host, country, "extra" or "allowed")
    reserved: list[ReservedRow] = field(default_factory=list)
    locations: list[tuple[str, int | None]] = field(default_factory=list)  # (location group, host; None: it is empty)
    continents: dict[str, str] = field(default_factory=dict)
    netblock_countries: dict[str, str] = field(default_factory=dict)
    embargoed: list[str] = field(default_factory=list)
    maintenance: list[MaintenanceRow] = field(default_factory=list)


def read(session: Session) -> Rows:
    """All rows. Run it in one transaction, so that they belong together."""
    return Rows(
        hosts=_hosts(session),
        categories=[CategoryRow(*row) for row in session.execute(_CATEGORIES)],
        carried=list(_carried(session)),
        urls=[(carried, url) for carried, url in session.execute(_URLS)],
        directories=lambda category: _directories(session, category),
        files=[FileRow._make(row) for row in session.execute(_FILES)],
        repositories=[RepositoryRow._make(row) for row in session.execute(_REPOSITORIES)],
        redirects=dict(session.execute(_REDIRECTS).all()),
        unreadable=list(session.scalars(_UNREADABLE)),
        netblocks=[NetblockRow._make(row) for row in session.execute(_NETBLOCKS)],
        asns=[(host, asn, kind.value) for host, asn, kind in session.execute(_ASNS)],
        countries=[(host, country, kind.value) for host, country, kind in session.execute(_COUNTRIES)],
        reserved=[ReservedRow._make(row) for row in session.execute(_RESERVED)],
        locations=[(location, host) for location, host in session.execute(_LOCATIONS)],
        continents=effective_continents(session),
        netblock_countries=dict(session.execute(_NETBLOCK_COUNTRIES).all()),
        embargoed=list(session.scalars(select(EmbargoedCountry.country).order_by(EmbargoedCountry.country))),
        maintenance=[
            MaintenanceRow(host, _latest(starts), _latest(ends)) for host, starts, ends in session.execute(_MAINTENANCE)
        ],
    )


def _hosts(session: Session) -> list[HostRow]:
    query = (
        select(
            Host.id,
            Host.name,
            Site.name,
            Host.country,
            Host.bandwidth_mbps,
            Host.private | Site.private,
            Host.asn_clients,
            Host.max_connections,
            Host.latitude,
            Host.longitude,
            Host.has_ipv4,
            Host.has_ipv6,
            Host.state,
            Site.state,
            Host.state_since.label("of_host"),
            Site.state_since.label("of_site"),
        )
        .join(Site)
        .order_by(Host.id)
    )
    return [HostRow._make((*row[:-2], _latest(row.of_host, row.of_site))) for row in session.execute(query)]


_CATEGORIES = select(Category.id, Category.name, Category.topdir).order_by(Category.id)


def _carried(session: Session) -> Iterator[CarriedRow]:
    returned = dict(session.execute(_RETURNS).all())
    for id_, host, category, always, bitmap, health, created in session.execute(_CARRIED):
        since = _latest(created, returned.get(id_))
        yield CarriedRow(id_, host, category, always, bitmap, health or Health.ACTIVE, since)


def _latest(*times: datetime | None) -> int:
    """Unix seconds."""
    return int(max(time.timestamp() for time in times if time))


def _directories(session: Session, category: int) -> Iterator[Any]:
    query = _DIRECTORIES.where(Directory.category_id == category)
    # By the connection: the ORM's way costs twice the time, and a stream costs no memory.
    return iter(session.connection().execute(query, execution_options={"yield_per": CHUNK}))


_CARRIED = (
    select(
        HostCategory.id,
        HostCategory.host_id,
        HostCategory.category_id,
        HostCategory.always_up_to_date,
        HostCategoryState.up_to_date,
        HostCategoryHealth.health,
        HostCategory.created_at,
    )
    .join(Host, HostCategory.host_id == Host.id)  # not those that were deleted
    .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
    .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
    .order_by(HostCategory.id)
)
_OUTAGES = (
    select(HealthChange.host_category_id, func.max(HealthChange.at).label("at"))
    .where(HealthChange.health == Health.QUARANTINED)
    .group_by(HealthChange.host_category_id)
    .subquery()
)
_RETURNS = (
    select(HealthChange.host_category_id, func.min(HealthChange.at))
    .join(_OUTAGES, HealthChange.host_category_id == _OUTAGES.c.host_category_id)
    .where(HealthChange.at > _OUTAGES.c.at, HealthChange.health.in_((Health.ACTIVE, Health.PROBATION)))
    .group_by(HealthChange.host_category_id)
)
_NOT_CRAWLED = HostCategory.always_up_to_date | Host.private | Site.private  # what was once found there says nothing
_URLS = (  # those that lead somewhere; no client that we know of speaks FTPS
    select(HostCategoryUrl.host_category_id, HostCategoryUrl.url)
    .join(HostCategory, HostCategory.id == HostCategoryUrl.host_category_id)
    .join(Host, Host.id == HostCategory.host_id)
    .join(Site, Site.id == Host.site_id)
    .where(HostCategoryUrl.private.is_(False), HostCategoryUrl.url.not_like("ftps:%"))
    .where((HostCategoryUrl.problem == "") | _NOT_CRAWLED)
    .order_by(HostCategoryUrl.id)
)
# Nothing but what the index on the paths holds: SQLite then leaves the much larger table alone.
_DIRECTORIES = select(Directory.id, Directory.path).order_by(Directory.id)
_UNREADABLE = select(Directory.id).where(Directory.readable.is_(False))
_FILES = (
    select(
        Directory.category_id,
        Directory.path,
        FileDetail.filename,
        FileDetail.timestamp,
        FileDetail.size,
        FileDetail.md5,
        FileDetail.sha1,
        FileDetail.sha256,
        FileDetail.sha512,
    )
    .join(Directory, FileDetail.directory_id == Directory.id)
    .order_by(FileDetail.directory_id, FileDetail.filename, FileDetail.timestamp.desc(), FileDetail.id.desc())
)
_REPOSITORIES = (
    select(Repository.prefix, Arch.name, Directory.category_id, Directory.path, Repository.enabled)
    .join(Arch, Repository.arch_id == Arch.id)
    .outerjoin(Directory, Repository.directory_id == Directory.id)
    .where(Repository.prefix.is_not(None))
    .order_by(Repository.prefix, Arch.name)
)
_REDIRECTS = select(RepositoryRedirect.from_prefix, RepositoryRedirect.to_prefix)
_NETBLOCKS = select(HostNetblock.host_id, HostNetblock.netblock, HostNetblock.family.is_(None)).order_by(
    HostNetblock.id
)
_ASNS = select(HostAsn.host_id, HostAsn.asn, HostAsn.kind).order_by(HostAsn.id)
_COUNTRIES = select(HostCountry.host_id, HostCountry.country, HostCountry.kind).order_by(HostCountry.country)
_RESERVED = (
    select(Directory.category_id, Directory.id, Directory.path, DirectoryHost.host_id)
    .join(Directory, DirectoryHost.directory_id == Directory.id)
    .order_by(Directory.path)
)
_LOCATIONS = (
    select(Location.name, HostLocation.host_id)
    .outerjoin(HostLocation, HostLocation.location_id == Location.id)
    .order_by(Location.name)
)
_MAINTENANCE = select(Maintenance.host_id, Maintenance.starts_at, Maintenance.ends_at).order_by(Maintenance.id)
_NETBLOCK_COUNTRIES = select(NetblockCountry.netblock, NetblockCountry.country)
