"""Maintenance: a host's owner announces when it is neither handed out nor crawled."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from mm_lib.model.hosts import Host, Maintenance
from mm_lib.services.content import clean_text
from mm_lib.services.errors import InvalidValue

LONGEST = timedelta(days=90)  # for longer, a host is better switched off


def announce(
    session: Session, host: Host, starts_at: datetime, ends_at: datetime, *, reason: str, by: str, now: datetime
) -> Maintenance:
    """Take the host out of the answers between two moments. Raises InvalidValue."""
    row = Maintenance(host_id=host.id, announced_by=by)
    change(session, row, starts_at, ends_at, reason=reason, now=now)
    session.add(row)
    session.flush()
    return row


def change(
    session: Session, row: Maintenance, starts_at: datetime, ends_at: datetime, *, reason: str, now: datetime
) -> None:
    """Move a window, or end it early. Raises InvalidValue."""
    if ends_at <= starts_at:
        raise InvalidValue("ends_at", "must be later than the start")
    if ends_at <= now:
        raise InvalidValue("ends_at", "must be in the future")
    if ends_at - starts_at > LONGEST:
        raise InvalidValue("ends_at", f"must be at most {LONGEST.days} days after the start; for longer, switch it off")
    row.starts_at, row.ends_at, row.reason = starts_at, ends_at, clean_text("reason", reason, 500)
    session.flush()


def is_resting(now: datetime) -> ColumnElement[bool]:
    """A condition on Host: it is under maintenance now."""
    return exists().where(Maintenance.host_id == Host.id, Maintenance.starts_at <= now, Maintenance.ends_at > now)


def current(session: Session, host: Host, now: datetime) -> Maintenance | None:
    """The window that the host is in."""
    return next((window for window in list_windows(session, host, now) if window.starts_at <= now), None)


def list_windows(session: Session, host: Host, now: datetime) -> list[Maintenance]:
    """Those that have not ended, the next first."""
    query = select(Maintenance).where(Maintenance.host_id == host.id, Maintenance.ends_at > now)
    return list(session.scalars(query.order_by(Maintenance.starts_at, Maintenance.id)))
