"""mm-crawler mirrors: the command line of a crawl, a bar or log lines while it runs, and a table at its end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mm_crawler import crawling
from mm_crawler.crawling import CrawlSummary, Options
from mm_crawler.report import HostDecision, HostReport, Outcome, Tier, Verdict
from mm_crawler.selection import Selection
from mm_lib.cli.common import Program, example, json_option, show

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
    with _told() as teller:
        summary = crawling.crawl(
            program, Selection(categories, hosts), Tier.FULL, Options(dry_run=dry_run, timeout=timeout), teller
        )
    _show(summary, as_json)


def _show(summary: CrawlSummary, as_json: bool) -> None:
    if summary.stopped:
        raise click.Abort
    if not summary.rows:
        click.echo("There is no mirror to crawl: none is active and public and has a URL for a category.", err=True)
        return
    if as_json:
        show(summary.rows, JSON_COLUMNS, as_json)
    else:
        show([{**row, "result": _result(row)} for row in summary.rows], COLUMNS, as_json)
    if summary.problem:
        raise click.ClickException(summary.problem)


def _result(row: dict[str, Any]) -> str:
    """With those verdicts that are not good, where there are any."""
    noted = ", ".join(f"{row[verdict.value]} {verdict.value}" for verdict in NOTED if row[verdict.value])
    return f"{row['result']} ({noted})" if noted and row["outcome"] == Outcome.ASKED else row["result"]


class _Lines:
    """Tells a log about each host."""

    def begin(self, hosts: int) -> None:
        """Nothing to say yet."""

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """One line per category."""
        for line in _lines(report, decision):
            logger.info("%s", line)


class _Bar(_Lines):
    """Tells a person at a terminal: a bar, and a line for each host above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("mirrors", total=None)

    def begin(self, hosts: int) -> None:
        """The bar is full after so many."""
        self._progress.update(self._task, total=hosts)

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
def _told() -> Iterator[_Lines]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress)
