"""Who asked for what, and how fast updates reached the mirrors."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from mm_lib.model.base import Base, text_enum


class AccessDimension(StrEnum):
    """By what requests are counted."""

    COUNTRY = "countries"
    ARCH = "archs"
    REPOSITORY = "repositories"


class AccessStatistic(Base):
    """Requests of one day for one country, arch or repository; shares are computed from them."""

    __tablename__ = "access_statistic"
    __table_args__ = (CheckConstraint("requests >= 0", name="requests_not_negative"),)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    dimension: Mapped[AccessDimension] = mapped_column(text_enum(AccessDimension, "dimension"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)


class PropagationStatistic(Base):
    """How many mirrors had how old a version of a repository's metadata at one moment."""

    __tablename__ = "propagation_statistic"
    __table_args__ = (
        CheckConstraint(
            "same_day >= 0 AND one_day >= 0 AND two_days >= 0 AND older >= 0 AND unknown >= 0", name="counts"
        ),
    )

    repository_id: Mapped[int] = mapped_column(ForeignKey("repository.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    same_day: Mapped[int]
    one_day: Mapped[int]
    two_days: Mapped[int]
    older: Mapped[int]
    unknown: Mapped[int]
