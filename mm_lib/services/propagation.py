"""How far updates have reached the mirrors, for everybody: figures as `mm-crawler propagation` kept them.

Counts are of all mirrors that were asked; only public ones are ever named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select, true
from sqlalchemy.orm import Session

from mm_lib.model.content import Arch, Category, FileDetail, Product, Repository, Version
from mm_lib.model.hosts import HostCategory
from mm_lib.model.state import RepositoryMirrorState
from mm_lib.model.statistics import PropagationStatistic, PropagationVersion
from mm_lib.rules.versions import rank
from mm_lib.services.errors import NotFound

FOLLOWED = timedelta(days=14)  # what has not arrived by then does not arrive
MILESTONES = (50, 80, 90, 95)  # per cent
AGES = ("same_day", "one_day", "two_days", "older", "unknown")
VERSIONS = 30  # of the newest ones
LATELY = timedelta(days=7)
_THERE = ("ok", "alternate", "stale")  # verdicts of mirrors that have the repository at all


class Measured(NamedTuple):
    """A repository that is measured."""

    id: int
    prefix: str | None
    arch: str
    product: str
    version: str


class Ages(NamedTuple):
    """How many mirrors had how old a version at one moment."""

    at: datetime
    same_day: int
    one_day: int
    two_days: int
    older: int
    unknown: int

    @property
    def mirrors(self) -> int:
        """All of them."""
        return sum(self[1:])


class Reached(NamedTuple):
    """How one version reached the mirrors: seconds until so many per cent had it; None: not seen to."""

    published_at: datetime
    measured_at: datetime
    mirrors: int
    mirrors_reached: int
    requests_share: float | None
    mirrors_seconds: tuple[int | None, ...]  # in the order of MILESTONES
    requests_seconds: tuple[int | None, ...]
    late: bool


@dataclass(frozen=True)
class Alarm:
    """The share of mirrors that should have a new version in time; 0 per cent: nothing is ever late."""

    percent: float
    hours: float

    def rings(self, row: PropagationVersion | Reached, now: datetime) -> bool:
        """Whether this version, the newest of its repository, is late; of one that nobody follows it is not known."""
        overdue = now - FOLLOWED < row.published_at < now - timedelta(hours=self.hours)
        return bool(overdue and row.mirrors and row.mirrors_reached * 100 < self.percent * row.mirrors)


class Standing(NamedTuple):
    """A repository with its last measurement and the newest version that was followed."""

    repository: Measured
    ages: Ages
    newest: Reached | None
    mirrors_mean: float  # that had it, over the measurements of the last days
    main: bool  # most mirrors have it, of all repositories of the version


class Behind(NamedTuple):
    """What a mirror had when it was last asked; lag None: a version that is none of those that we know."""

    host_id: int
    current: bool
    lag_seconds: int | None
    checked_at: datetime


_PUBLIC = (Category.public, ~Category.admin_only, Product.public)


def _repositories() -> Select[int, str | None, str, str, str]:
    return (
        select(Repository.id, Repository.prefix, Arch.name, Product.name, Version.name)
        .join(Arch, Arch.id == Repository.arch_id)
        .join(Version, Version.id == Repository.version_id)
        .join(Product, Product.id == Version.product_id)
        .join(Category, Category.id == Repository.category_id)
        .where(Repository.prefix.is_not(None), *_PUBLIC)
    )


def overview(session: Session, alarm: Alarm, now: datetime, product: str = "") -> list[Standing]:
    """Every repository that was measured, by product and version, that of the most mirrors first; or of one product."""
    ages = _last_ages(session)
    wanted, newest_versions = _repositories(), _last_versions(session)
    if product:
        wanted = wanted.where(Product.name == product)
        newest_versions = newest_versions.where(Repository.id.in_(wanted.with_only_columns(Repository.id)))
    reached = {row[0]: _reached(row[1:]) for row in session.execute(newest_versions)}
    found = []
    for row in session.execute(wanted):
        repository = Measured(*row)
        if repository.id in ages:
            last, mean = ages[repository.id]
            newest = reached.get(repository.id)
            if newest and alarm.rings(newest, now):
                newest = newest._replace(late=True)
            found.append(Standing(repository, last, newest, mean, main=False))
    found.sort(key=_order)
    return [one._replace(main=not number) for _, same in groupby(found, _place) for number, one in enumerate(same)]


def _order(one: Standing) -> Any:
    of = one.repository
    return of.product, rank(of.version), -one.mirrors_mean, of.prefix, of.arch


def _place(one: Standing) -> tuple[str, str]:
    return one.repository.product, one.repository.version


def _last_ages(session: Session) -> dict[int, tuple[Ages, Any]]:
    """The last measurement of each repository, and how many mirrors had it lately, on average."""
    table = PropagationStatistic
    columns = (table.repository_id, table.mirrors_mean, *_AGES)
    # The last run measured most of them: its rows stand side by side. The others are looked up one by one.
    newest = table.at == select(func.max(table.at)).scalar_subquery()
    measured = select(table.repository_id).where(newest)
    rows = list(session.execute(select(*columns).where(newest)))
    last = (
        select(func.max(table.at)).where(table.repository_id == Repository.id).correlate(Repository).scalar_subquery()
    )
    others = select(Repository.id, last.label("at")).where(Repository.id.not_in(measured)).subquery()
    rows += session.execute(
        select(*columns).join(others, (others.c.id == table.repository_id) & (others.c.at == table.at))
    ).all()
    found = {id_: (Ages(*ages), mean) for id_, mean, *ages in rows}
    unknown: dict[datetime, list[int]] = defaultdict(list)
    for id_, (ages, mean) in found.items():
        if mean is None:
            unknown[ages.at].append(id_)
    for at, ids in unknown.items():
        found |= {id_: (found[id_][0], mean) for id_, mean in means(session, ids, at).items()}
    return found


def means(session: Session, repositories: Collection[int], newest: datetime) -> dict[int, float]:
    """How many mirrors these had on average, in the last days before a measurement of them, and at that."""
    table = PropagationStatistic
    number = table.same_day + table.one_day + table.two_days + table.older + table.unknown
    query = select(table.repository_id, func.avg(number)).where(
        table.repository_id.in_(repositories), table.at > newest - LATELY, table.at <= newest
    )
    return {id_: float(mean) for id_, mean in session.execute(query.group_by(table.repository_id))}


def _last_versions(session: Session) -> Select[Any]:
    """The newest version of each repository."""
    table = PropagationVersion
    if session.get_bind().dialect.name == "postgresql":
        # Looked up one by one: it would read millions of rows to find few.
        of_each = select(*_REACHED).where(table.repository_id == Repository.id).order_by(table.timestamp.desc())
        last = of_each.limit(1).lateral()
        return select(Repository.id, *last.c).join(last, true())
    newest = select(func.max(table.timestamp)).where(table.repository_id == Repository.id).correlate(Repository)
    same = (table.repository_id == Repository.id) & (table.timestamp == newest.scalar_subquery())
    return select(Repository.id, *_REACHED).join(table, same)


def repository(session: Session, id_: int) -> Measured:
    """A repository that the public may know. Raises NotFound."""
    row = session.execute(_repositories().where(Repository.id == id_)).one_or_none()
    if row is None:
        raise NotFound("Repository not found.")
    return Measured(*row)


def last_measured(session: Session, repository_id: int) -> datetime | None:
    """When it was measured last; None: never."""
    table = PropagationStatistic
    return session.scalar(select(func.max(table.at)).where(table.repository_id == repository_id))


def history(session: Session, repository_id: int, since: datetime, until: datetime) -> list[Ages]:
    """The measurements from one moment until before another, the oldest first."""
    table = PropagationStatistic
    query = select(*_AGES).where(table.repository_id == repository_id, table.at >= since, table.at < until)
    return [Ages(*row) for row in session.execute(query.order_by(table.at))]


def versions(session: Session, repository_id: int, alarm: Alarm, now: datetime) -> list[Reached]:
    """The newest versions, the newest first."""
    table = PropagationVersion
    query = select(*_REACHED).where(table.repository_id == repository_id)
    rows = session.execute(query.order_by(table.timestamp.desc()).limit(VERSIONS))
    found = [_reached(row) for row in rows]
    return [found[0]._replace(late=alarm.rings(found[0], now)), *found[1:]] if found else []


def slowest(session: Session, repository_id: int, named: Collection[int]) -> list[Behind]:
    """Of the hosts that may be named, those that have the repository: the furthest behind first."""
    table = RepositoryMirrorState
    query = (
        select(HostCategory.host_id, table.verdict, table.lag_seconds, table.checked_at, FileDetail.id)
        .join(HostCategory, HostCategory.id == table.host_category_id)
        .outerjoin(FileDetail, FileDetail.id == table.file_detail_id)
        .where(table.repository_id == repository_id, table.verdict.in_(_THERE))
    )
    found = [
        Behind(host, verdict == "ok", _lag(verdict, lag, known), checked)
        for host, verdict, lag, checked, known in session.execute(query)
        if host in named
    ]
    found.sort(key=attrgetter("host_id"))
    found.sort(key=lambda one: (one.lag_seconds is not None, -(one.lag_seconds or 0), one.current))
    return found


def _lag(verdict: str, lag: int | None, known: int | None) -> int | None:
    if verdict == "ok":
        return 0
    return lag if known is not None else None


_AGES = tuple(getattr(PropagationStatistic, name) for name in Ages._fields)
_REACHED_AT = tuple(f"{of}_{percent}" for of in ("mirrors", "requests") for percent in MILESTONES)
_REACHED = tuple(
    getattr(PropagationVersion, name)
    for name in ("published_at", "measured_at", "mirrors", "mirrors_reached", "requests_reached", *_REACHED_AT)
)


def _reached(row: Sequence[Any]) -> Reached:
    published_at, measured_at, mirrors, reached, requests, *seconds = row
    of_mirrors, of_requests = tuple(seconds[: len(MILESTONES)]), tuple(seconds[len(MILESTONES) :])
    return Reached(published_at, measured_at, mirrors, reached, requests, of_mirrors, of_requests, late=False)
