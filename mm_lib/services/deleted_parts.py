"""Bringing back what was taken away from a host or site: its event of the last 30 days says what it was.

It is made anew by the same services as the forms use, so every rule is asked again; what meanwhile belongs to others
stays theirs. That it was brought back is an event, too: it happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from mm_lib.database import begin
from mm_lib.model.accounts import AuditEvent, User
from mm_lib.model.content import Category
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    Host,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostNetblock,
    Maintenance,
)
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services import audit, host_details, hosts, maintenance, membership
from mm_lib.services.deletion import KEPT
from mm_lib.services.errors import NotAllowed, NotFound
from mm_lib.services.host_details import Limits, Resolve

Values = Mapping[str, Any]


class Person(NamedTuple):
    """Who brings something back, and the rules that count for them, as they do when it is made by a form."""

    name: str
    unlimited: bool  # an administrator
    owner: bool  # of the site, or as good as one
    limits: Limits
    resolve: Resolve
    local: bool  # URLs may name machines of our own network
    now: datetime


class Part(NamedTuple):
    """Something that was taken away from a host, or from a site (`host` is empty then), and can be brought back."""

    id: int  # of the event
    kind: str  # the table
    name: str  # what people know it by
    urls: int  # that went with it
    site_id: int
    site: str
    host: str
    deleted_at: datetime
    deleted_by: str
    until: datetime
    by_owners: bool  # only they bring it back
    by_administrators: bool


class PartPage(NamedTuple):
    """Some of them, the latest first."""

    parts: list[Part]
    total: int
    number: int
    pages: int


def page(session: Session, now: datetime, sites: list[int] | None, number: int, size: int) -> PartPage:
    """What can be brought back of these sites, or of all (None). A number beyond the last page means the last one."""
    rows = _query(now)
    if sites is not None:
        rows = rows.where(AuditEvent.site_id.in_(sites))
    total = session.scalar(select(func.count()).select_from(rows.subquery())) or 0
    pages = max(1, -(-total // size))
    number = min(max(1, number), pages)
    rows = rows.order_by(AuditEvent.id.desc()).limit(size).offset((number - 1) * size)
    found = session.execute(rows).all()
    names = _names(session, [row[0] for row in found])
    return PartPage([_part(*row, names) for row in found], total, number, pages)


def find(session: Session, id_: int, now: datetime) -> tuple[AuditEvent, Site, Host | None]:
    """Something that can be brought back, and what it was a part of. Raises NotFound."""
    found = session.execute(_query(now).where(AuditEvent.id == id_)).first()
    if found is None:
        raise NotFound(
            "There is nothing of that number to bring back: it is there again, it is longer ago than 30 days, "
            "or its host or site was deleted, too."
        )
    event, site, host = found
    return event, site, host


def bring_back(session: Session, event: AuditEvent, by: Person) -> None:
    """Make anew what an event took away.

    Raises NotFound when it is there again, and what the service that makes such a thing raises.
    """
    # Two people at the same moment: the second waits here (on SQLite for the whole file), and finds it done.
    begin(session)
    session.scalar(select(AuditEvent.id).where(AuditEvent.id == event.id).with_for_update())
    event, site, host = find(session, event.id, by.now)
    assert event.before is not None
    if host is None:
        _member(session, site, event, by)
    else:
        _MAKERS[event.object_type](session, host, event.before, by)
    audit.note_brought_back(session, event)


# -- looking for them


def _query(now: datetime) -> Select[AuditEvent, Site, Host]:
    """Events that took away something of a site and host that are there, and that were not undone.

    With a member no host comes: only a site.
    """
    kinds = [*_MAKERS, SiteMember.__tablename__]
    done = aliased(AuditEvent)
    undone = exists().where(done.object_type == AuditEvent.__tablename__, done.object_id == AuditEvent.id)
    return (
        select(AuditEvent, Site, Host)
        .join(Site, Site.id == AuditEvent.site_id)
        .outerjoin(Host, Host.id == AuditEvent.before["host_id"].as_integer())
        .where(
            AuditEvent.at > now - KEPT,
            AuditEvent.action.in_([f"remove {kind}" for kind in kinds]),
            or_(AuditEvent.object_type == SiteMember.__tablename__, Host.site_id == Site.id),
            _not_of_the_host_form(),
            ~undone,
        )
    )


def _not_of_the_host_form() -> ColumnElement[bool]:
    """The host's own autonomous system is a field of the host."""
    is_asn = AuditEvent.object_type == HostAsn.__tablename__
    return or_(~is_asn, AuditEvent.before["kind"].as_string() == AsnKind.PEER.value)


def _names(session: Session, events: list[AuditEvent]) -> dict[tuple[str, int], str]:
    """Of the categories and users that events name by number."""
    numbers = {name: {(event.before or {}).get(name) for event in events} for name in ("category_id", "user_id")}
    found: dict[tuple[str, int], str] = {}
    for column, table in (("category_id", Category), ("user_id", User)):
        rows = select(table.id, table.name).where(table.id.in_(numbers[column] - {None}))
        found |= {(column, id_): name for id_, name in session.execute(rows)}
    return found


def _part(event: AuditEvent, site: Site, host: Host | None, names: Mapping[tuple[str, int], str]) -> Part:
    was = event.before or {}
    numbered = {HostCategory.__tablename__: "category_id", SiteMember.__tablename__: "user_id"}
    name = event.object_name
    if column := numbered.get(event.object_type):
        name = names.get((column, was[column]), f"#{name}")
    if event.object_type == Maintenance.__tablename__:
        name = f"{datetime.fromisoformat(was['starts_at']):%Y-%m-%d %H:%M}"
    return Part(
        id=event.id,
        kind=event.object_type,
        name=name,
        urls=len(was.get("urls", ())),
        site_id=site.id,
        site=site.name,
        host=host.name if host else "",
        deleted_at=event.at,
        deleted_by=event.actor,
        until=event.at + KEPT,
        by_owners=was.get("role") == MemberRole.OWNER.value,
        by_administrators=event.object_type == HostAsn.__tablename__,
    )


# -- making them anew


def _member(session: Session, site: Site, event: AuditEvent, by: Person) -> None:
    was = event.before or {}
    user = session.get(User, was["user_id"])
    if user is None or user.created_at > event.at:  # a number can be given once more
        raise NotFound("That user's account is gone.")
    membership.add(session, site, user.name, MemberRole(was["role"]), by_owner=by.owner)


def _netblock(session: Session, host: Host, was: Values, by: Person) -> None:
    limits = None if by.unlimited else by.limits
    host_details.save_netblock(session, host, None, was["netblock"], was["name"], limits=limits, resolve=by.resolve)


def _asn(session: Session, host: Host, was: Values, by: Person) -> None:
    if not by.unlimited:
        raise NotAllowed("Peers are entered by administrators.")
    hosts.add_asn(session, host, was["asn"], AsnKind.PEER, was["name"])


def _country(session: Session, host: Host, was: Values, _by: Person) -> None:
    hosts.add_country(session, host, was["country"], CountryKind(was["kind"]))


def _acl_address(session: Session, host: Host, was: Values, _by: Person) -> None:
    host_details.add_acl_address(session, host, was["address"])


def _category(session: Session, host: Host, was: Values, by: Person) -> None:
    always = bool(was["always_up_to_date"])
    carried = host_details.add_category(
        session, host, was["category_id"], always_up_to_date=always, unlimited=by.unlimited
    )
    for url in was["urls"]:
        _save_url(session, carried, url, by)


def _url(session: Session, host: Host, was: Values, by: Person) -> None:
    carried = next((row for row in host.categories if row.category_id == was["category_id"]), None)
    if carried is None:
        raise NotAllowed(f"{host.name} does not carry that category any more: bring back the category first.")
    _save_url(session, carried, was, by)


def _save_url(session: Session, carried: HostCategory, was: Values, by: Person) -> None:
    if was["private"] and not by.unlimited:
        raise NotAllowed(f"{was['url']} was private; only an administrator can make private URLs.")
    host_details.save_url(
        session,
        carried,
        None,
        was["url"],
        private=was["private"],
        local=by.unlimited or by.local,
        unlimited=by.unlimited,
    )


def _maintenance(session: Session, host: Host, was: Values, by: Person) -> None:
    window = (datetime.fromisoformat(was["starts_at"]), datetime.fromisoformat(was["ends_at"]))
    maintenance.announce(session, host, *window, reason=was["reason"], by=by.name, now=by.now)


_MAKERS: Mapping[str, Callable[[Session, Host, Values, Person], None]] = {
    HostAclAddress.__tablename__: _acl_address,
    HostAsn.__tablename__: _asn,
    HostCategory.__tablename__: _category,
    HostCategoryUrl.__tablename__: _url,
    HostCountry.__tablename__: _country,
    HostNetblock.__tablename__: _netblock,
    Maintenance.__tablename__: _maintenance,
}
