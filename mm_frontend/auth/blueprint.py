"""The blueprint of all pages about signing in; the modules beside put their views on it."""

from __future__ import annotations

import unicodedata

from flask import Blueprint, Response, request

blueprint = Blueprint("auth", __name__)

# Only tries that fail count: nobody is locked out by signing in often.
FAILURES_PER_ADDRESS = "20 per 5 minutes; 100 per hour"
FAILURES_PER_NAME = "10 per 5 minutes; 50 per hour"
MAILS_PER_ADDRESS = "10 per hour"  # whoever asks for a mail does not wait for an answer that could tell anything
PROVIDER_PER_ADDRESS = "60 per 5 minutes"


def failed(response: Response) -> bool:
    """Whether a try to sign in counts: those that succeed lead on, and an outage is nobody's fault."""
    return response.status_code not in (302, 503)


def keep_nowhere(response: Response) -> Response:
    """A page with a secret: neither a proxy nor the browser keeps it."""
    response.headers["Cache-Control"] = "no-store"
    return response


def typed_name() -> str:
    """What tries for one name are counted by: directories find the same person under many spellings (RFC 4518)."""
    return " ".join(unicodedata.normalize("NFKC", request.form.get("name", "")[:255]).casefold().split())
