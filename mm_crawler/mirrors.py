"""mm-crawler mirrors: the wiring of one crawl. inputs -> plan -> engine -> policy -> record -> a table."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from random import SystemRandom
from time import monotonic
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy.exc import SQLAlchemyError

from mm_crawler import engine, inputs, plan, policy, record
from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.engine import Limits
from mm_crawler.fetch.http import HttpFetcher
from mm_crawler.report import CategoryReport, HostDecision, HostReport, HostTask, Outcome, Verdict
from mm_lib.cli.common import Program, example, json_option, show
from mm_lib.settings import CrawlerSettings

JSON_COLUMNS = (
    *("host", "category", "outcome", "health"),
    *("ok", "alternate", "stale", "missing", "unreadable", "unknown", "requests", "seconds", "result"),
)
COLUMNS = ("host", "category", "health", "seconds", "result")  # what 80 characters have room for
NOTED = (Verdict.ALTERNATE, Verdict.STALE, Verdict.MISSING, Verdict.UNREADABLE, Verdict.UNKNOWN)

logger = logging.getLogger(__name__)


@click.command(
    epilog="Exit code 0: every mirror was asked, whatever was found. 1: time ran out, or results could not be kept."
)
@click.option("--category", "categories", multiple=True, metavar="NAME", help="Only this category; can be repeated.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only this host; can be repeated.")
@click.option("--dry-run", is_flag=True, help="Ask and decide, but keep nothing.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), metavar="SECONDS", help="For the whole run. Default: as in the settings."
)
@json_option
@click.pass_obj
@example('mm-crawler mirrors --category "Fedora Linux"')
def mirrors(
    program: Program,
    *,
    categories: tuple[str, ...],
    hosts: tuple[str, ...],
    dry_run: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Find out which directories each mirror has up to date."""
    settings = program.settings.crawler
    limits = make_limits(settings, timeout)
    with program.reading() as session:
        tasks = plan.make_tasks(inputs.read(session, categories, hosts), SystemRandom())
    if not tasks:
        click.echo("There is no mirror to crawl: none is active and public and has a URL for a category.", err=True)
        return
    arguments = {"categories": list(categories), "hosts": list(hosts)}
    keeper = DryRun(program) if dry_run else Keeper(program, arguments)
    crawl = Crawl(tasks, keeper, settings, limits)
    crawl.run()
    if as_json:
        show(crawl.rows, JSON_COLUMNS, as_json)
    else:
        show([{**row, "result": _result(row)} for row in crawl.rows], COLUMNS, as_json)
    if crawl.problem:
        raise click.ClickException(crawl.problem)


def make_limits(settings: CrawlerSettings, total_timeout: float | None) -> Limits:
    """The settings, as the engine wants them."""
    return Limits(
        hosts=settings.hosts,
        connections=settings.connections,
        connections_per_host=settings.connections_per_host,
        host_timeout=settings.host_timeout,
        total_timeout=total_timeout or settings.total_timeout,
        max_metadata_bytes=settings.max_metadata_bytes,
        max_stale_seconds=int(settings.max_stale_days * 86400),
    )


class DryRun:
    """Decides about each host and keeps nothing."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._fail_hosts_after = program.settings.crawler.fail_hosts_after

    def keep(self, report: HostReport) -> HostDecision | None:
        """What would follow; None when the host is gone."""
        with self._program.reading() as session:
            past = record.read_past(session, report.host_id)
            return policy.decide(report, past, self._fail_hosts_after) if past else None

    def close(self, outcome: str, counts: dict[str, int]) -> None:
        """Nothing was opened."""


class Keeper(DryRun):
    """Decides about each host and records it, in one transaction per host."""

    def __init__(self, program: Program, arguments: dict[str, Any]) -> None:
        super().__init__(program)
        with program.transaction() as session:
            self._run_id = record.open_run(session, arguments, datetime.now(UTC))

    def keep(self, report: HostReport) -> HostDecision | None:
        """What follows; None when the host is gone."""
        with self._program.transaction() as session:
            past = record.read_past(session, report.host_id)
            if past is None:
                return None
            decision = policy.decide(report, past, self._fail_hosts_after)
            record.store(session, self._run_id, report, decision)
            return decision

    def close(self, outcome: str, counts: dict[str, int]) -> None:
        """Note how the run ended."""
        with self._program.transaction() as session:
            record.close_run(session, self._run_id, outcome, counts, datetime.now(UTC))


class Crawl:
    """One run: asks all hosts, keeps each report as it comes, counts, and remembers what the table shows."""

    def __init__(self, tasks: tuple[HostTask, ...], keeper: DryRun, settings: CrawlerSettings, limits: Limits) -> None:
        self.rows: list[dict[str, Any]] = []
        self.problem = ""
        self._tasks = tasks
        self._keeper = keeper
        self._settings = settings
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._lost: list[str] = []
        self._categories = {
            category.host_category_id: category.plan.category.name for task in tasks for category in task.categories
        }

    def run(self) -> None:
        """Until all hosts were asked, time is over, or somebody stops us: what was found until then is kept."""
        started, outcome = monotonic(), "interrupted"
        try:
            asyncio.run(self._ask_all())
            timed_out = monotonic() - started >= self._limits.total_timeout
            outcome = "timed out" if timed_out else "done"
        except asyncio.CancelledError:
            raise click.Abort from None
        finally:
            self._keeper.close(outcome, dict(self._counts))
        if self._lost:
            self.problem = f"What was found on {', '.join(self._lost)} could not be kept; the log says why."
        elif timed_out:
            self.problem = f"Time ran out after {self._limits.total_timeout:.0f} s; not every mirror was asked."

    async def _ask_all(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        options = CurlOptions(
            self._settings.user_agent,
            self._settings.connect_timeout,
            self._settings.request_timeout,
            self._limits.connections,
            self._settings.ca_file,
        )
        rng = SystemRandom()
        async with CurlClient(options) as client:
            reports = engine.crawl(self._tasks, lambda: HttpFetcher(client, self._settings.tries, rng), self._limits)
            with _progress(len(self._tasks)) as told:
                async with aclosing(reports):
                    async for report in reports:
                        # In a thread: a database that makes us wait must not make mirrors look slow.
                        told.tell(report, await asyncio.to_thread(self._keep, report))

    def _keep(self, report: HostReport) -> HostDecision | None:
        self._counts["hosts"] += 1
        decision = None
        try:
            decision = self._keeper.keep(report)
        except SQLAlchemyError:  # one host's result is lost, the others' must not be
            logger.exception("what was found on %s could not be kept", report.name)
            self._lost.append(report.name)
        health = {each.host_category_id: each for each in decision.categories} if decision else {}
        for category in report.categories:
            decided = health.get(category.host_category_id)
            self._count(category)
            self.rows.append(
                {
                    "host": report.name,
                    "category": self._categories[category.host_category_id],
                    "outcome": category.outcome.value,
                    "health": decided.health.value if decided else "",
                    **category.counts,
                    "requests": category.requests,
                    "seconds": round(category.seconds, 1),
                    "result": decided.reason if decided else "not kept",
                }
            )
        return decision

    def _count(self, category: CategoryReport) -> None:
        self._counts[category.outcome.value] += 1
        self._counts["requests"] += category.requests


def _result(row: dict[str, Any]) -> str:
    """With those verdicts that are not good, where there are any."""
    noted = ", ".join(f"{row[verdict.value]} {verdict.value}" for verdict in NOTED if row[verdict.value])
    return f"{row['result']} ({noted})" if noted and row["outcome"] == Outcome.ASKED else row["result"]


class _Lines:
    """Tells a log about each host."""

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """One line per category."""
        for line in _lines(report, decision):
            logger.info("%s", line)


class _Bar(_Lines):
    """Tells a person at a terminal: a bar, and a line for each host above it."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("mirrors", total=total)

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """One line per category, and the bar grows."""
        for line in _lines(report, decision):
            self._progress.console.print(line, highlight=False, markup=False)
        self._progress.advance(self._task)


def _lines(report: HostReport, decision: HostDecision | None) -> Iterator[str]:
    if decision is None:
        yield f"{report.name}: not kept"
        return
    for category in decision.categories:
        yield f"{report.name}: {category.health}: {category.reason} ({report.seconds:.1f} s)"
    if decision.disable_reason:
        yield f"{report.name}: {decision.disable_reason}"


@contextmanager
def _progress(total: int) -> Iterator[_Lines]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, total)
