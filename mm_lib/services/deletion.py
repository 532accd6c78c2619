"""Deleting sites and hosts: what goes with them, taking it back within 30 days, and the end after that.

Deleted rows stay in their tables, where mm_lib.model.hiding keeps them out of the cache, the crawls and the pages. What
belongs to a site is deleted with it, at the same moment; that moment tells later what to bring back together.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.hiding import WITH_DELETED
from mm_lib.model.hosts import Host, HostAsn, HostCategory, HostCategoryUrl, HostCountry, HostNetblock, Maintenance
from mm_lib.model.sites import Site, SiteMember
from mm_lib.services.errors import AlreadyExists, NotAllowed, NotFound

KEPT = timedelta(days=30)


class Deleted(NamedTuple):
    """A site or host that was deleted and can be brought back."""

    id: int
    name: str
    site_id: int
    site: str
    deleted_at: datetime
    deleted_by: str
    until: datetime  # afterwards it may be gone
    is_site: bool


def what_goes_with_site(session: Session, site: Site) -> dict[str, int]:
    """How many things of which kind a deletion takes along."""
    hosts = select(Host.id).where(Host.site_id == site.id)
    members = select(func.count()).select_from(SiteMember).where(SiteMember.site_id == site.id)
    counted = {
        "hosts": session.scalar(select(func.count()).select_from(hosts.subquery())) or 0,
        "members": session.scalar(members) or 0,
    }
    return {**counted, **_below(session, list(session.scalars(hosts)))}


def what_goes_with_host(session: Session, host: Host) -> dict[str, int]:
    """How many things of which kind a deletion takes along."""
    return _below(session, [host.id])


def _below(session: Session, hosts: list[int]) -> dict[str, int]:
    urls = select(func.count(HostCategoryUrl.id)).join(HostCategory).where(HostCategory.host_id.in_(hosts))
    kept = {
        "categories": HostCategory.host_id,
        "netblocks": HostNetblock.host_id,
        "networks by number": HostAsn.host_id,
    }
    kept |= {"countries": HostCountry.host_id, "maintenance windows": Maintenance.host_id}
    counted = {
        name: session.scalar(select(func.count()).where(column.in_(hosts))) or 0 for name, column in kept.items()
    }
    return {"URLs": session.scalar(urls) or 0, **counted}


def delete_site(session: Session, site: Site, by: str, now: datetime, *, unlimited: bool = False) -> None:
    """Delete a site with its hosts; restore_site() takes it back. Raises NotAllowed as delete_host() does."""
    refuse_switched_off(site, unlimited)
    for host in session.scalars(select(Host).where(Host.site_id == site.id)):
        delete_host(session, host, by, now, unlimited=unlimited)
    site.deleted_at, site.deleted_by = now, by
    session.flush()


def delete_host(session: Session, host: Host, by: str, now: datetime, *, unlimited: bool = False) -> None:
    """Delete a host; restore_host() takes it back.

    Raises NotAllowed for one that an administrator switched off, unless it is an administrator who deletes
    (`unlimited`): names and URLs of what is deleted are free, and made anew it would be on.
    """
    refuse_switched_off(host, unlimited)
    host.deleted_at, host.deleted_by = now, by
    session.flush()


def refuse_switched_off(thing: Site | Host, unlimited: bool) -> None:
    """What an administrator switched off keeps what it has: elsewhere it would be on. Raises NotAllowed for owners."""
    if thing.state is State.ADMIN_DISABLED and not unlimited:
        raise NotAllowed(f"An administrator switched {thing.name} off ({thing.state_reason}); ask them to change that.")


def list_deleted(session: Session, now: datetime, sites: list[int] | None = None) -> list[Deleted]:
    """What can be brought back, the latest first: of these sites, or of all. What went with a site is not named."""
    site_rows = select(Site).where(Site.deleted_at > now - KEPT)
    host_rows = select(Host, Site).join(Site).where(Host.deleted_at > now - KEPT, Site.deleted_at.is_(None))
    if sites is not None:
        site_rows, host_rows = site_rows.where(Site.id.in_(sites)), host_rows.where(Site.id.in_(sites))
    found = [_deleted(site, site) for site in session.scalars(site_rows, execution_options=WITH_DELETED)]
    found += [_deleted(host, site) for host, site in session.execute(host_rows, execution_options=WITH_DELETED)]
    return sorted(found, key=lambda deleted: deleted.deleted_at, reverse=True)


def _deleted(thing: Site | Host, site: Site) -> Deleted:
    assert thing.deleted_at is not None
    until = thing.deleted_at + KEPT
    return Deleted(thing.id, thing.name, site.id, site.name, thing.deleted_at, thing.deleted_by, until, thing is site)


def find_deleted_site(session: Session, id_: int, now: datetime) -> Site:
    """A site that was deleted less than 30 days ago. Raises NotFound."""
    query = select(Site).where(Site.id == id_, Site.deleted_at > now - KEPT)
    site = session.scalar(query, execution_options=WITH_DELETED)
    if site is None:
        raise NotFound("There is no deleted site of that number; after 30 days nothing can be brought back.")
    return site


def find_deleted_host(session: Session, id_: int, now: datetime) -> Host:
    """A host that was deleted less than 30 days ago and whose site is there. Raises NotFound."""
    query = select(Host).join(Site).where(Host.id == id_, Host.deleted_at > now - KEPT, Site.deleted_at.is_(None))
    host = session.scalar(query, execution_options=WITH_DELETED)
    if host is None:
        raise NotFound("There is no deleted host of that number; bring back its site first if that was deleted, too.")
    return host


def restore_site(session: Session, site: Site) -> None:
    """Bring a site back with the hosts that went with it. Raises AlreadyExists when its name was taken meanwhile."""
    if session.scalar(select(Site.id).where(func.lower(Site.name) == site.name.lower())):
        raise AlreadyExists(f"Another site is named {site.name!r} by now. Rename that one first.")
    went_along = select(Host).where(Host.site_id == site.id, Host.deleted_at == site.deleted_at)
    hosts = list(session.scalars(went_along, execution_options=WITH_DELETED))
    site.deleted_at, site.deleted_by = None, ""
    for host in hosts:
        restore_host(session, host)


def restore_host(session: Session, host: Host) -> None:
    """Bring a host back. Raises AlreadyExists when its name was taken meanwhile."""
    if session.scalar(select(Host.id).where(Host.site_id == host.site_id, Host.name == host.name)):
        raise AlreadyExists(f"The site has another host {host.name!r} by now. Rename that one first.")
    host.deleted_at, host.deleted_by = None, ""


def purge(session: Session, now: datetime, kept: timedelta = KEPT) -> Mapping[str, int]:
    """Remove for good what was deleted longer ago; the numbers of sites and hosts."""
    hosts = session.scalars(delete(Host).where(Host.deleted_at <= now - kept).returning(Host.id)).all()
    sites = session.scalars(delete(Site).where(Site.deleted_at <= now - kept).returning(Site.id)).all()
    return {"sites": len(sites), "hosts": len(hosts)}
