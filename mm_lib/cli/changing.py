"""What every command that changes the registry by a plan shares: who did it, a dry run, an event, and undoing it."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

import click
from sqlalchemy.orm import Session

from mm_lib.cli.common import Program, example, json_option, show
from mm_lib.services import changes
from mm_lib.services.changes import Plan

_PUBLISHED = ("file", "netblock", "redirect", "repository")  # what the cache holds of it


def actor() -> str:
    """Who runs mm-admin."""
    return f"{getpass.getuser()} (mm-admin)"


def audited(command: Any) -> Any:
    """The options of a command whose change is recorded: --dry-run and --as."""
    command = click.option("--as", "by", help="Your account's name, for the record. Default: the login name.")(command)
    return click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")(command)


def carry_out(program: Program, by: str | None, dry_run: bool, make: Callable[[Session], Plan]) -> Plan:
    """Make a plan and carry it out in one transaction; print each change. A dry run does the same and rolls back."""
    with program.reading() if dry_run else program.transaction() as session:
        plan = make(session)
        event = changes.apply(session, plan, by or actor())
    for change in plan.changes:
        click.echo(str(change))
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    if not plan.changes and not plan.notes:
        return plan
    if dry_run:
        click.echo(f"Dry run: {_count(plan)}; nothing was changed.")
    elif event is not None:
        publish = any(change.kind in _PUBLISHED for change in plan.changes)
        then = " Publish it with `mm-admin cache build`." if publish else ""
        click.echo(f"{_count(plan)}; `mm-admin undo {event}` takes it back.{then}")
    return plan


def _count(plan: Plan) -> str:
    number = len(plan.changes)
    return "1 change" if number == 1 else f"{number:,} changes"


@click.command()
@click.argument("event", type=int)
@audited
@click.pass_obj
@example("mm-admin undo 17 --dry-run")
def undo(program: Program, event: int, by: str | None, dry_run: bool) -> None:
    """Take back what an event changed (`mm-admin events` shows them).

    Refused when something that the event changed is no longer as the event left it. Undoing an undo does it again.
    """
    carry_out(program, by, dry_run, lambda session: changes.undo(session, event))


@click.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many, the newest first.")
@json_option
@click.pass_obj
@example("mm-admin events --limit 5")
def events(program: Program, limit: int, as_json: bool) -> None:
    """Show who changed what."""
    columns = ("id", "at", "actor", "action", "subject", "changes")
    with program.reading() as session:
        show(changes.list_events(session, limit), columns, as_json)
