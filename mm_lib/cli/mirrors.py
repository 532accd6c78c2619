"""mm-admin site, host, url, netblock: who mirrors, where, and for whom."""

from __future__ import annotations

import getpass
from typing import Any, cast

import click
from click.core import ParameterSource

from mm_lib.cli.common import Group, Program, json_option, show
from mm_lib.model.base import State
from mm_lib.model.hosts import AsnKind, CountryKind
from mm_lib.model.sites import MemberRole
from mm_lib.services import approvals, hosts, sites
from mm_lib.services.errors import InvalidValue

site_of_host = click.option("--site", "site_name", help="Needed where several sites have a host of that name.")
private_option = click.option("--private", is_flag=True, help="Not for the public.")
reason_option = click.option("--reason", required=True, help="Why; the owner sees it.")
coordinates_option = click.option("--coordinates", type=(float, float), help="Latitude and longitude in degrees.")


class _Known(click.Choice[str]):
    """yes, no, or unknown, as True, False and None."""

    def __init__(self) -> None:
        super().__init__(["yes", "no", "unknown"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value."""
        return {"yes": True, "no": False, "unknown": None}[super().convert(value, param, ctx)]


ipv4_option = click.option("--ipv4", "has_ipv4", type=_Known(), help="Whether it can be reached by IPv4.")
ipv6_option = click.option("--ipv6", "has_ipv6", type=_Known(), help="Whether it can be reached by IPv6.")


def _actor() -> str:
    return f"{getpass.getuser()} (mm-admin)"


@click.group(cls=Group)
def site() -> None:
    """Organisations that run mirrors."""


@site.command("add")
@click.argument("name")
@click.option("--url", "org_url", default="", help="The organisation's own pages.")
@private_option
@click.pass_obj
def site_add(program: Program, name: str, org_url: str, private: bool) -> None:
    """Make a site.

    \b
    Example:
      mm-admin site add "Example University" --url https://www.example.edu
    """
    with program.transaction() as session:
        sites.add_site(session, name, org_url=org_url, private=private, created_by=_actor())
    click.echo(f"Made the site {name}.")


@site.command("add-member")
@click.argument("name")
@click.argument("user")
@click.option("--role", type=click.Choice([role.value for role in MemberRole]), default="admin", show_default=True)
@click.pass_obj
def site_add_member(program: Program, name: str, user: str, role: str) -> None:
    """Let a user speak for a site.

    \b
    Example:
      mm-admin site add-member "Example University" alice --role owner
    """
    with program.transaction() as session:
        sites.add_member(session, name, user, MemberRole(role))
    click.echo(f"{user} is {role} of {name}.")


@site.command("disable")
@click.argument("name")
@reason_option
@click.pass_obj
def site_disable(program: Program, name: str, reason: str) -> None:
    """Take a site and all its hosts out of every answer.

    \b
    Example:
      mm-admin site disable "Example University" --reason "closed for the summer"
    """
    with program.transaction() as session:
        hosts.set_state(session, sites.find_site(session, name), State.ADMIN_DISABLED, reason, _actor())
    click.echo(f"Switched {name} off; the next `mm-admin cache build` leaves it out.")


@site.command("enable")
@click.argument("name")
@click.pass_obj
def site_enable(program: Program, name: str) -> None:
    """Let a site take part again, or approve a new one.

    \b
    Example:
      mm-admin site enable "Example University"
    """
    with program.transaction() as session:
        site = sites.find_site(session, name)
        if site.state is State.WAITING:
            approvals.approve(session, site, "", _actor())
        else:
            hosts.set_state(session, site, State.ACTIVE, "", _actor())
    click.echo(f"Switched {name} on.")


@site.command("list")
@json_option
@click.pass_obj
def site_list(program: Program, as_json: bool) -> None:
    """Show all sites.

    \b
    Example:
      mm-admin site list
    """
    columns = ("id", "name", "org_url", "private", "state", "state_reason", "hosts")
    with program.reading() as session:
        show(sites.list_sites(session), columns, as_json)


@click.group(cls=Group)
def host() -> None:
    """Mirror servers."""


@host.command("add")
@click.argument("site_name", metavar="SITE")
@click.argument("name")
@click.option("--country", help="Two letters, ISO 3166-1.")
@click.option("--bandwidth", "bandwidth_mbps", type=int, default=100, show_default=True, help="Mbit/s.")
@click.option("--asn", type=int, help="Number of its own autonomous system.")
@coordinates_option
@private_option
@ipv4_option
@ipv6_option
@click.pass_obj
def host_add(program: Program, /, site_name: str, name: str, **fields: Any) -> None:
    """Make a host of a site.

    \b
    Example:
      mm-admin host add "Example University" mirror.example.edu --country US --bandwidth 10000
    """
    with program.transaction() as session:
        hosts.add_host(session, site_name, name, created_by=_actor(), **fields)
    click.echo(f"Made the host {name}.")


@host.command("set")
@click.argument("name")
@click.option("--country", help="Two letters, ISO 3166-1.")
@click.option("--bandwidth", "bandwidth_mbps", type=int, help="Mbit/s.")
@coordinates_option
@click.option("--private/--public", default=None, help="Whether it serves only its own networks.")
@click.option(
    "--crawl-private/--no-crawl-private",
    default=None,
    help="Whether it may be crawled (--include-private) although private.",
)
@ipv4_option
@ipv6_option
@site_of_host
@click.pass_obj
def host_set(program: Program, /, name: str, site_name: str | None, **fields: Any) -> None:
    """Change a host; what is not given stays as it is.

    \b
    Example:
      mm-admin host set mirror.example.edu --bandwidth 20000 --ipv6 yes
    """
    given = {key: value for key, value in fields.items() if _is_given(key)}
    if not given:
        raise click.UsageError("Say what to change; --help shows what there is.")
    with program.transaction() as session:
        hosts.set_fields(hosts.find_host(session, name, site_name), **cast("hosts.HostFields", given))
    click.echo(f"Changed {name}.")


def _is_given(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is not ParameterSource.DEFAULT


@host.command("disable")
@click.argument("name")
@site_of_host
@reason_option
@click.pass_obj
def host_disable(program: Program, name: str, site_name: str | None, reason: str) -> None:
    """Take a host out of every answer.

    \b
    Example:
      mm-admin host disable mirror.example.edu --reason "serves old ISO images"
    """
    with program.transaction() as session:
        hosts.set_state(session, hosts.find_host(session, name, site_name), State.ADMIN_DISABLED, reason, _actor())
    click.echo(f"Switched {name} off; the next `mm-admin cache build` leaves it out.")


@host.command("enable")
@click.argument("name")
@site_of_host
@click.pass_obj
def host_enable(program: Program, name: str, site_name: str | None) -> None:
    """Let a host take part again, also one that the crawler switched off.

    \b
    Example:
      mm-admin host enable mirror.example.edu
    """
    with program.transaction() as session:
        hosts.set_state(session, hosts.find_host(session, name, site_name), State.ACTIVE, "", _actor())
    click.echo(f"Switched {name} on.")


@host.command("add-asn")
@click.argument("name")
@click.argument("number", type=int)
@click.option("--kind", type=click.Choice([kind.value for kind in AsnKind]), default="peer", show_default=True)
@site_of_host
@click.pass_obj
def host_add_asn(program: Program, name: str, number: int, kind: str, site_name: str | None) -> None:
    """Prefer a host for the clients of an autonomous system.

    \b
    Example:
      mm-admin host add-asn mirror.example.edu 64500 --kind own
    """
    with program.transaction() as session:
        hosts.add_asn(session, hosts.find_host(session, name, site_name), number, AsnKind(kind))
    click.echo(f"{name} is preferred for AS{number}.")


@host.command("add-country")
@click.argument("name")
@click.argument("country")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in CountryKind]),
    required=True,
    help="extra: counts as local there too. allowed: serves only clients of its allowed countries.",
)
@site_of_host
@click.pass_obj
def host_add_country(program: Program, name: str, country: str, kind: str, site_name: str | None) -> None:
    """Let a host count for another country, or limit it to countries.

    \b
    Example:
      mm-admin host add-country mirror.example.edu CA --kind extra
    """
    with program.transaction() as session:
        hosts.add_country(session, hosts.find_host(session, name, site_name), country, CountryKind(kind))
    click.echo(f"Added {country.upper()} to {name}.")


@host.command("list")
@json_option
@click.pass_obj
def host_list(program: Program, as_json: bool) -> None:
    """Show all hosts.

    \b
    Example:
      mm-admin host list
    """
    about = ("id", "site", "name", "country", "bandwidth_mbps", "private", "has_ipv4", "has_ipv6")
    columns = (*about, "state", "state_reason", "categories")
    with program.reading() as session:
        show(hosts.list_hosts(session), columns, as_json)


@click.group(cls=Group)
def url() -> None:
    """Where hosts have categories."""


@url.command("add")
@click.argument("host_name", metavar="HOST")
@click.argument("category")
@click.argument("addresses", metavar="URL...", nargs=-1, required=True)
@click.option("--always-up-to-date", is_flag=True, help="A master or a cache: served without being crawled.")
@click.option("--private", is_flag=True, help="For other mirrors and the crawler; never published.")
@site_of_host
@click.pass_obj
def url_add(
    program: Program,
    /,
    host_name: str,
    category: str,
    addresses: tuple[str, ...],
    site_name: str | None,
    **flags: bool,
) -> None:
    """Say where a host has a category's topdir. The first URL makes it carry the category.

    \b
    Example:
      mm-admin url add mirror.example.edu "Fedora Linux" https://mirror.example.edu/fedora/linux
    """
    if len(set(addresses)) < len(addresses):
        raise InvalidValue("URL", "the same URL is given twice")
    with program.transaction() as session:
        found = hosts.find_host(session, host_name, site_name)
        for address in addresses:
            hosts.add_url(session, found, category, address, **flags)
    click.echo(f"{host_name} carries {category} at {', '.join(addresses)}.")


@url.command("list")
@json_option
@click.pass_obj
def url_list(program: Program, as_json: bool) -> None:
    """Show all URLs.

    \b
    Example:
      mm-admin url list --json
    """
    columns = ("id", "site", "host", "category", "url", "private", "always_up_to_date")
    with program.reading() as session:
        show(hosts.list_urls(session), columns, as_json)


@click.group(cls=Group)
def netblock() -> None:
    """Networks whose clients get a host first."""


@netblock.command("add")
@click.argument("host_name", metavar="HOST")
@click.argument("network", metavar="NETBLOCK")
@click.option("--name", default="", help="What you call it.")
@site_of_host
@click.pass_obj
def netblock_add(program: Program, host_name: str, network: str, name: str, site_name: str | None) -> None:
    """Prefer a host for the clients of a network (CIDR, address, address/netmask, or DNS name).

    \b
    Example:
      mm-admin netblock add mirror.example.edu 192.0.2.0/24 --name campus
    """
    with program.transaction() as session:
        row = hosts.add_netblock(session, hosts.find_host(session, host_name, site_name), network, name)
        text = row.netblock
    click.echo(f"{host_name} is preferred for {text}.")


@netblock.command("list")
@json_option
@click.pass_obj
def netblock_list(program: Program, as_json: bool) -> None:
    """Show all netblocks.

    \b
    Example:
      mm-admin netblock list
    """
    with program.reading() as session:
        show(hosts.list_netblocks(session), ("id", "site", "host", "netblock", "name"), as_json)
