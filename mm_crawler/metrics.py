"""The figures of the last run of each kind, for Prometheus: a file for node_exporter's textfile collector, or a push.

A run is over before anybody could come and scrape it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway, write_to_textfile

logger = logging.getLogger(__name__)

JOB = "mm_crawler"
PUSH_TIMEOUT = 10.0  # seconds
GOOD = frozenset({"done", "ok"})  # outcomes of runs that need nobody's attention


class RunFigures(NamedTuple):
    """How one run went."""

    kind: str  # master, mirrors, propagation
    tier: str  # of a crawl; empty: it has none
    started_at: datetime
    finished_at: datetime
    outcome: str
    counts: Mapping[str, Any]  # those that are no numbers are left out


def publish(run: RunFigures, directory: Path | None, gateway: str | None) -> None:
    """Write the figures and push them, as far as that is wanted. What goes wrong is logged: the run itself is kept."""
    if not directory and not gateway:
        return
    registry = collect(run)
    name = "_".join(part for part in (JOB, run.kind, run.tier) if part)
    try:
        if directory:
            write_to_textfile(str(directory / f"{name}.prom"), registry)  # by rename: nobody reads half of it
        if gateway:
            keys = {"kind": run.kind, "tier": run.tier or "none"}
            push_to_gateway(gateway, JOB, registry, grouping_key=keys, timeout=PUSH_TIMEOUT)
    except OSError as error:
        logger.warning("the figures of this run cannot be published (crawler.metrics_*): %s", error)


def collect(run: RunFigures) -> CollectorRegistry:
    """The figures as metrics."""
    registry = CollectorRegistry()
    labels = {"kind": run.kind, "tier": run.tier}

    def gauge(name: str, text: str, value: float, **more: str) -> None:
        Gauge(f"{JOB}_last_run_{name}", text, [*labels, *more], registry=registry).labels(**labels, **more).set(value)

    gauge("started_timestamp_seconds", "When the last run began.", run.started_at.timestamp())
    gauge("finished_timestamp_seconds", "When the last run ended.", run.finished_at.timestamp())
    gauge("successful", "1 if the last run ended as it should.", run.outcome in GOOD)
    counts = Gauge(f"{JOB}_last_run_count", "What was counted in the last run.", [*labels, "what"], registry=registry)
    for name, value in sorted(run.counts.items()):
        if isinstance(value, int | float):
            counts.labels(**labels, what=name).set(value)
    return registry
