"""The application on an empty, migrated database, and a browser without a window."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, profiles
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import transaction
from mm_lib.model.accounts import Role
from mm_lib.services import accounts
from mm_lib.services.accounts import create_user
from tests.frontend import world
from tests.frontend.serving import CHROMIUM, SWITCHES


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A password hash takes a while on purpose; tests/lib/test_accounts.py works with the real parameters."""
    monkeypatch.setattr(accounts, "_hasher", lambda: PasswordHasher.from_parameters(profiles.CHEAPEST))
    yield
    accounts._hash_of_nobody.cache_clear()


@pytest.fixture(scope="module")  # not longer: while it lives, no other test of the process can run asyncio
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def app(engine: Engine) -> Flask:
    return create_app(world.SETTINGS, engine)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def registry(session: Session) -> None:
    """The mirrors of frontend.md section 9."""
    world.build(session)


@pytest.fixture
def ada(session: Session) -> None:
    """An administrator with a local account."""
    with transaction(session):
        create_user(session, "ada", world.PASSWORD, role=Role.ADMIN, email="ada@example.org", display_name="Ada L.")
