"""Sign in, sign out, and one's own account."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import flask
from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from mm_frontend.auth.forms import SignInForm, safe_next
from mm_frontend.auth.session import drop, lifetime, remember
from mm_frontend.db import session
from mm_frontend.guards import limiter, login_required, the_viewer, viewer
from mm_lib.database import transaction
from mm_lib.services import accounts
from mm_lib.services.accounts import Refusal, SignInRefused

log = logging.getLogger(__name__)
blueprint = Blueprint("auth", __name__)

# Only tries that fail count: nobody is locked out by signing in often.
FAILURES_PER_ADDRESS = "20 per 5 minutes; 100 per hour"
FAILURES_PER_NAME = "10 per 5 minutes; 50 per hour"


def _failed(response: Response) -> bool:
    return response.status_code != 302


def _typed_name() -> str:
    return request.form.get("name", "").strip().lower()[:64]


@blueprint.route("/login", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_ADDRESS, methods=["POST"], deduct_when=_failed)
@limiter.limit(FAILURES_PER_NAME, key_func=_typed_name, methods=["POST"], deduct_when=_failed)
def login() -> ResponseReturnValue:
    """Sign in with a local account."""
    target = safe_next(request.args.get("next", "")) or url_for("auth.account")
    if viewer() is not None:
        return redirect(target)
    form = SignInForm()
    if not form.validate_on_submit():
        return render_template("auth/login.html", form=form, target=target), 422 if form.errors else 200
    try:
        token = _sign_in(form.name.data, form.password.data)
    except SignInRefused as refusal:
        return render_template("auth/login.html", form=form, target=target, refusal=str(refusal)), 422
    flask.session.clear()  # what was handed out before the sign-in is worth nothing after it
    response = make_response(redirect(target))
    remember(response, token)
    return response


def _sign_in(name: str, password: str) -> str:
    now = datetime.now(UTC)
    address = request.remote_addr or ""
    try:
        with transaction(session()) as database:
            user = accounts.authenticate(database, name, password, now)
            token = accounts.start_sign_in(
                database, user.id, now, lifetime(), address=address, user_agent=request.user_agent.string
            )
    except SignInRefused as refusal:
        # A name that nobody has may be a password in the wrong field: it does not belong in a log.
        who = "(unknown)" if refusal.reason is Refusal.UNKNOWN_NAME else name
        log.warning("sign-in of %r from %s refused: %s", who, address, refusal.reason)
        raise
    log.info("sign-in of %r from %s", user.name, address)
    return token


@blueprint.get("/logout")
def confirm_logout() -> ResponseReturnValue:
    """Ask first: a link or picture on another page must not sign anybody out."""
    if viewer() is None:
        return redirect(url_for("public.start"))
    return render_template("auth/logout.html")


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """Sign out."""
    signed_in = viewer()
    if signed_in is None:
        return redirect(url_for("public.start"))
    return _end(signed_in.sign_in_id)


@blueprint.get("/account")
@login_required
def account() -> ResponseReturnValue:
    """Who is signed in, and where else."""
    sign_ins = accounts.list_sign_ins(session(), the_viewer().user_id, datetime.now(UTC))
    return render_template("auth/account.html", sign_ins=sign_ins)


@blueprint.post("/account/sign-ins/<int(max=2147483647):sign_in_id>/end")
@login_required
def end_sign_in(sign_in_id: int) -> ResponseReturnValue:
    """End one of one's own sign-ins, perhaps on a device that is lost."""
    if sign_in_id == the_viewer().sign_in_id:
        return _end(sign_in_id)
    with transaction(session()) as database:
        accounts.end_sign_in(database, the_viewer().user_id, sign_in_id)
    flash("That sign-in has ended.")
    return redirect(url_for("auth.account"))


def _end(sign_in_id: int) -> Response:
    """End the sign-in that this request comes with."""
    with transaction(session()) as database:
        accounts.end_sign_in(database, the_viewer().user_id, sign_in_id)
    flask.session.clear()
    flash("You are signed out.")
    response = make_response(redirect(url_for("public.start")))
    drop(response)
    return response
