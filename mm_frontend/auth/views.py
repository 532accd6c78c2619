"""Sign in by name and password, sign out, and one's own account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import flask
from flask import Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext

from mm_frontend.auth import signing, sources
from mm_frontend.auth.blueprint import (
    FAILURES_PER_ADDRESS,
    FAILURES_PER_NAME,
    blueprint,
    failed,
    said_by_services,
    typed_name,
)
from mm_frontend.auth.forms import CodeForm, SignInForm, safe_next
from mm_frontend.auth.session import drop, idle
from mm_frontend.db import session
from mm_frontend.guards import limiter, login_required, the_viewer, viewer
from mm_frontend.settings import login as login_settings
from mm_lib.database import transaction
from mm_lib.services import accounts, identities, second_factor, sign_ins
from mm_lib.services.accounts import Refusal, SignInRefused
from mm_lib.services.errors import NotAllowed, ServiceError
from mm_lib.services.sign_ins import Source

CODE_SECONDS = 300.0  # how long the second factor may take after the password
_WAITING = "code"  # in the form cookie: whose password was right, until when, and where to go then


def sign_in_page(target: str = "", refusal: str = "", status: int = 200, form: SignInForm | None = None) -> Response:
    """The one page for all ways to sign in."""
    page = render_template(
        "auth/login.html",
        form=form or _sign_in_form(),
        target=target,
        refusal=refusal,
        providers=sources.provider_labels(),
        can_register=login_settings().registration,
    )
    return make_response(page, status)


def _sign_in_form() -> SignInForm:
    form = SignInForm()
    form.source.choices = sources.password_sources()
    if len(form.source.choices) < 2 or request.method == "GET":
        form.source.data = form.source.choices[0][0] if form.source.choices else None
    return form


@blueprint.route("/login", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_ADDRESS, methods=["POST"], deduct_when=failed)
@limiter.limit(FAILURES_PER_NAME, key_func=typed_name, methods=["POST"], deduct_when=failed)
def login() -> ResponseReturnValue:
    """Sign in with name and password, or choose a provider."""
    target = safe_next(request.args.get("next", ""))
    if (person := viewer()) is not None:
        return redirect(target or signing.home(person.user_id))
    form = _sign_in_form()
    if not form.source.choices or not form.validate_on_submit():
        return sign_in_page(target, status=422 if form.errors else 200, form=form)
    by = _by_directory if form.source.data == sources.LDAP else _by_password
    try:
        return by(form.name.data, form.password.data, target)
    except NotAllowed as refusal:
        return sign_in_page(target, said_by_services(str(refusal)), 422, form)
    except ServiceError as down:  # the directory
        return sign_in_page(target, said_by_services(str(down)), 503, form)


def _by_password(name: str, password: str, target: str) -> Response:
    try:
        with transaction(session()) as database:
            user = accounts.authenticate(database, name, password, datetime.now(UTC))
            asks = second_factor.is_on(database, user.id)
    except SignInRefused as refusal:
        # A name that nobody has may be a password in the wrong field: it does not belong in a log.
        signing.refused("(unknown)" if refusal.reason is Refusal.UNKNOWN_NAME else repr(name), refusal.reason)
        raise
    if not asks:
        return signing.complete(user, Source("local", strong=not login_settings().admin_code), target)
    until = datetime.now(UTC) + timedelta(seconds=CODE_SECONDS)
    flask.session[_WAITING] = {"user": user.id, "until": until.timestamp(), "target": target}
    return make_response(redirect(url_for("auth.code")))


def _by_directory(name: str, password: str, target: str) -> Response:
    from mm_lib.services.ldap_directory import DirectoryRefused  # needs python-ldap, an extra

    try:
        person = sources.directory().authenticate(name, password)
        role = identities.role_of(person.groups, sources.ldap_rules(), sources.normal_group)
        with transaction(session()) as database:
            identity = identities.enter(database, person, datetime.now(UTC))
    except DirectoryRefused as refusal:
        signing.refused("(unknown)" if refusal.reason == "unknown name" else repr(name), refusal.reason)
        raise
    except NotAllowed as refusal:
        signing.refused(repr(name), str(refusal))
        raise
    return signing.complete(identity.user, Source("ldap", identity.id, role), target)


def _waiting_user() -> int:
    """Whose password was right a moment ago; 0: nobody's."""
    waiting = flask.session.get(_WAITING) or {}
    return int(waiting["user"]) if waiting.get("until", 0.0) > datetime.now(UTC).timestamp() else 0


def _waiting_name() -> str:
    return f"code of user {_waiting_user()}"


@blueprint.route("/login/code", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_ADDRESS, methods=["POST"], deduct_when=failed)
@limiter.limit(FAILURES_PER_NAME, key_func=_waiting_name, methods=["POST"], deduct_when=failed)
def code() -> ResponseReturnValue:
    """The second step of signing in."""
    user_id = _waiting_user()
    if not user_id:
        flash(gettext("That took too long. Please sign in again."))
        return redirect(url_for("auth.login"))
    form = CodeForm()
    if not form.validate_on_submit():
        return render_template("auth/code.html", form=form), 422 if form.errors else 200
    with transaction(session()) as database:
        right = second_factor.check(database, user_id, form.code.data, datetime.now(UTC))
        user = accounts.active_user(database, user_id)
    if not right:
        signing.refused(repr(user.name), "wrong one-time code")
        form.code.errors = [gettext("That code is wrong, or was used already. Wait for the next one.")]
        return render_template("auth/code.html", form=form), 422
    target = safe_next(flask.session[_WAITING]["target"])
    return signing.complete(user, Source("local"), target)


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
    person = the_viewer()
    user = accounts.active_user(session(), person.user_id)
    return render_template(
        "auth/account.html",
        sign_ins=sign_ins.list_own(session(), person.user_id, datetime.now(UTC), idle()),
        source_label=sources.label,
        local=user.password_hash is not None,
        code_is_on=second_factor.is_on(session(), person.user_id),
        codes_left=second_factor.recovery_codes_left(session(), person.user_id),
    )


@blueprint.post("/account/sign-ins/<int(max=2147483647):sign_in_id>/end")
@login_required
def end_sign_in(sign_in_id: int) -> ResponseReturnValue:
    """End one of one's own sign-ins, perhaps on a device that is lost."""
    if sign_in_id == the_viewer().sign_in_id:
        return _end(sign_in_id)
    with transaction(session()) as database:
        sign_ins.end(database, the_viewer().user_id, sign_in_id)
    flash(gettext("That sign-in has ended."))
    return redirect(url_for("auth.account"))


@blueprint.post("/account/sign-ins/end-others")
@login_required
def end_other_sign_ins() -> ResponseReturnValue:
    """End all sign-ins but this one."""
    with transaction(session()) as database:
        count = sign_ins.end_others(database, the_viewer().user_id, the_viewer().sign_in_id)
    flash(ngettext("%(num)d other sign-in has ended.", "%(num)d other sign-ins have ended.", count))
    return redirect(url_for("auth.account"))


def _end(sign_in_id: int) -> Response:
    """End the sign-in that this request comes with, and that at the provider where it was made."""
    person = the_viewer()
    with transaction(session()) as database:
        id_token = sign_ins.hint(database, sign_in_id)
        sign_ins.end(database, person.user_id, sign_in_id)
    beyond = sources.sign_out_address(person.source, id_token)  # after the end: it may ask a provider that is slow
    flask.session.clear()
    if beyond:
        # A page that leads on, for a redirect after a form may not leave this host (form-action).
        page = render_template(
            "auth/signed_out.html", beyond=beyond, provider=sources.label(person.source), viewer=None
        )
        response = make_response(page)
    else:
        flash(gettext("You are signed out."))
        response = make_response(redirect(url_for("public.start")))
    drop(response)
    return response
