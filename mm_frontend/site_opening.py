"""How a private mirror's site is opened by its password: by each interface in the same way, and not by trying many."""

from __future__ import annotations

from datetime import datetime

from flask import Response, g, request

from mm_frontend.db import Work
from mm_frontend.guards import limiter
from mm_lib.model.sites import Site
from mm_lib.services import audit, checkin
from mm_lib.services.checkin import WrongPassword

CALLS_PER_ADDRESS = "120 per 5 minutes; 600 per hour"  # a network may have many mirrors; each call is much to read
# Only what fails counts, on whichever interface: each try costs us a hash.
FAILURES_PER_ADDRESS = "20 per 5 minutes; 100 per hour"


def failed(_response: Response) -> bool:
    """Whether the request was a check-in that failed."""
    return bool(g.get("check_in_failed", False))


def note_failure() -> None:
    """The request counts as a try."""
    g.check_in_failed = True


limit_failures = limiter.shared_limit(FAILURES_PER_ADDRESS, scope="check-in", deduct_when=failed)


@limit_failures
def open_site(database: Work, name: str, password: str, now: datetime) -> Site:
    """The site that name and password belong to, which signs for what is changed now. Raises WrongPassword."""
    try:
        site = checkin.open_site(database, name, password, now)
    except WrongPassword:
        note_failure()
        raise
    audit.sign(database, audit.Actor(f"{checkin.BY} of {site.name}", None, request.remote_addr or ""))
    return site
