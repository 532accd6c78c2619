"""mm-crawler master: find out what mirrors should carry."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError

from mm_crawler import metrics
from mm_crawler.master.deletion import TooManyVanished
from mm_crawler.master.progress import shown
from mm_crawler.master.scan import NoSource, Options, Outcome, scan_category
from mm_crawler.master.scanned import SourceError
from mm_crawler.master.sentinels import MasterBusy
from mm_crawler.metrics import RunFigures
from mm_lib.cli.common import Program, example, wait_option
from mm_lib.locks import held
from mm_lib.model.content import Category, Directory
from mm_lib.model.state import CrawlRun, RunKind
from mm_lib.services.content import find_category
from mm_lib.services.errors import ServiceError

_log = logging.getLogger(__name__)

_SHOWN_PROBLEMS = 20
# What a summary says of a category, when it is not zero.
_SUMMARY = (
    ("new", "new"),
    ("changed", "changed"),
    ("gone", "forgotten"),
    ("kept", "gone but kept"),
    ("unreadable", "unreadable"),
    ("files_read", "important files read"),
    ("refused", "refused: not signed as they must be"),
    ("files_added", "file versions added"),
    ("files_dropped", "file versions dropped"),
    ("versions_created", "releases created"),
    ("repositories_created", "repositories created"),
    ("repositories_moved", "repositories moved"),
    ("unmatched", "repositories unmatched"),
)


@click.command()
@click.option("--category", "categories", multiple=True, help="Only this category; may be repeated. Default: all.")
@click.option("--full", is_flag=True, help="List every directory and read every important file again.")
@click.option("--delete", is_flag=True, help="Forget directories that are gone from the master.")
@click.option("--force", is_flag=True, help="Go on even when so many are gone that the master looks half there.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option(
    "--listing",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Scan one category from this file: what `rsync --list-only -r` printed in UTC, or a fullfiletimelist.",
)
@wait_option
@click.pass_context
@example('mm-crawler master --category "Fedora Linux"')
def master(ctx: click.Context, categories: tuple[str, ...], listing: str | None, wait: float, **flags: bool) -> None:
    """Scan the master trees: record directories, important files, versions and repositories."""
    # Each category is scanned by itself: one that fails leaves the others alone, and the exit code says so.
    program: Program = ctx.obj
    if listing and len(categories) != 1:
        raise click.UsageError("--listing is of one category: name it with --category.")
    options = Options(listing=listing or "", **flags)
    names = _choose(program, categories)
    locks = [] if options.dry_run else [f"scan of {name}" for name in names]
    with (
        held(program.settings.database, *locks, wait=wait),
        _run(program, {"categories": list(names), **vars(options)}, options.dry_run) as counts,
    ):
        rows, failed = _scan_all(program, names, options)
        counts.update({str(row["category"]): row for row in rows})
        counts.update({name: {"failed": why} for name, why in failed.items()})
    if options.dry_run:
        click.echo("Dry run: nothing was changed.")
    if failed or any(row["refused"] for row in rows):
        ctx.exit(1)


def _choose(program: Program, names: Sequence[str]) -> list[str]:
    """The categories to scan. Raises NotFound."""
    with program.reading() as session:
        if names:
            return [find_category(session, name).name for name in dict.fromkeys(names)]
        return list(session.scalars(select(Category.name).order_by(Category.name)))


def _scan_all(program: Program, names: Sequence[str], options: Options) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each category that was scanned, and why the others failed."""
    rows: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for name in names:
        started = datetime.now(UTC)
        try:
            with shown(name, _known(program, name)) as progress:
                outcome = scan_category(program, name, options, started, progress)
        except (NoSource, MasterBusy) as notice:
            click.echo(f"{name}: {notice}", err=True)
            continue
        except (SourceError, TooManyVanished, ServiceError, DBAPIError) as error:
            failed[name] = str(error.orig if isinstance(error, DBAPIError) else error).strip()
            click.echo(f"Error: {name}: {failed[name]}", err=True)
            continue
        _report_problems(name, outcome)
        for alarm in outcome.alarms:
            _log.error("%s: %s; what was published before stays", name, alarm)
        seconds = (datetime.now(UTC) - started).total_seconds()
        rows.append({"category": name, **outcome.counts, "seconds": round(seconds, 1)})
        click.echo(f"{name}: {_summary(outcome.counts)}; {seconds:.1f} s")
    return rows, failed


def _known(program: Program, name: str) -> int:
    """How many directories the category has so far."""
    query = select(func.count(Directory.id)).join(Category, Category.id == Directory.category_id)
    with program.reading() as session:
        return session.scalar(query.where(Category.name == name)) or 0


def _summary(counts: Mapping[str, int]) -> str:
    parts = [f"{counts[key]:,} {text}" for key, text in _SUMMARY if counts[key]]
    return f"{counts['directories']:,} directories: {', '.join(parts) or 'nothing new'}"


def _report_problems(name: str, outcome: Outcome) -> None:
    for problem in outcome.problems[:_SHOWN_PROBLEMS]:
        _log.warning("%s: %s", name, problem)
    if (more := len(outcome.problems) - _SHOWN_PROBLEMS) > 0:
        _log.warning("%s: and %d more problems", name, more)


@contextmanager
def _run(program: Program, arguments: dict[str, Any], dry_run: bool) -> Iterator[dict[str, Any]]:
    """Keep a record of the run; what is put into the yielded dictionary becomes its counts."""
    counts: dict[str, Any] = {}
    if dry_run:
        yield counts
        return
    started_at = datetime.now(UTC)
    with program.transaction() as session:
        run = CrawlRun(kind=RunKind.MASTER, arguments=arguments, started_at=started_at, outcome="running")
        session.add(run)
    outcome = "interrupted"
    try:
        yield counts
        outcome = _verdict(counts)
    finally:
        finished_at = datetime.now(UTC)
        with program.transaction() as session:
            session.execute(
                update(CrawlRun)
                .where(CrawlRun.id == run.id)
                .values(finished_at=finished_at, outcome=outcome, counts=counts)
            )
        settings = program.settings.crawler
        figures = RunFigures(RunKind.MASTER.value, "", started_at, finished_at, outcome, _sums(counts))
        metrics.publish(figures, settings.metrics_directory, settings.metrics_push_url)


def _sums(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Over all categories."""
    sums: Counter[str] = Counter()
    for row in counts.values():
        sums.update({name: value for name, value in row.items() if isinstance(value, int)})
    return dict(sums)


def _verdict(counts: Mapping[str, Any]) -> str:
    if any("failed" in row for row in counts.values()):
        return "failed"
    return "refused" if any(row["refused"] for row in counts.values()) else "ok"
