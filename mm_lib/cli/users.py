"""mm-admin user: local accounts, the first administrator above all."""

from __future__ import annotations

import sys

import click

from mm_lib.cli.common import Group, Program, json_option, show
from mm_lib.model.accounts import Role
from mm_lib.services import accounts

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
