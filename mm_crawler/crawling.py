"""One crawl, wired: inputs -> plan -> engine -> policy -> record. The command and a worker's job both call crawl()."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import SystemRandom
from time import monotonic
from typing import Any, NamedTuple, Protocol

from sqlalchemy.exc import SQLAlchemyError

from mm_crawler import engine, inputs, location, metrics, plan, policy, record, schedule
from mm_crawler.alone import Stop, alone
from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.engine import Guard, Limits
from mm_crawler.fetch.base import Fetcher
from mm_crawler.fetch.host import HostFetcher, Manners
from mm_crawler.inputs import MirrorRow
from mm_crawler.metrics import RunFigures
from mm_crawler.notes import NO_NOTES, BothNotes, Notes
from mm_crawler.output import logs, notify, retention
from mm_crawler.output.logs import RunLogs
from mm_crawler.output.notify import Flapping
from mm_crawler.policy import Rules
from mm_crawler.report import CategoryReport, CrawlInput, HostDecision, HostReport, HostTask, Tier
from mm_crawler.schedule import Bounds, Pace
from mm_crawler.selection import Selection
from mm_lib.cli.common import Program
from mm_lib.model.state import Health, RunKind
from mm_lib.services import probes
from mm_lib.settings import CrawlerSettings

logger = logging.getLogger(__name__)


class Options(NamedTuple):
    """How a crawl runs, where it does not run as the settings say."""

    dry_run: bool = False  # ask and decide, but keep nothing
    timeout: float | None = None  # seconds, for the run
    host_timeout: float | None = None  # seconds, for one host
    stop: Stop | None = None  # whoever runs the crawl in a thread can end it by this


AS_SET = Options()


class Teller(Protocol):
    """Is told about each host as soon as its result is kept."""

    def begin(self, tasks: Sequence[HostTask]) -> None:
        """These hosts will be asked."""

    def notes(self, task: HostTask) -> Notes:
        """Hears what happens while this host is asked."""

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """What was found and what follows; None: it could not be kept, or the host is gone."""


class Silent:
    """Is told and says nothing."""

    def begin(self, tasks: Sequence[HostTask]) -> None:
        """Nothing."""

    def notes(self, task: HostTask) -> Notes:  # noqa: ARG002  the protocol has it
        """Nobody wants to know."""
        return NO_NOTES

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """Nothing."""


class Together:
    """Two who are told the same."""

    def __init__(self, first: Teller, second: Teller) -> None:
        self._both = (first, second)

    def begin(self, tasks: Sequence[HostTask]) -> None:
        """Tell both."""
        for each in self._both:
            each.begin(tasks)

    def notes(self, task: HostTask) -> Notes:
        """What both want to hear."""
        first, second = (each.notes(task) for each in self._both)
        return second if first is NO_NOTES else first if second is NO_NOTES else BothNotes(first, second)

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """Tell both."""
        for each in self._both:
            each.tell(report, decision)


@dataclass
class CrawlSummary:
    """How a crawl ended: a row per host and category, counts, and what went wrong with the crawl itself."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    outcome: str = "nothing to ask"
    timed_out: bool = False
    problem: str = ""
    busy: list[str] = field(default_factory=list)  # hosts that another program was asking

    @property
    def stopped(self) -> bool:
        """Somebody stopped it by a signal; what was found until then is kept."""
        return self.outcome == "interrupted"


def crawl(
    program: Program,
    selection: Selection,
    tier: Tier | None = Tier.FULL,
    options: Options = AS_SET,
    teller: Teller | None = None,
) -> CrawlSummary:
    """Ask the selected hosts for their categories and keep what was found, host by host. Without tier: what is due.

    Raises NotFound for a name that does not exist. Everything that goes wrong with a host is part of what was found.
    """
    settings = program.settings.crawler
    with program.reading() as session:
        found = inputs.read(session, selection, choose(tier, settings, datetime.now(UTC)))
    found, refused = _by_place(program, found, selection)
    tasks = plan.make_tasks(found, SystemRandom(), settings.sample_parts)
    if not tasks and not refused:
        return CrawlSummary()
    arguments = {"tier": tier or "due", "categories": list(selection.categories), "hosts": list(selection.hosts)}
    keeper = (DryRun if options.dry_run else JobKeeper if options.stop else Keeper)(program, tasks, arguments)
    return run(program, keeper, options, teller, refused)


def run(
    program: Program,
    keeper: DryRun,
    options: Options = AS_SET,
    teller: Teller | None = None,
    refused: Sequence[HostReport] = (),
) -> CrawlSummary:
    """Ask the hosts that the keeper has tasks for, and hand it each report."""
    return _Crawl(keeper, program.settings.crawler, refused=refused, options=options, teller=teller or Silent()).run()


def _by_place(program: Program, found: CrawlInput, selection: Selection) -> tuple[CrawlInput, list[HostReport]]:
    """Without the mirrors that stand elsewhere, and reports on those that we may not deal with.

    Names are looked up where places are asked for, and, if there is an embargo, before full crawls, first crawls and
    those that may switch a mirror on.
    """
    thorough = [
        mirror
        for mirror in found.mirrors
        if mirror.last_crawl_seconds is None or any(Tier.FULL in each.tiers for each in mirror.categories)
    ]
    everybody = selection.continents or (found.embargoed and selection.include_disabled)
    asked_for = found.mirrors if everybody else thorough if found.embargoed else ()
    if not asked_for:
        return found, []
    settings = program.settings
    places = location.locate(
        asked_for, probes.make(settings.geo, settings.crawler.ca_file, settings.crawler.connect_timeout)
    )
    refused, kept = [], []
    for mirror in found.mirrors:
        place = places.get(mirror.host_id)
        if place and selection.continents and not location.is_wanted(place, selection.continents, found.continents):
            continue
        reason = location.refusal(place, found.embargoed) if place else ""
        if reason:
            refused.append(HostReport(mirror.host_id, mirror.name, mirror.site, datetime.now(UTC), 0.0, (), reason))
        else:
            kept.append(mirror)
    return replace(found, mirrors=tuple(kept)), refused


def choose(tier: Tier | None, settings: CrawlerSettings, now: datetime) -> inputs.Choose:
    """Says of a host-category which tiers to try, largest first: the one that is asked for, or all that are due."""
    pace = make_rules(settings).pace

    def due(row: MirrorRow) -> tuple[Tier, ...]:
        failing = row.health in (Health.SUSPECT, Health.QUARANTINED)
        return schedule.due(row.memory, row.changed_at, pace, now, failing=failing)

    return due if tier is None else lambda _: (tier,)


def make_rules(settings: CrawlerSettings) -> Rules:
    """The settings, as decisions want them."""
    bounds = {
        Tier.CANARY: Bounds(settings.canary_minutes * 60, settings.canary_minutes * 60),
        Tier.METADATA: Bounds(settings.metadata_minutes * 60, settings.metadata_max_minutes * 60),
        Tier.INCREMENTAL: Bounds(settings.incremental_minutes * 60, settings.incremental_max_minutes * 60),
        Tier.FULL: Bounds(settings.full_hours * 3600, settings.full_max_hours * 3600),
    }
    return Rules(
        settings.fail_hosts_after,
        settings.probation_crawls,
        settings.probation_hours * 3600,
        settings.unknown_after_tries,
        settings.unknown_after_hours * 3600,
        Pace(bounds, settings.retry_hours * 3600),
    )


def make_limits(settings: CrawlerSettings, options: Options) -> Limits:
    """The settings, as the engine wants them."""
    return Limits(
        hosts=settings.hosts,
        connections=settings.connections,
        connections_per_host=settings.connections_per_host,
        host_timeout=options.host_timeout or settings.host_timeout,
        total_timeout=options.timeout or settings.total_timeout,
        max_metadata_bytes=settings.max_metadata_bytes,
        max_stale_seconds=int(settings.max_stale_days * 86400),
    )


def fetchers(client: CurlClient, settings: CrawlerSettings) -> Callable[[], Fetcher]:
    """Makes what asks one mirror."""
    rng = SystemRandom()
    manners = Manners(
        settings.tries,
        settings.requests_per_second,
        settings.connect_timeout,
        settings.request_timeout,
        public_only=not settings.private_mirrors,
    )
    return lambda: HostFetcher(client, manners, rng)


class DryRun:
    """Decides about each host and keeps nothing."""

    log: Teller = Silent()

    def __init__(self, program: Program, tasks: Sequence[HostTask], arguments: dict[str, Any]) -> None:
        self.tasks = tasks
        self.database = program.settings.database
        self._program = program
        self._arguments = arguments
        self._rules = make_rules(program.settings.crawler)
        self._tasks = {each.host_category_id: each for task in tasks for each in task.categories}

    def open(self) -> None:
        """Nothing is noted."""

    def keep(self, report: HostReport) -> HostDecision | None:
        """What would follow; None when the host is gone."""
        with self._program.reading() as session:
            past = record.read_past(session, report.host_id)
            return policy.decide(self._tasks, report, past, self._rules) if past else None

    def close(self, outcome: str, counts: dict[str, int]) -> None:
        """Nothing was opened."""


class Keeper(DryRun):
    """Decides about each host and records it, in one transaction per host."""

    kind = RunKind.MIRRORS
    publishes = True  # its figures, for monitoring
    _run_id = 0
    _started_at = datetime.min.replace(tzinfo=UTC)
    _logs: RunLogs | None = None

    def open(self) -> None:
        """Note that the run begins."""
        settings, now = self._program.settings.crawler, datetime.now(UTC)
        self._started_at = now
        with self._program.transaction() as session:
            self._run_id = record.open_run(session, self._arguments, now, self.kind)
        if self.kind is RunKind.MIRRORS and settings.log_directory:
            limits = logs.Limits(settings.log_keep, settings.log_max_bytes)
            self.log = self._logs = RunLogs(settings.log_directory, limits, self._run_id, now)

    def keep(self, report: HostReport) -> HostDecision | None:
        """What follows; None when the host is gone."""
        outbox = self._program.settings.outbox
        with self._program.transaction() as session:
            past = record.read_past(session, report.host_id)
            if past is None:
                return None
            decision = policy.decide(self._tasks, report, past, self._rules)
            log = self._logs.name(report.host_id) if self._logs else ""
            record.store(session, self._run_id, report, decision, log)
            flapping = Flapping(outbox.flapping_changes, outbox.flapping_hours)
            notify.announce(session, report, decision, past, flapping)
            return decision

    def close(self, outcome: str, counts: dict[str, int]) -> None:
        """Note how the run ended, and forget what is too old."""
        settings, now = self._program.settings.crawler, datetime.now(UTC)
        with self._program.transaction() as session:
            record.close_run(session, self._run_id, outcome, counts, now)
            retention.forget(session, now - timedelta(days=settings.keep_results_days))
        if self.publishes:
            tier = str(self._arguments.get("tier", ""))
            figures = RunFigures(self.kind.value, tier, self._started_at, now, outcome, counts)
            metrics.publish(figures, settings.metrics_directory, settings.metrics_push_url)


class JobKeeper(Keeper):
    """One of many small runs: the front end's figures tell more than those of the last one."""

    publishes = False


class _Crawl:
    """One run: asks all hosts, keeps each report as it comes, counts, and remembers what the table shows."""

    def __init__(
        self,
        keeper: DryRun,
        settings: CrawlerSettings,
        *,
        refused: Sequence[HostReport],
        options: Options,
        teller: Teller,
    ) -> None:
        self._summary = CrawlSummary()
        self._stop = options.stop or Stop()
        self._tasks = keeper.tasks
        self._refused = refused
        self._keeper = keeper
        self._settings = settings
        self._limits = make_limits(settings, options)
        self._teller = teller
        self._lost: list[str] = []
        self._categories = {
            category.host_category_id: category.plan.category.name
            for task in keeper.tasks
            for category in task.categories
        }

    def run(self) -> CrawlSummary:
        """Until all hosts were asked, time is over, or somebody stops us: what was found until then is kept."""
        summary, started = self._summary, monotonic()
        summary.outcome = "interrupted"
        self._keeper.open()
        self._teller = Together(self._keeper.log, self._teller)
        self._teller.begin(self._tasks)
        try:
            asyncio.run(self._ask_all())
            summary.timed_out = monotonic() - started >= self._limits.total_timeout
            summary.outcome = "timed out" if summary.timed_out else "done"
        except asyncio.CancelledError:
            summary.problem = "Stopped by a signal; what was found until then is kept."
        finally:
            self._keeper.close(summary.outcome, dict(summary.counts))
        if self._lost:
            summary.problem = f"What was found on {', '.join(self._lost)} could not be kept; the log says why."
        elif summary.timed_out:
            summary.problem = f"Time ran out after {self._limits.total_timeout:.0f} s; not every mirror was asked."
        return summary

    async def _ask_all(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        if threading.current_thread() is threading.main_thread():  # a worker's job runs in a thread of its own
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        options = CurlOptions(
            self._settings.user_agent,
            self._settings.connect_timeout,
            self._settings.request_timeout,
            self._limits.connections,
            self._settings.ca_file,
            public_only=not self._settings.private_mirrors,
        )
        for report in self._refused:
            self._teller.tell(report, await asyncio.to_thread(self._keep, report))
        stopping = self._stop.listening(partial(loop.call_soon_threadsafe, task.cancel))
        with stopping, alone(self._keeper.database) as others:
            self._summary.busy = others.busy
            await self._ask(options, others.guard)

    async def _ask(self, options: CurlOptions, guard: Guard) -> None:
        async with CurlClient(options) as client:
            reports = engine.crawl(
                self._tasks, fetchers(client, self._settings), self._limits, guard, self._teller.notes
            )
            async with aclosing(reports):
                async for report in reports:
                    # In a thread: a database that makes us wait must not make mirrors look slow.
                    self._teller.tell(report, await asyncio.to_thread(self._keep, report))

    def _keep(self, report: HostReport) -> HostDecision | None:
        self._summary.counts["hosts"] += 1
        decision = None
        try:
            decision = self._keeper.keep(report)
        except SQLAlchemyError:  # one host's result is lost, the others' must not be
            logger.exception("what was found on %s could not be kept", report.name)
            self._lost.append(report.name)
        decided = {each.host_category_id: each for each in decision.categories} if decision else {}
        for category in report.categories:
            self._count(category)
            of = decided.get(category.host_category_id)
            self._summary.rows.append(
                {
                    "host": report.name,
                    "category": self._categories[category.host_category_id],
                    "outcome": category.outcome.value,
                    "health": of.health.value if of else "",
                    **category.counts,
                    "requests": category.requests,
                    "seconds": round(category.seconds, 1),
                    "result": of.reason if of else "not kept",
                }
            )
        return decision

    def _count(self, category: CategoryReport) -> None:
        self._summary.counts[category.outcome.value] += 1
        self._summary.counts["requests"] += category.requests
