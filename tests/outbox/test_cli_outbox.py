"""mm-admin outbox and webhook, as an operator uses them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mm_lib.cli.main import main
from tests.outbox.conftest import World
from tests.outbox.receivers import WebhookReceiver

PROGRAM = [sys.executable, "-W", "error", "-c", "from mm_lib.cli.main import main; main()"]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command line does not depend on the kind of database."""
    (tmp_path / "test.sqlite").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    monkeypatch.setenv("MM_DATABASE__URL", url)
    return url


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def rows(*arguments: str) -> list[dict[str, Any]]:
    return list(json.loads(run(*arguments, "--json")))


def test_a_webhook_is_made_tested_switched_and_removed(world: World) -> None:
    with WebhookReceiver() as receiver:
        (made,) = rows("webhook", "add", receiver.url)
        run("webhook", "test", "1")
        assert run("outbox", "deliver").endswith("1 delivered, 0 to be tried again, 0 given up\n")
        assert receiver.posts[0].is_signed_with(made["secret"])
        assert receiver.posts[0].json["type"] == "test"
    assert "secret" not in run("webhook", "list")
    run("webhook", "switch", "1", "off")
    assert [(row["enabled"], row["kinds"]) for row in rows("webhook", "list")] == [(False, [])]
    run("webhook", "remove", "1")
    assert "There is no webhook 1" in run("webhook", "remove", "1", code=1)


def test_the_secret_is_printed_when_a_webhook_is_made(world: World) -> None:
    assert "\nwhsec_" in run("webhook", "add", "https://example.org/", "--site", world.site.name)


def test_what_is_dead_is_listed_and_retried(world: World) -> None:
    with WebhookReceiver(410) as receiver:
        run("webhook", "add", receiver.url)
        run("webhook", "test", "1")
        assert "1 given up" in run("outbox", "deliver")
        (dead,) = rows("outbox", "list", "--dead")
        assert "410" in dead["last_error"]
        assert rows("outbox", "list", "--waiting") == []
        assert "1 deliveries wait again" in run("outbox", "retry", str(dead["id"]))
        assert "1 delivered" in run("outbox", "deliver")
    assert "Not among the dead" in run("outbox", "retry", "99", code=1)
    assert "--all" in run("outbox", "retry", code=2)


def test_a_changed_host_is_posted(world: World) -> None:
    with WebhookReceiver() as receiver:
        run("webhook", "add", receiver.url, "--kind", "host.updated")
        run("host", "set", "mirror.example.org", "--bandwidth", "2000")
        assert "1 delivered" in run("outbox", "deliver")
    assert receiver.posts[0].json["data"]["host"]["bandwidth"] == 2000


def test_one_who_follows_delivers_what_comes_and_ends_cleanly(world: World) -> None:
    with WebhookReceiver() as receiver:
        run("webhook", "add", receiver.url)
        command = [*PROGRAM, "outbox", "deliver", "--follow", "--every", "0.1"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        run("webhook", "test", "1")
        for _ in range(1000):
            if receiver.posts:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, len(receiver.posts)) == (0, 1), told
