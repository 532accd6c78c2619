"""Who has which delivery: claims with a lease, so that two deliverers at once never deliver the same one.

A claim is one statement, and committed before anything is sent. It raises `attempts`; whoever ends a delivery names
the number that it was given, so a deliverer that was slower than its lease changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, not_, select, update
from sqlalchemy.orm import Session

from mm_lib.model.outbox import Channel, Delivery, DeliveryState, Event, Webhook
from mm_lib.outbox.message import Told
from mm_lib.services.outbox import Kind
from mm_lib.settings import FrontendSettings, OutboxSettings

MAX_ERROR = 1000  # characters kept of a message


@dataclass(frozen=True)
class Claim:
    """A delivery that is ours until its lease ends."""

    delivery_id: int
    attempt: int
    channel: Channel
    target: str
    told: Told
    webhook: Webhook | None = None


Down = tuple[Channel, str]  # what cannot be reached now; without target: the whole channel


def claim(
    session: Session, now: datetime, settings: OutboxSettings, pages: FrontendSettings, down: Iterable[Down] = ()
) -> Claim | None:
    """Take the delivery that is due longest, but none by what is down; None when there is none."""
    waits = (Delivery.state == DeliveryState.WAITING, Delivery.next_try_at <= now)
    due = select(Delivery.id).where(*waits, *map(_not_by, down)).order_by(Delivery.next_try_at, Delivery.id).limit(1)
    taken = (
        update(Delivery)
        # SKIP LOCKED (PostgreSQL): two deliverers take two deliveries. SQLite has one writer at a time anyway.
        .where(Delivery.id == due.with_for_update(skip_locked=True).scalar_subquery(), *waits)
        .values(attempts=Delivery.attempts + 1, next_try_at=now + timedelta(seconds=settings.lease))
        .returning(Delivery.id)
    )
    id_ = session.scalar(taken, execution_options={"synchronize_session": False})
    if id_ is None:
        return None
    delivery = session.get_one(Delivery, id_)
    event = delivery.event
    told = Told(event.id, Kind(event.kind), event.at, event.payload, pages.public_url, pages.site_name)
    webhook = session.get(Webhook, int(delivery.target)) if delivery.channel is Channel.WEBHOOK else None
    return Claim(id_, delivery.attempts, delivery.channel, delivery.target, told, webhook)


def _not_by(down: Down) -> ColumnElement[bool]:
    channel, target = down
    return not_(and_(Delivery.channel == channel, Delivery.target == target)) if target else Delivery.channel != channel


class Ends(NamedTuple):
    """How a try ended that did not work."""

    told: str  # why
    final: bool  # no further try would help


def settle(
    session: Session, claimed: Claim, failure: Ends | None, now: datetime, *, settings: OutboxSettings, rng: Random
) -> DeliveryState | None:
    """Note that it is done, or why not and when it is tried again; None when the lease was over and others have it."""
    if failure is None:
        values: dict[str, Any] = {"state": DeliveryState.DELIVERED, "delivered_at": now, "last_error": ""}
    else:
        dead = failure.final or claimed.attempt >= settings.tries
        again = now + timedelta(seconds=pause(claimed.attempt, settings, rng))
        state = DeliveryState.DEAD if dead else DeliveryState.WAITING
        values = {"state": state, "next_try_at": again, "last_error": failure.told[:MAX_ERROR]}
    mine = (Delivery.id == claimed.delivery_id) & (Delivery.attempts == claimed.attempt)
    waiting = Delivery.state == DeliveryState.WAITING
    ended = update(Delivery).where(mine, waiting).values(**values).returning(Delivery.state)
    found: DeliveryState | None = session.scalar(ended, execution_options={"synchronize_session": False})
    return found


def pause(attempt: int, settings: OutboxSettings, rng: Random) -> float:
    """Seconds until the next try: they double, up to a limit, give or take a quarter, so that not all come at once."""
    doubled = settings.first_pause * 2.0 ** min(attempt - 1, 64)
    return min(doubled, settings.longest_pause) * rng.uniform(0.75, 1.25)


def take_unspread(session: Session, now: datetime) -> Event | None:
    """The oldest event whose deliveries are not made yet, taken by this transaction."""
    first = select(Event.id).where(Event.spread_at.is_(None)).order_by(Event.id).limit(1)
    taken = (
        update(Event)
        .where(Event.id == first.with_for_update(skip_locked=True).scalar_subquery(), Event.spread_at.is_(None))
        .values(spread_at=now)
        .returning(Event.id)
    )
    id_ = session.scalar(taken, execution_options={"synchronize_session": False})
    return None if id_ is None else session.get_one(Event, id_)
