"""The address that report_mirror calls. It answers 200 whatever happens: clients take anything else for a breakdown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Response, request

from mm_frontend import errors
from mm_frontend.checkin import xmlrpc
from mm_frontend.checkin.blueprint import blueprint
from mm_frontend.db import session
from mm_frontend.guards import limiter
from mm_frontend.site_opening import CALLS_PER_ADDRESS, limit_failures, note_failure, open_site
from mm_lib.database import transaction
from mm_lib.rules import checkin as rules
from mm_lib.services import checkin
from mm_lib.services.errors import ServiceError

log = logging.getLogger(__name__)

SUCCESS, FAILURE = "checked in successful", "error checking in"

_NOT_UNDERSTOOD = "This call could not be understood."
_TEXTS = {
    413: "That is more than this server takes.",
    429: "Too many calls from this network. Try again later.",
    503: "The check-in is not possible right now. Try again later.",
}


@blueprint.before_request
def _allow_more() -> None:
    """A whole tree is larger than any form."""
    request.max_content_length = rules.MAX_BODY


@blueprint.post("/xmlrpc/")
@blueprint.post("/xmlrpc", strict_slashes=False)
@limiter.limit(CALLS_PER_ADDRESS)
@limit_failures
def call() -> Response:
    """Check a mirror in."""
    try:
        wanted = xmlrpc.parse(request.get_data(cache=False))
    except xmlrpc.NotACall:
        return _fault(_NOT_UNDERSTOOD)
    method = _METHODS.get(wanted.method)
    if method is None:
        return _fault("There is no such method.", xmlrpc.UNKNOWN_METHOD)
    return method(*wanted.values) if len(wanted.values) == _TAKES[wanted.method] else _fault(_NOT_UNDERSTOOD)


def _check_in(argument: Any) -> Response:
    """Tell what a private mirror carries: URL-safe base64 of bz2 of JSON."""
    try:
        if not isinstance(argument, str | bytes):
            raise rules.Unreadable
        report = rules.read(rules.decode(argument))
    except rules.Unreadable:
        return _fault(_NOT_UNDERSTOOD)
    except rules.Refused as refusal:
        return _refused(str(refusal))
    now = datetime.now(UTC)
    try:
        with transaction(session()) as database:
            site = open_site(database, report.site, report.password, now)
            done = checkin.check_in(database, site, report, now)
    except ServiceError as refusal:
        log.info("check-in of %r refused: %s", report.host, refusal)
        return _refused(f"{refusal}\n")
    lines = [
        f"Category {one.category} directories updated: {one.updated}  added: {one.added}  deleted {one.removed}\n"
        for one in done.categories
    ]
    return xmlrpc.answer("".join(lines) + SUCCESS)


def _refused(text: str) -> Response:
    note_failure()
    return xmlrpc.answer(text + FAILURE)


def _fault(text: str, code: int = xmlrpc.FAILED) -> Response:
    note_failure()
    return xmlrpc.fault(text, code)


# -- introspection, as the reference answers it


def _list_methods() -> Response:
    return xmlrpc.answer(sorted(_METHODS))


def _method_help(name: Any) -> Response:
    method = _METHODS.get(name) if isinstance(name, str) else None
    return xmlrpc.answer((method.__doc__ or "") if method else "")


def _method_signature(name: Any) -> Response:
    kinds = ["string"] * (1 + _TAKES[name]) if isinstance(name, str) and name in _TAKES else None
    return xmlrpc.answer([kinds] if kinds else "undef")


_METHODS: dict[str, Callable[..., Response]] = {
    "checkin": _check_in,
    "system.listMethods": _list_methods,
    "system.methodHelp": _method_help,
    "system.methodSignature": _method_signature,
}
_TAKES = {"checkin": 1, "system.listMethods": 0, "system.methodHelp": 1, "system.methodSignature": 1}


@blueprint.errorhandler(Exception)
def _as_fault(error: Exception) -> Response:
    """Whatever else goes wrong is written down as everywhere, and told without its reason."""
    status = errors.handle(error).status_code
    return xmlrpc.fault(_TEXTS.get(status, "The check-in failed on the server's side. Try again later."))
