"""Where mirrors stand: in the city that most addresses of their public host names are in, by a database of cities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from mm_lib.model.base import State
from mm_lib.model.geography import EmbargoedCountry
from mm_lib.model.hosts import AsnKind, Host, HostCategory
from mm_lib.model.sites import Site
from mm_lib.services import hosts

Value = TypeVar("Value", tuple[float, float], int)

AT_ONCE = 16  # names that are looked up


class Lacking(NamedTuple):
    """A mirror, and the host names of its public addresses."""

    id: int
    site: str
    host: str
    names: tuple[str, ...]


class Located(NamedTuple):
    """What was found. None: nothing."""

    site: str
    host: str
    latitude: float | None
    longitude: float | None
    asn: int | None
    problem: str


class Lookups(NamedTuple):
    """How the world is asked."""

    resolve: Callable[[str], Collection[str]]
    place: Callable[[str], tuple[float, float] | None]  # of an address; only where its city is known
    asn: Callable[[str], int | None]


def lacking(session: Session, *, again: bool) -> list[Lacking]:
    """Public mirrors without coordinates, or all; none in embargoed countries."""
    query = (
        select(Host)
        .join(Host.site)
        .where(Host.state == State.ACTIVE, Site.state == State.ACTIVE, ~Host.private, ~Site.private)
        .where(Host.country.is_(None) | Host.country.not_in(select(EmbargoedCountry.country)))
        .options(selectinload(Host.categories).selectinload(HostCategory.urls))
        .order_by(Site.name, Host.name)
    )
    if not again:
        query = query.where(Host.latitude.is_(None))
    return [Lacking(host.id, host.site.name, host.name, _names(host)) for host in session.scalars(query)]


def _names(host: Host) -> tuple[str, ...]:
    urls = (url.url for row in host.categories for url in row.urls if not url.private)
    return tuple(sorted({name for url in urls if (name := urlsplit(url).hostname)}))


def look(mirrors: Iterable[Lacking], lookups: Lookups) -> Iterator[tuple[Lacking, Located]]:
    """Ask about many at once; in their order."""
    asked = list(mirrors)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from zip(asked, pool.map(lambda mirror: _located(mirror, lookups), asked), strict=True)


def _located(mirror: Lacking, lookups: Lookups) -> Located:
    addresses = [address for name in mirror.names for address in lookups.resolve(name)]
    place = _most(lookups.place(address) for address in addresses)
    problem = ""
    if place is None:
        problem = "no address has a known city" if addresses else "no address"
    latitude, longitude = place or (None, None)
    return Located(mirror.site, mirror.host, latitude, longitude, _most(map(lookups.asn, addresses)), problem)


def _most(values: Iterable[Value | None]) -> Value | None:
    """The most frequent one; of several the smallest, so that it is the same each time."""
    counted = Counter(value for value in values if value is not None)
    return min(counted, key=lambda value: (-counted[value], value), default=None)


def keep(session: Session, mirror: Lacking, found: Located, *, again: bool, asns: bool) -> None:
    """Write down what was found, as far as nobody entered it meanwhile: DNS takes a while."""
    host = session.get(Host, mirror.id)
    if host is None:
        return
    if found.latitude is not None and found.longitude is not None and (again or host.latitude is None):
        hosts.set_fields(host, coordinates=(found.latitude, found.longitude))
    if asns and found.asn and all(row.kind is not AsnKind.OWN and row.asn != found.asn for row in host.asns):
        hosts.add_asn(session, host, found.asn, AsnKind.OWN)
