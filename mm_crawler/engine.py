"""Runs host tasks on asyncio, with limits per host and in all, and yields their reports as they end.

A task always ends in a report: what goes wrong with a host is part of what was found. All deadlines are kept by the
tasks themselves, so one host that hangs costs nothing but its own time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from time import monotonic, time
from typing import NamedTuple

from mm_crawler.asking import Asking, Rules
from mm_crawler.compare import Base, Clock
from mm_crawler.fetch.base import Fetcher
from mm_crawler.findings import Findings
from mm_crawler.listing import Index
from mm_crawler.notes import NO_NOTES, Notes
from mm_crawler.report import CategoryPlan, CategoryReport, CategoryTask, HostReport, HostTask, Outcome

logger = logging.getLogger(__name__)


class Limits(NamedTuple):
    """How hard mirrors are asked, and for how long."""

    hosts: int
    connections: int
    connections_per_host: int
    host_timeout: float
    total_timeout: float
    max_metadata_bytes: int
    max_stale_seconds: int

    @property
    def hosts_at_once(self) -> int:
        """So many that the connections in all suffice for each to use its own: no host ever waits for another's."""
        return max(1, min(self.hosts, self.connections // self.connections_per_host))


Guard = Callable[[HostTask], AbstractAsyncContextManager[str]]  # says why a host cannot be asked now; empty: it can


@asynccontextmanager
async def unguarded(_task: HostTask) -> AsyncIterator[str]:
    """Nobody else asks these hosts."""
    yield ""


MakeNotes = Callable[[HostTask], Notes]


def no_notes(_task: HostTask) -> Notes:
    """Nobody wants to follow."""
    return NO_NOTES


class Indexes:
    """The directories of each plan by their paths: made when a listing is first judged, and then for all mirrors."""

    def __init__(self) -> None:
        self._made: dict[int, Index] = {}  # by the plan's identity; the tasks keep it alive

    def of(self, plan: CategoryPlan) -> Index:
        """The index for this plan."""
        if id(plan) not in self._made:
            self._made[id(plan)] = Index(plan.asked, plan.category.topdir)
        return self._made[id(plan)]


class Run(NamedTuple):
    """What the crawl of a host has to know of the run that it is part of."""

    ends: float
    notes: Notes
    indexes: Indexes


async def crawl(
    tasks: Sequence[HostTask],
    make_fetcher: Callable[[], Fetcher],
    limits: Limits,
    guard: Guard = unguarded,
    make_notes: MakeNotes = no_notes,
) -> AsyncGenerator[HostReport]:
    """Run the tasks; a report for each, in the order in which they end."""
    run_ends = monotonic() + limits.total_timeout
    slots = asyncio.Semaphore(limits.hosts_at_once)  # first come, first served: hosts start in the order of the tasks
    indexes = Indexes()

    ready: asyncio.Queue[HostReport | Exception] = asyncio.Queue(1)

    async def run(task: HostTask) -> None:
        try:
            async with slots, guard(task) as busy:
                if busy:
                    report = not_asked(task, busy)
                else:
                    report = await crawl_host(task, make_fetcher(), limits, Run(run_ends, make_notes(task), indexes))
                await ready.put(report)  # its place is kept until then: where storing is slow, reports do not pile up
        except Exception as error:  # noqa: BLE001  it is raised where the reports are read
            await ready.put(error)

    running = {asyncio.create_task(run(task)) for task in tasks}
    for one in running:
        one.add_done_callback(running.discard)
    try:
        for _ in tasks:
            report = await ready.get()
            if isinstance(report, Exception):
                raise report
            yield report
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def not_asked(task: HostTask, reason: str) -> HostReport:
    """The report on a host that was left alone."""
    now = datetime.now(UTC)
    categories = tuple(
        CategoryReport(each.host_category_id, Outcome.NOT_ASKED, reason, now, total=each.plan.total)
        for each in task.categories
    )
    return HostReport(task.host_id, task.name, task.site, now, 0.0, categories)


async def crawl_host(task: HostTask, fetcher: Fetcher, limits: Limits, run: Run) -> HostReport:
    """Ask one mirror for its categories, one after the other."""
    started, start = datetime.now(UTC), monotonic()
    host_ends = start + limits.host_timeout
    quiet: dict[str, str] = {}
    categories = tuple(
        [await _Category(each, fetcher, limits, run, quiet).crawl(host_ends, run.ends) for each in task.categories]
    )
    return HostReport(task.host_id, task.name, task.site, started, monotonic() - start, categories)


class _Category:
    """Asks one mirror for one category, until done or out of time."""

    def __init__(self, task: CategoryTask, fetcher: Fetcher, limits: Limits, run: Run, quiet: dict[str, str]) -> None:
        self._task = task
        self._fetcher = fetcher
        own = task.plan.category.max_stale_days
        clock = Clock(int(time()), limits.max_stale_seconds if own is None else int(own * 86400))
        rules = Rules(limits.connections_per_host, limits.max_metadata_bytes, clock)
        self._findings = Findings(task, run.notes)
        self._asking = Asking(task, fetcher, self._findings, rules, partial(run.indexes.of, task.plan), quiet=quiet)

    async def crawl(self, host_ends: float, run_ends: float) -> CategoryReport:
        """Ask until done or out of time."""
        started, start, sent = datetime.now(UTC), monotonic(), self._fetcher.requests
        outcome = await self._run_until(host_ends, run_ends)
        found = self._findings
        return CategoryReport(
            self._task.host_category_id,
            outcome,
            found.stopped,
            started,
            monotonic() - start,
            self._fetcher.requests - sent,
            self._asking.base_url,
            self._task.plan.total,
            found.verdicts() if outcome is Outcome.ASKED else {},
            tuple(found.evidence),
            found.repositories(),
            tuple(self._asking.addresses.values()),
        )

    async def _run_until(self, host_ends: float, run_ends: float) -> Outcome:
        left = min(host_ends, run_ends) - monotonic()
        if not self._task.urls or left <= 0:
            no_url = "it has no URL for this category whose protocol we speak"
            self._findings.stop("no time was left to ask" if self._task.urls else no_url)
            return Outcome.NOT_ASKED
        try:
            async with asyncio.timeout(left):
                return await self._run()
        except TimeoutError:
            return self._out_of_time(own_fault=host_ends < run_ends)
        except Exception as error:  # a mistake of ours with one mirror must not end the crawl of all
            logger.exception("crawling %s failed", self._task.urls[0])
            self._findings.stop(f"the crawler failed: {error!r}")
            return Outcome.ERROR

    def _out_of_time(self, *, own_fault: bool) -> Outcome:
        """What was judged counts. A mirror that was too slow to be judged is to blame, unless the whole run ended."""
        judged = len(self._findings.judged)
        self._findings.stop(f"time ran out after {judged} of {len(self._task.plan.asked)} directories")
        if judged:
            return Outcome.ASKED
        return Outcome.UNANSWERED if own_fault else Outcome.NOT_ASKED

    async def _run(self) -> Outcome:
        base = await self._asking.find_base()
        if base is not Base.REACHED:
            return Outcome.UNANSWERED if base is Base.REFUSED else Outcome.UNREACHABLE
        if not self._task.plan.asked:
            return Outcome.ASKED
        await self._asking.run()
        if self._findings.judged:
            return Outcome.ASKED
        self._findings.stop("none of its answers said anything about a directory")
        return Outcome.UNANSWERED
