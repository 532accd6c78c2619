"""The application on one database for a whole file of tests, and the browsers of who looks at its administration."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from argon2 import PasswordHasher, profiles
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions
from mm_lib.services import accounts
from mm_lib.settings import DatabaseSettings, Settings
from tests.frontend import operators_world, world
from tests.frontend.operators_world import Registry


class Stage:
    """A running application and its database."""

    def __init__(self, app: Flask, sessions: sessionmaker[Session], registry: Registry) -> None:
        self.app, self.sessions, self.registry = app, sessions, registry
        self._browsers: dict[str, FlaskClient] = {}

    def browser(self, person: str) -> FlaskClient:
        """Of this person, signed in once."""
        if person not in self._browsers:
            self._browsers[person] = operators_world.signed_in(self.app, person)
        return self._browsers[person]

    def page(self, path: str, person: str = "super") -> str:
        """What this person reads there."""
        return world.text(self.browser(person).get(path))

    def send(self, path: str, person: str = "super", **form: Any) -> TestResponse:
        """The form of a page, filled in and sent."""
        browser = self.browser(person)
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get(path).get_data(as_text=True))
        assert found, f"{path} has no form for {person}"
        return browser.post(path, data={"csrf_token": found[1], **form})


@contextmanager
def stage(template: Path, folder: Path, settings: Settings = world.SETTINGS) -> Iterator[Stage]:
    """A copy of the empty SQLite database with the registry of the operators' tests in it."""
    path = folder / "registry.sqlite"
    shutil.copy(template, path)
    with stage_on(f"sqlite:///{path}", settings) as made:
        yield made


@contextmanager
def stage_on(url: str, settings: Settings = world.SETTINGS) -> Iterator[Stage]:
    """The same in any database that is empty and migrated."""
    engine = make_engine(DatabaseSettings(url=url))
    sessions = make_sessions(engine)
    quick = PasswordHasher.from_parameters(profiles.CHEAPEST)
    with sessions() as session, patch.object(accounts, "_hasher", lambda: quick):
        registry = operators_world.build(session)
    guards.limiter.enabled = False
    try:
        yield Stage(create_app(settings, engine), sessions, registry)
    finally:
        guards.limiter.enabled = True
        engine.dispose()
