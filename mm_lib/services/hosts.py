"""Hosts, what they carry and whom they serve first: make, find, switch and list them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from mm_lib.model.base import State
from mm_lib.model.content import Category
from mm_lib.model.hiding import WITH_DELETED
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    Host,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostNetblock,
)
from mm_lib.model.sites import Site
from mm_lib.model.state import HostCategoryHealth
from mm_lib.rules import urls
from mm_lib.rules.netblocks import parse_netblock
from mm_lib.services.content import clean_email, clean_name, clean_text, find_category
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound
from mm_lib.services.geography import country_code
from mm_lib.services.sites import find_site

MAX_BANDWIDTH = 1_000_000  # Mbit/s
MAX_CONNECTIONS = 1000  # to one client


def find_host(session: Session, name: str, site: str | None = None) -> Host:
    """The host of that name; the site is needed when several sites have one. Raises NotFound, InvalidValue."""
    query = select(Host).where(Host.name == name).options(joinedload(Host.site))
    if site is not None:
        query = query.where(Host.site_id == find_site(session, site).id)
    found = session.scalars(query).all()
    if not found:
        raise NotFound(f"There is no host {name!r}. `mm-admin host list` shows them.")
    if len(found) > 1:
        names = ", ".join(sorted(host.site.name for host in found))
        raise InvalidValue("site", f"several sites have a host {name!r} ({names}); say which with --site")
    return found[0]


def add_host(
    session: Session,
    site: str,
    name: str,
    *,
    country: str | None = None,
    bandwidth_mbps: int = 100,
    private: bool = False,
    asn: int | None = None,
    coordinates: tuple[float, float] | None = None,
    has_ipv4: bool | None = None,
    has_ipv6: bool | None = None,
    created_by: str = "",
) -> Host:
    """Make a host. Coordinates are latitude and longitude in degrees. Raises NotFound, AlreadyExists, InvalidValue."""
    owner = find_site(session, site)
    name = clean_name("name", name)
    if session.scalar(select(Host.id).where(Host.site_id == owner.id, Host.name == name)):
        raise AlreadyExists(f"{site} has a host {name!r} already.")
    # Said to be empty, its collections need not be asked for when something is added to them.
    nothing: dict[str, Any] = {"categories": [], "netblocks": [], "asns": [], "countries": []}
    host = Host(site=owner, name=name, state_by=created_by, **nothing)
    set_fields(host, bandwidth_mbps=bandwidth_mbps, private=private, has_ipv4=has_ipv4, has_ipv6=has_ipv6)
    if country:
        set_fields(host, country=country)
    if coordinates is not None:
        set_fields(host, coordinates=coordinates)
    if asn is not None:
        host.asns.append(_asn(asn, AsnKind.OWN))
    session.add(host)
    session.flush()
    return host


class HostFields(TypedDict, total=False):
    """What can be changed of a host; what is left out stays as it is."""

    name: str
    country: str
    bandwidth_mbps: int
    max_connections: int  # per client
    asn_clients: bool
    comment: str  # public
    robot_email: str
    private: bool
    crawl_private: bool
    coordinates: tuple[float, float] | None  # latitude and longitude in degrees
    has_ipv4: bool | None  # None: not known
    has_ipv6: bool | None


def set_fields(host: Host, **fields: Unpack[HostFields]) -> None:
    """Change a host. Raises InvalidValue."""
    if "name" in fields:
        host.name = clean_name("name", fields["name"])
    if "country" in fields:
        host.country = country_code("country", fields["country"])
    if "bandwidth_mbps" in fields:
        host.bandwidth_mbps = _whole("bandwidth", fields["bandwidth_mbps"], MAX_BANDWIDTH, " Mbit/s")
    if "max_connections" in fields:
        host.max_connections = _whole("max_connections", fields["max_connections"], MAX_CONNECTIONS)
    if "coordinates" in fields:
        host.latitude, host.longitude = _coordinates(fields["coordinates"])
    if "comment" in fields:
        host.comment = clean_text("comment", fields["comment"])
    if "robot_email" in fields:
        host.robot_email = clean_email("robot_email", fields["robot_email"])
    host.private = fields.get("private", host.private)
    host.crawl_private = fields.get("crawl_private", host.crawl_private)
    host.asn_clients = fields.get("asn_clients", host.asn_clients)
    host.has_ipv4 = fields.get("has_ipv4", host.has_ipv4)
    host.has_ipv6 = fields.get("has_ipv6", host.has_ipv6)


def _whole(field: str, number: int, most: int, unit: str = "") -> int:
    if not 1 <= number <= most:
        raise InvalidValue(field, f"must be 1 to {most}{unit}")
    return number


def _coordinates(place: tuple[float, float] | None) -> tuple[float, float] | tuple[None, None]:
    if place is None:
        return None, None
    latitude, longitude = place
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise InvalidValue("coordinates", "latitude must be -90 to 90 and longitude -180 to 180 degrees")
    return latitude, longitude


def _asn(number: int, kind: AsnKind, name: str = "") -> HostAsn:
    if not 1 <= number <= 4294967295:
        raise InvalidValue("asn", "must be 1 to 4294967295")
    return HostAsn(asn=number, kind=kind, name=clean_text("name", name))


def add_asn(session: Session, host: Host, number: int, kind: AsnKind = AsnKind.PEER, name: str = "") -> HostAsn:
    """Prefer the host for clients of an autonomous system. Raises AlreadyExists, InvalidValue."""
    row = _asn(number, kind, name)
    if any(known.asn == number for known in host.asns):
        raise AlreadyExists(f"{host.name} has AS{number} already.")
    host.asns.append(row)
    session.flush()
    return row


def add_netblock(session: Session, host: Host, netblock: str, name: str = "") -> HostNetblock:
    """Prefer the host for clients of a network. Raises AlreadyExists, InvalidValue."""
    try:
        parsed = parse_netblock(netblock)
    except ValueError as error:
        raise InvalidValue("netblock", str(error)) from None
    if any(known.netblock == parsed.text for known in host.netblocks):
        raise AlreadyExists(f"{host.name} has the netblock {parsed.text} already.")
    row = HostNetblock(
        netblock=parsed.text,
        name=name,
        family=parsed.family,
        first_address=parsed.first,
        last_address=parsed.last,
    )
    host.netblocks.append(row)
    session.flush()
    return row


def add_country(session: Session, host: Host, country: str, kind: CountryKind) -> HostCountry:
    """Add a country that the host also counts for, or that it is limited to. Raises AlreadyExists, InvalidValue."""
    row = HostCountry(country=_free_country(host, country, kind), kind=kind)
    host.countries.append(row)
    session.flush()
    return row


def change_country(session: Session, host: Host, row: HostCountry, country: str, kind: CountryKind) -> None:
    """Another country, or another meaning of it. Raises AlreadyExists, InvalidValue."""
    row.country, row.kind = _free_country(host, country, kind, row), kind
    session.flush()


def _free_country(host: Host, country: str, kind: CountryKind, row: HostCountry | None = None) -> str:
    code = country_code("country", country)
    if any(known.country == code and known.kind == kind and known is not row for known in host.countries):
        raise AlreadyExists(f"{host.name} has {code} as {kind.value} country already.")
    return code


def add_url(
    session: Session, host: Host, category: str, url: str, *, private: bool = False, always_up_to_date: bool = False
) -> HostCategoryUrl:
    """Say where the host has a category; the first URL makes it carry the category. Raises NotFound, AlreadyExists."""
    address = free_url(session, url)
    carried = _carry(session, host, category)
    carried.always_up_to_date = carried.always_up_to_date or always_up_to_date
    row = HostCategoryUrl(url=address, private=private)
    carried.urls.append(row)
    session.flush()
    return row


def free_url(
    session: Session, url: str, owner: HostCategoryUrl | None = None, *, asked_by_site: int | None = None
) -> str:
    """The URL in normal form. Raises InvalidValue, and AlreadyExists that names who has it.

    A host that was deleted does not keep its URLs from others: the URL is taken from it. People of a site
    (`asked_by_site`; None: an administrator asks) are not told of what others keep private.
    """
    try:
        address = urls.normalise(url)
    except ValueError as error:
        raise InvalidValue("url", str(error)) from None
    taken = session.scalar(select(HostCategoryUrl).where(HostCategoryUrl.url == address))
    if taken is None or taken is owner:
        return address
    holder = session.execute(
        select(Host.name, Host.deleted_at, Category.name, Site.id, or_(Host.private, Site.private))
        .join(HostCategory, HostCategory.host_id == Host.id)
        .join(Site, Site.id == Host.site_id)
        .join(Category, Category.id == HostCategory.category_id)
        .where(HostCategory.id == taken.host_category_id)
        .execution_options(**WITH_DELETED)
    ).one()
    name, deleted_at, category, site_id, private = holder
    if deleted_at is None:
        secret = asked_by_site not in (None, site_id) and (private or taken.private)
        who = "a mirror of another site" if secret else f"{name} ({category})"
        raise AlreadyExists(f"{address} belongs to {who} already; each URL can be used once.")
    session.delete(taken)
    session.flush()
    return address


def _carry(session: Session, host: Host, category: str) -> HostCategory:
    wanted = find_category(session, category)
    for carried in host.categories:
        if carried.category_id == wanted.id:
            return carried
    carried = HostCategory(category=wanted)
    host.categories.append(carried)
    return carried


def set_state(session: Session, thing: Host | Site, state: State, reason: str, by: str) -> None:
    """Switch a host or site on or off. Raises InvalidValue when a reason is missing for switching off.

    A host that is switched on begins anew: its earlier failures do not switch it off again.
    """
    if state is not State.ACTIVE and not reason.strip():
        raise InvalidValue("reason", "say why; the owner sees it")
    thing.state, thing.state_reason, thing.state_by = state, reason.strip(), by
    thing.state_since = datetime.now(UTC)
    if isinstance(thing, Host) and state is State.ACTIVE:
        carried = select(HostCategory.id).where(HostCategory.host_id == thing.id)
        session.execute(
            update(HostCategoryHealth)
            .where(HostCategoryHealth.host_category_id.in_(carried))
            .values(failures=0, failing_since=None)
        )
    session.flush()


def list_hosts(session: Session) -> list[dict[str, Any]]:
    """Hosts with what they carry."""
    carried = selectinload(Host.categories).joinedload(HostCategory.category)
    query = select(Host).join(Site).options(joinedload(Host.site), carried).order_by(Site.name, Host.name)
    return [
        {
            "id": host.id,
            "site": host.site.name,
            "name": host.name,
            "country": host.country,
            "bandwidth_mbps": host.bandwidth_mbps,
            "private": host.private,
            "has_ipv4": host.has_ipv4,
            "has_ipv6": host.has_ipv6,
            "state": host.state.value,
            "state_reason": host.state_reason,
            "last_crawled_at": host.last_crawled_at,
            "categories": sorted(row.category.name for row in host.categories),
        }
        for host in session.scalars(query)
    ]


def list_urls(session: Session) -> list[dict[str, Any]]:
    """Every URL with its host and category."""
    query = (
        select(HostCategoryUrl)
        .join(HostCategory)
        .join(Host)
        .join(Site)
        .options(
            joinedload(HostCategoryUrl.host_category).options(
                joinedload(HostCategory.host).joinedload(Host.site), joinedload(HostCategory.category)
            )
        )
        .order_by(Site.name, Host.name, HostCategoryUrl.url)
    )
    return [
        {
            "id": row.id,
            "site": row.host_category.host.site.name,
            "host": row.host_category.host.name,
            "category": row.host_category.category.name,
            "url": row.url,
            "private": row.private,
            "always_up_to_date": row.host_category.always_up_to_date,
        }
        for row in session.scalars(query)
    ]


def list_netblocks(session: Session) -> list[dict[str, Any]]:
    """Every netblock with its host."""
    rows = session.execute(
        select(HostNetblock, Host.name, Site.name)
        .join(Host, HostNetblock.host_id == Host.id)
        .join(Site, Host.site_id == Site.id)
        .order_by(Site.name, Host.name, HostNetblock.netblock)
    )
    return [
        {"id": row.id, "site": site, "host": host, "netblock": row.netblock, "name": row.name}
        for row, host, site in rows
    ]
