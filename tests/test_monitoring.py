"""utils/monitoring: alerts over recorded series, and the dashboard against Grafana's own types."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import generate_latest
from ruamel.yaml import YAML
from sqlalchemy.orm import Session

from mm_crawler import metrics as crawler
from mm_frontend import metrics as frontend
from mm_lib.services.monitoring import measures
from mm_redirector.metrics import Metrics, Sources

FOLDER = Path(__file__).parents[1] / "utils" / "monitoring"
ALERTS = YAML(typ="safe").load(FOLDER / "alerts.yml")
TESTS = YAML(typ="safe").load(FOLDER / "alerts-test.yml")
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_are_rules_that_prometheus_reads() -> None:
    promtool("check", "rules", "alerts.yml")


def test_each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() -> None:
    promtool("test", "rules", "alerts-test.yml")


def test_no_alert_is_without_a_recorded_series_that_raises_it() -> None:
    tried = {case["alertname"] for group in TESTS["tests"] for case in group["alert_rule_test"] if case["exp_alerts"]}
    assert tried == {rule["alert"] for rule in RULES}


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    assert all(rule["annotations"].keys() == {"summary", "action"} for rule in RULES)
    assert {rule["labels"]["severity"] for rule in RULES} == {"warning", "critical"}


def test_the_queries_of_the_dashboard_are_queries_that_prometheus_reads(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    file = tmp_path / "queries.yml"
    YAML(typ="safe").dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
    promtool("check", "rules", file)


def test_the_dashboard_has_only_what_grafana_knows() -> None:
    """What its types do not have would be lost when they read the file and write it again."""
    register_default_plugins()
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert again == DASHBOARD


def test_the_dashboard_is_what_its_program_makes() -> None:
    spec = spec_from_file_location("make_dashboard", FOLDER / "make_dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.text() == (FOLDER / "dashboard.json").read_text()


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)


@pytest.fixture
def known(session: Session) -> set[str]:
    """All metrics that our programs tell of."""
    redirector = Metrics(Sources(index=lambda: (1, 1), databases=lambda: {"c": 1}, reloads=lambda: {"taken": 1}))
    redirector.observe("METALINK", "OK", "COUNTRY", 0.001, 1)
    now = datetime(2026, 11, 1, tzinfo=UTC)
    run = crawler.RunFigures("mirrors", "full", now, now, "done", {"hosts": 1})
    texts = [redirector.exposition().decode(), generate_latest(crawler.collect(run)).decode()]
    names = {match for text in texts for match in re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE)}
    names |= {f"mm_{measure.name}" for measure in measures(session, now)}
    counted = frontend._counted()
    names |= {f"{metric.name}_total" for metric in counted.requests.collect()}
    names |= {f"{metric.name}_bucket" for metric in counted.seconds.collect()}
    return names


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_alert_and_no_panel_asks_for_a_metric_that_nobody_has(known: set[str]) -> None:
    asked = {name for query in [*QUERIES, *(rule["expr"] for rule in RULES)] for name in re.findall(r"\bmm_\w+", query)}
    assert asked <= known, asked - known
