"""Who asked for what, and how fast updates reached the mirrors."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey, PrimaryKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from mm_lib.model.base import Base, Id, text_enum


class StatisticLevel(StrEnum):
    """How long the period is that a figure is about."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class AccessDimension(StrEnum):
    """By what requests are counted."""

    ALL = "all"
    COUNTRY = "countries"
    ARCH = "archs"
    REPOSITORY = "repositories"
    TIER = "tiers"
    HOST = "hosts"
    PROTOCOL = "protocols"
    FAMILY = "families"
    CLIENT = "clients"
    KIND = "kinds"
    ASN = "asns"


class AccessStatistic(Base):
    """Requests of one period with one country, arch or whatever else; shares are computed from them.

    What pages show: small countries are folded, and weeks, months and years are the sums of their days.
    """

    __tablename__ = "access_statistic"
    __table_args__ = (
        # In this order the rows of a page stand side by side in the index, which holds all that pages read: rows of one
        # month lie all over the table, and to look up thousands of them takes longer than everything else.
        PrimaryKeyConstraint(
            *("level", "dimension", "start", "name"),
            postgresql_include=["requests", "clients"],
            name="pk_access_statistic",
        ),
        CheckConstraint("requests >= 0", name="requests_not_negative"),
        CheckConstraint("clients >= 0", name="clients_not_negative"),
    )

    level: Mapped[StatisticLevel] = mapped_column(text_enum(StatisticLevel, "level"), primary_key=True)
    dimension: Mapped[AccessDimension] = mapped_column(text_enum(AccessDimension, "dimension"), primary_key=True)
    start: Mapped[date] = mapped_column(Date, primary_key=True, doc="first day of the period")
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    clients: Mapped[int] = mapped_column(BigInteger, doc="networks; of longer periods the sum over the days")


class AccessDay(Base):
    """A day that lines may still come in for. Its salt goes when it is closed; then nothing can be told from hashes."""

    __tablename__ = "access_day"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    salt: Mapped[bytes]
    touched_at: Mapped[datetime] = mapped_column(doc="when lines came in last")


class AccessTally(Base):
    """What was counted of an open day, before small countries are folded; goes when the day is closed."""

    __tablename__ = "access_tally"

    day: Mapped[date] = mapped_column(ForeignKey("access_day.day", ondelete="CASCADE"), primary_key=True)
    dimension: Mapped[AccessDimension] = mapped_column(text_enum(AccessDimension, "dimension"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    clients: Mapped[int] = mapped_column(BigInteger, doc="counted before the day was closed for the first time")
    sketch: Mapped[bytes] = mapped_column(doc="HyperLogLog of the salted hashes of clients' networks")


class AccessLogRead(Base):
    """How far a log was read. A log is known by its content, whatever it is called and however it is compressed."""

    __tablename__ = "access_log_read"

    id: Mapped[Id]
    head: Mapped[int] = mapped_column(index=True, doc="16 bits of the hash of the first line, to find candidates by")
    beginning: Mapped[str | None] = mapped_column(
        String(64), doc="SHA-256 of the first 16 kB, by which a part of this log is known; empty: it had not so many"
    )
    length: Mapped[int] = mapped_column(BigInteger, doc="bytes that were read, uncompressed")
    digest: Mapped[str] = mapped_column(String(64), doc="SHA-256 of them")
    name: Mapped[str] = mapped_column(doc="of the file at the last time, for people")
    lines: Mapped[int] = mapped_column(BigInteger)
    malformed: Mapped[int] = mapped_column(BigInteger)
    read_at: Mapped[datetime]


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
    mirrors_mean: Mapped[float | None] = mapped_column(
        doc="of all mirrors, in the week that ends with this measurement"
    )


class PropagationVersion(Base):
    """How one version of a repository's metadata reached the mirrors: seconds from when the master had it.

    A share of mirrors or of requests counts as reached when a measurement sees it: the figures are as fine as the
    time between measurements. One that was not reached before newer versions took over stays empty.
    """

    __tablename__ = "propagation_version"
    __table_args__ = (
        CheckConstraint("mirrors >= 0 AND mirrors_reached >= 0 AND mirrors_reached <= mirrors", name="counts"),
        CheckConstraint("requests_reached BETWEEN 0 AND 1", name="requests_reached_share"),
    )

    repository_id: Mapped[int] = mapped_column(ForeignKey("repository.id", ondelete="CASCADE"), primary_key=True)
    timestamp: Mapped[int] = mapped_column(BigInteger, primary_key=True, doc="of the version, Unix seconds")
    published_at: Mapped[datetime] = mapped_column(index=True, doc="when it was first seen on the master")
    measured_at: Mapped[datetime] = mapped_column(doc="the last time")
    mirrors: Mapped[int] = mapped_column(doc="that said what they have, at the last measurement")
    mirrors_reached: Mapped[int] = mapped_column(doc="of them, those with this version or a newer one")
    requests_reached: Mapped[float | None] = mapped_column(doc="the share of requests that these answer")
    mirrors_50: Mapped[int | None]
    mirrors_80: Mapped[int | None]
    mirrors_90: Mapped[int | None]
    mirrors_95: Mapped[int | None]
    requests_50: Mapped[int | None]
    requests_80: Mapped[int | None]
    requests_90: Mapped[int | None]
    requests_95: Mapped[int | None]
