"""mm-admin import mirrormanager2: an existing installation moves to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from mm_lib.cli.changing import actor
from mm_lib.cli.common import Program, example, json_option, wait_option
from mm_lib.cli.importing import show_report
from mm_lib.database import make_sessions, transaction
from mm_lib.importers.mirrormanager2.carried import Progress
from mm_lib.importers.mirrormanager2.run import run
from mm_lib.importers.mirrormanager2.source import opened
from mm_lib.locks import held

_VARIABLE = "MIRRORMANAGER2_DSN"


@click.command("mirrormanager2")
@click.option(
    "--dsn",
    required=True,
    envvar=_VARIABLE,
    metavar="URL",
    help=f"postgresql://USER@HOST/NAME; ${_VARIABLE} says it without showing a password to everybody on the machine.",
)
@click.option("--dry-run", is_flag=True, help="Do everything, report it, and undo it.")
@wait_option
@json_option
@click.pass_obj
@example("mm-admin import mirrormanager2 --dsn postgresql://mirrormanager2@db.example.org/mirrormanager2 --dry-run")
def mirrormanager2(program: Program, dsn: str, dry_run: bool, wait: float, as_json: bool) -> None:
    """Take a whole database of MirrorManager2: every table, with what is up to date where.

    It is read only, as of one moment. All of it is taken, or nothing. What is there already is brought up to date by
    the source; nothing is deleted; docs/moving.md says what becomes of each table.
    """
    with (
        held(program.settings.database, "import of MirrorManager2", wait=wait),
        opened(dsn) as source,
        make_sessions(program.engine)() as session,
        _progress() as progress,
        transaction(session),
    ):
        report = run(source, session, actor(), progress)
        if dry_run:
            session.rollback()
    show_report(report, as_json, dry_run, "Publish it with `mm-admin cache build`.")


@contextmanager
def _progress() -> Iterator[Progress]:
    """On a terminal, what is read and how much of it."""
    bar = Bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("Reading", total=None)
        yield lambda what, number: bar.update(task, description=f"{what}: {number:,} rows" if number else what)
