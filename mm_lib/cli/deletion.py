"""mm-admin site/host delete and restore, deleted, purge: taking away, and taking that back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from mm_lib.cli.changing import actor
from mm_lib.cli.common import Program, example, json_option, show
from mm_lib.cli.mirrors import host, site, site_of_host
from mm_lib.services import deletion, hosts, sites


def _now() -> datetime:
    return datetime.now(UTC)


@site.command("delete")
@click.argument("name")
@click.pass_obj
@example('mm-admin site delete "Example University"')
def site_delete(program: Program, name: str) -> None:
    """Delete a site with its hosts; `site restore` takes it back for 30 days."""
    with program.transaction() as session:
        found = sites.find_site(session, name)
        deletion.delete_site(session, found, actor(), _now(), unlimited=True)
        number = found.id
    click.echo(f"Deleted {name}. `mm-admin site restore {number}` takes it back.")


@site.command("restore")
@click.argument("number", type=int)
@click.pass_obj
@example("mm-admin site restore 17")
def site_restore(program: Program, number: int) -> None:
    """Bring a deleted site back, with the hosts that went with it (`mm-admin deleted` shows the numbers)."""
    with program.transaction() as session:
        found = deletion.find_deleted_site(session, number, _now())
        deletion.restore_site(session, found)
        name = found.name
    click.echo(f"{name} is back.")


@host.command("delete")
@click.argument("name")
@site_of_host
@click.pass_obj
@example("mm-admin host delete mirror.example.edu")
def host_delete(program: Program, name: str, site_name: str | None) -> None:
    """Delete a host; `host restore` takes it back for 30 days."""
    with program.transaction() as session:
        found = hosts.find_host(session, name, site_name)
        deletion.delete_host(session, found, actor(), _now(), unlimited=True)
        number = found.id
    click.echo(f"Deleted {name}. `mm-admin host restore {number}` takes it back.")


@host.command("restore")
@click.argument("number", type=int)
@click.pass_obj
@example("mm-admin host restore 23")
def host_restore(program: Program, number: int) -> None:
    """Bring a deleted host back (`mm-admin deleted` shows the numbers)."""
    with program.transaction() as session:
        found = deletion.find_deleted_host(session, number, _now())
        deletion.restore_host(session, found)
        name = found.name
    click.echo(f"{name} is back.")


@click.command()
@json_option
@click.pass_obj
@example("mm-admin deleted")
def deleted(program: Program, as_json: bool) -> None:
    """Show what was deleted and can be brought back."""
    columns = ("kind", "id", "name", "site", "deleted_at", "deleted_by", "until")
    with program.reading() as session:
        rows = deletion.list_deleted(session, _now())
        show([{"kind": "site" if row.is_site else "host", **row._asdict()} for row in rows], columns, as_json)


@click.command()
@click.option("--days", default=deletion.KEPT.days, show_default=True, type=click.IntRange(0), help="Kept so long.")
@click.pass_obj
@example("mm-admin purge")
def purge(program: Program, days: int) -> None:
    """Remove for good what was deleted longer ago. Run it daily."""
    with program.transaction() as session:
        gone = deletion.purge(session, _now(), timedelta(days=days))
    click.echo(f"Removed {gone['sites']} sites and {gone['hosts']} hosts for good.")
