"""What a monitoring system wants to know of the registry: counts and times, in a handful of queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.content import Arch, Repository
from mm_lib.model.hosts import Host
from mm_lib.model.outbox import Delivery
from mm_lib.model.sites import Site
from mm_lib.model.state import CrawlRun, HostCategoryHealth, Job
from mm_lib.model.statistics import AccessDimension, AccessLogRead, AccessStatistic, PropagationVersion, StatisticLevel
from mm_lib.services.propagation import FOLLOWED
from mm_lib.services.scans import last_scans


class Measure(NamedTuple):
    """One kind of figure, with a value for each combination of labels."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    values: Sequence[tuple[tuple[str, ...], float]]


def measures(session: Session, now: datetime) -> Iterator[Measure]:
    """All of them. Times are Unix seconds."""
    for name, meaning, column in _COUNTED:
        counted = session.execute(select(column, func.count()).group_by(column).order_by(column))
        yield Measure(name, meaning, ("state",), [((str(state),), float(number)) for state, number in counted])
    scans = [((category,), at.timestamp()) for category, at in sorted(last_scans(session).items())]
    yield Measure(
        "master_scanned_timestamp_seconds", "When a category's master was last scanned.", ("category",), scans
    )
    yield from _runs(session)
    yield from _spreading(session, now)
    yield from _counting(session)


_COUNTED = (
    ("sites", "Sites by state.", Site.state),
    ("hosts", "Hosts by state.", Host.state),
    ("host_categories", "Categories on hosts by health.", HostCategoryHealth.health),
    ("outbox_deliveries", "Notifications by how far they are; dead ones need a person.", Delivery.state),
    ("checks", "Checks that people asked for, by state.", Job.state),
)


def _runs(session: Session) -> Iterator[Measure]:
    """The last run of each kind that has ended."""
    last = select(func.max(CrawlRun.id)).where(CrawlRun.finished_at.is_not(None)).group_by(CrawlRun.kind)
    query = select(CrawlRun.kind, CrawlRun.outcome, CrawlRun.finished_at).where(CrawlRun.id.in_(last))
    rows = sorted(session.execute(query.order_by(CrawlRun.kind)).all())
    ended = [((kind.value, outcome), _seconds(at)) for kind, outcome, at in rows]
    meaning = "When the last run of a kind ended, and how."
    yield Measure("run_finished_timestamp_seconds", meaning, ("kind", "outcome"), ended)


def _seconds(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0


def _spreading(session: Session, now: datetime) -> Iterator[Measure]:
    """Of each repository the newest version that is still followed: the history is long, and this is asked often."""
    newest = (
        select(PropagationVersion.repository_id, func.max(PropagationVersion.timestamp).label("timestamp"))
        .where(PropagationVersion.published_at > now - FOLLOWED)
        .group_by(PropagationVersion.repository_id)
        .subquery()
    )
    version = PropagationVersion
    query = (
        select(Repository.prefix, Arch.name, version.published_at, version.mirrors, version.mirrors_reached)
        .join(newest, (newest.c.repository_id == version.repository_id) & (newest.c.timestamp == version.timestamp))
        .join(Repository, Repository.id == version.repository_id)
        .join(Arch, Arch.id == Repository.arch_id)
        .where(version.mirrors > 0)
        .order_by(Repository.prefix, Arch.name)
    )
    rows = session.execute(query).all()
    names = [(str(row.prefix), row.name) for row in rows]
    shares = [row.mirrors_reached / row.mirrors for row in rows]
    times = [row.published_at.timestamp() for row in rows]
    labels = ("repository", "arch")
    meaning = "Share of mirrors that have the newest metadata or newer."
    yield Measure("propagation_mirrors_ratio", meaning, labels, list(zip(names, shares, strict=True)))
    meaning = "When the newest metadata was first seen on the master."
    yield Measure("propagation_published_timestamp_seconds", meaning, labels, list(zip(names, times, strict=True)))


def _counting(session: Session) -> Iterator[Measure]:
    """Whether access logs are still counted, and are of a form that can be."""
    log = AccessLogRead
    query = select(func.max(log.read_at), func.sum(log.lines), func.sum(log.malformed))
    read_at, lines, malformed = session.execute(query).one()
    meaning = "When an access log was last read by `mm-admin statistics ingest`."
    yield Measure("access_logs_read_timestamp_seconds", meaning, (), [((), _seconds(read_at))] if read_at else [])
    figure = AccessStatistic
    days = (figure.level == StatisticLevel.DAY, figure.dimension == AccessDimension.ALL)
    last = session.scalar(select(func.max(figure.start)).where(*days))
    values = [((), datetime.combine(last, time(), UTC).timestamp())] if last else []
    # Logs that lie there are read again and again, though the redirectors' new ones do not arrive.
    meaning = "When the last day began that requests were counted of."
    yield Measure("access_last_day_timestamp_seconds", meaning, (), values)
    by_state = (("good", (lines or 0) - (malformed or 0)), ("malformed", malformed or 0))
    counted = [((state,), float(number)) for state, number in by_state]
    yield Measure("access_log_lines", "Lines of the access logs that are remembered.", ("state",), counted)
