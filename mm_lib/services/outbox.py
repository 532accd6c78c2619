"""Events: written in the transaction of the change that they tell of, delivered by mm_lib.outbox after the commit.

What people change in the registry becomes an event by itself (registry_events); whoever finds something out calls
emit(). Nothing is sent here: a mail server, webhook or broker that is down costs neither a page nor a crawl.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.hiding import WITH_DELETED
from mm_lib.model.hosts import AsnKind, Host
from mm_lib.model.outbox import Delivery, DeliveryState, Event
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services.errors import NotFound

MAX_NAME = 255


class Kind(StrEnum):
    """What happened."""

    HOST_ADDED = "host.added"
    HOST_UPDATED = "host.updated"
    HOST_DELETED = "host.deleted"
    SITE_ADDED = "site.added"
    SITE_UPDATED = "site.updated"
    SITE_DELETED = "site.deleted"
    SITE_APPROVED = "site.approved"
    SITE_DECLINED = "site.declined"
    DISABLED = "crawler.host.disabled"
    REENABLED = "crawler.host.reenabled"
    FAILING = "crawler.host.failing"
    RECOVERED = "crawler.host.recovered"
    FLAPPING = "crawler.host.flapping"
    TEST = "test"


def emit(
    session: Session,
    kind: Kind,
    payload: Mapping[str, Any],
    *,
    site_id: int | None = None,
    host_id: int | None = None,
    at: datetime | None = None,
    dedupe_key: str | None = None,
    held: bool = False,
) -> int | None:
    """Write an event as part of the caller's transaction; its id, or None when one with this key was there already."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {
        "at": at or datetime.now(UTC),
        "kind": kind.value,
        "site_id": site_id,
        "host_id": host_id,
        "payload": dict(payload),
        "dedupe_key": dedupe_key,
        "held": held,
    }
    statement = insert(Event).values(values).on_conflict_do_nothing(index_elements=["dedupe_key"])
    id_: int | None = session.scalar(statement.returning(Event.id))
    return id_


def host_changed(session: Session, kind: Kind, host: Host, agent: str) -> None:
    """Tell that somebody added, updated or is about to delete a host; call it before the row is gone.

    mm_lib.services.registry_events does so by itself in sessions that are signed.
    """
    gone = kind is Kind.HOST_DELETED
    site = session.get_one(Site, host.site_id, execution_options=WITH_DELETED)
    payload = {"agent": agent, "host": host_body(host), "site": site_body(session, site)}
    emit(session, kind, payload, site_id=host.site_id, host_id=None if gone else host.id)


def site_changed(session: Session, kind: Kind, site: Site, agent: str) -> None:
    """Tell that somebody added, updated or is about to delete a site; call it before the row is gone."""
    gone = kind is Kind.SITE_DELETED
    emit(session, kind, {"agent": agent, "site": site_body(session, site)}, site_id=None if gone else site.id)


def host_body(host: Host) -> dict[str, Any]:
    """A host as messages show it."""
    own = sorted(row.asn for row in host.asns if row.kind is AsnKind.OWN)
    return {
        "id": host.id,
        "name": host.name,
        "country": host.country or "",
        "bandwidth": host.bandwidth_mbps,
        "asn": own[0] if own else None,
    }


def site_body(session: Session, site: Site) -> dict[str, Any]:
    """A site as messages show it, with the names of those who speak for it."""
    speakers = select(User.name).join(SiteMember, SiteMember.user_id == User.id)
    admins = session.scalars(speakers.where(SiteMember.site_id == site.id, SiteMember.role != MemberRole.VIEWER))
    return {"id": site.id, "name": site.name, "org_url": site.org_url or None, "admins": sorted(admins)}


# -- what became of them


def list_deliveries(session: Session, states: Sequence[DeliveryState], limit: int) -> list[dict[str, Any]]:
    """The newest deliveries in one of these states; all states when none is named."""
    query = select(Delivery, Event).join(Event, Event.id == Delivery.event_id)
    if states:
        query = query.where(Delivery.state.in_(states))
    return [
        {
            "id": delivery.id,
            "at": event.at,
            "kind": event.kind,
            "about": _about(event.payload),
            "channel": delivery.channel.value,
            "target": delivery.target,
            "state": delivery.state.value,
            "attempts": delivery.attempts,
            "next_try_at": delivery.next_try_at if delivery.state is DeliveryState.WAITING else None,
            "last_error": delivery.last_error,
        }
        for delivery, event in session.execute(query.order_by(Delivery.id.desc()).limit(limit))
    ]


def _about(payload: Mapping[str, Any]) -> str:
    about: str = (payload.get("host") or payload.get("site") or {}).get("name", "")
    return about


def count_deliveries(session: Session) -> dict[str, int]:
    """How many deliveries are in each state, and how many events wait for their deliveries to be made."""
    rows = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state))
    found = {state.value: 0 for state in DeliveryState} | {state.value: count for state, count in rows}
    unspread = select(func.count()).select_from(Event).where(Event.spread_at.is_(None))
    return {**found, "events waiting": session.scalar(unspread) or 0}


def retry(session: Session, ids: Sequence[int] | None, now: datetime) -> int:
    """Let dead deliveries be tried again, now; None: all of them. Raises NotFound for one that is not dead."""
    dead = Delivery.state == DeliveryState.DEAD
    query = update(Delivery).where(dead).values(state=DeliveryState.WAITING, attempts=0, next_try_at=now)
    revived = set(session.scalars((query if ids is None else query.where(Delivery.id.in_(ids))).returning(Delivery.id)))
    if missing := sorted(set(ids or ()) - revived):
        listed = ", ".join(map(str, missing))
        raise NotFound(f"Not among the dead deliveries: {listed}. `mm-admin outbox list --dead` shows them.")
    return len(revived)


def prune(session: Session, before: datetime) -> int:
    """Forget events from before that moment which nobody waits for; dead deliveries are kept until they are retried."""
    open_ = exists().where(Delivery.event_id == Event.id, Delivery.state != DeliveryState.DELIVERED)
    old = delete(Event).where(Event.at < before, Event.spread_at.is_not(None), Event.held.is_(False), ~open_)
    return len(session.scalars(old.returning(Event.id)).all())
