"""mm_crawler.metrics: the figures of a run as a file and as a push."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mm_crawler import metrics
from mm_crawler.metrics import RunFigures
from tests.postgres import free_port

START, END = datetime(2026, 11, 1, 12, 0, tzinfo=UTC), datetime(2026, 11, 1, 12, 1, tzinfo=UTC)
RUN = RunFigures("mirrors", "full", START, END, "done", {"hosts": 3, "unreachable": 1, "names": "not a number"})


def values(text: str) -> dict[tuple[str, str], float]:
    """(metric, what was counted) -> value."""
    families = text_string_to_metric_families(text)
    return {(one.name, one.labels.get("what", "")): one.value for family in families for one in family.samples}


def test_a_run_leaves_its_figures_for_the_textfile_collector(tmp_path: Path) -> None:
    metrics.publish(RUN, tmp_path, None)
    (file,) = tmp_path.iterdir()
    assert file.name == "mm_crawler_mirrors_full.prom"
    assert values(file.read_text()) == {
        ("mm_crawler_last_run_started_timestamp_seconds", ""): START.timestamp(),
        ("mm_crawler_last_run_finished_timestamp_seconds", ""): END.timestamp(),
        ("mm_crawler_last_run_successful", ""): 1,
        ("mm_crawler_last_run_count", "hosts"): 3,
        ("mm_crawler_last_run_count", "unreachable"): 1,
    }


@pytest.mark.parametrize(
    ("outcome", "good"), [("done", 1), ("ok", 1), ("timed out", 0), ("interrupted", 0), ("failed", 0)]
)
def test_only_a_run_that_ended_as_it_should_is_successful(outcome: str, good: int, tmp_path: Path) -> None:
    metrics.publish(RUN._replace(outcome=outcome), tmp_path, None)
    (file,) = tmp_path.iterdir()
    assert values(file.read_text())["mm_crawler_last_run_successful", ""] == good


class Gateway(BaseHTTPRequestHandler):
    """Keeps what is pushed."""

    pushed: list[tuple[str, str, str]]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.pushed.append((self.command, self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    pushed: list[tuple[str, str, str]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Kept", (Gateway,), {"pushed": pushed}))
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pushed
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_run_pushes_its_figures_below_its_kind_and_tier(gateway: tuple[str, list[tuple[str, str, str]]]) -> None:
    url, pushed = gateway
    metrics.publish(RUN, None, url)
    ((method, path, body),) = pushed
    assert (method, path) == ("PUT", "/metrics/job/mm_crawler/kind/mirrors/tier/full")
    assert values(body)["mm_crawler_last_run_count", "hosts"] == 3


def test_a_gateway_that_is_away_costs_a_line_in_the_log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING):
        metrics.publish(RUN, tmp_path, f"http://127.0.0.1:{free_port()}")
    assert "cannot be published" in caplog.text
    assert len(list(tmp_path.iterdir())) == 1


def test_without_settings_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metrics.publish(RUN, None, None)
    assert list(tmp_path.iterdir()) == []
