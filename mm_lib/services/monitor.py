"""What runs, waits and failed: checks on request, jobs, crawls and scans, the published cache; for those who watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.cache import file
from mm_lib.model.state import CrawlRun, Job, JobState, RunKind
from mm_lib.services import crawl_queue, jobs, outbox, queue
from mm_lib.services.jobs import Check
from mm_lib.settings import CrawlerSettings

LONG_WAIT = timedelta(hours=1)
MAX_LISTED = 100


class Mark(StrEnum):
    """Whether somebody should look."""

    FINE = ""
    LONG = "takes long"
    STUCK = "stuck"


@dataclass(frozen=True)
class Run:
    """A run of the scanner or the crawler."""

    run: CrawlRun
    mark: Mark
    seconds: float


@dataclass(frozen=True)
class CacheFile:
    """A published file: what redirectors answer from, or the one before."""

    path: Path
    published_at: datetime
    size: int


def list_runs(session: Session, kind: RunKind | None, settings: CrawlerSettings, now: datetime) -> list[Run]:
    """The latest first. A run that has not ended although its time is over was killed."""
    query = select(CrawlRun).order_by(CrawlRun.started_at.desc(), CrawlRun.id.desc()).limit(MAX_LISTED)
    if kind is not None:
        query = query.where(CrawlRun.kind == kind)
    return [_run(row, settings, now) for row in session.scalars(query)]


def _run(row: CrawlRun, settings: CrawlerSettings, now: datetime) -> Run:
    seconds = ((row.finished_at or now) - row.started_at).total_seconds()
    mark = Mark.FINE
    if row.finished_at is None and seconds > settings.total_timeout / 2:
        mark = Mark.STUCK if seconds > settings.total_timeout * 1.1 else Mark.LONG
    return Run(row, mark, seconds)


# -- checks on request, on every database


def list_checks(session: Session, now: datetime) -> list[tuple[Check, Mark]]:
    """The latest first; one whose lease ran out has lost its crawler."""
    found = jobs.list_checks(session, limit=MAX_LISTED)
    query = select(Job.id, Job.lease_until).where(Job.id.in_([check.id for check in found]))
    leases: dict[int, datetime | None] = dict(session.execute(query).all())
    return [(check, _mark_of_check(check, leases.get(check.id), now)) for check in found]


def _mark_of_check(check: Check, lease: datetime | None, now: datetime) -> Mark:
    if check.state is JobState.RUNNING and (lease is None or lease <= now):
        return Mark.STUCK
    waits = check.state is JobState.WAITING and now - check.requested_at > LONG_WAIT
    return Mark.LONG if waits else Mark.FINE


# -- the queue that several machines share


def why_no_queue(session: Session) -> str:
    """Why there are no jobs to show; empty when there are."""
    engine = session.connection().engine
    if not queue.supported(engine):
        return (
            "This installation works on SQLite, where one machine crawls and needs no queue: "
            "mm-crawler mirrors does the work itself. The queue needs PostgreSQL."
        )
    return queue.problem(session.connection())


def list_jobs(
    session: Session, states: Sequence[str], settings: CrawlerSettings, now: datetime
) -> list[tuple[Mapping[str, Any], Mark]]:
    """Running ones first, then as they will start."""
    found = crawl_queue.list_jobs(session, states, MAX_LISTED)
    return [(job, _mark_of_job(job, settings, now)) for job in found]


def _mark_of_job(job: Mapping[str, Any], settings: CrawlerSettings, now: datetime) -> Mark:
    if job["state"] == "running":
        beat = job["heartbeat"]
        if beat is None or (now - beat).total_seconds() > settings.worker_stalled:
            return Mark.STUCK
        return Mark.LONG if (job["seconds"] or 0) > settings.host_timeout else Mark.FINE
    due = max(filter(None, (job["queued_at"], job["not_before"])), default=None)
    waits = job["state"] == "waiting" and due is not None and now - due > LONG_WAIT
    return Mark.LONG if waits else Mark.FINE


# -- all at a glance


def caches(path: Path) -> list[CacheFile]:
    """The published file and the one before, as far as this machine has them."""
    found = []
    for each in (path, file.previous(path)):
        try:
            stat = each.stat()
        except OSError:
            continue
        found.append(CacheFile(each, datetime.fromtimestamp(stat.st_mtime, UTC), stat.st_size))
    return found


@dataclass(frozen=True)
class Summary:
    """How many of everything there are; what needs somebody has a number that is not 0."""

    checks: Mapping[str, int]
    jobs: Mapping[str, int] | None  # None: there is no queue
    messages: Mapping[str, int]
    last_runs: Sequence[Run]  # of each kind


def summary(session: Session, settings: CrawlerSettings, now: datetime) -> Summary:
    """By a few counts."""
    checks = {state.value: 0 for state in JobState}
    counted = select(Job.state, func.count()).where(Job.kind == jobs.KIND).group_by(Job.state)
    checks |= {state.value: number for state, number in session.execute(counted)}
    latest = select(func.max(CrawlRun.id)).group_by(CrawlRun.kind)
    runs = session.scalars(select(CrawlRun).where(CrawlRun.id.in_(latest)).order_by(CrawlRun.kind)).all()
    in_queue = None if why_no_queue(session) else crawl_queue.count_jobs(session)
    return Summary(checks, in_queue, outbox.count_deliveries(session), [_run(row, settings, now) for row in runs])
