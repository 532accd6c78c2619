"""mm-crawler propagation: which version of each repository's metadata the mirrors have right now.

Of the repositories with one prefix, a mirror is asked for the one of the most common architecture; where it does not
carry that, the next architecture that it carries speaks for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import SystemRandom
from typing import Any, NamedTuple

import click
from pyroaring import BitMap
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler import crawling, inputs, spreading
from mm_crawler.crawling import Keeper, Options
from mm_crawler.plan import Planner, usable_urls
from mm_crawler.report import CategoryTask, CrawlInput, DirectoryVerdict, HostReport, HostTask, Tier, Verdict
from mm_crawler.selection import EVERYTHING
from mm_lib.cli.common import Program, example, json_option, show, wait_option
from mm_lib.locks import held
from mm_lib.model.content import Arch, Product, Repository, Version
from mm_lib.model.state import RunKind
from mm_lib.model.statistics import PropagationStatistic, PropagationVersion
from mm_lib.services.errors import NotFound
from mm_lib.services.propagation import means

DAY = 86400
FIRST_ARCH = "x86_64"


class Age(StrEnum):
    """How old a mirror's version is, compared with the master's."""

    SAME_DAY = "same_day"
    ONE_DAY = "one_day"
    TWO_DAYS = "two_days"
    OLDER = "older"
    UNKNOWN = "unknown"  # it has no address that we can ask


COLUMNS = ("repository", "arch", *(age.value for age in Age))


class Measured(NamedTuple):
    """A repository that is measured; those of one prefix stand together, the first arch first."""

    id: int
    prefix: str
    arch: str


@click.command()
@click.option("--product", metavar="NAME", help="Only this product. Default: all.")
@click.option("--version", metavar="NAME", help="Only this version of the product. Default: all that are shown.")
@click.option("--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="Default: as in the settings.")
@wait_option
@json_option
@click.pass_obj
@example("mm-crawler propagation --product Fedora --version 44")
def propagation(
    program: Program, product: str | None, version: str | None, timeout: float | None, *, wait: float, as_json: bool
) -> None:
    """Measure how far updates of repositories have reached the mirrors, and keep the figures."""
    if version and not product:
        raise click.UsageError("--version is a version of a product: name that with --product.")
    with held(program.settings.database, "measuring of propagation", wait=wait):
        with program.reading() as session:
            groups = _groups(_repositories(session, product, version))
            found = inputs.read(session, EVERYTHING, lambda _: (Tier.METADATA,))
        measure = _Measure(program, groups, _tasks(found, groups), {"product": product, "version": version})
        summary = crawling.run(program, measure, Options(timeout=timeout))
    rows = (
        {"repository": first.prefix, "arch": first.arch, **{age.value: measure.counts[first.id][age] for age in Age}}
        for first, *_ in groups
    )
    show([row for row in rows if any(row[age.value] for age in Age)], COLUMNS, as_json)
    _warn(program, measure, {first.id: first.prefix for first, *_ in groups})
    if summary.problem:
        raise click.ClickException(summary.problem)


def _warn(program: Program, measure: _Measure, prefixes: Mapping[int, str]) -> None:
    """Tell, where cron mails it, which updates take too long, and who is furthest behind."""
    settings = program.settings.crawler
    for row in measure.late:
        hours = (row.measured_at - row.published_at).total_seconds() / 3600
        click.echo(
            f"warning: {prefixes[row.repository_id]}: after {hours:.0f} hours {row.mirrors_reached} of {row.mirrors} "
            f"mirrors have the newest metadata; {settings.propagation_alarm_percent:g} % should within "
            f"{settings.propagation_alarm_hours:g} hours (crawler.propagation_alarm_percent, _hours); furthest behind: "
            f"{', '.join(measure.slowest[row.repository_id])}",
            err=True,
        )


def _repositories(session: Session, product: str | None, version: str | None) -> list[Measured]:
    """Enabled repositories of versions that are shown. Raises NotFound for a name that is not there."""
    query = (
        select(Repository.id, Repository.prefix, Arch.name)
        .join(Arch, Arch.id == Repository.arch_id)
        .join(Version, Version.id == Repository.version_id)
        .join(Product, Product.id == Version.product_id)
        .where(Repository.enabled, Repository.prefix.is_not(None), Repository.directory_id.is_not(None))
    )
    if product:
        _refuse_unknown(session, product, version)
        query = query.where(Product.name == product)
    query = query.where(Version.name == version) if version else query.where(Version.display)
    return [Measured(id_, prefix or "", arch) for id_, prefix, arch in session.execute(query)]


def _refuse_unknown(session: Session, product: str, version: str | None) -> None:
    versions = dict(
        session.execute(select(Version.name, Version.id).join(Product).where(Product.name == product)).all()
    )
    if session.scalar(select(Product.id).where(Product.name == product)) is None:
        raise NotFound(f"There is no product {product}.")
    if version and version not in versions:
        raise NotFound(f"{product} has no version {version}. There are: {', '.join(sorted(versions)) or 'none'}.")


def _groups(repositories: Iterable[Measured]) -> list[list[Measured]]:
    groups: dict[str, list[Measured]] = defaultdict(list)
    for each in sorted(repositories, key=lambda each: (each.prefix, each.arch != FIRST_ARCH, each.arch)):
        groups[each.prefix].append(each)
    return list(groups.values())


def _tasks(found: CrawlInput, groups: Iterable[Iterable[Measured]]) -> tuple[HostTask, ...]:
    """Each mirror is asked for the metadata of all repositories that are measured, whatever is known of it."""
    measured = {each.id for group in groups for each in group}
    plans = {}
    for category in found.categories.values():
        ids = BitMap(directory for repository, directory in category.repodata.items() if repository in measured)
        plans[category.id] = Planner(category, SystemRandom(), 1).part(ids)
    tasks = (
        HostTask(
            mirror.host_id,
            mirror.name,
            mirror.site,
            tuple(
                CategoryTask(each.host_category_id, usable_urls(each.urls), plans[each.category_id], Tier.METADATA)
                for each in mirror.categories
                if plans[each.category_id].asked
            ),
        )
        for mirror in found.mirrors
    )
    return tuple(task for task in tasks if task.categories)


def age(said: DirectoryVerdict) -> Age | None:
    """How old the version is that a mirror was seen to have; None: it did not say, or does not carry the repository."""
    if said.verdict in (Verdict.MISSING, Verdict.UNREADABLE, Verdict.UNKNOWN):
        return None
    if said.file_detail_id is None or said.lag_seconds is None or said.lag_seconds > 3 * DAY:
        return Age.OLDER
    if said.lag_seconds > 2 * DAY:
        return Age.TWO_DAYS
    return Age.ONE_DAY if said.lag_seconds > DAY else Age.SAME_DAY


class _Measure(Keeper):
    """Counts what mirrors have, and keeps the figures at the end; decides nothing about any mirror."""

    kind = RunKind.PROPAGATION

    def __init__(
        self,
        program: Program,
        groups: Sequence[Sequence[Measured]],
        tasks: Sequence[HostTask],
        arguments: dict[str, Any],
    ) -> None:
        super().__init__(program, tasks, arguments)
        self.counts: dict[int, Counter[Age]] = defaultdict(Counter)  # by the first repository of each group
        self.late: list[PropagationVersion] = []  # whose newest version takes too long
        self.slowest: dict[int, list[str]] = {}  # of these, the mirrors that are furthest behind
        self._names = {task.host_id: task.name for task in tasks}
        self._has: dict[int, dict[int, int | None]] = defaultdict(dict)  # the same -> mirror -> version
        self._groups = groups

    def keep(self, report: HostReport) -> None:
        """Count what the mirror has of each group, by the first repository that it says anything about."""
        said = {id_: verdict for category in report.categories for id_, verdict in category.repositories.items()}
        offered = {
            repository: self._has_web_address(category.host_category_id)
            for category in report.categories
            for repository in self._tasks[category.host_category_id].plan.category.repodata
        }
        for group in self._groups:
            ages = (age(said[each.id]) for each in group if each.id in said)
            found = next((each for each in ages if each), None)
            asked = [offered[each.id] for each in group if each.id in offered]
            if found or (asked and not any(asked)):
                self.counts[group[0].id][found or Age.UNKNOWN] += 1
            first = said.get(group[0].id)
            if first is not None and age(first):
                self._has[group[0].id][report.host_id] = first.file_detail_id

    def _has_web_address(self, host_category_id: int) -> bool:
        return any(url.startswith(("http://", "https://")) for url in self._tasks[host_category_id].urls)

    def close(self, outcome: str, counts: dict[str, int]) -> None:
        """Keep the figures and how the run ended."""
        super().close(outcome, counts)
        now, settings = datetime.now(UTC), self._program.settings.crawler
        repodata = {
            repository: directory
            for task in self._tasks.values()
            for repository, directory in task.plan.category.repodata.items()
        }
        with self._program.transaction() as session:
            spreading.forget(
                session,
                now - timedelta(days=settings.propagation_days),
                now - timedelta(days=settings.propagation_version_days),
            )
            followed = spreading.keep(session, self._has, repodata, now)
            percent, hours = settings.propagation_alarm_percent, settings.propagation_alarm_hours
            self.late = spreading.late(followed, percent, hours, now)
            for version in self.late:
                behind = spreading.slowest(session, version, self._has[version.repository_id])
                self.slowest[version.repository_id] = [self._names[host] for host in behind]
            rows = [
                PropagationStatistic(repository_id=id_, at=now, **{age.value: of[age] for age in Age})
                for id_, of in self.counts.items()
            ]
            session.add_all(rows)
            session.flush()
            lately = means(session, self.counts.keys(), now)
            for row in rows:
                row.mirrors_mean = lately[row.repository_id]
