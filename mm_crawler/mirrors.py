"""mm-crawler mirrors: the command line of a crawl, a bar or log lines while it runs, and a table at its end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import select

from mm_crawler import crawling, inputs, location
from mm_crawler import requested as on_request
from mm_crawler.crawling import CrawlSummary, Options, Teller
from mm_crawler.explain import Explainer
from mm_crawler.notes import NO_NOTES, Notes
from mm_crawler.output import messages
from mm_crawler.output import summary as run_summary
from mm_crawler.report import HostDecision, HostReport, HostTask, Outcome, Tier, Verdict
from mm_crawler.selection import EVERYTHING, Fraction, Selection
from mm_lib.cli.common import Program, example, json_option, show, wait_option
from mm_lib.locks import held
from mm_lib.model.content import Category
from mm_lib.model.geography import CONTINENTS

JSON_COLUMNS = (
    *("host", "category", "outcome", "health"),
    *("ok", "alternate", "stale", "missing", "unreadable", "unknown", "requests", "seconds", "result"),
)
COLUMNS = ("host", "category", "health", "seconds", "result")  # what 80 characters have room for
NOTED = (Verdict.ALTERNATE, Verdict.STALE, Verdict.MISSING, Verdict.UNREADABLE, Verdict.UNKNOWN)

logger = logging.getLogger(__name__)


def _fraction(_ctx: click.Context, _option: click.Parameter, text: str | None) -> Fraction | None:
    try:
        return Fraction.parse(text) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _continents(_ctx: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    known = (*CONTINENTS, location.NOWHERE)
    found = tuple(text.upper() for text in texts)
    for code in found:
        if code.removeprefix("^") not in known:
            raise click.BadParameter(
                f"{code} is no continent; there are {' '.join(known)}, and ^ before one means: not"
            )
    return found


_SECONDS = click.FloatRange(min=1)
_SELECTION = (
    click.option("--category", "categories", multiple=True, metavar="NAME", help="Only this one; can be repeated."),
    click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only this one; can be repeated."),
    click.option("--include-private", is_flag=True, help="Also private hosts whose owners let us crawl them."),
    click.option(
        "--include-disabled/--exclude-disabled",
        help="Also hosts that their owners or the crawler switched off. The latter come back when they answer.",
    ),
    click.option("--startid", "first_id", type=int, default=0, metavar="ID", help="Only hosts from this id on."),
    click.option("--stopid", "last_id", type=int, default=0, metavar="ID", help="Only hosts up to this id."),
    click.option("--fraction", callback=_fraction, metavar="P:N", help="Only part P of N of the hosts, by their ids."),
    click.option(
        "--continent",
        "continents",
        multiple=True,
        callback=_continents,
        metavar="XX",
        help="Only hosts with addresses there; ^XX: not there; --: unknown. Can be repeated.",
    ),
)
_RUN = (
    click.option(
        "--tier",
        "named",
        type=click.Choice([tier.value for tier in reversed(Tier)]),
        help="How much of a mirror is looked at. Default: full.",
    ),
    click.option("--canary", is_flag=True, help="Short for --tier canary: is it there at all?"),
    click.option("--due", is_flag=True, help="What is due now for each host and category, by its schedule."),
    click.option("--requested", is_flag=True, help="What somebody asked for to be checked now, and nothing else."),
    click.option("--dry-run", is_flag=True, help="Ask and decide, but keep nothing."),
    click.option("--timeout", type=_SECONDS, metavar="SECONDS", help="For the whole run. Default: as in the settings."),
    click.option("--host-timeout", type=_SECONDS, metavar="SECONDS", help="For one host. Default: as in the settings."),
    click.option("--no-fail", is_flag=True, help="Exit with 0 also when time ran out."),
    click.option(
        "--summary",
        "summary_file",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        help="Put counts and the slowest hosts into this file, as JSON.",
    ),
    click.option("--verbose", is_flag=True, help="With --host: explain every decision, line by line."),
)


def _options(options: Iterable[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def put(command: Any) -> Any:
        for option in reversed(tuple(options)):
            command = option(command)
        return command

    return put


selection_options = _options(_SELECTION)


@click.command(
    epilog="Exit code 0: every mirror was asked, whatever was found. 1: time ran out, or results could not be kept. "
    "75: a crawl of the same kind is running."
)
@_options(_RUN)
@selection_options
@wait_option
@json_option
@click.pass_obj
@example('mm-crawler mirrors --category "Fedora Linux"')
def mirrors(
    program: Program,
    *,
    named: str | None,
    canary: bool,
    due: bool,
    requested: bool,
    dry_run: bool,
    timeout: float | None,
    host_timeout: float | None,
    no_fail: bool,
    verbose: bool,
    summary_file: Path | None,
    wait: float,
    as_json: bool,
    **selected: Any,
) -> None:
    """Find out which directories each mirror has up to date."""
    selection = Selection(**selected)
    _check_usage(selection, tiers=[named, canary, due, requested], verbose=verbose)
    if requested and (dry_run or selection != EVERYTHING):
        raise click.UsageError("--requested does what was asked for; it cannot be combined with --dry-run or a choice.")
    tier = None if due else Tier.CANARY if canary else Tier(named or Tier.FULL)
    options = Options(dry_run=dry_run, timeout=timeout, host_timeout=host_timeout)
    started = monotonic()
    kind = "requested" if requested else tier or "scheduled"
    with _lock(program, kind, selection, wait, dry_run), _told(program, selection, verbose, as_json) as teller:
        if requested:
            summary = on_request.crawl(program, options, teller)
        else:
            summary = crawling.crawl(program, selection, tier, options, teller)
    figures = run_summary.figures(summary.rows, summary.outcome, monotonic() - started)
    if summary_file:
        run_summary.write(summary_file, figures)
    _show(summary, figures, as_json, quiet=due or requested)
    if not dry_run:
        messages.deliver(program)
    if summary.problem and not (no_fail and summary.timed_out):
        raise click.ClickException(summary.problem)


def _check_usage(selection: Selection, tiers: Sequence[object], *, verbose: bool) -> None:
    if sum(map(bool, tiers)) > 1:
        raise click.UsageError("--tier, --canary, --due and --requested exclude each other.")
    if selection.fraction and (selection.first_id or selection.last_id):
        raise click.UsageError("--fraction cannot be used with --startid or --stopid.")
    if verbose and not selection.hosts:
        raise click.UsageError("--verbose is about one host: name it with --host.")


def _lock(
    program: Program, kind: str, selection: Selection, wait: float, dry_run: bool
) -> AbstractContextManager[object]:
    """Two crawls of one kind and category never run at once, unless one is about a part of the hosts.

    No host is asked twice at once all the same: each has a lock of its own.
    """
    if dry_run or selection.hosts:
        return nullcontext()
    with program.reading() as session:
        categories = selection.categories or session.scalars(select(Category.name)).all()
    part = f" {selection.fraction.part}:{selection.fraction.of}" if selection.fraction else ""
    return held(program.settings.database, *(f"{kind} crawl of {name}{part}" for name in categories), wait=wait)


def _show(summary: CrawlSummary, figures: dict[str, Any], as_json: bool, *, quiet: bool) -> None:
    if summary.stopped:
        raise click.Abort
    if as_json:
        show(summary.rows, JSON_COLUMNS, as_json)
    elif summary.rows:
        show([{**row, "result": _result(row)} for row in summary.rows], COLUMNS, as_json)
        click.echo("\n" + "\n".join(run_summary.lines(figures)))
    elif not quiet:
        click.echo("There is nothing to ask: no mirror was chosen that takes part, or nothing changed.", err=True)


def _result(row: dict[str, Any]) -> str:
    """With those verdicts that are not good, where there are any."""
    noted = ", ".join(f"{row[verdict.value]} {verdict.value}" for verdict in NOTED if row[verdict.value])
    return f"{row['result']} ({noted})" if noted and row["outcome"] == Outcome.ASKED else row["result"]


class _Lines:
    """Tells a log about each host."""

    def begin(self, tasks: Sequence[HostTask]) -> None:
        """Nothing to say yet."""

    def notes(self, task: HostTask) -> Notes:  # noqa: ARG002  the protocol has it
        """The result is enough."""
        return NO_NOTES

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """One line per category."""
        for line in _lines(report, decision):
            logger.info("%s", line)


class _Bar(_Lines):
    """Tells a person at a terminal: a bar, and a line for each host above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("mirrors", total=None)

    def begin(self, tasks: Sequence[HostTask]) -> None:
        """The bar is full after so many."""
        self._progress.update(self._task, total=len(tasks))

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
    for reason in (decision.disable_reason, decision.enable_reason):
        if reason:
            yield f"{report.name}: {reason}"


@contextmanager
def _told(program: Program, selection: Selection, verbose: bool, as_json: bool) -> Iterator[Teller]:
    if verbose:
        with program.reading() as session:
            for name in selection.hosts:
                for line in inputs.left_out(session, name):
                    click.echo(f"{name}: {line}", err=as_json)
        yield Explainer(partial(click.echo, err=as_json))
    elif sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield _Bar(progress)
    else:
        yield _Lines()
