"""mm-admin token: what programs prove themselves with to the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from mm_lib.cli.common import Group, Program, json_option, show
from mm_lib.model.accounts import Role, User
from mm_lib.services import accounts, tokens
from mm_lib.services.sites import find_site
from mm_lib.services.tokens import LONGEST, Scope


@click.group(cls=Group)
def token() -> None:
    """Tokens of the API: who has which, make one, revoke one."""


@token.command("list")
@json_option
@click.pass_obj
def token_list(program: Program, as_json: bool) -> None:
    """Show every token that opens something.

    \b
    Example:
      mm-admin token list
    """
    columns = ("id", "name", "owner", "scopes", "created_by", "created_at", "expires_at", "last_used_at")
    with program.reading() as session:
        show(tokens.list_all(session, datetime.now(UTC)), columns, as_json)


@token.command("add")
@click.argument("name")
@click.option("--user", help="The user that it acts for.")
@click.option("--site", help="The site that it acts for, instead of a user.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice([scope.value for scope in Scope]))
@click.option("--days", type=click.IntRange(0, LONGEST.days), default=90, show_default=True, help="0: until revoked.")
@click.pass_obj
def token_add(
    program: Program, name: str, *, user: str | None, site: str | None, scopes: tuple[str, ...], days: int
) -> None:
    """Make a token, and print it. It cannot be shown again.

    \b
    Example:
      mm-admin token add nightly --site "Example University" --scope checkin
    """
    if (user is None) == (site is None):
        raise click.UsageError("Either --user or --site.")
    with program.transaction() as session:
        owner = accounts.find_user(session, user) if user is not None else find_site(session, site or "")
        role = owner.role if isinstance(owner, User) else Role.USER
        lifetime = timedelta(days=days) if days else None
        now = datetime.now(UTC)
        _, text = tokens.make(session, owner, name, scopes, by="mm-admin", role=role, now=now, lifetime=lifetime)
    click.echo(text)


@token.command("revoke")
@click.argument("number", type=int)
@click.pass_obj
def token_revoke(program: Program, number: int) -> None:
    """Let a token open nothing any more.

    \b
    Example:
      mm-admin token revoke 12
    """
    with program.transaction() as session:
        found = tokens.find_any(session, number)
        tokens.revoke(session, found, datetime.now(UTC))
        name = found.name
    click.echo(f"Revoked the token {name}.")
