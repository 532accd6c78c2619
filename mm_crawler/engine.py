"""Runs host tasks on asyncio, with limits per host and in all, and yields their reports as they end.

A task always ends in a report: what goes wrong with a host is part of what was found. All deadlines are kept by the
tasks themselves, so one host that hangs costs nothing but its own time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from time import monotonic, time
from typing import NamedTuple

from pyroaring import BitMap

from mm_crawler import compare, plan
from mm_crawler.compare import Base, Clock
from mm_crawler.fetch.base import Answer, Fetcher, FetchError
from mm_crawler.report import (
    CategoryReport,
    CategoryTask,
    DirectoryVerdict,
    Evidence,
    FileVerdict,
    HostReport,
    HostTask,
    How,
    MasterDirectory,
    Outcome,
    Question,
    Verdict,
)

GIVE_UP_AFTER = 10  # directories in a row that could not be judged, after which a mirror is left alone
EXAMPLES = 7  # kept of each kind of evidence; there are seven kinds, so a report has fewer than 50

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


async def crawl(
    tasks: Sequence[HostTask], make_fetcher: Callable[[], Fetcher], limits: Limits, guard: Guard = unguarded
) -> AsyncGenerator[HostReport]:
    """Run the tasks; a report for each, in the order in which they end."""
    run_ends = monotonic() + limits.total_timeout
    slots = asyncio.Semaphore(limits.hosts_at_once)  # first come, first served: hosts start in the order of the tasks

    async def run(task: HostTask) -> HostReport:
        async with slots, guard(task) as busy:
            if busy:
                return not_asked(task, busy)
            return await crawl_host(task, make_fetcher(), limits, run_ends)

    running = [asyncio.create_task(run(task)) for task in tasks]
    try:
        for finished in asyncio.as_completed(running):
            yield await finished
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


async def crawl_host(task: HostTask, fetcher: Fetcher, limits: Limits, run_ends: float) -> HostReport:
    """Ask one mirror for its categories, one after the other."""
    started, start = datetime.now(UTC), monotonic()
    host_ends = start + limits.host_timeout
    categories = tuple([await _Category(each, fetcher, limits).crawl(host_ends, run_ends) for each in task.categories])
    return HostReport(task.host_id, task.name, task.site, started, monotonic() - start, categories)


class _Findings:
    """Collects what a mirror says about a category."""

    def __init__(self, task: CategoryTask) -> None:
        self.stopped = ""  # why not every directory was asked
        self.evidence: list[tuple[str, Evidence]] = []
        self._plan = task.plan
        self._verdicts = {verdict: BitMap() for verdict in Verdict}
        self._repodata = frozenset(task.plan.category.repodata.values())
        self._matched: dict[int, DirectoryVerdict] = {}
        self._other_hosts: set[str] = set()
        self._in_a_row = 0  # directories that could not be judged

    @property
    def asked(self) -> int:
        """How many directories were asked for."""
        return sum(map(len, self._verdicts.values()))

    @property
    def judged(self) -> int:
        """How many of them got an answer that says something."""
        return self.asked - len(self._verdicts[Verdict.UNKNOWN])

    def add(self, found: DirectoryVerdict) -> None:
        """Note a verdict; too many in a row without one end the crawl of this mirror."""
        self._verdicts[found.verdict].add(found.directory_id)
        if found.directory_id in self._repodata:
            self._matched[found.directory_id] = found
        if found.verdict is not Verdict.OK:
            self.keep(found.verdict, found.evidence)
        self._in_a_row = self._in_a_row + 1 if found.verdict is Verdict.UNKNOWN else 0
        if self._in_a_row >= GIVE_UP_AFTER and not self.stopped:
            self.stopped = (
                f"{GIVE_UP_AFTER} directories in a row could not be judged; "
                f"the last: {found.evidence.found} for {found.evidence.url}"
            )

    def note_redirect(self, url: str, answer: Answer | FetchError) -> None:
        """Keep an example of each other host that answers for this mirror."""
        other = compare.other_host(url, answer)
        if other and other not in self._other_hosts:
            self._other_hosts.add(other)
            self.keep("redirect", Evidence(url, "an answer of the mirror itself", compare.found(answer, url)))

    def keep(self, kind: str, evidence: Evidence) -> None:
        """Keep an example, if there are not enough of this kind."""
        if Counter(kept for kept, _ in self.evidence)[kind] < EXAMPLES:
            self.evidence.append((str(kind), evidence))

    def verdicts(self) -> dict[Verdict, BitMap]:
        """All of them; what was not asked is unknown."""
        unasked = BitMap(directory.id for directory in self._plan.asked)
        for judged in self._verdicts.values():
            unasked -= judged
        return compare.imply(self._plan, {**self._verdicts, Verdict.UNKNOWN: self._verdicts[Verdict.UNKNOWN] | unasked})

    def repositories(self) -> dict[int, DirectoryVerdict]:
        """What was found of each repository's metadata."""
        repodata = self._plan.category.repodata.items()
        return {
            repository: self._matched[directory] for repository, directory in repodata if directory in self._matched
        }


class _Category:
    """Asks one mirror for one category."""

    def __init__(self, task: CategoryTask, fetcher: Fetcher, limits: Limits) -> None:
        self._task = task
        self._fetcher = fetcher
        self._limits = limits
        own = task.plan.category.max_stale_days
        self._clock = Clock(int(time()), limits.max_stale_seconds if own is None else int(own * 86400))
        self._findings = _Findings(task)
        self._base_url = ""

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
            self._base_url,
            self._task.plan.total,
            found.verdicts() if outcome is Outcome.ASKED else {},
            tuple(found.evidence),
            found.repositories(),
        )

    async def _run_until(self, host_ends: float, run_ends: float) -> Outcome:
        left = min(host_ends, run_ends) - monotonic()
        if not self._task.urls or left <= 0:
            why_not = "no time was left to ask" if self._task.urls else "it has no http or https URL for this category"
            self._findings.stopped = why_not
            return Outcome.NOT_ASKED
        try:
            async with asyncio.timeout(left):
                return await self._run()
        except TimeoutError:
            return self._out_of_time(own_fault=host_ends < run_ends)
        except Exception as error:  # a mistake of ours with one mirror must not end the crawl of all
            logger.exception("crawling %s failed", self._task.urls[0])
            self._findings.stopped = f"the crawler failed: {error!r}"
            return Outcome.ERROR

    def _out_of_time(self, *, own_fault: bool) -> Outcome:
        """What was judged counts. A mirror that was too slow to be judged is to blame, unless the whole run ended."""
        self._findings.stopped = (
            f"time ran out after {self._findings.asked} of {len(self._task.plan.asked)} directories"
        )
        if self._findings.judged:
            return Outcome.ASKED
        return Outcome.UNANSWERED if own_fault else Outcome.NOT_ASKED

    async def _run(self) -> Outcome:
        base = await self._find_base()
        if base is not Base.REACHED:
            return Outcome.UNANSWERED if base is Base.REFUSED else Outcome.UNREACHABLE
        waiting = iter(self._task.plan.asked)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.connections_per_host):
                group.create_task(self._ask_directories(waiting))
        if self._findings.judged or not self._task.plan.asked:
            return Outcome.ASKED
        self._findings.stopped = self._findings.stopped or "none of its answers said anything about a directory"
        return Outcome.UNANSWERED

    async def _find_base(self) -> Base:
        """The first URL that leads somewhere; else what the last one said."""
        result = Base.UNREACHABLE
        problems = []
        for url in self._task.urls:
            topdir = plan.file_url(url, "")
            answer = await _answer(self._fetcher.look(topdir))
            self._findings.note_redirect(topdir, answer)
            result = compare.judge_base(answer)
            if result is Base.REACHED:
                self._base_url = url
                return result
            said = compare.found(answer, topdir)
            problems.append(f"{topdir}: {said}")
            self._findings.keep("base", Evidence(topdir, "an answer that is no error", said))
        self._findings.stopped = "; ".join(problems)
        return result

    async def _ask_directories(self, waiting: Iterator[MasterDirectory]) -> None:
        """What one connection does. The iterator is shared by all of them."""
        while not self._findings.stopped and (directory := next(waiting, None)) is not None:
            self._findings.add(await self._ask_directory(directory))

    async def _ask_directory(self, directory: MasterDirectory) -> DirectoryVerdict:
        """Ask for its files until one is not ok."""
        files: list[FileVerdict] = []
        topdir = self._task.plan.category.topdir
        for question in plan.questions(directory, topdir, self._limits.max_metadata_bytes):
            url = plan.file_url(self._base_url, question.path)
            answer = await self._ask(question, url)
            self._findings.note_redirect(url, answer)
            files.append(compare.judge_file(question, url, answer, self._clock))
            if files[-1].verdict is not Verdict.OK:
                break
        return compare.judge_directory(directory.id, files)

    async def _ask(self, question: Question, url: str) -> Answer | FetchError:
        if question.how is How.DIGEST:
            limit = plan.digest_limit(question, self._limits.max_metadata_bytes)
            answer = await _answer(self._fetcher.digest(url, limit))
        else:
            answer = await _answer(self._fetcher.look(url))
        if isinstance(answer, Answer) and answer.wants_no_more:
            self._findings.stopped = f"it asked for a pause of {answer.retry_after:.0f} s ({answer.status} for {url})"
        return answer


async def _answer(request: Awaitable[Answer]) -> Answer | FetchError:
    """The answer, or why there was none, as a value: both are judged."""
    try:
        return await request
    except FetchError as error:
        return error
