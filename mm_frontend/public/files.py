"""What programs look for at fixed addresses: robots.txt, security.txt, and the filter for rsync."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, abort, request, url_for

from mm_frontend.db import session
from mm_frontend.guards import limiter
from mm_frontend.public import conditional
from mm_frontend.public.rsync_filter import EXCLUDE_ALL, read_filter_request, rules
from mm_frontend.public.twins import as_text
from mm_frontend.settings import brand, frontend
from mm_lib.services.changed import changed_directories

blueprint = Blueprint("files", __name__)
blueprint.after_request(conditional.finish)

_ROBOTS = ("User-agent: *", "Disallow: /login", "Disallow: /logout", "Disallow: /account", "Disallow: /rsyncFilter")
_VALID = timedelta(days=180)  # RFC 9116 recommends less than a year


@blueprint.get("/robots.txt")
def robots() -> Response:
    """What search engines should leave alone."""
    return as_text(_ROBOTS)


@blueprint.get("/.well-known/security.txt")
@blueprint.get("/security.txt")
def security() -> Response:
    """Whom to tell about a weakness (RFC 9116); nothing when nobody was named."""
    contact = brand().security_contact
    if not contact:
        abort(404)
    # The first of a month, so that the file changes once a month and can be kept in between.
    expires = (datetime.now(UTC) + _VALID).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    lines = [f"Contact: {contact}", f"Expires: {expires.isoformat().replace('+00:00', 'Z')}"]
    base = frontend().public_url
    if base:
        lines.append(f"Canonical: {base}{url_for('files.security')}")
    return as_text(lines)


@blueprint.get("/rsyncFilter", strict_slashes=False)
@blueprint.get("/rsyncFilter/")
@limiter.limit("30 per minute")
def rsync_filter() -> Response:
    """Rules that let rsync fetch only what changed since a moment; for a mistake, rules that fetch nothing, and why."""
    asked = read_filter_request(request.args)
    if asked.problem:
        return as_text([f"# {asked.problem}: nothing is transferred", EXCLUDE_ALL])
    return as_text(rules(changed_directories(session(), asked.categories, asked.since), asked.prefix))
