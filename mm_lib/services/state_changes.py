"""How mirrors came and went lately, as far as it is everybody's business: for feeds.

Private hosts, and what people or the crawler wrote as a reason, are not in it: a reason may name private addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import AuditEvent
from mm_lib.model.base import State
from mm_lib.model.content import Category
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.outbox import Event
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HealthChange
from mm_lib.services.errors import NotFound
from mm_lib.services.outbox import Kind

MOST = 100  # entries of a feed

_HEALTH = {
    Health.ACTIVE: "is served",
    Health.SUSPECT: "gave no clear answer when it was asked last",
    Health.QUARANTINED: "is not served, for it could not be reached",
    Health.PROBATION: "is served again, on probation",
}
_STATE = {
    State.ACTIVE: "was switched on",
    State.OWNER_DISABLED: "was switched off by its owner",
    State.ADMIN_DISABLED: "was switched off by an administrator",
    State.AUTO_DISABLED: "was switched off, for it could not be reached for long",
    State.WAITING: "waits for an administrator",
}
_MIRROR = (Host.id, Host.name, Site.name)
_CRAWLER = {Kind.DISABLED.value: State.AUTO_DISABLED, Kind.REENABLED.value: State.ACTIVE}


@dataclass(frozen=True)
class Change:
    """Something that happened to a mirror. `key` never changes and is no other change's, here or anywhere else."""

    key: str
    at: datetime
    host_id: int
    host: str
    site: str
    category: str  # empty: all that the mirror carries
    state: str  # in one word
    text: str  # in a sentence without subject


def public_site(session: Session, site_id: int) -> str:
    """The name of a site that everybody may know: one that has something to show. Raises NotFound."""
    shown = select(Host.id).where(Host.site_id == Site.id, ~Host.private).exists()
    query = select(Site.name).where(Site.id == site_id, ~Site.private, Site.state == State.ACTIVE, shown)
    name = session.scalar(query)
    if name is None:
        raise NotFound("There is no public site with this number.")
    return name


def recent(session: Session, site_id: int | None = None, most: int = MOST) -> list[Change]:
    """The latest changes of public mirrors, the newest first; of one site when it is named."""
    found = [
        *_health(session, site_id, most),
        *_by_people(session, site_id, most),
        *_by_crawler(session, site_id, most),
    ]
    return sorted(found, key=lambda change: (change.at, change.key), reverse=True)[:most]


def _public(query: Any, site_id: int | None) -> Any:
    """Hosts of the query that everybody may know."""
    query = query.join(Site, Site.id == Host.site_id).where(~Host.private, ~Site.private, Site.state == State.ACTIVE)
    return query if site_id is None else query.where(Site.id == site_id)


def _health(session: Session, site_id: int | None, most: int) -> list[Change]:
    query = (
        select(HealthChange.id, HealthChange.at, HealthChange.health, *_MIRROR, Category.name)
        .join(HostCategory, HostCategory.id == HealthChange.host_category_id)
        .join(Host, Host.id == HostCategory.host_id)
        .join(Category, Category.id == HostCategory.category_id)
        .where(Category.public, ~Category.admin_only)
        .order_by(HealthChange.at.desc(), HealthChange.id.desc())
        .limit(most)
    )
    return [
        _change("health", id_, at, mirror, state=health.value, text=_HEALTH[health], category=category)
        for id_, at, health, *mirror, category in session.execute(_public(query, site_id))
    ]


def _by_people(session: Session, site_id: int | None, most: int) -> list[Change]:
    state = AuditEvent.after["state"].as_string()
    query = (
        select(AuditEvent.id, AuditEvent.at, state, *_MIRROR)
        .join(Host, Host.id == AuditEvent.object_id)
        .where(AuditEvent.object_type == Host.__tablename__, AuditEvent.action == "change host", state.is_not(None))
        .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
        .limit(most)
    )
    return [
        _change("audit", id_, at, mirror, state=said, text=_STATE[State(said)])
        for id_, at, said, *mirror in session.execute(_public(query, site_id))
    ]


def _by_crawler(session: Session, site_id: int | None, most: int) -> list[Change]:
    query = (
        select(Event.id, Event.at, Event.kind, *_MIRROR)
        .join(Host, Host.id == Event.host_id)
        .where(Event.kind.in_(_CRAWLER))
        .order_by(Event.at.desc(), Event.id.desc())
        .limit(most)
    )
    return [
        _change("event", id_, at, mirror, state=_CRAWLER[kind].value, text=_STATE[_CRAWLER[kind]])
        for id_, at, kind, *mirror in session.execute(_public(query, site_id))
    ]


def _change(
    source: str, id_: int, at: datetime, mirror: Sequence[Any], *, state: str, text: str, category: str = ""
) -> Change:
    host_id, host, site = mirror
    # Names may change; a row's number and moment do not, and no two installations share both.
    key = str(uuid5(NAMESPACE_URL, f"mirrormanager:{source}:{id_}:{host_id}:{at.isoformat()}"))
    return Change(key, at, host_id, host, site, category, state, text)
