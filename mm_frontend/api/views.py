"""Every operation of the API, loaded: each module puts its own into the table."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from mm_frontend import errors
from mm_frontend.api import (
    checkin,
    content,
    crawls,
    deleted,
    details,
    documents,
    hosts,
    keys,
    legacy,
    me,
    mirrors,
    people,
    problems,
    sites,
)
from mm_frontend.api.blueprint import blueprint, old

MODULES = (
    documents,
    me,
    sites,
    people,
    keys,
    hosts,
    details,
    deleted,
    crawls,
    content,
    mirrors,
    checkin,
    legacy,
)  # importing them fills the table

blueprint.register_error_handler(Exception, problems.handle)


@blueprint.app_errorhandler(404)
@blueprint.app_errorhandler(405)
def _nothing_there(error: HTTPException) -> Response:
    """Addresses below ours that lead nowhere belong to no blueprint."""
    below = request.path.startswith(f"{blueprint.url_prefix}/")
    return problems.handle(error) if below else errors.handle(error)


def register(app: Flask) -> None:
    """Put the API into the application."""
    app.register_blueprint(blueprint)
    app.register_blueprint(old)
