"""mm-admin user: local accounts, the first administrator above all."""

from __future__ import annotations

import sys

import click

from mm_lib.cli.common import Group, Program, json_option, show
from mm_lib.model.accounts import Role
from mm_lib.services import accounts, identities, second_factor

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    try:
        answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError("No terminal to ask for the password on. Give it with --password-stdin.") from None
    return answer


@click.group(cls=Group)
def user() -> None:
    """People who may sign in."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="user", show_default=True)
@click.option("--email", default="")
@click.option("--display-name", default="")
@password_option
@click.pass_obj
def user_add(program: Program, /, name: str, role: str, password_stdin: bool, **fields: str) -> None:
    """Make a local account; asks for its password.

    \b
    Example:
      mm-admin user add alice --role admin --email alice@example.org
    """
    password = _password(password_stdin)
    with program.transaction() as session:
        accounts.create_user(session, name, password, role=Role(role), **fields)
    click.echo(f"Made the account {name} ({role}).")


@user.command("set-password")
@click.argument("name")
@password_option
@click.pass_obj
def user_set_password(program: Program, name: str, password_stdin: bool) -> None:
    """Change a password, and end the account's sign-ins everywhere.

    \b
    Example:
      mm-admin user set-password alice
    """
    password = _password(password_stdin)
    with program.transaction() as session:
        accounts.set_password(session, name, password)
    click.echo(f"Changed the password of {name}.")


@user.command("list")
@json_option
@click.pass_obj
def user_list(program: Program, as_json: bool) -> None:
    """Show all accounts.

    \b
    Example:
      mm-admin user list
    """
    columns = ("id", "name", "display_name", "email", "role", "active", "local", "last_login_at")
    with program.reading() as session:
        show(accounts.list_users(session), columns, as_json)


@user.command("set")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), help="What the user may do from now on.")
@click.option("--email", help="New mail address; an empty one removes it.")
@click.option("--active/--disabled", default=None, help="Whether the user may sign in; disabling ends all sign-ins.")
@click.pass_obj
def user_set(program: Program, name: str, role: str | None, email: str | None, active: bool | None) -> None:
    """Change a user's role or address, or whether they may sign in.

    \b
    Example:
      mm-admin user set ada --role admin
    """
    with program.transaction() as session:
        accounts.set_user(session, name, role=Role(role) if role else None, email=email, active=active)
    click.echo(f"Changed {name}.")


@user.command("identities")
@json_option
@click.pass_obj
def user_identities(program: Program, as_json: bool) -> None:
    """Show who signs in from which directory or OpenID provider.

    \b
    Example:
      mm-admin user identities
    """
    with program.reading() as session:
        show(identities.list_identities(session), ("user", "issuer", "subject", "since"), as_json)


@user.command("link")
@click.argument("name")
@click.argument("into")
@click.pass_obj
def user_link(program: Program, name: str, into: str) -> None:
    """Say that two users are one person: INTO gets all of NAME's ways to sign in, and its sites; NAME is disabled.

    Be sure of it: equal names or addresses prove nothing.

    \b
    Example:
      mm-admin user link ada-2 ada
    """
    with program.transaction() as session:
        count = identities.link(session, name, into)
    click.echo(f"{into} signs in from {count} {'source' if count == 1 else 'sources'} now; {name} is disabled.")


@user.command("tell-apart")
@click.argument("issuer")
@click.argument("subject")
@click.pass_obj
def user_tell_apart(program: Program, issuer: str, subject: str) -> None:
    """Say that two linked users are two people: who signs in as SUBJECT at ISSUER has an account of their own again.

    It is the one of before, or a new one. Sites and groups stay where they are.

    \b
    Example:
      mm-admin user tell-apart https://id.example.org 17
    """
    with program.transaction() as session:
        name = identities.tell_apart(session, identities.known_as(session, issuer, subject)).name
    click.echo(f"{subject} has the account {name} now.")


@user.command("codes-off")
@click.argument("name")
@click.pass_obj
def user_codes_off(program: Program, name: str) -> None:
    """Ask a user for no one-time codes any more: device and recovery codes are lost. Ends the user's sign-ins.

    \b
    Example:
      mm-admin user codes-off ada
    """
    with program.transaction() as session:
        was_on = second_factor.switch_off(session, accounts.find_user(session, name))
    click.echo(f"One-time codes of {name} are off{'' if was_on else ' already'}.")
