"""The application on an empty, migrated database, and a browser without a window."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import transaction
from mm_lib.model.accounts import Role
from mm_lib.services.accounts import create_user
from tests.frontend import world


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
