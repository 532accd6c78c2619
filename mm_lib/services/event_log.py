"""What was changed, for people: the audit log with filters, page by page or whole as CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import AuditEvent
from mm_lib.model.sites import Site
from mm_lib.services.errors import InvalidValue

MAX_EXPORT = 50_000  # events; more are got by narrower filters
COLUMNS = ("id", "at", "actor", "address", "site", "action", "object", "object_id", "name", "before", "after")


@dataclass(frozen=True)
class EventFilter:
    """Which events. Empty or None: any."""

    site_id: int | None = None
    actor: str = ""
    action: str = ""  # a part of it
    text: str = ""  # a part of the name of what was changed
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("actor", "action", "text"):
            if not getattr(self, name).isprintable():
                raise InvalidValue(name, "holds a control character, which nothing is found by")


@dataclass(frozen=True)
class EventPage:
    """Some events, and how many there are."""

    events: list[dict[str, Any]]
    total: int
    number: int
    pages: int


def page(session: Session, wanted: EventFilter, number: int, size: int) -> EventPage:
    """The newest events first. A number beyond the last page means the last one."""
    total = session.scalar(_matching(select(func.count(AuditEvent.id)), wanted)) or 0
    pages = max(1, -(-total // size))
    number = min(max(1, number), pages)
    query = _query(wanted).limit(size).offset((number - 1) * size)
    return EventPage([_told(*row) for row in session.execute(query)], total, number, pages)


def export(session: Session, wanted: EventFilter) -> list[dict[str, Any]]:
    """All events that match, the newest first, up to a limit."""
    return [_told(*row) for row in session.execute(_query(wanted).limit(MAX_EXPORT))]


def as_csv(events: Iterable[Mapping[str, Any]]) -> str:
    """For a spreadsheet. A text that one would take for a formula is marked as text."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for event in events:
        writer.writerow(_cell(event[column]) for column in COLUMNS)
    return stream.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _query(wanted: EventFilter) -> Any:
    query = select(AuditEvent, Site.name).outerjoin(Site, Site.id == AuditEvent.site_id)
    return _matching(query, wanted).order_by(AuditEvent.id.desc())


def _matching(query: Any, wanted: EventFilter) -> Any:
    conditions = []
    if wanted.site_id is not None:
        conditions.append(AuditEvent.site_id == wanted.site_id)
    if wanted.actor:
        conditions.append(func.lower(AuditEvent.actor) == wanted.actor.strip().lower())
    if wanted.action:
        conditions.append(AuditEvent.action.icontains(wanted.action.strip(), autoescape=True))
    if wanted.text:
        conditions.append(AuditEvent.object_name.icontains(wanted.text.strip(), autoescape=True))
    if wanted.since:
        conditions.append(AuditEvent.at >= wanted.since)
    if wanted.until:
        conditions.append(AuditEvent.at < wanted.until)
    return query.where(*conditions)


def _told(event: AuditEvent, site: str | None) -> dict[str, Any]:
    return {
        "id": event.id,
        "at": event.at,
        "actor": event.actor,
        "address": event.address,
        "site": site or "",
        "action": event.action,
        "object": event.object_type,
        "object_id": event.object_id,
        "name": event.object_name,
        "before": event.before,
        "after": event.after,
    }
