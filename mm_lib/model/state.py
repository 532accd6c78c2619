"""What mirrors do carry, how healthy they are, and the work that finds it out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from mm_lib.model.base import Base, Created, Id, Name, parent, text_enum


class StateSource(StrEnum):
    """How a host-category's state was last established."""

    CRAWL = "crawl"
    CHECK_IN = "check-in"
    IMPORT = "import"


class HostCategoryState(Base):
    """Which directories a host has up to date: one roaring bitmap of directory ids."""

    __tablename__ = "host_category_state"

    host_category_id: Mapped[int] = mapped_column(
        ForeignKey("host_category.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    up_to_date: Mapped[bytes] = mapped_column(LargeBinary, deferred=True, doc="pyroaring BitMap, portable format")
    directories_up_to_date: Mapped[int]
    directories_total: Mapped[int]
    established_at: Mapped[datetime]
    source: Mapped[StateSource] = mapped_column(text_enum(StateSource, "source"))


class HostCategoryCrawl(Base):
    """What the crawler has to know of a host-category before it asks again."""

    __tablename__ = "host_category_crawl"
    __table_args__ = (CheckConstraint("unknown_tries >= 0", name="unknown_tries_not_negative"),)

    host_category_id: Mapped[int] = mapped_column(
        ForeignKey("host_category.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    ask_again: Mapped[bytes] = mapped_column(LargeBinary, doc="BitMap: not as on the master when last asked for")
    sampled: Mapped[bytes] = mapped_column(LargeBinary, doc="BitMap: asked for since this cycle of samples began")
    unknown: Mapped[bytes] = mapped_column(LargeBinary, doc="BitMap: without an answer in all crawls since then")
    unknown_since: Mapped[datetime | None]
    unknown_tries: Mapped[int] = mapped_column(default=0)
    synced_at: Mapped[datetime | None] = mapped_column(doc="when new metadata was last seen there")
    sync_seconds: Mapped[float | None] = mapped_column(doc="how often it fetches from its master, as learned")


class CrawlTier(StrEnum):
    """How much of a mirror a crawl looks at; each tier includes those before it."""

    CANARY = "canary"  # is it there at all?
    METADATA = "metadata"  # important files by hash, of what changed on the master
    INCREMENTAL = "incremental"  # what changed on the master or was not up to date, and a sample of the rest
    FULL = "full"  # everything


class CrawlSchedule(Base):
    """When a host was last asked for a category in this tier, and when it is next."""

    __tablename__ = "crawl_schedule"

    host_category_id: Mapped[int] = mapped_column(ForeignKey("host_category.id", ondelete="CASCADE"), primary_key=True)
    tier: Mapped[CrawlTier] = mapped_column(text_enum(CrawlTier, "tier"), primary_key=True)
    asked_at: Mapped[datetime | None]
    changes_until: Mapped[datetime | None] = mapped_column(doc="changes of the master up to here were asked for")
    interval_seconds: Mapped[float] = mapped_column(doc="as it is now; it adapts to the mirror")
    next_due_at: Mapped[datetime] = mapped_column(index=True)


class Health(StrEnum):
    """Whether a host's copy of a category may be served."""

    ACTIVE = "active"
    SUSPECT = "suspect"
    QUARANTINED = "quarantined"
    PROBATION = "probation"


class HostCategoryHealth(Base):
    """How asking a host for a category went lately; counted per category, so that one cannot hide another."""

    __tablename__ = "host_category_health"
    __table_args__ = (
        CheckConstraint("failures >= 0", name="failures_not_negative"),
        CheckConstraint("successes >= 0", name="successes_not_negative"),
    )

    host_category_id: Mapped[int] = mapped_column(
        ForeignKey("host_category.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    health: Mapped[Health] = mapped_column(text_enum(Health, "health"), default=Health.ACTIVE)
    reason: Mapped[str] = mapped_column(default="")
    since: Mapped[Created]
    failures: Mapped[int] = mapped_column(default=0, doc="incremental and full crawls in a row that failed")
    failing_since: Mapped[datetime | None]
    successes: Mapped[int] = mapped_column(default=0, doc="good crawls in a row since it is on probation")
    last_ok_at: Mapped[datetime | None]
    last_tried_at: Mapped[datetime | None]


class HealthChange(Base):
    """The history of a host-category's health."""

    __tablename__ = "health_change"
    __table_args__ = (Index(None, "host_category_id", "at"),)

    id: Mapped[Id]
    host_category_id: Mapped[int] = mapped_column(ForeignKey("host_category.id", ondelete="CASCADE"))
    at: Mapped[Created] = mapped_column(index=True)
    health: Mapped[Health] = mapped_column(text_enum(Health, "health"))
    reason: Mapped[str] = mapped_column(default="")


class RepositoryMirrorState(Base):
    """Which version of a repository's metadata a host had when it was last asked."""

    __tablename__ = "repository_mirror_state"
    # Every crawl updates when each row was checked: with room in its page PostgreSQL touches no index (a HOT update).
    __table_args__ = {"postgresql_with": {"fillfactor": 50}}

    host_category_id: Mapped[int] = mapped_column(ForeignKey("host_category.id", ondelete="CASCADE"), primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repository.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    file_detail_id: Mapped[int | None] = mapped_column(ForeignKey("file_detail.id", ondelete="SET NULL"), index=True)
    verdict: Mapped[str]
    lag_seconds: Mapped[int | None] = mapped_column(BigInteger)
    checked_at: Mapped[datetime]


class RunKind(StrEnum):
    """What a run did."""

    MASTER = "master"
    MIRRORS = "mirrors"
    PROPAGATION = "propagation"


class CrawlRun(Base):
    """One run of the scanner or the crawler."""

    __tablename__ = "crawl_run"

    id: Mapped[Id]
    kind: Mapped[RunKind] = mapped_column(text_enum(RunKind, "kind"))
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    started_at: Mapped[datetime] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(default="")
    counts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class CrawlResult(Base):
    """What one run found for one host and category."""

    __tablename__ = "crawl_result"
    __table_args__ = (Index(None, "host_category_id", "started_at"),)

    id: Mapped[Id]
    run_id: Mapped[int] = parent("crawl_run")
    host_category_id: Mapped[int] = mapped_column(ForeignKey("host_category.id", ondelete="CASCADE"))
    tier: Mapped[CrawlTier] = mapped_column(text_enum(CrawlTier, "tier"), default=CrawlTier.FULL)
    started_at: Mapped[datetime]
    seconds: Mapped[float]
    requests: Mapped[int] = mapped_column(default=0)
    log: Mapped[str] = mapped_column(default="", doc="name among the host's logs; empty: none was written")
    outcome: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    counts: Mapped[dict[str, int]] = mapped_column(JSON, default=dict, doc="directories per verdict")
    evidence: Mapped[list[Any]] = mapped_column(
        JSON, default=list, deferred=True, doc="a bounded number of verdicts with URL, expected, found"
    )


class JobState(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Job(Base):
    """Work that somebody asked for and a worker does later."""

    __tablename__ = "job"
    __table_args__ = (Index(None, "state", "created_at"),)

    id: Mapped[Id]
    kind: Mapped[Name]
    host_category_id: Mapped[int | None] = mapped_column(
        ForeignKey("host_category.id", ondelete="CASCADE"), index=True, doc="what is to be crawled"
    )
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[JobState] = mapped_column(text_enum(JobState, "state"), default=JobState.WAITING)
    requested_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None] = mapped_column(doc="until then somebody sees to it; then anybody may")
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
