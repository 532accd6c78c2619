"""What the mirrorlist cache is built from: named queries, plain rows, one read transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import select
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
    HostNetblock,
)
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth, HostCategoryState
from mm_lib.services.geography import effective_continents


class HostRow(NamedTuple):
    """An active host of an active site."""

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


class CarriedRow(NamedTuple):
    """A host carries a category; `up_to_date` is its bitmap of directory ids, None before the first crawl."""

    id: int
    host_id: int
    category_id: int
    always_up_to_date: bool
    up_to_date: bytes | None


class CategoryRow(NamedTuple):
    """A category."""

    id: int
    name: str
    topdir: str


class DirectoryRow(NamedTuple):
    """A directory of the master."""

    id: int
    category_id: int
    path: str
    readable: bool


class FileRow(NamedTuple):
    """One version of an important file; rows come newest first."""

    directory_id: int
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
    directory_id: int | None
    enabled: bool


@dataclass
class Rows:
    """Everything that build() needs."""

    hosts: list[HostRow]
    categories: list[CategoryRow]
    carried: list[CarriedRow]
    urls: list[tuple[int, str]]  # (host category, public URL)
    directories: list[DirectoryRow]
    files: list[FileRow]
    repositories: list[RepositoryRow]
    redirects: dict[str, str] = field(default_factory=dict)
    netblocks: list[tuple[int, str]] = field(default_factory=list)  # (host, CIDR or DNS name)
    asns: list[tuple[int, int, str]] = field(default_factory=list)  # (host, ASN, "own" or "peer")
    countries: list[tuple[int, str, str]] = field(default_factory=list)  # (host, country, "extra" or "allowed")
    exclusive: list[tuple[int, int]] = field(default_factory=list)  # (directory, host)
    continents: dict[str, str] = field(default_factory=dict)
    netblock_countries: dict[str, str] = field(default_factory=dict)
    embargoed: list[str] = field(default_factory=list)


def read(session: Session) -> Rows:
    """All rows. Run it in one transaction, so that they belong together."""
    return Rows(
        hosts=_hosts(session),
        categories=[CategoryRow(*row) for row in session.execute(_CATEGORIES)],
        carried=[CarriedRow(*row) for row in session.execute(_CARRIED)],
        urls=[(carried, url) for carried, url in session.execute(_URLS)],
        directories=[DirectoryRow(*row) for row in session.execute(_DIRECTORIES)],
        files=[FileRow(*row) for row in session.execute(_FILES)],
        repositories=[RepositoryRow._make(row) for row in session.execute(_REPOSITORIES)],
        redirects=dict(session.execute(_REDIRECTS).all()),
        netblocks=[(host, netblock) for host, netblock in session.execute(_NETBLOCKS)],
        asns=[(host, asn, kind.value) for host, asn, kind in session.execute(_ASNS)],
        countries=[(host, country, kind.value) for host, country, kind in session.execute(_COUNTRIES)],
        exclusive=[(directory, host) for directory, host in session.execute(_EXCLUSIVE)],
        continents=effective_continents(session),
        netblock_countries=dict(session.execute(_NETBLOCK_COUNTRIES).all()),
        embargoed=list(session.scalars(select(EmbargoedCountry.country).order_by(EmbargoedCountry.country))),
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
        )
        .join(Site)
        .where(Host.state == State.ACTIVE, Site.state == State.ACTIVE)
        .order_by(Host.id)
    )
    return [HostRow._make(row) for row in session.execute(query)]


_CATEGORIES = select(Category.id, Category.name, Category.topdir).order_by(Category.id)
# A host-category that could not be reached leaves the cache at once; its bitmap waits for its return.
_CARRIED = (
    select(
        HostCategory.id,
        HostCategory.host_id,
        HostCategory.category_id,
        HostCategory.always_up_to_date,
        HostCategoryState.up_to_date,
    )
    .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
    .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
    .where(
        HostCategory.always_up_to_date
        | HostCategoryHealth.health.is_(None)
        | (HostCategoryHealth.health != Health.QUARANTINED)
    )
    .order_by(HostCategory.id)
)
_URLS = (
    select(HostCategoryUrl.host_category_id, HostCategoryUrl.url)
    .where(HostCategoryUrl.private.is_(False))
    .order_by(HostCategoryUrl.id)
)
_DIRECTORIES = select(Directory.id, Directory.category_id, Directory.path, Directory.readable).order_by(Directory.path)
_FILES = select(
    FileDetail.directory_id,
    FileDetail.filename,
    FileDetail.timestamp,
    FileDetail.size,
    FileDetail.md5,
    FileDetail.sha1,
    FileDetail.sha256,
    FileDetail.sha512,
).order_by(FileDetail.directory_id, FileDetail.filename, FileDetail.timestamp.desc(), FileDetail.id.desc())
_REPOSITORIES = (
    select(Repository.prefix, Arch.name, Repository.directory_id, Repository.enabled)
    .join(Arch)
    .where(Repository.prefix.is_not(None))
    .order_by(Repository.prefix, Arch.name)
)
_REDIRECTS = select(RepositoryRedirect.from_prefix, RepositoryRedirect.to_prefix)
_NETBLOCKS = select(HostNetblock.host_id, HostNetblock.netblock).order_by(HostNetblock.id)
_ASNS = select(HostAsn.host_id, HostAsn.asn, HostAsn.kind).order_by(HostAsn.id)
_COUNTRIES = select(HostCountry.host_id, HostCountry.country, HostCountry.kind).order_by(HostCountry.country)
_EXCLUSIVE = select(DirectoryHost.directory_id, DirectoryHost.host_id)
_NETBLOCK_COUNTRIES = select(NetblockCountry.netblock, NetblockCountry.country)
