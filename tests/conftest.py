"""Fixtures for every test: an empty, migrated database on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, make_sessions
from mm_lib.services import schema
from mm_lib.settings import DatabaseSettings
from tests.postgres import Postgres

TEMPLATE = "migrated"

# How long one example takes says more about the other programs on the machine than about ours.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own MM_* variables must not decide how a test ends."""
    import os

    for name in list(os.environ):
        if name.startswith("MM_"):
            monkeypatch.delenv(name)


def _migrate(url: str) -> None:
    engine = make_engine(DatabaseSettings(url=url))
    schema.upgrade(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server with one migrated database that others are copied from."""
    server = Postgres(in_memory=True)
    try:
        server.create(name=TEMPLATE)
        _migrate(server.url(TEMPLATE))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that others are copied from."""
    path = tmp_path_factory.mktemp("sqlite") / "template.sqlite"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty, migrated database: each test runs on both kinds."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "test.sqlite")
        yield f"sqlite:///{tmp_path / 'test.sqlite'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(TEMPLATE)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on an empty, migrated database."""
    engine = make_engine(DatabaseSettings(url=database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session on an empty, migrated database; close to what a command works with."""
    with make_sessions(engine)() as session:
        yield session
