"""The registry as files would describe it, read from the database."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from mm_lib.model.accounts import User
from mm_lib.model.base import State
from mm_lib.model.content import Category, Directory
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    DirectoryHost,
    Host,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostLocation,
    Location,
    Maintenance,
)
from mm_lib.model.sites import Site, SiteMember, SiteUpstream
from mm_lib.registry.documents import SiteFile, for_files, plain

Sites = dict[str, SiteFile]
_BY = {State.ADMIN_DISABLED: "administrator", State.OWNER_DISABLED: "owner"}


def read_sites(session: Session, now: datetime) -> Sites:
    """Name -> site, for all that are not deleted, by name. Maintenance that has ended is left out."""
    sites = session.scalars(select(Site).order_by(Site.name)).all()
    hosts: dict[int, list[dict[str, Any]]] = defaultdict(list)
    below = _Below(session, now)
    query = select(Host).options(
        selectinload(Host.categories).options(joinedload(HostCategory.category), selectinload(HostCategory.urls)),
        selectinload(Host.netblocks),
        selectinload(Host.asns),
        selectinload(Host.countries),
    )
    for host in session.scalars(query.order_by(Host.name)):
        hosts[host.site_id].append(_host(host, below))
    members = _members(session)
    upstreams = _upstreams(session)
    return {
        site.name: SiteFile.model_validate(
            {
                "name": site.name,
                "org_url": site.org_url,
                "private": site.private,
                "all_sites_can_pull": site.all_sites_can_pull,
                "downstream_comments": site.downstream_comments,
                "weekly_report": site.weekly_report,
                "disabled": _disabled(site),
                "upstreams": upstreams.get(site.id, []),
                "members": members.get(site.id),
                "hosts": hosts.get(site.id, []),
            }
        )
        for site in sites
    }


class _Below:
    """What belongs to hosts without being reached from them, for all hosts at once."""

    def __init__(self, session: Session, now: datetime) -> None:
        self.acl = _grouped(session.execute(select(HostAclAddress.host_id, HostAclAddress.address)))
        self.locations = _grouped(
            session.execute(
                select(HostLocation.host_id, Location.name).join(Location, Location.id == HostLocation.location_id)
            )
        )
        windows = select(Maintenance).where(Maintenance.ends_at > now).order_by(Maintenance.starts_at)
        self.maintenance = _grouped(
            (row.host_id, {"starts_at": row.starts_at, "ends_at": row.ends_at, "reason": row.reason})
            for row in session.scalars(windows)
        )
        reserved = (
            select(DirectoryHost.host_id, Category.name, Directory.path)
            .join(Directory, Directory.id == DirectoryHost.directory_id)
            .join(Category, Category.id == Directory.category_id)
        )
        self.reserved = _grouped(
            (host, {"category": category, "path": path}) for host, category, path in session.execute(reserved)
        )


def _grouped(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for host, value in rows:
        found[host].append(value)
    return found


def _host(host: Host, below: _Below) -> dict[str, Any]:
    own = [row for row in host.asns if row.kind is AsnKind.OWN]
    return {
        "name": host.name,
        "country": host.country,
        "bandwidth_mbps": host.bandwidth_mbps,
        "max_connections": host.max_connections,
        "private": host.private,
        "crawl_private": host.crawl_private,
        "asn_clients": host.asn_clients,
        "coordinates": None if host.latitude is None else {"latitude": host.latitude, "longitude": host.longitude},
        "has_ipv4": host.has_ipv4,
        "has_ipv6": host.has_ipv6,
        "comment": host.comment,
        "robot_email": host.robot_email,
        "disabled": _disabled(host),
        "categories": [_category(row) for row in host.categories],
        "netblocks": [{"netblock": row.netblock, "name": row.name} for row in host.netblocks],
        "own_asns": _asns(own),
        "peer_asns": _asns([row for row in host.asns if row not in own]),
        "extra_countries": [row.country for row in host.countries if row.kind is CountryKind.EXTRA],
        "allowed_countries": [row.country for row in host.countries if row.kind is CountryKind.ALLOWED],
        "acl_addresses": below.acl.get(host.id, []),
        "locations": below.locations.get(host.id, []),
        "maintenance": below.maintenance.get(host.id, []),
        "reserved_directories": below.reserved.get(host.id, []),
    }


def _asns(rows: list[HostAsn]) -> list[dict[str, Any]]:
    return [{"asn": row.asn, "name": row.name} for row in rows]


def _category(row: HostCategory) -> dict[str, Any]:
    return {
        "category": row.category.name,
        "always_up_to_date": row.always_up_to_date,
        "urls": [url.url for url in row.urls if not url.private],
        "private_urls": [url.url for url in row.urls if url.private],
    }


def _disabled(thing: Site | Host) -> dict[str, str] | None:
    """People's decisions; what the crawler or the wait for approval does is not for files to say."""
    by = _BY.get(thing.state)
    return {"reason": thing.state_reason, "by": by} if by else None


def _members(session: Session) -> dict[int, dict[str, str]]:
    query = select(SiteMember.site_id, User.name, SiteMember.role).join(User, User.id == SiteMember.user_id)
    found: dict[int, dict[str, str]] = defaultdict(dict)
    for site, user, role in session.execute(query):
        found[site][user] = role.value
    return found


def _upstreams(session: Session) -> dict[int, list[str]]:
    query = select(SiteUpstream.downstream_id, Site.name).join(Site, Site.id == SiteUpstream.upstream_id)
    return _grouped(session.execute(query))


def fingerprint(sites: Mapping[str, SiteFile]) -> str:
    """The same for the same registry, whatever order its rows have."""
    values = [plain(for_files(sites[name])) for name in sorted(sites)]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
