"""mm-admin netblock sync: the networks of clouds for the hosts that stand in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mm_lib.cli.changing import audited, carry_out
from mm_lib.cli.common import Program, example
from mm_lib.cli.mirrors import site_of_host
from mm_lib.services import clouds
from mm_lib.services.download import read_document

FETCH_SECONDS = 60.0


@click.command()
@click.argument("source", metavar="FILE-OR-URL")
@click.option("--provider", type=click.Choice(clouds.PROVIDERS), required=True, help="Whose format it is.")
@click.option(
    "--map", "given", multiple=True, metavar="REGION=HOST", help="Whose networks a host gets; may be repeated."
)
@click.option(
    "--map-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='TOML file with a table per provider, e.g. [aws], and lines like us-east-1 = "host".',
)
@click.option("--service", help="Only its networks. Default: EC2, AzureCloud, Google Cloud, OCI.")
@site_of_host
@audited
@click.pass_obj
@example(
    "mm-admin netblock sync https://ip-ranges.amazonaws.com/ip-ranges.json --provider aws \\\n"
    "      --map us-east-1=s3-mirror-us-east-1.example.org --dry-run"
)
def sync(program: Program, /, source: str, provider: str, by: str | None, dry_run: bool, **options: Any) -> None:
    """Prefer hosts for the clients of the cloud regions that they stand in, by the list that the provider publishes.

    A host gets the networks that it lacks and loses those that an earlier sync gave it; what was added by hand stays.
    Regions without a host are passed over. --map '*=mirror-{region}.example.org' names the hosts of all other regions.
    """
    map_file: Path | None = options["map_file"]
    table = clouds.parse_map_file(map_file.read_text(encoding="utf-8"), provider) if map_file else {}
    hosts = table | clouds.parse_pairs(options["given"])
    if not hosts:
        raise click.UsageError("Say which host stands in which region, with --map or --map-file.")
    data = read_document(source, clouds.MAX_BYTES, FETCH_SECONDS, program.settings.crawler.ca_file)
    regions = clouds.parse(provider, data, options["service"])
    carry_out(
        program, by, dry_run, lambda session: clouds.sync(session, provider, regions, hosts, options["site_name"])
    )
