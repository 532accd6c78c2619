"""mm-admin export, plan, apply, validate: the registry as files, one per site.

Exit codes of `plan` are those of Terraform's `-detailed-exitcode`: 0 nothing to do, 1 an error or a refusal, 2 changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from mm_lib.cli.changing import actor
from mm_lib.cli.common import Failure, Program, example, json_option
from mm_lib.database import freeze, make_sessions, transaction
from mm_lib.registry import files, rendering, schema
from mm_lib.registry.carry_out import Powers
from mm_lib.registry.current import read_sites
from mm_lib.registry.documents import for_files
from mm_lib.registry.planning import Plan, Wish, as_json, carry_out_plan, make_plan, restore, save
from mm_lib.registry.reading import Checked, check
from mm_lib.registry.steps import Step
from mm_lib.services import audit
from mm_lib.services.host_details import Limits

NOTHING, FAILED, CHANGES = 0, 1, 2
paths_argument = click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="DIR|FILE...")
delete_option = click.option(
    "--delete", is_flag=True, help="Delete what the files do not name; in a folder's case also sites without a file."
)


class _Terraform(click.Command):
    """Wrong usage is 1 here: 2 means changes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As ever, with the other exit code."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.exit_code = FAILED  # type: ignore[misc]  # a class variable, and read from the instance
            raise


@click.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--prune", is_flag=True, help="Delete the files of sites that are not there any more.")
@click.pass_obj
@example("mm-admin export /srv/registry")
def export(program: Program, folder: Path, prune: bool) -> None:
    """Write the registry as YAML, one file per site, without secrets.

    Files that are there already keep their names, comments and order.
    """
    with program.reading() as session:
        sites = {name: for_files(site) for name, site in read_sites(session, datetime.now(UTC)).items()}
    done = files.export(folder, sites, prune)
    for path in done.stale:
        click.echo(
            f"{path}: its site is not there any more{'; deleted' if prune else ' (--prune deletes it)'}", err=True
        )
    click.echo(f"Wrote {len(done.written):,} files; {done.unchanged:,} were right already.")


@click.command("validate")
@paths_argument
@click.option("--schema", "print_schema", is_flag=True, help="Print the JSON Schema of a file, and do nothing else.")
@json_option
@example("mm-admin validate registry/*.yaml")
def validate(paths: Sequence[Path], print_schema: bool, as_json: bool) -> None:
    """Check files of the registry without a database: in CI, or before a commit.

    Prints FILE:LINE:COLUMN and what is wrong. Exit code 1 when something is.
    """
    if print_schema:
        click.echo(schema.text(), nl=False)
        return
    checked = _checked(paths, Limits())
    if as_json:
        found = [("error", problem) for problem in checked.problems]
        found += [("warning", problem) for problem in checked.warnings]
        click.echo(json.dumps([{"level": level, **vars(problem)} for level, problem in found], indent=2))
    else:
        _complain(checked)
    if checked.problems:
        raise click.exceptions.Exit(FAILED)
    if not as_json:
        click.echo(f"{len(checked.sites):,} sites are valid.")


@click.command("plan", cls=_Terraform)
@paths_argument
@delete_option
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan for `mm-admin apply --plan`."
)
@json_option
@click.pass_obj
@example("mm-admin plan /srv/registry --delete")
def plan(program: Program, paths: Sequence[Path], delete: bool, out: Path | None, as_json: bool) -> None:
    """Show what would change if the registry became as files say. Nothing is changed.

    Exit codes: 0 nothing to do, 1 an error or something that would be refused, 2 there are changes.
    """
    checked = _valid(program, paths)
    with progress("Trying") as advance, frozen(program, write=False) as session:
        made = make_plan(session, _wish(paths, checked, delete), _powers(), advance)
    if as_json:
        click.echo(json.dumps(_as_json(made), indent=2, ensure_ascii=False, default=str))
    else:
        for line in rendering.lines(made, _where(checked)):
            click.echo(line)
    if made.refused:
        raise click.exceptions.Exit(FAILED)
    if out:
        out.write_text(save(made), encoding="utf-8")
    raise click.exceptions.Exit(CHANGES if made.steps else NOTHING)


@click.command("apply")
@paths_argument
@delete_option
@click.option(
    "--plan",
    "saved",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead of files: a plan that `mm-admin plan --out` saved; refused when the registry changed since.",
)
@click.pass_obj
@example("mm-admin apply /srv/registry")
def apply(program: Program, paths: Sequence[Path], delete: bool, saved: Path | None) -> None:
    """Make the registry as files say, in one transaction: all of it or nothing.

    Nothing is deleted without --delete. Each change is an event (`mm-admin events`).
    """
    if bool(saved) == bool(paths) or (saved and delete):
        raise click.UsageError("Give either files, or --plan alone.")
    expected: str | None = None
    if saved:
        checked = Checked()
        wish, expected = restore(saved.read_text(encoding="utf-8", errors="replace"))
    else:
        checked = _valid(program, paths)
        wish = _wish(paths, checked, delete)
    with progress("Changing the registry") as advance, frozen(program, write=True) as session:
        done = carry_out_plan(session, wish, _powers(), expected, advance)
    for line in rendering.lines(done, _where(checked)):
        click.echo(line)
    if done.steps:
        click.echo("Done. Publish it with `mm-admin cache build`.")


def _wish(paths: Sequence[Path], checked: Checked, delete: bool) -> Wish:
    complete = any(path.is_dir() for path in paths)
    return Wish([loaded.site for loaded in checked.sites], complete, delete)


def _powers() -> Powers:
    return Powers(actor(), datetime.now(UTC))


def _valid(program: Program, paths: Sequence[Path]) -> Checked:
    """The files' sites; ends the program when a file is not valid."""
    frontend = program.settings.frontend
    checked = _checked(paths, Limits(frontend.max_netblock_ipv4, frontend.max_netblock_ipv6))
    _complain(checked)
    if checked.problems:
        raise click.exceptions.Exit(FAILED)
    return checked


def _checked(paths: Sequence[Path], limits: Limits) -> Checked:
    if not paths:
        raise Failure("Name a folder or files.", FAILED)
    found = files.find(paths)
    if not found:  # with --delete it would mean that every site is to go
        raise Failure("There is no YAML file.", FAILED)
    texts, problems = files.read(found)
    checked = check(texts, limits)
    checked.problems = sorted(problems + checked.problems)
    return checked


def _complain(checked: Checked) -> None:
    for problem in checked.problems:
        click.echo(str(problem), err=True)
    for problem in checked.warnings:
        click.echo(f"{problem} (warning)", err=True)


def _where(checked: Checked) -> Callable[[Step], str]:
    loaded = {one.site.name: one for one in checked.sites}
    return lambda step: loaded[step.site].where(step.path) if step.site in loaded else "no file"


def _as_json(made: Plan) -> dict[str, Any]:
    reasons = {id(refusal.step): refusal.reason for refusal in made.refused}
    return {
        "changes": [{**as_json(step), "refused": reasons.get(id(step), "")} for step in made.steps],
        "left_alone": [as_json(step) for step in made.left],
    }


@contextmanager
def frozen(program: Program, write: bool) -> Iterator[Session]:
    """A session that sees the registry as of one moment, from the first look to the last change.

    Somebody else's change in between makes the transaction fail instead of being overwritten.
    """
    with make_sessions(program.engine)() as session:
        freeze(session)
        if not write:
            yield session
            return
        audit.sign(session, audit.Actor(actor()))
        try:
            with transaction(session):
                yield session
        except (IntegrityError, OperationalError) as error:
            if (
                isinstance(error, IntegrityError)
                or getattr(error.orig, "pgcode", None) == "40001"
                or "locked" in str(error.orig)
            ):
                raise Failure(
                    "Somebody else changed the registry right now. Nothing was done; try again.", FAILED
                ) from error
            raise


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[], object]]:
    """A bar on a terminal; the function that comes of it is called once a step."""
    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
