"""mm-admin site password: what the private mirrors of a site check in with."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import click

from mm_lib.cli.common import Program
from mm_lib.services import site_passwords
from mm_lib.services.site_passwords import MAX_OVERLAP_DAYS, OVERLAP
from mm_lib.services.sites import find_site


@click.command("password")
@click.argument("name")
@click.option(
    "--keep-days",
    type=click.IntRange(0, MAX_OVERLAP_DAYS),
    default=OVERLAP.days,
    show_default=True,
    help="How long the one before works on.",
)
@click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read one that the mirrors have already, instead of making it."
)
@click.option("--withdraw", is_flag=True, help="Make none: from now on no password works.")
@click.pass_obj
def site_password(program: Program, name: str, keep_days: int, from_stdin: bool, withdraw: bool) -> None:
    """Give a site a new password for check-ins, and print it. It cannot be shown again.

    \b
    Example:
      mm-admin site password "Example University" --keep-days 30
    """
    if withdraw and from_stdin:
        raise click.UsageError("Either --stdin or --withdraw.")
    given = sys.stdin.readline().rstrip("\r\n") if from_stdin else ""
    if from_stdin and not given:
        raise click.UsageError("There was no password on standard input.")
    with program.transaction() as session:
        site = find_site(session, name)
        if withdraw:
            site_passwords.withdraw(session, site)
            click.echo(f"No password opens {name} any more.")
            return
        overlap = timedelta(days=keep_days)
        new = site_passwords.change(session, site, datetime.now(UTC), overlap=overlap, password=given)
    click.echo(f"Set the password of {name}." if given else new)
