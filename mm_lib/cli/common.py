"""What mm-admin and mm-crawler share: settings, a session when one is needed, errors as messages with exit codes.

Exit codes: 0 done, 1 refused or failed (the message says why), 2 wrong usage or settings, 75 somebody else does the
same right now (EX_TEMPFAIL).
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from mm_lib import log
from mm_lib.cache.codec import CacheError
from mm_lib.database import freeze, make_engine, make_sessions, transaction
from mm_lib.locks import FOREVER, Busy
from mm_lib.services import audit
from mm_lib.services.errors import ServiceError
from mm_lib.settings import Settings, SettingsError, load

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file. Default: $MM_CONFIG, ./mirrormanager.toml, /etc/mirrormanager/mirrormanager.toml.",
)


class Program:
    """What a command works with; settings and engine are made when first asked for."""

    def __init__(self, config: Path | None, actor: Callable[[], str] | None = None) -> None:
        self.config = config
        self._actor = actor  # by whom changes of the registry are recorded; None: this program makes none

    @cached_property
    def settings(self) -> Settings:
        """The settings, with logging set up as they say."""
        settings = load(self.config)
        log.configure(settings.log)
        return settings

    @cached_property
    def engine(self) -> Engine:
        """The database's engine."""
        return make_engine(self.settings.database)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits when the block ends; what it changes of the registry is recorded."""
        with make_sessions(self.engine)() as session, transaction(session):
            if self._actor:
                audit.sign(session, audit.Actor(self._actor()))
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees the database as of one moment and is rolled back when the block ends."""
        with make_sessions(self.engine)() as session:
            freeze(session)
            yield session


class Group(click.Group):
    """A command group that turns the errors a person can do something about into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise Failure(str(error), 2) from error
        except (ServiceError, CacheError) as error:
            raise Failure(str(error), 1) from error
        except Busy as error:
            raise Failure(str(error), os.EX_TEMPFAIL) from error
        except (OperationalError, ProgrammingError) as error:
            raise Failure(_database_message(error), 1) from error
        except BrokenPipeError:
            raise  # `| head` is no failure; click knows what to do
        except OSError as error:
            raise Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error), 1) from error


class Failure(click.ClickException):
    """A message for the person, and an exit code for the program that called."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click declares a class variable and reads the instance's


def _database_message(error: OperationalError | ProgrammingError) -> str:
    text = str(error.orig).strip()
    if "no such table" in text or "does not exist" in text:
        return f"The database has no up-to-date schema ({text}). Run `mm-admin db upgrade`."
    if "unable to open database file" in text:
        return "The database file cannot be opened: does the folder in database.url exist, and may you write there?"
    return f"The database cannot be used: {text}"


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print rows as a table for a person, or as a JSON list for a program."""
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], indent=2, default=str, ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[column])) for column in columns))  # text: [a-z] is no markup
    # Piped to another program, a table must not be cut to 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=1000, soft_wrap=True)
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value)


wait_option = click.option(
    "--wait",
    type=click.FloatRange(0),
    is_flag=False,
    flag_value=FOREVER,
    default=0.0,
    show_default=False,
    metavar="[SECONDS]",
    help="When the same is running already, wait for its end, so long at most. Default: refuse, exit code 75.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def example(text: str) -> Callable[[Any], Any]:
    """Put an example under a command's help."""

    def put(command: Any) -> Any:
        command.__doc__ = f"{inspect.cleandoc(command.__doc__)}\n\n\b\nExample:\n  {text}"
        return command

    return put
