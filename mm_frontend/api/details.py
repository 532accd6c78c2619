"""What belongs to a host: categories with their addresses, networks, countries, machines, maintenance."""

from __future__ import annotations

from flask import current_app

from mm_frontend.api.calling import me, now
from mm_frontend.api.hosts import the_host
from mm_frontend.api.models import (
    AddressNew,
    AddressOut,
    AsnChange,
    AsnNew,
    AsnOut,
    CarriedChange,
    CarriedNew,
    CarriedOut,
    CountryNew,
    CountryOut,
    MaintenanceChange,
    MaintenanceNew,
    MaintenanceOut,
    NetblockChange,
    NetblockNew,
    NetblockOut,
    UrlChange,
    UrlNew,
    UrlOut,
    address_out,
    asn_out,
    carried_out,
    country_out,
    maintenance_out,
    netblock_out,
    url_out,
)
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, some
from mm_frontend.api.sites import READ, WRITE, unlimited
from mm_frontend.db import session
from mm_frontend.guards import reached
from mm_frontend.operators.details import RESOLVER
from mm_frontend.settings import crawler, frontend
from mm_lib.model.hosts import (
    AsnKind,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostNetblock,
    Maintenance,
)
from mm_lib.services import content, host_details, hosts, maintenance, overview, probes
from mm_lib.services.access import ADMINISTER, CHANGE, SEE
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.host_details import PERMITTED, Limits
from mm_lib.services.tokens import Scope

_HOST = "/hosts/<int:host_id>"


def _at(kind: str) -> str:
    return f"/hosts/{the_host().id}/{kind}"


# -- categories

_CARRIED = f"{_HOST}/categories/<int:carried_id>"


@operation(
    "GET",
    f"{_HOST}/categories",
    tag="categories of a host",
    summary="List what a host carries",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[CarriedOut],
)
def list_carried(query: PageQuery) -> Page[CarriedOut]:
    """With addresses, and how much of each is up to date."""
    return some(overview.categories(session(), the_host()), query, carried_out, lambda row: row.id)


@operation(
    "GET", _CARRIED, tag="categories of a host", summary="Show a category", scope=READ, who=SEE, answer=CarriedOut
)
def show_carried() -> CarriedOut:
    """One category of a host."""
    return _shown(reached().the("carried_id", HostCategory))


def _shown(carried: HostCategory) -> CarriedOut:
    found = overview.categories(session(), the_host())
    return carried_out(next(row for row in found if row.id == carried.id))


@operation(
    "POST",
    f"{_HOST}/categories",
    tag="categories of a host",
    summary="Let a host carry a category",
    scope=WRITE,
    who=CHANGE,
    body=CarriedNew,
    answer=CarriedOut,
    at=lambda made: _at(f"categories/{made.id}"),
)
def add_carried(body: CarriedNew) -> CarriedOut:
    """Then say where it is."""
    database = session()
    try:
        category = content.find_category(database, body.category)
    except NotFound:
        raise InvalidValue("category", "is not one that you can choose") from None
    carried = host_details.add_category(
        database, the_host(), category.id, always_up_to_date=body.always_up_to_date, unlimited=unlimited()
    )
    return _shown(carried)


@operation(
    "PATCH",
    _CARRIED,
    tag="categories of a host",
    summary="Change how a category is treated",
    scope=Scope.ADMIN_WRITE,
    who=ADMINISTER,
    body=CarriedChange,
    answer=CarriedOut,
    current=show_carried,
)
def change_carried(body: CarriedChange) -> CarriedOut:
    """Whether it is served without being asked."""
    carried = reached().the("carried_id", HostCategory)
    always = body.given().get("always_up_to_date", carried.always_up_to_date)
    host_details.edit_category(session(), carried, always_up_to_date=always, unlimited=unlimited())
    return _shown(carried)


@operation(
    "DELETE",
    _CARRIED,
    tag="categories of a host",
    summary="Let a host no longer carry a category",
    scope=WRITE,
    who=CHANGE,
    current=show_carried,
)
def remove_carried() -> None:
    """With its addresses."""
    host_details.remove(session(), reached().the("carried_id", HostCategory), unlimited=unlimited())


# -- addresses of a category

_URL = f"{_CARRIED}/urls/<int:url_id>"


@operation(
    "GET",
    f"{_CARRIED}/urls",
    tag="URLs",
    summary="List a category's addresses",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[UrlOut],
)
def list_urls(query: PageQuery) -> Page[UrlOut]:
    """With what the crawler found when it asked."""
    return some(reached().the("carried_id", HostCategory).urls, query, url_out, lambda row: row.id)


@operation("GET", _URL, tag="URLs", summary="Show an address", scope=READ, who=SEE, answer=UrlOut)
def show_url() -> UrlOut:
    """One address."""
    return url_out(_the_url())


def _the_url() -> HostCategoryUrl:
    return reached().the("url_id", HostCategoryUrl)


@operation(
    "POST",
    f"{_CARRIED}/urls",
    tag="URLs",
    summary="Add an address",
    scope=WRITE,
    who=CHANGE,
    body=UrlNew,
    answer=UrlOut,
    at=lambda made: _at(f"categories/{reached().the('carried_id', HostCategory).id}/urls/{made.id}"),
)
def add_url(body: UrlNew) -> UrlOut:
    """Of the category's top directory. Each can be used once."""
    return _save_url(None, body.url, body.private)


@operation(
    "PATCH",
    _URL,
    tag="URLs",
    summary="Change an address",
    scope=WRITE,
    who=CHANGE,
    body=UrlChange,
    answer=UrlOut,
    current=show_url,
)
def change_url(body: UrlChange) -> UrlOut:
    """What was found out about the old address is forgotten."""
    row = _the_url()
    return _save_url(row, body.given().get("url", row.url), body.private)


def _save_url(row: HostCategoryUrl | None, url: str, private: bool | None) -> UrlOut:
    if private is not None and private != (row is not None and row.private) and not unlimited():
        raise NotAllowed(f"Private addresses are the administrators' to make: {PERMITTED}.")
    carried, local = reached().the("carried_id", HostCategory), unlimited() or crawler().private_mirrors
    saved = host_details.save_url(session(), carried, row, url, private=private, local=local, unlimited=unlimited())
    return url_out(saved)


@operation("DELETE", _URL, tag="URLs", summary="Remove an address", scope=WRITE, who=CHANGE, current=show_url)
def remove_url() -> None:
    """The category stays."""
    host_details.remove(session(), _the_url(), unlimited=unlimited())


# -- networks

_NETBLOCK = f"{_HOST}/netblocks/<int:netblock_id>"


@operation(
    "GET",
    f"{_HOST}/netblocks",
    tag="netblocks",
    summary="List a host's networks",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[NetblockOut],
)
def list_netblocks(query: PageQuery) -> Page[NetblockOut]:
    """Their clients get the host first."""
    return some(the_host().netblocks, query, netblock_out, lambda row: row.id)


@operation("GET", _NETBLOCK, tag="netblocks", summary="Show a network", scope=READ, who=SEE, answer=NetblockOut)
def show_netblock() -> NetblockOut:
    """One network."""
    return netblock_out(reached().the("netblock_id", HostNetblock))


@operation(
    "POST",
    f"{_HOST}/netblocks",
    tag="netblocks",
    summary="Add a network",
    scope=WRITE,
    who=CHANGE,
    body=NetblockNew,
    answer=NetblockOut,
    at=lambda made: _at(f"netblocks/{made.id}"),
)
def add_netblock(body: NetblockNew) -> NetblockOut:
    """As 192.0.2.0/24, 2001:db8::/32, or a DNS name that has addresses."""
    return _save_netblock(None, body.netblock, body.name)


@operation(
    "PATCH",
    _NETBLOCK,
    tag="netblocks",
    summary="Change a network",
    scope=WRITE,
    who=CHANGE,
    body=NetblockChange,
    answer=NetblockOut,
    current=show_netblock,
)
def change_netblock(body: NetblockChange) -> NetblockOut:
    """What is left out stays."""
    row, given = reached().the("netblock_id", HostNetblock), body.given()
    return _save_netblock(row, given.get("netblock", row.netblock), given.get("name", row.name))


def _save_netblock(row: HostNetblock | None, text: str, name: str) -> NetblockOut:
    limits = None if unlimited() else Limits(frontend().max_netblock_ipv4, frontend().max_netblock_ipv6)
    resolve = current_app.config.get(RESOLVER, probes.resolve)
    saved = host_details.save_netblock(session(), the_host(), row, text, name, limits=limits, resolve=resolve)
    return netblock_out(saved)


@operation(
    "DELETE",
    _NETBLOCK,
    tag="netblocks",
    summary="Remove a network",
    scope=WRITE,
    who=CHANGE,
    current=show_netblock,
)
def remove_netblock() -> None:
    """Its clients get the host as others do."""
    host_details.remove(session(), reached().the("netblock_id", HostNetblock))


# -- autonomous systems

_ASN = f"{_HOST}/asns/<int:asn_id>"


@operation(
    "GET",
    f"{_HOST}/asns",
    tag="ASNs",
    summary="List a host's autonomous systems",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[AsnOut],
)
def list_asns(query: PageQuery) -> Page[AsnOut]:
    """Its own, which is changed with the host, and others."""
    return some(the_host().asns, query, asn_out, lambda row: row.id)


@operation("GET", _ASN, tag="ASNs", summary="Show an autonomous system", scope=READ, who=SEE, answer=AsnOut)
def show_asn() -> AsnOut:
    """One autonomous system."""
    return asn_out(reached().the("asn_id", HostAsn))


@operation(
    "POST",
    f"{_HOST}/asns",
    tag="ASNs",
    summary="Add an autonomous system",
    scope=Scope.ADMIN_WRITE,
    who=ADMINISTER,
    body=AsnNew,
    answer=AsnOut,
    at=lambda made: _at(f"asns/{made.id}"),
)
def add_asn(body: AsnNew) -> AsnOut:
    """Its clients get the host first."""
    return asn_out(hosts.add_asn(session(), the_host(), body.asn, AsnKind.PEER, body.name))


@operation(
    "PATCH",
    _ASN,
    tag="ASNs",
    summary="Rename an autonomous system",
    scope=Scope.ADMIN_WRITE,
    who=ADMINISTER,
    body=AsnChange,
    answer=AsnOut,
    current=show_asn,
)
def change_asn(body: AsnChange) -> AsnOut:
    """What it is called."""
    row = reached().the("asn_id", HostAsn)
    host_details.rename_asn(session(), row, body.given().get("name", row.name))
    return asn_out(row)


@operation(
    "DELETE",
    _ASN,
    tag="ASNs",
    summary="Remove an autonomous system",
    scope=Scope.ADMIN_WRITE,
    who=ADMINISTER,
    current=show_asn,
)
def remove_asn() -> None:
    """Its clients get the host as others do."""
    host_details.remove(session(), reached().the("asn_id", HostAsn))


# -- countries

_COUNTRY = f"{_HOST}/countries/<int:country_id>"


@operation(
    "GET",
    f"{_HOST}/countries",
    tag="countries",
    summary="List a host's further countries",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[CountryOut],
)
def list_countries(query: PageQuery) -> Page[CountryOut]:
    """Those it is limited to, and those it counts for, too."""
    return some(the_host().countries, query, country_out, lambda row: row.id)


@operation("GET", _COUNTRY, tag="countries", summary="Show a country", scope=READ, who=SEE, answer=CountryOut)
def show_country() -> CountryOut:
    """One country."""
    return country_out(reached().the("country_id", HostCountry))


@operation(
    "POST",
    f"{_HOST}/countries",
    tag="countries",
    summary="Add a country",
    scope=WRITE,
    who=CHANGE,
    body=CountryNew,
    answer=CountryOut,
    at=lambda made: _at(f"countries/{made.id}"),
)
def add_country(body: CountryNew) -> CountryOut:
    """The first that is allowed keeps clients of all others away."""
    return country_out(hosts.add_country(session(), the_host(), body.country, body.kind))


@operation(
    "DELETE", _COUNTRY, tag="countries", summary="Remove a country", scope=WRITE, who=CHANGE, current=show_country
)
def remove_country() -> None:
    """Without any that is allowed, clients of all countries are served."""
    host_details.remove(session(), reached().the("country_id", HostCountry))


# -- machines that pull from the master

_ACL = f"{_HOST}/acl/<int:acl_id>"


@operation(
    "GET",
    f"{_HOST}/acl",
    tag="rsync addresses",
    summary="List who may pull from the master",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[AddressOut],
)
def list_acl(query: PageQuery) -> Page[AddressOut]:
    """Addresses and DNS names."""
    return some(host_details.list_acl_addresses(session(), the_host()), query, address_out, lambda row: row.id)


@operation("GET", _ACL, tag="rsync addresses", summary="Show a machine", scope=READ, who=SEE, answer=AddressOut)
def show_acl() -> AddressOut:
    """One machine."""
    return address_out(reached().the("acl_id", HostAclAddress))


@operation(
    "POST",
    f"{_HOST}/acl",
    tag="rsync addresses",
    summary="Let a machine pull from the master",
    scope=WRITE,
    who=CHANGE,
    body=AddressNew,
    answer=AddressOut,
    at=lambda made: _at(f"acl/{made.id}"),
)
def add_acl(body: AddressNew) -> AddressOut:
    """By address or DNS name."""
    return address_out(host_details.add_acl_address(session(), the_host(), body.address))


@operation("DELETE", _ACL, tag="rsync addresses", summary="Remove a machine", scope=WRITE, who=CHANGE, current=show_acl)
def remove_acl() -> None:
    """It may no longer pull from the master."""
    host_details.remove(session(), reached().the("acl_id", HostAclAddress))


# -- maintenance

_WINDOW = f"{_HOST}/maintenance/<int:maintenance_id>"


@operation(
    "GET",
    f"{_HOST}/maintenance",
    tag="maintenance",
    summary="List maintenance",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[MaintenanceOut],
)
def list_maintenance(query: PageQuery) -> Page[MaintenanceOut]:
    """Windows that have not ended."""
    return some(maintenance.list_windows(session(), the_host(), now()), query, maintenance_out, lambda row: row.id)


@operation("GET", _WINDOW, tag="maintenance", summary="Show a window", scope=READ, who=SEE, answer=MaintenanceOut)
def show_maintenance() -> MaintenanceOut:
    """One window."""
    return maintenance_out(reached().the("maintenance_id", Maintenance))


@operation(
    "POST",
    f"{_HOST}/maintenance",
    tag="maintenance",
    summary="Announce maintenance",
    scope=WRITE,
    who=CHANGE,
    body=MaintenanceNew,
    answer=MaintenanceOut,
    at=lambda made: _at(f"maintenance/{made.id}"),
)
def announce_maintenance(body: MaintenanceNew) -> MaintenanceOut:
    """Between these moments the host is neither handed out nor crawled."""
    window = maintenance.announce(
        session(), the_host(), body.starts_at, body.ends_at, reason=body.reason, by=me(), now=now()
    )
    return maintenance_out(window)


@operation(
    "PATCH",
    _WINDOW,
    tag="maintenance",
    summary="Move a window",
    scope=WRITE,
    who=CHANGE,
    body=MaintenanceChange,
    answer=MaintenanceOut,
    current=show_maintenance,
)
def change_maintenance(body: MaintenanceChange) -> MaintenanceOut:
    """What is left out stays."""
    row = reached().the("maintenance_id", Maintenance)
    new = {"starts_at": row.starts_at, "ends_at": row.ends_at, "reason": row.reason, **body.given()}
    maintenance.change(session(), row, **new, now=now())
    return maintenance_out(row)


@operation(
    "DELETE",
    _WINDOW,
    tag="maintenance",
    summary="Call maintenance off",
    scope=WRITE,
    who=CHANGE,
    current=show_maintenance,
)
def drop_maintenance() -> None:
    """The host is handed out again."""
    host_details.remove(session(), reached().the("maintenance_id", Maintenance))
