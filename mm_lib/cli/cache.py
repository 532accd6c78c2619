"""mm-admin cache: publish the file that redirectors answer from, and look into one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from mm_lib.cache import codec, file
from mm_lib.cli.common import Group, Program, json_option, show
from mm_lib.publish import publication

MAX_WARNINGS = 20


@click.group(cls=Group)
def cache() -> None:
    """The mirrorlist cache, the one file that redirectors answer from."""


@cache.command("build")
@click.option("--force", is_flag=True, help="Publish even when more than half of the hosts or repositories are gone.")
@click.pass_obj
def build(program: Program, force: bool) -> None:
    """Publish the cache file in one step and keep the one before as FILE.previous; print what it holds.

    \b
    Example:
      mm-admin cache build
    """
    with program.reading() as session:
        published = publication.publish(session, program.settings.cache.file, force)
    click.echo(f"Published {published.path}, {published.size:,} bytes:")
    for what, number in published.contents.items():
        click.echo(f"  {number:>9,} {what}")
    for warning in published.warnings[:MAX_WARNINGS]:
        click.echo(f"warning: {warning}", err=True)
    if len(published.warnings) > MAX_WARNINGS:
        click.echo(f"warning: and {len(published.warnings) - MAX_WARNINGS} more", err=True)


@cache.command("show")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@json_option
@click.pass_obj
def show_cache(program: Program, path: Path | None, as_json: bool) -> None:
    """Say what a cache file holds; exit code 1 when it cannot be read.

    \b
    Example:
      mm-admin cache show mirrorlist.cache.previous
    """
    held = codec.decode(file.read(path or program.settings.cache.file))
    rows = [{"what": what, "number": number} for what, number in publication.contents(held).items()]
    if not as_json:
        made = datetime.fromtimestamp(held.generated_at, UTC)
        click.echo(f"Generation {held.generation}, made {made:%Y-%m-%d %H:%M:%S} UTC")
    show(rows, ("number", "what"), as_json)
