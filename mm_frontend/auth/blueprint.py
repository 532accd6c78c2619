"""The blueprint of all pages about signing in; the modules beside put their views on it."""

from __future__ import annotations

import unicodedata

from flask import Blueprint, Response, request
from flask_babel import gettext
from flask_babel import lazy_gettext as _

blueprint = Blueprint("auth", __name__)

# Only tries that fail count: nobody is locked out by signing in often.
FAILURES_PER_ADDRESS = "20 per 5 minutes; 100 per hour"
FAILURES_PER_NAME = "10 per 5 minutes; 50 per hour"
MAILS_PER_ADDRESS = "10 per hour"  # whoever asks for a mail does not wait for an answer that could tell anything
PROVIDER_PER_ADDRESS = "60 per 5 minutes"


# What services tell people who sign in. They know no languages, so their texts are marked here.
_OF_SERVICES = (
    _("User name and password do not match an account."),
    _("This account is disabled. An administrator can say why."),
    _("Your account is in none of the groups that may sign in here."),
    _("The directory cannot be asked right now. Please try again in some minutes."),
    _("The provider cannot be asked right now. Please try again in some minutes."),
    _("The sign-in did not work. Please begin again."),
    _("must have at least 12 characters"),
    _("is too easy to guess"),
    _("That code is wrong. Does your device have the right time?"),
)


def said_by_services(text: str) -> str:
    """In the reader's language, where it is one of the texts above."""
    return str(gettext(text))


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
