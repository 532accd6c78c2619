"""Errors of the API as problem+json (RFC 9457), each with a type that stays the same and is explained on a page."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Response, json, request
from flask_wtf.csrf import CSRFError
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from mm_frontend import errors
from mm_frontend.api.blueprint import PREFIX
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound, ServiceError, TooOften
from mm_lib.services.explanations import NoExplanation

log = logging.getLogger(__name__)
KIND = "application/problem+json"


@dataclass(frozen=True)
class ProblemType:
    """A kind of refusal."""

    name: str
    status: int
    title: str
    about: str  # what to do

    @property
    def uri(self) -> str:
        """Its type: an address that is explained on the page of problems."""
        return f"{PREFIX}/problems#{self.name}"


_T = ProblemType
TYPES = {
    kind.name: kind
    for kind in (
        _T("malformed", 400, "The request cannot be read", "The body is no JSON, or a header is not as it must be."),
        _T("csrf", 400, "The CSRF token is missing", "Requests of a browser session that change something need one."),
        _T("unauthenticated", 401, "Who is asking?", "Send a token: Authorization: Bearer …; it may have ended."),
        _T("not-allowed", 403, "Not yours to do", "Whoever the token belongs to may not do this, or not now."),
        _T("scope", 403, "The token's scopes do not cover this", "Make a token that has the scope."),
        _T("person-needed", 403, "Only for people", "A site's token cannot do this: use a token of a user."),
        _T("not-found", 404, "There is no such thing", "It may have been deleted, or belong to something else."),
        _T("method", 405, "Not that way", "The header Allow names the methods that there are."),
        _T("exists", 409, "It exists already", "A name or address can be used once."),
        _T("in-progress", 409, "The same request is being answered", "Ask again in a moment, with the same key."),
        _T("changed", 412, "It was changed meanwhile", "Read it again; the ETag that you sent is an old one."),
        _T("too-large", 413, "The body is too large", "Send less at once."),
        _T("media-type", 415, "The body is no JSON", "Send Content-Type: application/json."),
        _T("invalid", 422, "Some values cannot be used", "The member errors points to each, and says what is right."),
        _T("cursor", 422, "The cursor is not one of this list", "Begin without a cursor, and follow next."),
        _T("key-reused", 422, "The key belongs to another request", "Use a new Idempotency-Key for each request."),
        _T("depends", 424, "The redirector could not be asked", "Try again later."),
        _T("too-often", 429, "Not again so soon", "The header Retry-After says when."),
        _T("internal", 500, "That is our mistake", "It has been written down with the id in the answer."),
        _T("unavailable", 503, "The database cannot be reached", "Try again in a moment."),
        _T("refused", 400, "The request was refused", "The member detail says why."),
    )
}
_OF_SERVICE: tuple[tuple[type[ServiceError], str], ...] = (
    (NotFound, "not-found"),
    (AlreadyExists, "exists"),
    (InvalidValue, "invalid"),
    (NotAllowed, "not-allowed"),
    (TooOften, "too-often"),
    (NoExplanation, "depends"),
)
_OF_STATUS = {
    400: "malformed",
    401: "unauthenticated",
    403: "not-allowed",
    404: "not-found",
    405: "method",
    413: "too-large",
    415: "media-type",
    429: "too-often",
    503: "unavailable",
}


class Problem(Exception):
    """A refusal of the API itself."""

    def __init__(self, name: str, detail: str = "", /, *, headers: dict[str, str] | None = None, **more: Any) -> None:
        kind = TYPES[name]
        super().__init__(detail or kind.about)
        self.kind, self.headers, self.more = kind, headers or {}, more


def handle(error: Exception) -> Response:
    """The answer to any exception of the API."""
    known = problem_of(error)
    if known is None:
        return _ours(errors.handle(error))  # which writes it down
    log.info("api: %s %s: %s", request.method, request.path, error)
    return answer(known)


def _ours(response: Response) -> Response:
    """An answer of errors.py with the members that ours have."""
    kind = TYPES["unavailable" if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE else "internal"]
    members = response.get_json(force=True, silent=True)
    if isinstance(members, dict):
        response.set_data(json.dumps({"type": kind.uri, **members}))
    return response


def problem_of(error: Exception) -> Problem | None:
    """What an exception means to the client; None: it is our own mistake, or the database is down."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CSRFError):
        return Problem("csrf", "Send the header X-CSRFToken; GET /me gives the token.")
    if isinstance(error, ValidationError):
        return invalid(error)
    if isinstance(error, ServiceError):
        return _of_service(error)
    if isinstance(error, HTTPException) and (error.code or 500) < 500 and error.response is None:
        headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
        return Problem(_OF_STATUS.get(error.code or 0, "refused"), error.description or "", headers=headers)
    return None


def _of_service(error: ServiceError) -> Problem:
    name = next((name for kind, name in _OF_SERVICE if isinstance(error, kind)), "refused")
    if isinstance(error, InvalidValue):
        return Problem(name, str(error), errors=[{"pointer": f"#/{error.field}", "detail": error.message}])
    if isinstance(error, TooOften) and error.ready_at:
        seconds = max(1, -int(-(error.ready_at - datetime.now(UTC)).total_seconds() // 1))
        return Problem(name, str(error), headers={"Retry-After": str(seconds)})
    return Problem(name, str(error))


def invalid(error: ValidationError) -> Problem:
    """Every value that a model refuses, with a JSON pointer to it; never the value itself."""
    found = [
        {"pointer": "#/" + "/".join(str(part) for part in one["loc"]), "detail": one["msg"]} for one in error.errors()
    ]
    if any(one["type"] == "json_invalid" for one in error.errors()):
        return Problem("malformed", found[0]["detail"])
    return Problem("invalid", f"{found[0]['pointer']}: {found[0]['detail']}", errors=found)


def answer(problem: Problem) -> Response:
    """As RFC 9457 writes it."""
    kind = problem.kind
    members = {"type": kind.uri, "title": kind.title, "status": kind.status, "detail": str(problem), **problem.more}
    response = Response(json.dumps(members), kind.status, content_type=KIND)
    response.headers.update(problem.headers)
    if kind.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="MirrorManager"'
    return response
