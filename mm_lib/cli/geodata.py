"""mm-admin geodata: better country data than what comes embedded, and where mirrors stand."""

from __future__ import annotations

import sys
import tempfile
from itertools import chain
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from mm_lib.cli.common import Group, Program, example, json_option, show
from mm_lib.services import geodata as service
from mm_lib.services import locating, probes

COUNTRIES = 250  # about; only for the progress bar


@click.group(cls=Group)
def geodata() -> None:
    """Which country an address is in, and where mirrors stand."""


@geodata.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: geo.country_database.")
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the files geoip and geoip6, e.g. /usr/share/tor; default: download Debian's tor-geoipdb.",
)
@click.option("--minimum", default=service.MIN_RANGES, show_default=True, help="Refuse data with fewer ranges.")
@click.pass_obj
def update(program: Program, output: Path | None, folder: Path | None, minimum: int) -> None:
    """Build an MMDB with countries from Debian's tor-geoipdb (IPFire Location). Takes about two minutes.

    \b
    Example:
      mm-admin geodata update --output /var/lib/mirrormanager/country.mmdb
    """
    configured = program.settings.geo.country_database
    target = output or configured
    if target is None:
        raise click.UsageError("Say where with --output, or set geo.country_database in the configuration.")
    with tempfile.TemporaryDirectory(prefix="mm-geodata-") as temporary:
        files = (folder / "geoip", folder / "geoip6") if folder else service.fetch(Path(temporary))
        ranges = chain.from_iterable(map(service.read_ranges, files))
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("Countries", total=COUNTRIES)
            count = service.build(ranges, target, minimum, lambda done: progress.update(task, completed=done))
            progress.update(task, total=progress.tasks[0].completed)
    click.echo(f"Wrote {target} from {count:,} ranges; running redirectors take it up by themselves.")
    if configured is None or configured.absolute() != target.absolute():
        click.echo(
            f'To use it, set country_database = "{target.absolute()}" in the section [geo] of the configuration.'
        )


@geodata.command()
@click.option("--again", is_flag=True, help="Also those that have coordinates; what was entered by hand is replaced.")
@click.option("--asns", is_flag=True, help="Also fill in the autonomous system of those that have none of their own.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@json_option
@click.pass_obj
@example("mm-admin geodata locate --dry-run")
def locate(program: Program, again: bool, asns: bool, dry_run: bool, as_json: bool) -> None:
    """Give public mirrors without coordinates those of the city that their addresses are in, for the map.

    Asks DNS and geo.city_database, with --asns also geo.asn_database. An autonomous system that is filled in counts as
    entered: its clients get the mirror first, unless the host says otherwise. Mirrors in embargoed countries, private
    ones and those that are switched off are left alone.
    """
    geo = program.settings.geo
    if geo.city_database is None or (asns and geo.asn_database is None):
        missing = "geo.asn_database" if geo.city_database else "geo.city_database"
        raise click.UsageError(f"{missing} is not set: without it nobody knows where an address is.")
    lookups = probes.places(geo)
    with program.reading() as session:
        mirrors = locating.lacking(session, again=again)
    found = list(locating.look(mirrors, lookups))
    if not dry_run:
        with program.transaction() as session:
            for mirror, located in found:
                locating.keep(session, mirror, located, again=again, asns=asns)
    show([located._asdict() for _, located in found], locating.Located._fields, as_json)
