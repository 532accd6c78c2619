"""mm-admin geodata: better country data than what comes embedded."""

from __future__ import annotations

import sys
import tempfile
from itertools import chain
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from mm_lib.cli.common import Group, Program
from mm_lib.services import geodata as service

COUNTRIES = 250  # about; only for the progress bar


@click.group(cls=Group)
def geodata() -> None:
    """Which country an address is in."""


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
