"""What every way to sign in ends with: a new sign-in, a new cookie, and a line in the log."""

from __future__ import annotations

import logging

import flask
from flask import Response, flash, make_response, redirect, request, url_for
from flask_babel import gettext

from mm_frontend.auth.session import begin, remember
from mm_frontend.db import session
from mm_lib.database import transaction
from mm_lib.model.accounts import Role, User
from mm_lib.services import membership
from mm_lib.services.sign_ins import Source, stronger

log = logging.getLogger(__name__)


def complete(user: User, source: Source, target: str) -> Response:
    """Somebody has shown who they are: keep it, and lead on; without a target to where they begin."""
    with transaction(session()):
        token = begin(user.id, source)
    log.info("sign-in of %r from %s by %s", user.name, request.remote_addr, source.name)
    flask.session.clear()  # what was handed out before the sign-in is worth nothing after it
    if not source.strong and stronger(user.role, source.role) is not Role.USER:
        flash(gettext("You are signed in without your further rights: they need a second factor."))
    response = make_response(redirect(target or home(user.id)))
    remember(response, token)
    return response


def home(user_id: int) -> str:
    """Where somebody begins: people who look after sites with those, others with their account."""
    return url_for("operators.mine" if membership.roles(session(), user_id) else "auth.account")


def refused(who: str, reason: str) -> None:
    """Write down why somebody was not signed in; a password typed into the wrong field must not be in `who`."""
    log.warning("sign-in of %s from %s refused: %s", who, request.remote_addr, reason)
