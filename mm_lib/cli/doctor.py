"""mm-admin doctor: what is wrong in the registry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from mm_lib.cli.common import Program, example, json_option, show
from mm_lib.services import doctor as service
from mm_lib.services import probes


@click.command()
@click.option("--site", help="Only this site. Default: all.")
@click.option("--offline", is_flag=True, help="Ask no DNS and connect to no mirror.")
@click.option("--timeout", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Seconds per connection.")
@click.option("--certificate-days", default=14.0, show_default=True, help="A certificate that ends sooner is reported.")
@json_option
@click.pass_context
@example('mm-admin doctor --site "Example University" --json')
def doctor(ctx: click.Context, /, site: str | None, as_json: bool, offline: bool, **numbers: float) -> None:
    """Say per site what is wrong: what is missing or switched off, and what DNS, GeoIP and certificates contradict.

    Exit code 0: nothing; 1: findings. Countries and ASNs are compared where geo.country_database and geo.asn_database
    are set.
    """
    program: Program = ctx.obj
    settings = program.settings
    asked = None if offline else probes.make(settings.geo, settings.crawler.ca_file, numbers["timeout"])
    with program.reading() as session:
        sites = service.read(session, site)
    found = service.diagnose(sites, asked, datetime.now(UTC), timedelta(days=numbers["certificate_days"]))
    if found or as_json:
        show([row._asdict() for row in found], service.Finding._fields, as_json)
    else:
        click.echo(f"Nothing is wrong with {len(sites)} sites.")
    if found:
        ctx.exit(1)
