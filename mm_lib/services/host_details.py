"""What belongs to a host, with the rules that its owners are held to and administrators are not.

Everything here is for people: they are told what would be right. `unlimited` is said by administrators only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import NamedTuple, Unpack

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from mm_lib.model.base import Base, State
from mm_lib.model.content import Category
from mm_lib.model.geography import EmbargoedCountry
from mm_lib.model.hosts import (
    AsnKind,
    Host,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostNetblock,
)
from mm_lib.model.sites import Site
from mm_lib.model.state import HostCategoryState
from mm_lib.rules.netblocks import Netblock, parse_netblock
from mm_lib.rules.urls import is_local
from mm_lib.services import deletion, hosts
from mm_lib.services.content import clean_text
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed
from mm_lib.services.hosts import HostFields

Resolve = Callable[[str], list[str]]
PERMITTED = "an administrator can enter it for you"


class Limits(NamedTuple):
    """How large a network owners may claim: lengths of the prefix."""

    ipv4: int = 16
    ipv6: int = 32


def edit_host(session: Session, host: Host, asn: int | None, **fields: Unpack[HostFields]) -> None:
    """Change a host and its own autonomous system. Raises InvalidValue, AlreadyExists."""
    edit_fields(session, host, **fields)
    with session.no_autoflush:
        set_own_asn(session, host, asn)
    session.flush()


def edit_fields(session: Session, host: Host, **fields: Unpack[HostFields]) -> None:
    """Change a host. Raises InvalidValue, AlreadyExists.

    Between public and private all that was known of its content is forgotten: it was found out in another way.
    """
    was_private = host.private
    name = fields.get("name", host.name).strip()
    with session.no_autoflush:
        same = select(Host.id).where(Host.site_id == host.site_id, Host.name == name, Host.id != host.id)
        if session.scalar(same):
            raise AlreadyExists(f"{host.site.name} has a host {name!r} already.")
        hosts.set_fields(host, **fields)
    if host.private != was_private:
        forget_content(session, [host.id])
    session.flush()


def set_own_asn(session: Session, host: Host, number: int | None) -> None:
    """The autonomous system that the host stands in; None: not known. Raises InvalidValue, AlreadyExists."""
    own = [row for row in host.asns if row.kind is AsnKind.OWN]
    if [row.asn for row in own] == ([number] if number else []):
        return
    for row in own:
        session.delete(row)  # not only taken out of the collection: that would leave no event
    session.flush()
    session.expire(host, ["asns"])
    if number:
        hosts.add_asn(session, host, number, AsnKind.OWN)


def forget_content(session: Session, host_ids: list[int]) -> None:
    """No directory of these hosts counts as up to date until they are asked, or check in, again."""
    carried = select(HostCategory.id).where(HostCategory.host_id.in_(host_ids))
    session.execute(delete(HostCategoryState).where(HostCategoryState.host_category_id.in_(carried)))


def is_embargoed(session: Session, country: str | None) -> bool:
    """Whether mirrors of this country are not used."""
    return session.scalar(select(EmbargoedCountry.id).where(EmbargoedCountry.country == country)) is not None


# -- networks


def save_netblock(
    session: Session,
    host: Host,
    row: HostNetblock | None,
    text: str,
    name: str,
    *,
    limits: Limits | None,
    resolve: Resolve,
) -> HostNetblock:
    """Add a netblock, or change one. `limits` None: an administrator's. Raises InvalidValue, AlreadyExists."""
    try:
        parsed = parse_netblock(text)
    except ValueError as error:
        raise InvalidValue("netblock", str(error)) from None
    if any(known.netblock == parsed.text and known is not row for known in host.netblocks):
        raise AlreadyExists(f"{host.name} has the netblock {parsed.text} already.")
    if limits is not None:
        _refuse_size(parsed, limits)
        _refuse_overlap(session, host, parsed)
    if parsed.family is None and not resolve(parsed.text):
        raise InvalidValue("netblock", f"the name {parsed.text} has no address; check its spelling")
    row = row or HostNetblock(host_id=host.id)
    row.netblock, row.name = parsed.text, clean_text("name", name, 255)
    row.family, row.first_address, row.last_address = parsed.family, parsed.first, parsed.last
    if row not in host.netblocks:
        host.netblocks.append(row)
    session.flush()
    return row


def _refuse_size(parsed: Netblock, limits: Limits) -> None:
    if parsed.family is None:
        return
    network = ipaddress.ip_network(parsed.text)
    least = limits.ipv4 if parsed.family == 4 else limits.ipv6
    if network.prefixlen < least:
        raise InvalidValue("netblock", f"must not be larger than /{least}; {PERMITTED}")
    if not network.is_global:
        raise InvalidValue("netblock", f"{network} is not used on the Internet; {PERMITTED}")


def _refuse_overlap(session: Session, host: Host, parsed: Netblock) -> None:
    same = HostNetblock.netblock == parsed.text
    if parsed.family is not None:
        same = (
            (HostNetblock.family == parsed.family)
            & (HostNetblock.first_address <= parsed.last)
            & (HostNetblock.last_address >= parsed.first)
        )
    query = (
        select(HostNetblock.netblock, Host.name, or_(Host.private, Site.private))
        .join(Host, Host.id == HostNetblock.host_id)
        .join(Site, Site.id == Host.site_id)
        .where(same, Host.site_id != host.site_id)
        .limit(1)
    )
    taken = session.execute(query).first()
    if taken is not None:
        netblock, name, private = taken
        who = "a mirror of another site" if private else name
        raise InvalidValue("netblock", f"{netblock} belongs to {who} already; {PERMITTED}")


def add_acl_address(session: Session, host: Host, text: str) -> HostAclAddress:
    """Let an address or name pull from the master. Raises InvalidValue, AlreadyExists."""
    row = HostAclAddress(host_id=host.id, address=_free_acl_address(session, host, text))
    session.add(row)
    session.flush()
    return row


def change_acl_address(session: Session, host: Host, row: HostAclAddress, text: str) -> None:
    """Let another address or name pull from the master instead. Raises InvalidValue, AlreadyExists."""
    row.address = _free_acl_address(session, host, text, row)
    session.flush()


def _free_acl_address(session: Session, host: Host, text: str, row: HostAclAddress | None = None) -> str:
    try:
        address = parse_netblock(text).text.removesuffix("/32").removesuffix("/128")
    except ValueError as error:
        raise InvalidValue("address", str(error)) from None
    known = select(HostAclAddress.id).where(HostAclAddress.host_id == host.id, HostAclAddress.address == address)
    if session.scalar(known) not in (None, row and row.id):
        raise AlreadyExists(f"{host.name} has the address {address} already.")
    return address


def list_acl_addresses(session: Session, host: Host) -> list[HostAclAddress]:
    """Who may pull from the master for this host."""
    query = select(HostAclAddress).where(HostAclAddress.host_id == host.id)
    return list(session.scalars(query.order_by(HostAclAddress.address)))


def rename_asn(session: Session, row: HostAsn, name: str) -> None:
    """What the owner calls it. Raises InvalidValue."""
    row.name = clean_text("name", name, 255)
    session.flush()


# -- categories and URLs


def category_choices(session: Session, host: Host, unlimited: bool) -> list[Category]:
    """What the host does not carry yet and its owner may add."""
    carried = select(HostCategory.category_id).where(HostCategory.host_id == host.id)
    query = select(Category).where(Category.id.not_in(carried)).order_by(Category.name)
    return list(session.scalars(query if unlimited else query.where(~Category.admin_only)))


def add_category(
    session: Session, host: Host, category_id: int, *, always_up_to_date: bool, unlimited: bool
) -> HostCategory:
    """Let the host carry a category. Raises InvalidValue, AlreadyExists, NotAllowed."""
    category = session.get(Category, category_id)
    if category is None or (category.admin_only and not unlimited):
        raise InvalidValue("category", "is not one that you can choose")
    if any(carried.category_id == category.id for carried in host.categories):
        raise AlreadyExists(f"{host.name} carries {category.name} already.")
    _refuse_always(always_up_to_date, unlimited)
    carried = HostCategory(category=category, always_up_to_date=always_up_to_date, urls=[])
    host.categories.append(carried)
    session.flush()
    return carried


def edit_category(session: Session, carried: HostCategory, *, always_up_to_date: bool, unlimited: bool) -> None:
    """Say whether it is served without being asked. Raises NotAllowed."""
    if always_up_to_date != carried.always_up_to_date:
        _refuse_always(True, unlimited)
    carried.always_up_to_date = always_up_to_date
    session.flush()


def _refuse_always(wanted: bool, unlimited: bool) -> None:
    if wanted and not unlimited:
        raise NotAllowed("Only an administrator can say that a mirror is always up to date.")


def save_url(
    session: Session,
    carried: HostCategory,
    row: HostCategoryUrl | None,
    text: str,
    *,
    private: bool | None,
    local: bool = False,
    unlimited: bool = False,
) -> HostCategoryUrl:
    """Add a URL to a category, or change one. `private` None: as it is.

    Without `local` it must not name a machine of our own network: the crawler asks whatever stands here.
    Raises InvalidValue, AlreadyExists, NotAllowed where an administrator switched the host off.
    """
    address = hosts.free_url(session, text, row, asked_by_site=None if unlimited else carried.host.site_id)
    if row is not None and address != row.url:
        _keep(carried.host, unlimited)
    if not local and is_local(address) and (row is None or address != row.url):
        raise InvalidValue(
            "url", f"{address} is not on the Internet; give the address that clients use, or {PERMITTED}"
        )
    if row is None:
        row = HostCategoryUrl(url=address, private=bool(private))
        carried.urls.append(row)
    if address != row.url:
        # What was found out about the old address says nothing about the new one.
        row.url, row.tried_at, row.problem, row.certificate_ends_at = address, None, "", None
    if private is not None:
        row.private = private
    session.flush()
    return row


def remove(session: Session, row: Base, *, unlimited: bool = True) -> None:
    """Take something away from its host, for good. Raises NotAllowed where an administrator switched that off."""
    if isinstance(row, HostCategory | HostCategoryUrl):
        _keep(row.host if isinstance(row, HostCategory) else row.host_category.host, unlimited)
    session.delete(row)
    session.flush()


def _keep(host: Host, unlimited: bool) -> None:
    """A URL that an administrator switched off with its host is not for its owner to give to another host."""
    for thing in (host, host.site):
        deletion.refuse_switched_off(thing, unlimited)


def switch(session: Session, thing: Host | Site, *, on: bool, reason: str, by: str, unlimited: bool) -> None:
    """Let a host or site take part, or not.

    Raises InvalidValue without a reason, NotAllowed against administrators, and when somebody else did so already.
    """
    text = clean_text("reason", reason, 500)
    if not text:
        raise InvalidValue("reason", "say why; everybody who looks after it sees it")
    if thing.state is State.WAITING:
        raise NotAllowed(f"{thing.name} waits for an administrator, who approves or declines it.")
    if on and thing.state is State.ADMIN_DISABLED and not unlimited:
        raise NotAllowed(f"An administrator switched {thing.name} off ({thing.state_reason}); ask them.")
    wanted = State.ACTIVE if on else State.ADMIN_DISABLED if unlimited else State.OWNER_DISABLED
    # An administrator may switch off for good what is off; an owner must not turn that into an owner's decision.
    if thing.state is wanted or (not on and not unlimited and thing.state is not State.ACTIVE):
        since = f"since {thing.state_since:%Y-%m-%d %H:%M} UTC ({thing.state_reason or 'no reason was given'})"
        raise NotAllowed(f"{thing.name} is switched {'on' if on else 'off'} already, {since}.")
    hosts.set_state(session, thing, wanted, text, by)
