"""The job queue's schema: made with ours, brought up to date, and looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from mm_lib.database import make_engine
from mm_lib.services import queue, schema
from mm_lib.settings import DatabaseSettings
from tests.postgres import Postgres


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[Connection]:
    """One to a database that was set up as `mm-admin db upgrade` does it."""
    name = postgres.create("migrated")
    engine = make_engine(DatabaseSettings(url=postgres.url(name)))
    with engine.connect() as connection:
        yield connection
    engine.dispose()
    postgres.drop(name)


def functions_and_tables(connection: Connection) -> set[str]:
    query = text(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'job_queue'::regnamespace"
        " UNION SELECT relname FROM pg_class WHERE relnamespace = 'job_queue'::regnamespace"
    )
    return set(connection.scalars(query))


def test_an_upgrade_makes_the_queue_in_a_schema_of_its_own(connection: Connection) -> None:
    assert queue.current(connection) == queue.newest()
    assert connection.scalar(text("SELECT to_regclass('procrastinate_jobs')")) is None
    assert connection.scalar(text("SELECT count(*) FROM job_queue.procrastinate_jobs")) == 0


def test_an_older_queue_is_brought_up_to_date(connection: Connection) -> None:
    """All of procrastinate's migrations end where its whole schema is."""
    whole = functions_and_tables(connection)
    queue.remove(connection)
    connection.execute(text("CREATE SCHEMA job_queue"))
    connection.commit()
    assert "mm-admin db upgrade" in queue.problem(connection)
    queue.upgrade(connection.engine)
    assert queue.problem(connection) == ""
    assert whole - functions_and_tables(connection) == set()


def test_a_missing_queue_is_reported_with_what_to_do(connection: Connection) -> None:
    queue.remove(connection)
    connection.commit()
    assert "job queue" in schema.state(connection.engine).problem
