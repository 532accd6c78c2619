"""/metrics for Prometheus: requests of all worker processes, and the state of the registry.

prometheus_client adds up the processes by files in a directory that it learns of by an environment variable when it is
first imported. So it is imported here when an application is made, after mm-frontend has set that.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address, ip_network
from time import perf_counter
from typing import Any, NamedTuple

from flask import Blueprint, Flask, Response, g, request

from mm_frontend import settings
from mm_frontend.db import session
from mm_lib.services.errors import NotFound
from mm_lib.services.monitoring import measures

PREFIX = "mm_frontend"
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"  # the environment variable
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds

blueprint = Blueprint("metrics", __name__)


class _Counted(NamedTuple):
    requests: Any  # prometheus_client's Counter
    seconds: Any  # and its Histogram


@cache
def _counted() -> _Counted:
    """One set per process, however many applications it has."""
    from prometheus_client import Counter, Histogram

    labels = ["endpoint", "method", "status"]
    return _Counted(
        Counter(f"{PREFIX}_requests", "Requests that were answered.", labels),
        Histogram(f"{PREFIX}_request_seconds", "Time to make the answer.", ["endpoint"], buckets=BUCKETS),
    )


def register(app: Flask) -> None:
    """Count the requests of the application and tell of them."""
    _counted()
    app.before_request(_begin)
    app.after_request(_count)
    app.register_blueprint(blueprint)


def _begin() -> None:
    g.began = perf_counter()


def _count(response: Response) -> Response:
    """By endpoint, never by address: each combination of labels is a time series."""
    endpoint = request.endpoint or "none"
    method = request.method if request.method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") else "other"
    counted = _counted()
    counted.requests.labels(endpoint, method, response.status_code).inc()
    counted.seconds.labels(endpoint).observe(perf_counter() - g.get("began", perf_counter()))
    return response


@blueprint.get("/metrics")
def show() -> Response:
    """All figures, for those networks that may see them; to others there is no such page."""
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    if not _may_see(request.remote_addr or ""):
        raise NotFound("There is no such page.")
    registry = REGISTRY
    if DIRECTORY in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no hints there
    state = CollectorRegistry()
    for measure in measures(session(), datetime.now(UTC)):
        gauge = Gauge(f"mm_{measure.name}", measure.meaning, measure.labels, registry=state)
        for names, value in measure.values:
            (gauge.labels(*names) if names else gauge).set(value)
    return Response(generate_latest(registry) + generate_latest(state), content_type=CONTENT_TYPE_LATEST)


def _may_see(address: str) -> bool:
    try:
        client = ip_address(address)
    except ValueError:
        return False
    return any(client in ip_network(network) for network in settings.frontend().metrics_networks)
