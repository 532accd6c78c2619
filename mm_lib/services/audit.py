"""Who changed what: a session that knows who works with it writes an event for every row of the registry it changes.

The event is part of the same transaction: there is neither a change without its event nor an event without its change.
Rows that go with their parent are not told one by one: the event of the parent says enough. What machines find out
(states, health, runs, files of the master) is not the registry, and has its own history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import event, insert, inspect
from sqlalchemy.orm import Session

from mm_lib.model.accounts import ApiToken, AuditEvent, Group, GroupMember, Identity, SecondFactor, User
from mm_lib.model.banners import Banner
from mm_lib.model.base import Base
from mm_lib.model.content import Arch, Category, Product, Repository, RepositoryRedirect, Version
from mm_lib.model.geography import CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.hiding import WITH_DELETED
from mm_lib.model.hosts import (
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
from mm_lib.model.sites import Site, SiteJoinRequest, SiteMember, SitePassword, SiteUpstream
from mm_lib.services import registry_events

_ACTOR = "audit actor"  # in Session.info
_TIMES = frozenset(
    {"created_at", "updated_at", "last_login_at", "last_step"}
)  # they say nothing that is worth an event
_SECRET = frozenset({"password_hash", "secret", "token_hash"})
HIDDEN = "(hidden)"


class Actor(NamedTuple):
    """Who works with a session."""

    name: str  # of the user, or of the program
    user_id: int | None = None
    address: str = ""  # where the request came from


RECORDED: Mapping[type[Base], str] = {
    ApiToken: "name",
    Arch: "name",
    Banner: "text",
    Category: "name",
    CountryContinent: "country",
    DirectoryHost: "directory_id",
    EmbargoedCountry: "country",
    Group: "name",
    GroupMember: "user_id",
    Host: "name",
    HostAclAddress: "address",
    HostAsn: "asn",
    HostCategory: "category_id",
    HostCategoryUrl: "url",
    HostCountry: "country",
    HostLocation: "location_id",
    HostNetblock: "netblock",
    Identity: "subject",
    Location: "name",
    Maintenance: "reason",
    NetblockCountry: "netblock",
    Product: "name",
    Repository: "prefix",
    RepositoryRedirect: "from_prefix",
    SecondFactor: "user_id",
    Site: "name",
    SiteJoinRequest: "user_id",
    SiteMember: "user_id",
    SitePassword: "id",
    SiteUpstream: "upstream_id",
    User: "name",
    Version: "name",
    Webhook: "url",
}  # table -> the column by which people know its rows


def sign(session: Session, actor: Actor) -> None:
    """From now on what the session changes is recorded as this actor's doing."""
    session.info[_ACTOR] = actor
    registry_events.watch(session, actor.name)


@contextmanager
def told_otherwise(session: Session) -> Iterator[None]:
    """For an operation that records itself as one event: its rows get none of their own."""
    actor = session.info.pop(_ACTOR, None)
    try:
        yield
        session.flush()
    finally:
        if actor is not None:
            session.info[_ACTOR] = actor


def note(session: Session, action: str, row: Base, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Record something that is more than a row with columns. Nothing happens in a session that nobody signed."""
    if _ACTOR in session.info:
        session.execute(insert(AuditEvent), [_entry(session, row, action, before, after)])


def note_brought_back(session: Session, removed: AuditEvent) -> None:
    """Record that what this event took away was made anew: it can be found by the number of that event."""
    actor: Actor = session.info[_ACTOR]
    made_anew = AuditEvent(
        actor=actor.name,
        actor_id=actor.user_id,
        address=actor.address,
        site_id=removed.site_id,
        action=f"bring back {removed.object_type}",
        object_type=AuditEvent.__tablename__,
        object_id=removed.id,
        object_name=removed.object_name,
        before=None,
        after=removed.before,
    )
    session.add(made_anew)
    session.flush()


@event.listens_for(Session, "before_flush")
def _know_urls(session: Session, _context: object, _instances: object) -> None:
    """The URLs of a category go with it, and its event tells them: afterwards nobody could read them."""
    if _ACTOR in session.info:
        for row in [row for row in session.deleted if isinstance(row, HostCategory)]:
            _ = row.urls


@event.listens_for(Session, "after_flush")
def _record(session: Session, _context: object) -> None:
    """Write the events of what was flushed."""
    if _ACTOR not in session.info:
        return
    entries = [_entry(session, row, "add", None, _whole(session, row)) for row in session.new if _told(row)]
    for row in filter(_told, session.dirty):
        before, after = _difference(row)
        if after:
            entries.append(_entry(session, row, "change", before, after))
    removed = [row for row in session.deleted if _told(row) and not _goes_with_category(session, row)]
    entries += [_entry(session, row, "remove", _whole(session, row), None) for row in removed]
    if entries:
        session.execute(insert(AuditEvent), entries)


def _told(row: object) -> bool:
    return type(row) in RECORDED


def _goes_with_category(session: Session, row: object) -> bool:
    gone = {deleted.id for deleted in session.deleted if isinstance(deleted, HostCategory)}
    return isinstance(row, HostCategoryUrl) and row.host_category_id in gone


def _entry(
    session: Session, row: Base, action: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> dict[str, Any]:
    actor: Actor = session.info[_ACTOR]
    kind = type(row)
    name = getattr(row, RECORDED[kind])
    return {
        "actor": actor.name,
        "actor_id": actor.user_id,
        "address": actor.address,
        "site_id": _site_of(session, row),
        "action": f"{action} {kind.__tablename__}" if " " not in action else action,
        "object_type": kind.__tablename__,
        "object_id": getattr(row, "id", None),
        "object_name": "" if name is None else str(_told_of(row, RECORDED[kind], name)),
        "before": before,
        "after": after,
    }


def _site_of(session: Session, row: Base) -> int | None:
    """The site whose members may see the event; None when it goes with this transaction."""
    site_id = row.id if isinstance(row, Site) else _site_above(session, row)
    gone = {deleted.id for deleted in session.deleted if isinstance(deleted, Site)}
    return None if site_id in gone else site_id


def _site_above(session: Session, row: Base) -> int | None:
    if isinstance(row, HostCategoryUrl):
        carried = session.get(HostCategory, row.host_category_id)
        return _site_above(session, carried) if carried else None
    if (host_id := getattr(row, "host_id", None)) is not None:
        host = session.get(Host, host_id, execution_options=WITH_DELETED)
        return host.site_id if host else None
    site_id: int | None = getattr(row, "site_id", None)
    return site_id


def _columns(row: Base) -> list[str]:
    return [attribute.key for attribute in inspect(row).mapper.column_attrs if attribute.key not in _TIMES]


def _values(row: Base) -> dict[str, Any]:
    loaded = inspect(row).dict
    return {name: _told_of(row, name, loaded[name]) for name in _columns(row) if name in loaded}


def _whole(session: Session, row: Base) -> dict[str, Any]:
    """All of a row; with what tells later where it was, and what went with it."""
    found = _values(row)
    if isinstance(row, HostCategoryUrl) and (carried := session.get(HostCategory, row.host_category_id)):
        found |= {"host_id": carried.host_id, "category_id": carried.category_id}
    if isinstance(row, HostCategory) and row in session.deleted:
        found["urls"] = [{"url": url.url, "private": url.private} for url in row.urls]
    return found


def _difference(row: Base) -> tuple[dict[str, Any], dict[str, Any]]:
    """What changed, before and after."""
    before, after = {}, {}
    for name in _columns(row):
        history = inspect(row).attrs[name].history
        if history.has_changes() and history.deleted != history.added:
            before[name] = _told_of(row, name, history.deleted[0] if history.deleted else None)
            after[name] = _told_of(row, name, history.added[0] if history.added else None)
    return before, after


def _told_of(row: Base, name: str, value: Any) -> Any:
    """A column's value; of a webhook's address not the query, in which receivers keep their secrets."""
    if isinstance(row, Webhook) and name == "url" and value:
        address, mark, _ = str(value).partition("?")
        return f"{address}?{HIDDEN}" if mark else address
    return _plain(name, value)


_PLAIN: dict[type, Callable[[Any], Any]] = {bytes: bytes.hex, set: sorted, frozenset: sorted}


def _plain(name: str, value: Any) -> Any:
    """As JSON holds it; of secrets only that there is one."""
    if name in _SECRET:
        return HIDDEN if value else value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return _PLAIN.get(type(value), lambda same: same)(value)
