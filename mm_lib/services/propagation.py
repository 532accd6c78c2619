"""How far updates have reached the mirrors, for everybody: figures as `mm-crawler propagation` kept them.

Counts are of all mirrors that were asked; only public ones are ever named.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from mm_lib.model.content import Arch, Category, FileDetail, Product, Repository, Version
from mm_lib.model.hosts import HostCategory
from mm_lib.model.state import RepositoryMirrorState
from mm_lib.model.statistics import PropagationStatistic, PropagationVersion
from mm_lib.services.errors import NotFound

Row = TypeVar("Row", PropagationStatistic, PropagationVersion)
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

    def rings(self, row: PropagationVersion, now: datetime) -> bool:
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


def overview(session: Session, alarm: Alarm, now: datetime) -> list[Standing]:
    """Every repository that was measured, by product and version, that of the most mirrors first; in four queries."""
    statistic, version = PropagationStatistic, PropagationVersion
    ages = {row.repository_id: _ages(row) for row in session.scalars(_last(statistic, statistic.at))}
    newest = {row.repository_id: row for row in session.scalars(_last(version, version.timestamp))}
    means = _means(session, max((row.at for row in ages.values()), default=now))
    found = []
    for row in session.execute(_repositories()):
        repository = Measured(*row)
        if repository.id in ages:
            last = newest.get(repository.id)
            reached = _reached(last, late=alarm.rings(last, now)) if last else None
            mean = means.get(repository.id, float(ages[repository.id].mirrors))
            found.append(Standing(repository, ages[repository.id], reached, mean, main=False))
    found.sort(key=lambda one: (*_place(one), -one.mirrors_mean, one.repository.prefix, one.repository.arch))
    return [one._replace(main=not number) for _, same in groupby(found, _place) for number, one in enumerate(same)]


def _place(one: Standing) -> tuple[str, str]:
    return one.repository.product, one.repository.version


def _means(session: Session, newest: datetime) -> dict[int, float]:
    """How many mirrors each repository had on average lately. Those that were not measured then are not there."""
    table = PropagationStatistic
    number = table.same_day + table.one_day + table.two_days + table.older + table.unknown
    query = select(table.repository_id, func.avg(number)).where(table.at > newest - LATELY)
    return {id_: float(mean) for id_, mean in session.execute(query.group_by(table.repository_id))}


def _last(table: type[Row], moment: InstrumentedAttribute[Any]) -> Select[Row]:
    """The last row of each repository. Looked up one by one: there are millions of rows, and few repositories."""
    last = select(func.max(moment)).where(table.repository_id == Repository.id).correlate(Repository).scalar_subquery()
    wanted = select(Repository.id, last.label("moment")).subquery()
    return select(table).join(wanted, (wanted.c.id == table.repository_id) & (wanted.c.moment == moment))


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
    query = select(table).where(table.repository_id == repository_id, table.at >= since, table.at < until)
    return [_ages(row) for row in session.scalars(query.order_by(table.at))]


def versions(session: Session, repository_id: int, alarm: Alarm, now: datetime) -> list[Reached]:
    """The newest versions, the newest first."""
    table = PropagationVersion
    query = select(table).where(table.repository_id == repository_id)
    rows = session.scalars(query.order_by(table.timestamp.desc()).limit(VERSIONS)).all()
    return [_reached(row, late=place == 0 and alarm.rings(row, now)) for place, row in enumerate(rows)]


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


def _ages(row: PropagationStatistic) -> Ages:
    return Ages(row.at, row.same_day, row.one_day, row.two_days, row.older, row.unknown)


def _reached(row: PropagationVersion, *, late: bool) -> Reached:
    return Reached(
        published_at=row.published_at,
        measured_at=row.measured_at,
        mirrors=row.mirrors,
        mirrors_reached=row.mirrors_reached,
        requests_share=row.requests_reached,
        mirrors_seconds=_seconds(row, "mirrors", MILESTONES),
        requests_seconds=_seconds(row, "requests", MILESTONES),
        late=late,
    )


def _seconds(row: PropagationVersion, of: str, milestones: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(getattr(row, f"{of}_{percent}") for percent in milestones)
