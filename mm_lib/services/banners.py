"""Messages at the top of every page: who sees which, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mm_lib.model.banners import Audience, Banner, Level
from mm_lib.services.content import clean_text
from mm_lib.services.errors import InvalidValue, NotFound

MAX_TEXT = 500


class Message(NamedTuple):
    """A banner as pages keep it; `audience` and the moments say who is to see it."""

    text: str
    level: Level
    audience: Audience = Audience.ALL
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether it is shown at this moment."""
        return (self.starts_at is None or self.starts_at <= now) and (self.ends_at is None or now < self.ends_at)


def not_over(session: Session, now: datetime) -> tuple[Message, ...]:
    """All that are shown now or later; what matters most first."""
    query = select(Banner).where(or_(Banner.ends_at.is_(None), Banner.ends_at > now))
    rows = sorted(session.scalars(query), key=lambda row: (-list(Level).index(row.level), row.starts_at, row.id))
    return tuple(Message(row.text, row.level, row.audience, row.starts_at, row.ends_at) for row in rows)


def due(messages: Iterable[Message], now: datetime, audiences: Iterable[Audience]) -> tuple[Message, ...]:
    """Those that somebody who belongs to these audiences sees now."""
    seen_by = frozenset(audiences)
    return tuple(message for message in messages if message.audience in seen_by and message.is_due(now))


def list_all(session: Session) -> Sequence[Banner]:
    """Every banner, also those that are over; the latest first."""
    return session.scalars(select(Banner).order_by(Banner.starts_at.desc(), Banner.id.desc())).all()


def find(session: Session, id_: int) -> Banner:
    """Raises NotFound."""
    row = session.get(Banner, id_)
    if row is None:
        raise NotFound("There is no such banner. It may have been removed.")
    return row


def save(session: Session, row: Banner | None, message: Message, *, by: str, now: datetime) -> Banner:
    """Add a banner or change one. Raises InvalidValue."""
    text = clean_text("text", message.text, MAX_TEXT)
    if not text:
        raise InvalidValue("text", "say something")
    starts_at = message.starts_at or (row.starts_at if row else now)
    if message.ends_at is not None and message.ends_at <= starts_at:
        raise InvalidValue("ends_at", "must be later than the start")
    row = row or Banner(created_by=by)
    row.text, row.level, row.audience = " ".join(text.split()), message.level, message.audience
    row.starts_at, row.ends_at = starts_at, message.ends_at
    session.add(row)
    session.flush()
    return row


def remove(session: Session, row: Banner) -> None:
    """For good."""
    session.delete(row)
    session.flush()
