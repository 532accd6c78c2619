"""Idempotency-Key: a request that is sent again is carried out once, and answered with the same words."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from mm_frontend.api.calling import now, the_caller
from mm_frontend.api.problems import Problem
from mm_frontend.db import session
from mm_lib.services import kept_answers

HEADER, REPLAYED = "Idempotency-Key", "Idempotency-Replayed"
LONGEST = 200
_KEPT_HEADERS = ("Content-Type", "ETag", "Location")


def once(work: Callable[[], Response]) -> Response:
    """Do the work unless the client's key was seen before. In the caller's transaction. Raises Problem."""
    key = request.headers.get(HEADER)
    if key is None:
        return work()
    if not 0 < len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise Problem("malformed", f"{HEADER} must have 1 to {LONGEST} printable ASCII characters.")
    try:
        row = kept_answers.reserve(session(), _who(), key, _asked(), now())
    except kept_answers.AnotherRequest as error:
        raise Problem("key-reused", str(error)) from None
    except kept_answers.InProgress as error:
        raise Problem("in-progress", str(error)) from None
    if not kept_answers.is_new(row):
        return Response(row.body, row.status, headers={**row.headers, REPLAYED: "true"})
    response = work()
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    kept_answers.keep(session(), row, response.status_code, headers, response.get_data(as_text=True))
    return response


def refuse() -> None:
    """Let no answer be asked for again that holds a secret: it would have to be kept. Raises Problem."""
    if HEADER in request.headers:
        raise Problem("malformed", f"No {HEADER} here: the answer holds a secret, which is kept nowhere.")


def _who() -> str:
    """Keys belong to whoever sends them: of a token that is made anew as well."""
    caller = the_caller()
    if caller.bearer is not None and caller.user_id is None:
        return f"site {caller.bearer.site_id}"
    return f"user {caller.user_id}"


def _asked() -> bytes:
    return b"\n".join((request.method.encode(), request.full_path.encode(), request.get_data()))
