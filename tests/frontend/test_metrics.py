"""/metrics of the front end: who may see it, requests over all processes, and the state of the registry."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import transaction
from mm_lib.model.content import Repository
from mm_lib.model.hosts import Host
from mm_lib.model.state import CrawlRun, Health, HostCategoryHealth, RunKind
from mm_lib.model.statistics import AccessDimension, AccessLogRead, AccessStatistic, PropagationVersion, StatisticLevel
from tests.frontend.world import SETTINGS
from tests.postgres import free_port

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

Values = dict[tuple[str, tuple[str, ...]], float]


def values(text: str) -> Values:
    """(metric, values of its labels) -> value."""
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


@pytest.fixture
def scraped(session: Session, registry: None) -> Values:
    """What a Prometheus server on this machine sees, two requests after the start."""
    with transaction(session):
        repository = session.scalars(select(Repository.id).where(Repository.prefix.is_not(None))).first()
        now = datetime.now(UTC)
        for timestamp, reached in ((1_000, 4), (2_000, 3)):
            session.add(
                PropagationVersion(
                    repository_id=repository,
                    timestamp=timestamp,
                    published_at=now,
                    measured_at=now,
                    mirrors=4,
                    mirrors_reached=reached,
                )
            )
        for hours, outcome in ((0, "failed"), (1, "done")):
            at = NOW + timedelta(hours=hours)
            session.add(CrawlRun(kind=RunKind.MIRRORS, arguments={}, started_at=at, finished_at=at, outcome=outcome))
        session.add(CrawlRun(kind=RunKind.MIRRORS, arguments={}, started_at=NOW + timedelta(hours=2)))
        day = {"level": StatisticLevel.DAY, "dimension": AccessDimension.ALL, "name": ""}
        session.add_all(
            AccessStatistic(**day, start=NOW.date() - timedelta(days=ago), requests=1, clients=1) for ago in (2, 3)
        )
        session.add(AccessLogRead(head=1, length=9, digest="", name="a", lines=7, malformed=2, read_at=NOW))
    networks = SETTINGS.frontend.model_copy(update={"metrics_networks": ["127.0.0.0/8"]})
    client = create_app(SETTINGS.model_copy(update={"frontend": networks}), session.get_bind()).test_client()  # type: ignore[arg-type]
    client.get("/healthz/live")
    client.get("/no/such/page")
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return values(answer.text)


def test_the_state_of_the_registry_is_told(scraped: Values, session: Session) -> None:
    states = Counter(session.scalars(select(Host.state)))
    assert {state: scraped["mm_hosts", (state,)] for state in states} == states
    health = Counter(session.scalars(select(HostCategoryHealth.health)))
    assert health[Health.QUARANTINED]
    assert {state: scraped["mm_host_categories", (state,)] for state in health} == health


def test_the_last_run_of_a_kind_that_ended_is_told(scraped: Values) -> None:
    ended = (NOW + timedelta(hours=1)).timestamp()
    runs = {key: value for key, value in scraped.items() if key[0] == "mm_run_finished_timestamp_seconds"}
    assert runs == {("mm_run_finished_timestamp_seconds", ("mirrors", "done")): ended}


def test_of_each_repository_the_newest_version_is_told(scraped: Values) -> None:
    ratios = [value for (name, _), value in scraped.items() if name == "mm_propagation_mirrors_ratio"]
    assert ratios == [0.75]


def test_when_access_logs_were_read_and_how_many_lines_could_be_is_told(scraped: Values) -> None:
    assert scraped["mm_access_logs_read_timestamp_seconds", ()] == NOW.timestamp()
    last = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
    assert scraped["mm_access_last_day_timestamp_seconds", ()] == last.timestamp()
    assert scraped["mm_access_log_lines", ("good",)] == 5
    assert scraped["mm_access_log_lines", ("malformed",)] == 2


def test_requests_are_counted_by_endpoint_and_status(scraped: Values) -> None:
    """Addresses of pages that do not exist make no series of their own."""
    assert scraped["mm_frontend_requests_total", ("health.live", "GET", "200")] >= 1
    assert scraped["mm_frontend_requests_total", ("none", "GET", "404")] >= 1
    assert scraped["mm_frontend_request_seconds_count", ("health.live",)] >= 1
    assert not [key for key in scraped if "/no/such/page" in key[1]]


@pytest.mark.parametrize("networks", [[], ["192.0.2.0/24"]])
def test_for_others_there_is_no_such_page(networks: list[str], session: Session) -> None:
    changed = SETTINGS.frontend.model_copy(update={"metrics_networks": networks})
    app = create_app(SETTINGS.model_copy(update={"frontend": changed}), session.get_bind())  # type: ignore[arg-type]
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 404
    assert "mm_hosts" not in answer.text


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def test_all_worker_processes_are_counted_and_leave_nothing_behind(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    secret = SETTINGS.frontend.secret_key
    assert secret is not None
    config, port = tmp_path / "mirrormanager.toml", free_port()
    config.write_text(
        f'[database]\nurl = "sqlite:///{sqlite_template}"\n[frontend]\nsecret_key = "{secret.get_secret_value()}"\n'
        'https = false\nmetrics_networks = ["127.0.0.1/32"]\n'
    )
    arguments = ["--config", str(config), "--port", str(port), "--workers", "2"]
    server = subprocess.Popen([sys.executable, "-c", "from mm_frontend.wsgi import main; main()", *arguments], cwd=ROOT)
    try:
        live = f"http://127.0.0.1:{port}/healthz/live"
        deadline = time.monotonic() + 30
        asked = 0
        while asked < 20 and time.monotonic() < deadline:
            try:
                get(live)
                asked += 1
            except OSError:
                time.sleep(0.1)
        counted = values(get(f"http://127.0.0.1:{port}/metrics"))
        assert counted["mm_frontend_requests_total", ("health.live", "GET", "200")] == asked == 20
        assert list(tmp_path.glob("mm-frontend-*"))
    finally:
        server.terminate()
        server.wait(20)
    assert not list(tmp_path.glob("mm-frontend-*"))
