"""Which use case makes, changes and removes the rows of which table. What is not here is read only in the tables.

That is what machines find out, what belongs to people's own sign-ins, and what has pages or commands of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import Group, GroupMember, LoginSession, Role, User
from mm_lib.model.base import Base
from mm_lib.model.content import Arch, Category, Directory, Product, Repository, RepositoryRedirect, Version
from mm_lib.model.geography import CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.hosts import (
    AsnKind,
    DirectoryHost,
    Host,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostLocation,
    HostNetblock,
    Location,
    Maintenance,
)
from mm_lib.model.outbox import Webhook
from mm_lib.model.sites import Site, SiteInvitation, SiteMember, SiteUpstream
from mm_lib.services import (
    accounts,
    content,
    deletion,
    host_details,
    hosts,
    invitations,
    locations,
    maintenance,
    membership,
    places,
    redirects,
    reservations,
    sign_ins,
    sites,
    sources,
)
from mm_lib.services.errors import AlreadyExists, InvalidValue
from mm_lib.services.table_filling import By, Values, Writer, fill
from mm_lib.services.tables import TABLES


def _fill(session: Session, row: Base, values: Values) -> None:
    table = TABLES[row.__tablename__]
    fill(session, table, row, values, WRITERS[type(row)].clean)


def _added(session: Session, row: Base, values: Values) -> Base:
    _fill(session, row, values)
    session.add(row)
    return row


def _clean_name(name: str, value: Any) -> str:
    return content.clean_name(name, value)


def _source(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue(name, 'must be an object such as {"type": "directory", "path": "/srv/pub"}')
    if value:
        sources.parse_source(value)
    return value


def _not_negative(name: str, value: Any) -> float:
    if value < 0:
        raise InvalidValue(name, "must not be negative")
    return float(value)


def _share(name: str, value: Any) -> float:
    if not 0 <= value <= 1:
        raise InvalidValue(name, "must be 0 to 1, as 0.05 for 5 %")
    return float(value)


def _edit_category(session: Session, row: Category, values: Values, _by: By) -> None:
    """Directories hang below the topdir by their paths, so it stays once there are some."""
    hangs = select(Directory.id).where(Directory.category_id == row.id).limit(1)
    moved = "topdir" in values and content.clean_topdir(values["topdir"]) != row.topdir
    if moved and session.scalars(hangs).first():
        raise InvalidValue("topdir", "cannot be changed any more: the category has directories below it")
    _fill(session, row, values)


def _save_repository(session: Session, row: Repository, values: Values, _by: By) -> None:
    """Everything that a repository leads to has to belong together."""
    _fill(session, row, values)
    with session.no_autoflush:
        category = session.get_one(Category, row.category_id)
        if session.get_one(Version, row.version_id).product_id != category.product_id:
            raise InvalidValue("version_id", f"belongs to another product than {category.name}")
        if row.directory_id and session.get_one(Directory, row.directory_id).category_id != category.id:
            raise InvalidValue("directory_id", f"is not a directory of {category.name}")


def _add_repository(session: Session, values: Values, by: By) -> Base:
    row = Repository()
    _save_repository(session, row, values, by)
    session.add(row)
    return row


@contextmanager
def _named_as_columns() -> Iterator[None]:
    """What commands call from and to are two columns here."""
    try:
        yield
    except InvalidValue as error:
        raise InvalidValue(
            {"from": "from_prefix", "to": "to_prefix"}.get(error.field, error.field), error.message
        ) from None


def _add_redirect(session: Session, values: Values, by: By) -> Base:
    prefix = content.clean_name("from_prefix", values["from_prefix"])
    query = select(RepositoryRedirect).where(RepositoryRedirect.from_prefix == prefix)
    if session.scalar(query) is not None:
        raise AlreadyExists(f"{prefix!r} is an alias already.")
    with _named_as_columns():
        redirects.save(session, prefix, values["to_prefix"], by.name)
    return session.scalars(query).one()


def _edit_redirect(session: Session, row: RepositoryRedirect, values: Values, by: By) -> None:
    with _named_as_columns():
        redirects.save(session, row.from_prefix, values["to_prefix"], by.name)


def _remove_redirect(session: Session, row: RepositoryRedirect, by: By) -> None:
    redirects.save(session, row.from_prefix, None, by.name)


def _add_continent(session: Session, values: Values, _by: By) -> Base:
    return places.save_continent(session, None, values["country"], values["continent"])


def _edit_continent(session: Session, row: CountryContinent, values: Values, _by: By) -> None:
    places.save_continent(session, row, row.country, values["continent"])


def _add_embargo(session: Session, values: Values, _by: By) -> Base:
    return places.add_embargo(session, values["country"])


def _add_netblock_country(session: Session, values: Values, _by: By) -> Base:
    return places.save_netblock(session, None, values["netblock"], values["country"])


def _edit_netblock_country(session: Session, row: NetblockCountry, values: Values, _by: By) -> None:
    merged = {name: values.get(name, getattr(row, name)) for name in ("netblock", "country")}
    places.save_netblock(session, row, merged["netblock"], merged["country"])


def _add_site(session: Session, values: Values, by: By) -> Base:
    fields = {name: value for name, value in values.items() if name != "name"}
    site = sites.add_site(session, values["name"], created_by=by.name)
    sites.set_fields(session, site, **_fields(sites.SiteFields, fields))
    return site


def _edit_site(session: Session, row: Site, values: Values, _by: By) -> None:
    was_private = row.private
    sites.set_fields(session, row, **_fields(sites.SiteFields, values))
    session.flush()
    if row.private != was_private:
        found = session.scalars(select(Host.id).where(Host.site_id == row.id))
        host_details.forget_content(session, list(found))


def _remove_site(session: Session, row: Site, by: By) -> None:
    deletion.delete_site(session, row, by.name, by.now, unlimited=True)


_PLACE = ("latitude", "longitude")


def _host_fields(row: Host | None, values: Values) -> Any:
    fields = {name: value for name, value in values.items() if name not in (*_PLACE, "site_id")}
    if fields.get("country", "") is None:  # a country that is known once is not forgotten
        raise InvalidValue("country", "must have a value")
    if any(name in values for name in _PLACE):
        place = tuple(values.get(name, getattr(row, name) if row else None) for name in _PLACE)
        if (place[0] is None) != (place[1] is None):
            raise InvalidValue("longitude", "enter both latitude and longitude, or neither")
        fields["coordinates"] = None if place[0] is None else place
    return _fields(hosts.HostFields, fields)


def _add_host(session: Session, values: Values, by: By) -> Base:
    given = {name: value for name, value in values.items() if value is not None or name in _PLACE}
    site = session.get_one(Site, values["site_id"])
    row = hosts.add_host(session, site.name, values["name"], created_by=by.name)
    hosts.set_fields(row, **_host_fields(row, given))
    return row


def _edit_host(session: Session, row: Host, values: Values, _by: By) -> None:
    host_details.edit_fields(session, row, **_host_fields(row, values))


def _remove_host(session: Session, row: Host, by: By) -> None:
    deletion.delete_host(session, row, by.name, by.now, unlimited=True)


def _fields(kind: type[Any], values: Values) -> Any:
    """As the typed dictionary that a use case takes."""
    return kind(**values)


def _host(session: Session, values: Values) -> Host:
    return session.get_one(Host, values["host_id"])


def _add_carried(session: Session, values: Values, _by: By) -> Base:
    always = bool(values.get("always_up_to_date"))
    host = _host(session, values)
    return host_details.add_category(session, host, values["category_id"], always_up_to_date=always, unlimited=True)


def _edit_carried(session: Session, row: HostCategory, values: Values, _by: By) -> None:
    host_details.edit_category(session, row, always_up_to_date=values["always_up_to_date"], unlimited=True)


def _add_url(session: Session, values: Values, _by: By) -> Base:
    carried = session.get_one(HostCategory, values["host_category_id"])
    private = bool(values.get("private"))
    return host_details.save_url(session, carried, None, values["url"], private=private, local=True, unlimited=True)


def _edit_url(session: Session, row: HostCategoryUrl, values: Values, _by: By) -> None:
    text, private = values.get("url", row.url), values.get("private")
    host_details.save_url(session, row.host_category, row, text, private=private, local=True, unlimited=True)


def _save_netblock(session: Session, row: HostNetblock | None, values: Values, by: By) -> HostNetblock:
    host = session.get_one(Host, row.host_id) if row else _host(session, values)
    text = values.get("netblock", row.netblock if row else "")
    name = values.get("name", row.name if row else "")
    return host_details.save_netblock(session, host, row, text, name, limits=None, resolve=by.resolve)


def _edit_netblock(session: Session, row: HostNetblock, values: Values, by: By) -> None:
    _save_netblock(session, row, values, by)


def _add_asn(session: Session, values: Values, _by: By) -> Base:
    kind = values.get("kind") or AsnKind.PEER
    return hosts.add_asn(session, _host(session, values), values["asn"], kind, values.get("name") or "")


def _edit_asn(session: Session, row: HostAsn, values: Values, _by: By) -> None:
    host_details.rename_asn(session, row, values["name"])


def _add_country(session: Session, values: Values, _by: By) -> Base:
    return hosts.add_country(session, _host(session, values), values["country"], values["kind"])


def _add_acl(session: Session, values: Values, _by: By) -> Base:
    return host_details.add_acl_address(session, _host(session, values), values["address"])


def _add_maintenance(session: Session, values: Values, by: By) -> Base:
    times, reason = (values["starts_at"], values["ends_at"]), values.get("reason") or ""
    return maintenance.announce(session, _host(session, values), *times, reason=reason, by=by.name, now=by.now)


def _edit_maintenance(session: Session, row: Maintenance, values: Values, by: By) -> None:
    merged = {name: values.get(name, getattr(row, name)) for name in ("starts_at", "ends_at", "reason")}
    times = (merged["starts_at"], merged["ends_at"])
    maintenance.change(session, row, *times, reason=merged["reason"] or "", now=by.now)


def _add_place(session: Session, values: Values, _by: By) -> Base:
    location, host = session.get_one(Location, values["location_id"]), _host(session, values)
    locations.add_host(session, location.name, host)
    return session.get_one(HostLocation, (location.id, host.id))


def _add_reservation(session: Session, values: Values, _by: By) -> Base:
    directory, host = session.get_one(Directory, values["directory_id"]), _host(session, values)
    if session.get(DirectoryHost, (directory.id, host.id)):
        raise AlreadyExists(f"{directory.path} is reserved for {host.name} already.")
    reservations.reserve(session, directory, [host])
    return session.get_one(DirectoryHost, (directory.id, host.id))


def _add_upstream(session: Session, values: Values, _by: By) -> Base:
    if values["upstream_id"] == values["downstream_id"]:
        raise InvalidValue("downstream_id", "a site cannot mirror from itself")
    return _added(session, SiteUpstream(), values)


def _add_member(session: Session, values: Values, _by: By) -> Base:
    site, user = session.get_one(Site, values["site_id"]), session.get_one(User, values["user_id"])
    return membership.add(session, site, user.name, values["role"], by_owner=True)


def _edit_member(session: Session, row: SiteMember, values: Values, _by: By) -> None:
    membership.set_role(session, row, values["role"])


def _remove_member(session: Session, row: SiteMember, _by: By) -> None:
    membership.remove(session, row, by_owner=True)


def _withdraw(session: Session, row: SiteInvitation, _by: By) -> None:
    invitations.withdraw(session, row, session.get_one(Site, row.site_id))


def _add_user(session: Session, values: Values, _by: By) -> Base:
    role = values.get("role") or Role.USER
    more = {name: values.get(name) or "" for name in ("email", "display_name")}
    return accounts.create_user(session, values["name"], None, role=role, **more)


def _edit_user(session: Session, row: User, values: Values, by: By) -> None:
    role = values.get("role")
    if row.name == by.name and role not in (None, row.role):
        raise InvalidValue("role", "is your own: another administrator can change it")
    accounts.set_user(session, row.name, role=role, email=values.get("email"))
    if "display_name" in values:
        row.display_name = content.clean_text("display_name", values["display_name"], 255)


def _end_sign_in(session: Session, row: LoginSession, _by: By) -> None:
    sign_ins.end(session, row.user_id, row.id)


def _plainly(session: Session, row: Base, _by: By) -> None:
    host_details.remove(session, row)


_NAMED: Mapping[str, Callable[[str, Any], Any]] = {"name": _clean_name}
_OF_CATEGORY: Mapping[str, Callable[[str, Any], Any]] = {
    **_NAMED,
    "topdir": lambda _name, value: content.clean_topdir(value),
    "source": _source,
    "max_stale_days": _not_negative,
    "max_propagation_days": _not_negative,
    "max_vanished_share": _share,
}
_CATEGORY = (
    "name product_id topdir public admin_only canonical_host source max_stale_days max_propagation_days "
    "max_vanished_share"
)
_SITE = "name org_url private all_sites_can_pull downstream_comments weekly_report"
_HOST = (
    "name country bandwidth_mbps max_connections private crawl_private asn_clients latitude longitude has_ipv4 "
    "has_ipv6 comment robot_email"
)
_REPOSITORY = "prefix version_id arch_id category_id directory_id enabled pinned"
_VERSION = "name display_name codename is_test display sort_order"
WRITERS: Mapping[type[Base], Writer] = {
    Product: Writer(
        "name public sort_order",
        "name public sort_order",
        required="name",
        remove=_plainly,
        clean=_NAMED,
        kept_together=True,
    ),
    Version: Writer(
        f"product_id {_VERSION}", _VERSION, "product_id name", remove=_plainly, clean=_NAMED, kept_together=True
    ),
    Arch: Writer(
        "name public primary", "name public primary", required="name", remove=_plainly, clean=_NAMED, kept_together=True
    ),
    Category: Writer(
        _CATEGORY,
        _CATEGORY,
        "name product_id",
        edit=_edit_category,
        remove=_plainly,
        clean=_OF_CATEGORY,
        kept_together=True,
        note="Rules and files that a scan waits for are set with mm-admin.",
    ),
    Repository: Writer(
        _REPOSITORY,
        _REPOSITORY,
        "version_id arch_id category_id",
        add=_add_repository,
        edit=_save_repository,
        remove=_plainly,
        clean={"prefix": _clean_name},
    ),
    RepositoryRedirect: Writer(
        "from_prefix to_prefix",
        "to_prefix",
        "from_prefix to_prefix",
        add=_add_redirect,
        edit=_edit_redirect,
        remove=_remove_redirect,
    ),
    DirectoryHost: Writer(
        "directory_id host_id", required="directory_id host_id", add=_add_reservation, remove=_plainly
    ),
    CountryContinent: Writer(
        "country continent",
        "continent",
        "country continent",
        add=_add_continent,
        edit=_edit_continent,
        remove=_plainly,
    ),
    EmbargoedCountry: Writer("country", required="country", add=_add_embargo, remove=_plainly),
    NetblockCountry: Writer(
        "netblock country",
        "netblock country",
        "netblock country",
        add=_add_netblock_country,
        edit=_edit_netblock_country,
        remove=_plainly,
    ),
    Location: Writer("name", "name", "name", remove=_plainly, clean=_NAMED),
    HostLocation: Writer("location_id host_id", required="location_id host_id", add=_add_place, remove=_plainly),
    Site: Writer(_SITE, _SITE, "name", add=_add_site, edit=_edit_site, remove=_remove_site),
    SiteMember: Writer(
        "site_id user_id role",
        "role",
        "site_id user_id role",
        add=_add_member,
        edit=_edit_member,
        remove=_remove_member,
    ),
    SiteInvitation: Writer(remove=_withdraw),
    SiteUpstream: Writer("upstream_id downstream_id", "", "upstream_id downstream_id", _add_upstream, remove=_plainly),
    Host: Writer(f"site_id {_HOST}", _HOST, "site_id name", add=_add_host, edit=_edit_host, remove=_remove_host),
    HostCategory: Writer(
        "host_id category_id always_up_to_date",
        "always_up_to_date",
        "host_id category_id",
        add=_add_carried,
        edit=_edit_carried,
        remove=_plainly,
    ),
    HostCategoryUrl: Writer(
        "host_category_id url private",
        "url private",
        "host_category_id url",
        add=_add_url,
        edit=_edit_url,
        remove=_plainly,
    ),
    HostNetblock: Writer(
        "host_id netblock name",
        "netblock name",
        "host_id netblock",
        add=lambda session, values, by: _save_netblock(session, None, values, by),
        edit=_edit_netblock,
        remove=_plainly,
    ),
    HostAsn: Writer("host_id asn kind name", "name", "host_id asn", add=_add_asn, edit=_edit_asn, remove=_plainly),
    HostCountry: Writer("host_id country kind", "", "host_id country kind", add=_add_country, remove=_plainly),
    HostAclAddress: Writer("host_id address", "", "host_id address", add=_add_acl, remove=_plainly),
    Maintenance: Writer(
        "host_id starts_at ends_at reason",
        "starts_at ends_at reason",
        "host_id starts_at ends_at",
        add=_add_maintenance,
        edit=_edit_maintenance,
        remove=_plainly,
    ),
    User: Writer(
        "name email display_name role",
        "email display_name role",
        "name",
        add=_add_user,
        edit=_edit_user,
        note="Made without a password: another source signs them in, or mm-admin sets one.",
    ),
    Group: Writer("name display_name", "name display_name", required="name", remove=_plainly, clean=_NAMED),
    GroupMember: Writer("group_id user_id", required="group_id user_id", remove=_plainly),
    LoginSession: Writer(remove=_end_sign_in),
    Webhook: Writer(change="enabled", remove=_plainly),
}
