"""Every error as a page that helps, with an id that the log has; as problem+json for programs (RFC 9457)."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

from flask import Flask, Response, current_app, g, json, make_response, render_template, request
from flask_babel import gettext
from flask_babel import lazy_gettext as _
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from mm_frontend.db import UNAVAILABLE, forget
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound, ServiceError

log = logging.getLogger(__name__)

HTML, PROBLEM, JSON = "text/html", "application/problem+json", "application/json"
RETRY_SECONDS = 30
_MACHINE_PATHS = ("/healthz/", "/api/")


@dataclass(frozen=True)
class Problem:
    """What went wrong, for the person or program that asked."""

    status: int
    title: str
    text: str


_EXPLANATIONS = {
    400: (_("That request makes no sense"), _("Something in the address or the form could not be understood.")),
    403: (_("Not yours to open"), _("You may not see or do this. Another account may.")),
    404: (_("Nothing here"), _("There is no page at this address. It may have moved, or the link has a mistake.")),
    405: (_("Not that way"), _("This page exists, but it cannot be asked in this way.")),
    413: (_("Too much at once"), _("What was sent is larger than this page takes.")),
    429: (_("Slow down, please"), _("There were too many tries in a short time. Wait some minutes, then try again.")),
    500: (
        _("That is our mistake"),
        _("Something failed on our side. It has been written down, and will be looked at."),
    ),
    503: (
        _("Back in a moment"),
        _("The database cannot be reached right now. Mirrors and downloads work on without it."),
    ),
}
_STATUS_OF_REFUSAL = {NotFound: 404, NotAllowed: 403, AlreadyExists: 409, InvalidValue: 400}
_KEPT_HEADERS = ("Allow", "Retry-After")


def register(app: Flask) -> None:
    """Handle every exception that leaves a view."""
    app.register_error_handler(Exception, handle)


def handle(error: Exception) -> Response:
    """The answer to an exception."""
    if isinstance(error, HTTPException) and (error.response is not None or (error.code or 500) < 400):
        return make_response(error.get_response())
    problem = explain(error)
    number = secrets.token_hex(4).upper()
    _log(error, problem, number)
    if problem.status >= 500:
        forget()
        g.database_down = problem.status == 503
    body, kind = _body(problem, number)
    response = Response(body, problem.status, content_type=kind)
    if isinstance(error, HTTPException):
        response.headers.extend({name: value for name, value in error.get_headers() if name in _KEPT_HEADERS})
    elif problem.status == 503:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def explain(error: Exception) -> Problem:
    """What to tell about an exception; never its own text unless it was written for people."""
    if isinstance(error, CSRFError):
        text = gettext(
            "The form was too old, or your browser keeps no cookies from us. Go back, reload the page, send it again."
        )
        return Problem(400, gettext("That form has expired"), text)
    if isinstance(error, ServiceError):
        status = next((code for kind, code in _STATUS_OF_REFUSAL.items() if isinstance(error, kind)), 400)
        return Problem(status, _explanation(status)[0], str(error))
    status = 503 if isinstance(error, UNAVAILABLE) else 500
    if isinstance(error, HTTPException):
        status = error.code or 500
    return Problem(status, *_explanation(status))


def wants_json() -> bool:
    """Whether the client would rather have JSON than a page."""
    if request.path.startswith(_MACHINE_PATHS):
        return True
    return request.accept_mimetypes.best_match([HTML, PROBLEM, JSON], default=HTML) != HTML


def _explanation(status: int) -> tuple[str, str]:
    title, text = _EXPLANATIONS.get(status, _EXPLANATIONS[400 if status < 500 else 500])
    return str(title), str(text)


def _shown_path() -> str:
    """The path as a log may hold it: whoever has the token of a mailed link can use it."""
    for rule in current_app.url_map.iter_rules():
        before, token, _ = rule.rule.partition("<token>")
        if token and request.path.startswith(before):  # also where the method or the end is wrong
            return f"{before}(hidden)"
    return request.path


def _log(error: Exception, problem: Problem, number: str) -> None:
    path = _shown_path()
    if problem.status == 500:
        log.error("error %s: %s %s", number, request.method, path, exc_info=error)
    elif problem.status > 500:
        log.error("error %s: %s %s: %s", number, request.method, path, error)
    else:
        log.info("error %s: %s %s: %s", number, request.method, path, error)


def _body(problem: Problem, number: str) -> tuple[str, str]:
    if not wants_json():
        return render_template("errors/page.html", problem=problem, number=number), "text/html; charset=utf-8"
    members = {"status": problem.status, "title": problem.title, "detail": problem.text, "id": number}
    return json.dumps(members), PROBLEM
