"""Where tries to sign in are counted: for all processes in Redis, and by each for itself while that is down."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from mm_frontend.app import create_app
from mm_lib.settings import Settings
from tests.frontend import world
from tests.frontend.world import sign_in
from tests.postgres import free_port

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}"
    with redis.Redis.from_url(url) as probe:
        for _ in range(400):
            try:
                probe.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.02)  # nothing tells when a foreign process listens
    yield url, process
    process.kill()
    process.wait(10)


def test_tries_are_counted_for_all_processes_and_go_on_when_the_counter_is_gone(
    engine: Engine, server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, process = server
    values = world.SETTINGS.model_dump()
    values["frontend"]["secret_key"] = "0123456789abcdefghijklmnopqrstuvwxyz"
    values["login"]["limits_storage"] = url
    settings = Settings.model_validate(values)
    first = create_app(settings, engine).test_client()
    assert [sign_in(first, "ada", "wrong").status_code for _ in range(10)] == [422] * 10
    second = create_app(settings, engine).test_client()
    assert sign_in(second, "ada", "wrong").status_code == 429
    process.kill()
    process.wait(10)
    assert sign_in(second, "ada", "wrong").status_code == 422
