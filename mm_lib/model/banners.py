"""Messages at the top of every page, such as an outage that was announced."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mm_lib.model.base import Base, Created, Id, not_blank, text_enum


class Level(StrEnum):
    """How much it matters."""

    NOTICE = "notice"
    WARNING = "warning"
    OUTAGE = "outage"


class Audience(StrEnum):
    """Who sees a message."""

    ALL = "all"
    SIGNED_IN = "signed-in"
    OPERATORS = "operators"  # who are members of a site
    ADMINISTRATORS = "administrators"


class Banner(Base):
    """A message, and from when until when who sees it."""

    __tablename__ = "banner"
    __table_args__ = (
        not_blank("text"),
        CheckConstraint("ends_at IS NULL OR ends_at > starts_at", name="ends_after_start"),
    )

    id: Mapped[Id]
    text: Mapped[str]
    level: Mapped[Level] = mapped_column(text_enum(Level, "level"), default=Level.NOTICE)
    audience: Mapped[Audience] = mapped_column(text_enum(Audience, "audience"), default=Audience.ALL)
    starts_at: Mapped[Created]
    ends_at: Mapped[datetime | None] = mapped_column(doc="none: until it is removed")
    created_at: Mapped[Created]
    created_by: Mapped[str] = mapped_column(default="")
