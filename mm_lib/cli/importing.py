"""mm-admin import FORMAT FILE...: lists of mirrors of other projects and programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mm_lib.cli.changing import actor
from mm_lib.cli.common import Failure, Group, Program, example, json_option, show
from mm_lib.cli.registry import frozen, progress
from mm_lib.importers import exporting
from mm_lib.importers.cleaning import Options
from mm_lib.importers.drafts import MAX_CHARACTERS
from mm_lib.importers.importing import execute, prepare, read_source
from mm_lib.importers.report import COUNT_COLUMNS, NOTE_COLUMNS, Outcome, Report
from mm_lib.registry.carry_out import Powers
from mm_lib.registry.current import read_sites
from mm_lib.registry.documents import site_name
from mm_lib.services.content import find_category
from mm_lib.services.host_details import Limits

_HELP = {
    "almalinux": "AlmaLinux's mirror files (YAML, one mirror each, or a list of them).",
    "apt-list": "Lists of Debian's package python-apt-common (*.mirrors).",
    "arch": "Arch Linux's status JSON.",
    "csv": "A table as CSV, with a row of headings.",
    "masterlist": "Debian's Mirrors.masterlist.",
    "mirrorbits": "What `mirrorbits list` or `mirrorbits export mirmon` printed.",
}
_EXAMPLES = {
    "almalinux": "mirrors.d/*.yml --category AlmaLinux",
    "apt-list": "Debian.mirrors --category Debian",
    "arch": "status.json --category Arch",
    "csv": "mirrors.csv --category Debian",
    "masterlist": 'Mirrors.masterlist --category Archive=Debian --category CDImage="Debian CD"',
    "mirrorbits": "list.txt --category VLC",
}


@click.group("import", cls=Group)
def import_group() -> None:
    """Take lists of mirrors of other projects and programs.

    An import adds what is new and changes what the source says otherwise; it deletes nothing, and can be repeated.
    """


def _categories(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """[PART=]NAME, several times."""
    pairs = [value.rpartition("=") for value in values]
    return {part.strip(): name.strip() for part, _, name in pairs}


def _command(name: str) -> click.Command:
    @click.pass_obj
    def run(program: Program, /, **given: Any) -> None:
        _run(program, name, **given)

    run.__doc__ = f"{_HELP[name]}\n\n\b\nExample:\n  mm-admin import {name} {_EXAMPLES[name]}"
    options: Sequence[Callable[[Any], Any]] = (
        click.argument(
            "paths",
            nargs=-1,
            required=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE...",
        ),
        click.option(
            "--category",
            "categories",
            multiple=True,
            callback=_categories,
            metavar="[PART=]NAME",
            help="The category that the URLs lead to; of formats that know parts, one for each.",
        ),
        click.option("--site", default="", help="Give all hosts to this site, whatever the source says."),
        click.option(
            "--unlimited", is_flag=True, help="Take networks of any size, and URLs that are not on the Internet."
        ),
        click.option("--dry-run", is_flag=True, help="Say what would become of everything, and change nothing."),
        json_option,
    )
    for option in reversed(options):
        run = option(run)
    return click.command(name)(run)


def _run(
    program: Program,
    name: str,
    *,
    paths: Sequence[Path],
    categories: dict[str, str],
    site: str,
    unlimited: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    frontend = program.settings.frontend
    limits = None if unlimited else Limits(frontend.max_netblock_ipv4, frontend.max_netblock_ipv6)
    powers = Powers(actor(), datetime.now(UTC), limits, local=unlimited)
    by_part = {part.lower(): category for part, category in categories.items()}
    options = Options(by_part, site_name(site) if site else "", limits, unlimited, parts_are_categories=name == "csv")
    found = read_source(name, ((str(path), _beginning(path)) for path in paths))
    with progress("Trying") as advance, frozen(program, write=False) as session:
        prepared = prepare(session, found, options, powers, advance)
    steps = len(prepared.plan.steps) - len(prepared.plan.refused)
    if steps and not dry_run:
        with progress("Importing", steps) as advance, frozen(program, write=True) as session:
            execute(session, prepared, powers, advance)
    show_report(prepared.report, as_json, dry_run, "Publish it with `mm-admin cache build`." if steps else "")


def _beginning(path: Path) -> bytes:
    """All of a file that is not too large; of a larger one enough to see that."""
    with path.open("rb") as file:
        return file.read(MAX_CHARACTERS + 1)


def show_report(report: Report, as_json: bool, dry_run: bool, then: str = "") -> None:
    """Print what became of everything. Raises Failure when nothing of the source was of use."""
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **report.as_json()}, indent=2, ensure_ascii=False))
    else:
        if report.notes:
            show(report.note_rows(), NOTE_COLUMNS, False)
            click.echo()
        if report.counts:
            show(report.rows(), COUNT_COLUMNS, False)
        click.echo("Dry run: nothing was changed." if dry_run else f"Done. {then}".rstrip())
    useful = sum(report.total(outcome) for outcome in (Outcome.TAKEN, Outcome.CHANGED, Outcome.UNCHANGED))
    if not useful:
        raise Failure("Nothing could be taken.", 1)


@click.command("export-list")
@click.argument("format_name", type=click.Choice(sorted(exporting.FORMATS)), metavar="FORMAT")
@click.option(
    "--category",
    "categories",
    multiple=True,
    required=True,
    callback=_categories,
    metavar="[PART=]NAME",
    help="What is exported, and for masterlist what it is called there.",
)
@click.pass_obj
@example('mm-admin export-list masterlist --category Archive=Debian --category CDImage="Debian CD"')
def export_list(program: Program, format_name: str, categories: dict[str, str]) -> None:
    """Print the mirrors of a category in a format of other projects: almalinux, apt-list, csv or masterlist.

    What the format cannot say is told on standard error. `mm-admin export` writes everything.
    """
    with program.reading() as session:
        for name in categories.values():
            find_category(session, name)
        sites = read_sites(session, datetime.now(UTC))
    parts = {name: part for part, name in categories.items()}
    exported = exporting.export(format_name, sites, parts)
    click.echo(exported.text, nl=False)
    for note in exported.notes:
        click.echo(f"left out: {note.subject} ({note.where}): {note.reason}", err=True)


for _name in _HELP:
    import_group.add_command(_command(_name))
