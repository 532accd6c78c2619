"""Whether this process lives and can work, for load balancers and monitoring."""

from __future__ import annotations

from flask import Blueprint, Response, json

from mm_frontend.db import problem
from mm_frontend.errors import PROBLEM

blueprint = Blueprint("health", __name__, url_prefix="/healthz")


@blueprint.get("/live")
def live() -> Response:
    """The process answers."""
    return _status(200, "OK")


@blueprint.get("/ready")
def ready() -> Response:
    """The database can be reached and has the schema that this program works with."""
    reason = problem()
    return _status(503, reason) if reason else _status(200, "OK")


def _status(status: int, title: str) -> Response:
    return Response(json.dumps({"status": status, "title": title}), status, content_type=PROBLEM)
