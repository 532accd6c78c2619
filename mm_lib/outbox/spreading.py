"""From events to deliveries: who is told what, by the settings of now; and digests for mirrors that come and go."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.hosts import Host
from mm_lib.model.outbox import Channel, Delivery, Event, Webhook
from mm_lib.model.sites import MemberRole, SiteMember
from mm_lib.outbox import queue
from mm_lib.outbox.message import LETTERS, topics
from mm_lib.services import outbox
from mm_lib.services.outbox import Kind
from mm_lib.settings import Settings


def spread(session: Session, settings: Settings, now: datetime) -> bool:
    """Make the deliveries of one event, in the same transaction that marks it; False when there is no such event."""
    event = queue.take_unspread(session, now)
    if event is None:
        return False
    targets = [(Channel.WEBHOOK, str(id_)) for id_ in _webhooks(session, event)]
    if settings.mail.server and event.kind in LETTERS and not event.held:
        targets += [(Channel.MAIL, address) for address in _addresses(session, event)]
    if settings.amqp.url is not None and event.kind != Kind.TEST:
        targets += [(Channel.AMQP, topic) for topic in topics(Kind(event.kind))]
    session.add_all(
        Delivery(event_id=event.id, channel=channel, target=target, next_try_at=now) for channel, target in targets
    )
    return True


def _webhooks(session: Session, event: Event) -> list[int]:
    """Those that were there when it happened, hear of this site, and want to know."""
    if event.kind == Kind.TEST:
        return list(session.scalars(select(Webhook.id).where(Webhook.id == event.payload["webhook_id"])))
    site = or_(Webhook.site_id.is_(None), Webhook.site_id == event.site_id)
    there = select(Webhook).where(Webhook.enabled, site, Webhook.created_at <= event.at).order_by(Webhook.id)
    return [row.id for row in session.scalars(there) if not row.kinds or event.kind in row.kinds]


def _addresses(session: Session, event: Event) -> list[str]:
    """Those who speak for the site, and the host's address for programs, each once."""
    of_site = (SiteMember.site_id == event.site_id) & (SiteMember.role != MemberRole.VIEWER)
    people = select(User.email).join(SiteMember, SiteMember.user_id == User.id).where(of_site, User.active)
    robot = select(Host.robot_email).where(Host.id == event.host_id)
    addresses = [address.strip() for query in (robot, people) for address in session.scalars(query)]
    return sorted({address.lower(): address for address in addresses if address}.values())


def make_digests(session: Session, settings: Settings, now: datetime) -> int:
    """For each host with changes that were held back, one event that tells them, unless there was one lately."""
    hosts = session.scalars(select(Event.host_id).where(Event.held).distinct()).all()
    return sum(_make_digest(session, host_id, settings, now) for host_id in hosts)


def _make_digest(session: Session, host_id: int | None, settings: Settings, now: datetime) -> bool:
    hours = settings.outbox.digest_hours
    last = select(func.max(Event.at)).where(Event.host_id == host_id, Event.kind == Kind.FLAPPING)
    if (at := session.scalar(last)) is not None and at > now - timedelta(hours=hours):
        return False
    # One statement: of two deliverers only one gets them.
    free = update(Event).where(Event.held, Event.host_id.is_not_distinct_from(host_id)).values(held=False)
    ids = session.scalars(free.returning(Event.id), execution_options={"synchronize_session": False}).all()
    events = session.scalars(select(Event).where(Event.id.in_(ids)).order_by(Event.at, Event.id)).all()
    if host_id is None or not events:
        return False
    newest = events[-1]
    changes = [
        {
            "at": f"{event.at:%Y-%m-%d %H:%M}",
            "change": "failing" if event.kind == Kind.FAILING else "recovered",
            "reason": event.payload["reason"],
        }
        for event in events
    ]
    payload = {
        **{name: newest.payload[name] for name in ("agent", "host", "site", "crawled_at")},
        "reason": f"its state changed {len(events)} times more; now it is {changes[-1]['change']}",
        "changes": changes,
        "digest_hours": round(hours),
    }
    return outbox.emit(session, Kind.FLAPPING, payload, site_id=newest.site_id, host_id=host_id, at=now) is not None
