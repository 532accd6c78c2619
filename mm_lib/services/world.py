"""Where public mirrors stand, also those that are not served right now: what the map and its list show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from html import escape
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Category
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.services.mirrors import Served

HEADER = ("lat", "lon", "title", "description", "iconSize", "iconOffset", "icon")
ICON_SIZE, ICON_OFFSET = "16,16", "-8,-8"  # what OpenLayers' text layer wants to know


class Service(StrEnum):
    """Whether a mirror is served."""

    FULL = "full"  # all that it carries is as on the master
    PART = "part"  # something is not
    OUT = "out"  # in quarantine, or nothing is up to date


class Place(NamedTuple):
    """A public mirror. Without coordinates nobody knows where it is."""

    id: int
    name: str
    site: str
    country: str | None
    latitude: float | None
    longitude: float | None
    bandwidth_mbps: int
    service: Service


def of_public(*columns: Any) -> Select[Any]:
    """Categories of hosts with a public address of something public; switched on, and not private."""
    address = (
        select(HostCategoryUrl.id)
        .where(HostCategoryUrl.host_category_id == HostCategory.id, ~HostCategoryUrl.private)
        .correlate(HostCategory)
    )
    return (
        select(*columns)
        .select_from(Host)
        .join(Site, Site.id == Host.site_id)
        .join(HostCategory, HostCategory.host_id == Host.id)
        .join(Category, Category.id == HostCategory.category_id)
        .where(
            Host.state == State.ACTIVE,
            Site.state == State.ACTIVE,
            ~Host.private,
            ~Site.private,
            Category.public,
            ~Category.admin_only,
            address.exists(),
        )
    )


def places(session: Session, served: Mapping[int, Served]) -> list[Place]:
    """All of them, by country and name. `served`: the mirrors of the public list."""
    columns = (Host.id, Host.name, Site.name, Host.country, Host.latitude, Host.longitude, Host.bandwidth_mbps)
    rows = session.execute(of_public(*columns).distinct())
    found = [Place._make((*row, _service(served.get(row[0])))) for row in rows]
    return sorted(found, key=lambda place: (place.country or "~", place.name, place.id))


def _service(mirror: Served | None) -> Service:
    if mirror is None:
        return Service.OUT
    return Service.FULL if mirror.whole else Service.PART


def locations(session: Session, icon: str) -> Iterator[str]:
    """The lines of MirrorManager's mirrors_location.txt: one for each host name that web addresses of a mirror have."""
    yield "\t".join(HEADER)
    columns = (Host.latitude, Host.longitude, Site.name, HostCategoryUrl.url)
    addresses = of_public(*columns).join(HostCategoryUrl, HostCategoryUrl.host_category_id == HostCategory.id)
    rows = session.execute(addresses.where(~HostCategoryUrl.private, Host.latitude.is_not(None)))
    seen = set()
    for latitude, longitude, site, url in sorted(rows, key=lambda row: (row[2], row[3])):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.netloc in seen:
            continue
        seen.add(parts.netloc)
        address = escape(f"{parts.scheme}://{parts.netloc}")
        title = f'<a href="{address}">{escape(parts.netloc)}</a>'
        described = escape(" ".join(site.split()))
        yield "\t".join((f"{latitude}", f"{longitude}", title, described, ICON_SIZE, ICON_OFFSET, icon))
