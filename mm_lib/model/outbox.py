"""What happened, whom it has to be told, and how far that is: events are written with the change that they tell of."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mm_lib.model.base import Base, Created, Id, Name, not_blank, parent, text_enum, web_address


class Event(Base):
    """Something that others are told. Rows outlive their site and host: the payload holds what is to be known."""

    __tablename__ = "event"
    __table_args__ = (not_blank("kind"), Index(None, "host_id", "kind", "at"))

    id: Mapped[Id]
    at: Mapped[Created] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(64), doc="what happened, e.g. host.updated; a mm_lib.services.outbox.Kind")
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id", ondelete="SET NULL"), index=True)
    host_id: Mapped[int | None] = mapped_column(ForeignKey("host.id", ondelete="SET NULL"))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    dedupe_key: Mapped[Name | None] = mapped_column(unique=True, doc="a second event with the same key is not written")
    held: Mapped[bool] = mapped_column(default=False, index=True, doc="not mailed now: waits for the host's digest")
    spread_at: Mapped[datetime | None] = mapped_column(index=True, doc="when its deliveries were made")


class Channel(StrEnum):
    """By what somebody is told."""

    MAIL = "mail"
    WEBHOOK = "webhook"
    AMQP = "amqp"


class DeliveryState(StrEnum):
    """How far a delivery is."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"  # given up: a person has to look


class Delivery(Base):
    """One event for one receiver. `attempts` also tells two deliverers apart: who raised it last has the delivery."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("event_id", "channel", "target"),
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        Index(None, "state", "next_try_at"),
    )

    id: Mapped[Id]
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id", ondelete="CASCADE"))
    channel: Mapped[Channel] = mapped_column(text_enum(Channel, "channel"))
    target: Mapped[Name] = mapped_column(doc="mail address, webhook's id, or AMQP topic")
    state: Mapped[DeliveryState] = mapped_column(text_enum(DeliveryState, "state"), default=DeliveryState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime] = mapped_column(doc="while somebody is at it: when their lease ends")
    delivered_at: Mapped[datetime | None]
    last_error: Mapped[str] = mapped_column(default="")

    event: Mapped[Event] = relationship()


class Webhook(Base):
    """An address that events are posted to, signed with its own secret. Without a site it hears of all."""

    __tablename__ = "webhook"
    __table_args__ = (web_address("url"), not_blank("url"), UniqueConstraint("site_id", "url"))

    id: Mapped[Id]
    site_id: Mapped[int | None] = parent("site", nullable=True)
    url: Mapped[str]
    secret: Mapped[str] = mapped_column(doc="whsec_ and base64, as Standard Webhooks has it; needed in clear to sign")
    kinds: Mapped[list[str]] = mapped_column(JSON, default=list, doc="what it wants to hear; empty: everything")
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[Created]
    created_by: Mapped[str] = mapped_column(default="")
