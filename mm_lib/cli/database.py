"""mm-admin init and mm-admin db: a configuration file, and the schema."""

from __future__ import annotations

import os
import secrets
import tomllib
from pathlib import Path
from typing import Any

import click
from pydantic_core import PydanticUndefined

from mm_lib.cli.common import Group, Program
from mm_lib.database import driver_url
from mm_lib.settings import CONFIG_VARIABLE, SettingsError, sections

_HEADER = """\
# MirrorManager's settings. Every key is shown; a line that begins with # has its default.
# Each can also be given as an environment variable, MM_SECTION__KEY, or MM_SECTION__KEY_FILE for a file that
# holds the value. Relative paths are relative to this file's folder.
"""
_WRITTEN: dict[tuple[str, str], Any] = {  # keys that a new file states, because one chooses them
    ("database", "url"): "sqlite:///mirrormanager.sqlite",
    ("cache", "file"): "mirrorlist.cache",
    ("crawler", "log_directory"): "crawl-logs",
}


def sample(secret: str, database_url: str) -> str:
    """A commented configuration file with this secret key."""
    stated = {**_WRITTEN, ("database", "url"): database_url, ("frontend", "secret_key"): secret}
    lines = [_HEADER]
    for name, section in sections():
        lines.append(f"\n# {section.__doc__}\n[{name}]")
        for key, info in section.model_fields.items():
            lines.append(f"# {info.description}")
            default = None if info.default is PydanticUndefined else info.default
            stated_value = stated.get((name, key))
            lines.append(f"{key} = {_toml(stated_value)}" if stated_value else f"# {key} = {_toml(default)}")
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    return text


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(item)}' for key, item in value.items())}}}"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@click.command()
@click.option(
    "--database-url", default=_WRITTEN["database", "url"], show_default=True, help="Where the registry lives."
)
@click.pass_obj
def init(program: Program, database_url: str) -> None:
    """Write a commented configuration file with a new secret key. A file that exists is left alone.

    \b
    Example:
      mm-admin --config /etc/mirrormanager/mirrormanager.toml init --database-url postgresql://mm@localhost/mm
    """
    driver_url(database_url)  # a mistake is told now, not by the next command
    path = program.config or Path(os.environ.get(CONFIG_VARIABLE, "mirrormanager.toml"))
    try:
        # Made 0600 and only if new, in one step: it holds a secret.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(
            f"{path} exists already and was left as it is. Remove it first to make a new one."
        ) from None
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(sample(secrets.token_urlsafe(48), database_url))
    click.echo(f"Wrote {path}. Read it through, then run `mm-admin db upgrade`.")


@click.group(cls=Group)
def db() -> None:
    """The database's schema."""


@db.command()
@click.pass_obj
def upgrade(program: Program) -> None:
    """Make the schema, or bring it up to date. Safe to run again.

    \b
    Example:
      mm-admin db upgrade
    """
    from mm_lib.services import schema  # Alembic takes a while to load, and only this group needs it

    before, head = schema.current_revision(program.engine)
    schema.upgrade(program.engine)
    click.echo(f"The schema is at revision {head}" + (" already." if before == head else f", was {before or 'empty'}."))


@db.command()
@click.pass_obj
def check(program: Program) -> None:
    """Say whether the schema is up to date and as the model says; exit code 1 if not.

    \b
    Example:
      mm-admin db check && systemctl restart mm-frontend
    """
    from mm_lib.services import schema

    state = schema.state(program.engine)
    if state.problem:
        raise click.ClickException(state.problem)
    click.echo(f"The schema is up to date (revision {state.head}).")
