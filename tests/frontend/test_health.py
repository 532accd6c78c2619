"""What load balancers and monitoring ask."""

from __future__ import annotations

import json
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import Engine, create_engine, text

from mm_frontend.app import create_app
from mm_lib.services.schema import downgrade
from tests.frontend.world import SETTINGS


def ready(engine: Engine) -> tuple[int, str]:
    """Status and title of the readiness answer."""
    answer = create_app(SETTINGS, engine).test_client().get("/healthz/ready")
    assert answer.mimetype == "application/problem+json"
    members = json.loads(answer.data)
    assert members["status"] == answer.status_code
    return answer.status_code, members["title"]


def test_a_migrated_database_is_ready(engine: Engine) -> None:
    assert ready(engine) == (200, "OK")


def test_a_missing_migration_is_not_ready_and_names_the_schema(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'older'"))
    status, title = ready(engine)
    assert status == 503
    assert "schema" in title


def test_an_emptied_database_is_not_ready(engine: Engine) -> None:
    downgrade(engine, "base")
    status, title = ready(engine)
    assert status == 503
    assert "no schema yet" in title


def test_no_database_is_not_ready(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/mm.sqlite")
    assert ready(engine) == (503, "The database cannot be reached.")


def test_the_process_lives_without_a_database(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/mm.sqlite")
    answer = create_app(SETTINGS, engine).test_client().get("/healthz/live")
    assert json.loads(answer.data) == {"status": 200, "title": "OK"}


def test_other_names_are_not_found_in_the_same_language(client: FlaskClient) -> None:
    answer = client.get("/healthz/other")
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
