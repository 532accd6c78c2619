"""How each new version of a repository's metadata reaches the mirrors, and with them the requests of users.

At each measurement the share of mirrors with a version or a newer one is compared with the milestones; the time of
the first measurement that finds one reached is kept. A mirror weighs as many requests as it was handed out for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mm_crawler.plan import REPOMD
from mm_lib.model.content import FileDetail
from mm_lib.model.hosts import Host
from mm_lib.model.statistics import (
    AccessDimension,
    AccessStatistic,
    PropagationStatistic,
    PropagationVersion,
    StatisticLevel,
)
from mm_lib.services.propagation import FOLLOWED, MILESTONES, Alarm

REQUESTS_OF = timedelta(days=7)  # the requests of so many days say how much a mirror is used
NAMED = 5  # mirrors that are named when a version is late
NONE_OF_THEM = -1  # the version of a mirror whose file is none that we know


class Share(NamedTuple):
    """How much of something has a version."""

    mirrors: int
    reached: int
    requests: float | None  # None: nobody knows how many requests these mirrors get


def share(version: int, has: Mapping[int, int], weights: Mapping[int, float]) -> Share:
    """Of mirrors (by id) with these versions (timestamps), how many have one at least as new."""
    reached = [host for host, theirs in has.items() if theirs >= version]
    total = sum(weights.get(host, 0.0) for host in has)
    return Share(len(has), len(reached), sum(weights.get(host, 0.0) for host in reached) / total if total else None)


def keep(
    session: Session, found: Mapping[int, Mapping[int, int | None]], repodata: Mapping[int, int], now: datetime
) -> list[PropagationVersion]:
    """Keep how far versions have come. To be called before the measurement itself is kept.

    `found`: repository -> mirror -> the version that it has (a file detail's id; None: one that nobody knows).
    `repodata`: repository -> the directory of its metadata. Returns those that are followed.
    """
    versions = _versions(session, {repodata[repository] for repository in found})
    weights = _weights(session, now)
    followed = _followed(session, found, now)
    before = _last_measured(session, found)
    for repository, mirrors in found.items():
        known = versions.get(repodata[repository], [])
        timestamps = {each.id: each.timestamp for each in known}
        has = {host: timestamps.get(detail or 0, NONE_OF_THEM) for host, detail in mirrors.items()}
        rows = followed[repository]
        _begin(session, repository, known, rows, before.get(repository))
        for row in rows.values():
            _advance(row, share(row.timestamp, has, weights), now)
    return [row for rows in followed.values() for row in rows.values()]


def late(rows: Iterable[PropagationVersion], percent: float, hours: float, now: datetime) -> list[PropagationVersion]:
    """The newest version of each repository, where it has not reached so many mirrors in so many hours."""
    newest: dict[int, PropagationVersion] = {}
    for row in rows:
        if row.repository_id not in newest or row.timestamp > newest[row.repository_id].timestamp:
            newest[row.repository_id] = row
    alarm = Alarm(percent, hours)
    return [row for row in newest.values() if alarm.rings(row, now)]


def slowest(session: Session, row: PropagationVersion, found: Mapping[int, int | None]) -> list[int]:
    """Of mirrors with these versions a few that are furthest behind this one: first those whose file nobody knows."""
    details = {detail for detail in found.values() if detail is not None}
    known = dict(iter(session.execute(select(FileDetail.id, FileDetail.timestamp).where(FileDetail.id.in_(details)))))
    has = {host: known.get(detail or 0, NONE_OF_THEM) for host, detail in found.items()}
    behind = sorted((timestamp, host) for host, timestamp in has.items() if timestamp < row.timestamp)
    return [host for _, host in behind[:NAMED]]


def forget(session: Session, measured_before: datetime, published_before: datetime) -> None:
    """Remove old measurements, and the history of old versions."""
    session.execute(delete(PropagationStatistic).where(PropagationStatistic.at < measured_before))
    session.execute(delete(PropagationVersion).where(PropagationVersion.published_at < published_before))


class _Known(NamedTuple):
    id: int
    timestamp: int
    first_seen_at: datetime


def _versions(session: Session, directories: Iterable[int]) -> dict[int, list[_Known]]:
    found: dict[int, list[_Known]] = defaultdict(list)
    query = select(FileDetail.directory_id, FileDetail.id, FileDetail.timestamp, FileDetail.first_seen_at).where(
        FileDetail.directory_id.in_(directories), FileDetail.filename == REPOMD
    )
    for directory, id_, timestamp, first_seen_at in session.execute(query):
        found[directory].append(_Known(id_, timestamp, first_seen_at))
    return found


def _weights(session: Session, now: datetime) -> dict[int, float]:
    """What each mirror is asked for: requests that named it first, or its bandwidth where nobody counts requests."""
    query = (
        select(Host.id, func.sum(AccessStatistic.requests))
        .join(AccessStatistic, AccessStatistic.name == Host.name)
        .where(
            AccessStatistic.level == StatisticLevel.DAY,
            AccessStatistic.dimension == AccessDimension.HOST,
            AccessStatistic.start >= (now - REQUESTS_OF).date(),
        )
        .group_by(Host.id)
    )
    counted = {host: float(requests) for host, requests in session.execute(query)}
    if counted:
        return counted
    return {host: float(bandwidth or 0) for host, bandwidth in session.execute(select(Host.id, Host.bandwidth_mbps))}


def _followed(session: Session, repositories: Iterable[int], now: datetime) -> dict[int, dict[int, PropagationVersion]]:
    query = select(PropagationVersion).where(
        PropagationVersion.repository_id.in_(repositories), PropagationVersion.published_at > now - FOLLOWED
    )
    found: dict[int, dict[int, PropagationVersion]] = defaultdict(dict)
    for row in session.scalars(query):
        found[row.repository_id][row.timestamp] = row
    return found


def _last_measured(session: Session, repositories: Iterable[int]) -> dict[int, datetime]:
    query = (
        select(PropagationStatistic.repository_id, func.max(PropagationStatistic.at))
        .where(PropagationStatistic.repository_id.in_(repositories))
        .group_by(PropagationStatistic.repository_id)
    )
    return dict(iter(session.execute(query)))


def _begin(
    session: Session,
    repository: int,
    known: Sequence[_Known],
    rows: dict[int, PropagationVersion],
    last_measured: datetime | None,
) -> None:
    """Follow versions that came since the last measurement: of earlier ones nobody knows when they arrived where."""
    for version in known:
        if last_measured and version.first_seen_at > last_measured and version.timestamp not in rows:
            row = rows[version.timestamp] = PropagationVersion(
                repository_id=repository, timestamp=version.timestamp, published_at=version.first_seen_at
            )
            session.add(row)


def _advance(row: PropagationVersion, found: Share, now: datetime) -> None:
    row.measured_at, row.mirrors, row.mirrors_reached = now, found.mirrors, found.reached
    row.requests_reached = found.requests
    seconds = max(0, int((now - row.published_at).total_seconds()))
    shares = {"mirrors": found.reached / found.mirrors if found.mirrors else None, "requests": found.requests}
    for name, reached in shares.items():
        for percent in MILESTONES:
            column = f"{name}_{percent}"
            # Compared as whole numbers of millionths: 0.8 of five mirrors are four, whatever floats say.
            if reached is not None and getattr(row, column) is None and round(reached * 1e6) >= percent * 10_000:
                setattr(row, column, seconds)
