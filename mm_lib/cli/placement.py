"""mm-admin location, directory: which hosts are asked for by name, and which may serve a directory alone."""

from __future__ import annotations

import click

from mm_lib.cli.common import Group, Program, json_option, show
from mm_lib.cli.mirrors import site_of_host
from mm_lib.services import hosts, locations, reservations


@click.group(cls=Group)
def location() -> None:
    """Groups of hosts that clients can ask for by location=, such as a cloud region."""


@location.command("add")
@click.argument("name")
@click.pass_obj
def location_add(program: Program, name: str) -> None:
    """Make a location group.

    \b
    Example:
      mm-admin location add cloud-eu-west
    """
    with program.transaction() as session:
        locations.add_location(session, name)
    click.echo(f"Made the location group {name}.")


@location.command("add-host")
@click.argument("name")
@click.argument("host_name", metavar="HOST")
@site_of_host
@click.pass_obj
def location_add_host(program: Program, name: str, host_name: str, site_name: str | None) -> None:
    """Put a host into a location group.

    \b
    Example:
      mm-admin location add-host cloud-eu-west mirror.example.edu
    """
    with program.transaction() as session:
        locations.add_host(session, name, hosts.find_host(session, host_name, site_name))
    click.echo(f"{host_name} is in {name}.")


@location.command("remove-host")
@click.argument("name")
@click.argument("host_name", metavar="HOST")
@site_of_host
@click.pass_obj
def location_remove_host(program: Program, name: str, host_name: str, site_name: str | None) -> None:
    """Take a host out of a location group.

    \b
    Example:
      mm-admin location remove-host cloud-eu-west mirror.example.edu
    """
    with program.transaction() as session:
        locations.remove_host(session, name, hosts.find_host(session, host_name, site_name))
    click.echo(f"{host_name} is no longer in {name}.")


@location.command("list")
@json_option
@click.pass_obj
def location_list(program: Program, as_json: bool) -> None:
    """Show all location groups.

    \b
    Example:
      mm-admin location list
    """
    with program.reading() as session:
        show(locations.list_locations(session), ("id", "name", "hosts"), as_json)


@click.group(cls=Group)
def directory() -> None:
    """Directories of the master that not every host may serve."""


category_option = click.option("--category", help="Needed where several categories have the directory.")


@directory.command("reserve")
@click.argument("path")
@click.argument("host_names", metavar="HOST...", nargs=-1, required=True)
@category_option
@site_of_host
@click.pass_obj
def directory_reserve(
    program: Program, path: str, host_names: tuple[str, ...], category: str | None, site_name: str | None
) -> None:
    """Let only some hosts serve a directory (not what is below it). Those that were named before stay.

    \b
    Example:
      mm-admin directory reserve pub/fedora/linux/releases/test mirror.example.edu
    """
    with program.transaction() as session:
        found = reservations.find_directory(session, path, category)
        reservations.reserve(session, found, [hosts.find_host(session, name, site_name) for name in host_names])
    click.echo(f"{path} is reserved for {', '.join(host_names)}.")


@directory.command("release")
@click.argument("path")
@category_option
@click.pass_obj
def directory_release(program: Program, path: str, category: str | None) -> None:
    """Let every host serve a directory again.

    \b
    Example:
      mm-admin directory release pub/fedora/linux/releases/test
    """
    with program.transaction() as session:
        reservations.release(session, reservations.find_directory(session, path, category))
    click.echo(f"Every host may serve {path}.")


@directory.command("list-reserved")
@json_option
@click.pass_obj
def directory_list_reserved(program: Program, as_json: bool) -> None:
    """Show which directories are reserved, and for whom.

    \b
    Example:
      mm-admin directory list-reserved
    """
    with program.reading() as session:
        show(reservations.list_reserved(session), ("category", "directory", "hosts"), as_json)
