"""Local accounts, by those who own them: make one, get a new password, switch one-time codes on and off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import segno
from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_wtf import FlaskForm
from markupsafe import Markup
from werkzeug.exceptions import NotFound as NoSuchPage

from mm_frontend.auth import mail, signing
from mm_frontend.auth.blueprint import (
    FAILURES_PER_ADDRESS,
    FAILURES_PER_NAME,
    MAILS_PER_ADDRESS,
    blueprint,
    failed,
    keep_nowhere,
    said_by_services,
)
from mm_frontend.auth.forms import (
    AccountForm,
    AddressForm,
    ChangeForm,
    CodeForm,
    ForgottenForm,
    NewAddressForm,
    PasswordForm,
    SwitchOffForm,
)
from mm_frontend.db import session
from mm_frontend.guards import limiter, login_required, the_viewer, viewer
from mm_frontend.settings import everything
from mm_frontend.settings import login as login_settings
from mm_lib.database import transaction
from mm_lib.model.accounts import TokenPurpose, User
from mm_lib.services import accounts, mailed_links, second_factor
from mm_lib.services.accounts import SignInRefused
from mm_lib.services.errors import AlreadyExists, InvalidValue
from mm_lib.services.sign_ins import Source


def _link_mail(greeting: str, why: str, address: str, until: datetime, otherwise: str) -> str:
    """A mail with a link, in the language of whoever asked for it."""
    works = gettext("The link works once, until %(moment)s UTC.", moment=f"{until:%Y-%m-%d %H:%M}")
    return f"{greeting}\n\n{why}\n\n{address}\n\n{works} {otherwise}\n"


def _hello(user: User) -> str:
    return str(gettext("Hello %(name)s,", name=user.display_name or user.name))


def _link_lifetime() -> timedelta:
    return timedelta(hours=login_settings().link_hours)


def _own_password() -> str:
    """What tries of one's own password are counted by."""
    person = viewer()
    return f"password of user {person.user_id}" if person else ""


def _address(endpoint: str, token: str) -> str:
    """A link for a mail: by the configured address, never by what the request calls this host."""
    return everything().frontend.public_url + url_for(endpoint, token=token)


def _put_errors(form: FlaskForm, error: InvalidValue | AlreadyExists) -> None:
    """A refusal of the service, shown at its field."""
    name = error.field if isinstance(error, InvalidValue) else "name"
    field = form[name] if name in form else next(iter(form))
    told = said_by_services(error.message if isinstance(error, InvalidValue) else str(error))
    field.errors = [*field.errors, f"{field.label.text}: {told}" if isinstance(error, InvalidValue) else told]


@blueprint.route("/login/forgotten", methods=["GET", "POST"])
@limiter.limit(MAILS_PER_ADDRESS, methods=["POST"])
def forgotten() -> ResponseReturnValue:
    """Ask for a link to a new password. The answer is the same whether there is such an account."""
    if not login_settings().local:
        raise NoSuchPage
    form = ForgottenForm()
    if not mail.is_set_up() or not form.validate_on_submit():
        page = render_template("auth/forgotten.html", form=form, mail=mail.is_set_up())
        return page, 422 if form.errors else 200
    now = datetime.now(UTC)
    with transaction(session()) as database:
        found = mailed_links.offer_password(database, form.name.data, now, _link_lifetime())
    if found is not None:
        user, token = found
        mail.send(
            user.email,
            gettext("A new password"),
            _link_mail(
                greeting=_hello(user),
                why=gettext(
                    "somebody asked for a new password of your account %(name)s. Choose it here:", name=user.name
                ),
                address=_address("auth.new_password", token),
                until=now + _link_lifetime(),
                otherwise=gettext("If it was not you, there is nothing to do: your password stays as it is."),
            ),
        )
    return redirect(url_for("auth.mail_sent"))


@blueprint.get("/login/mail-sent")
def mail_sent() -> ResponseReturnValue:
    """What happens next; it says the same to everybody."""
    return render_template("auth/mail_sent.html", hours=login_settings().link_hours)


@blueprint.route("/login/new-password/<token>", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_ADDRESS, deduct_when=lambda response: response.status_code == 404)
def new_password(token: str) -> ResponseReturnValue:
    """Choose a new password, with a link from a mail."""
    form = PasswordForm()
    now = datetime.now(UTC)
    if not form.validate_on_submit():
        mailed_links.look(session(), token, TokenPurpose.RESET, now)
        return render_template("auth/new_password.html", form=form), 422 if form.errors else 200
    try:
        with transaction(session()) as database:
            user = mailed_links.change_password(database, token, now, form.password.data)
    except InvalidValue as error:
        _put_errors(form, error)
        return render_template("auth/new_password.html", form=form), 422
    signing.log.info("%r chose a new password by mail", user.name)
    flash(gettext("Your password is changed, and you are signed out everywhere. Sign in with the new one."))
    return redirect(url_for("auth.login"))


@blueprint.route("/register", methods=["GET", "POST"])
@limiter.limit(MAILS_PER_ADDRESS, methods=["POST"])
def register() -> ResponseReturnValue:
    """Ask for a link to a new account. The answer is the same for an address that has one."""
    if not login_settings().registration:
        raise NoSuchPage
    form = AddressForm()
    if not form.validate_on_submit():
        return render_template("auth/register.html", form=form), 422 if form.errors else 200
    now = datetime.now(UTC)
    try:
        with transaction(session()) as database:
            token = mailed_links.offer_account(database, form.email.data, now, _link_lifetime())
            owner = mailed_links.user_of_address(database, form.email.data.strip())
    except InvalidValue as error:
        _put_errors(form, error)
        return render_template("auth/register.html", form=form), 422
    if token:
        _mail_offer(form.email.data.strip(), token, now)
    elif owner is not None:
        told = gettext(
            "Somebody asked for a new account with this address. You have one: its name is %(name)s.", name=owner.name
        )
        mail.send(owner.email, gettext("You have an account"), f"{told}\n")
    return redirect(url_for("auth.mail_sent"))


def _mail_offer(email: str, token: str, now: datetime) -> None:
    mail.send(
        email,
        gettext("Your new account"),
        _link_mail(
            greeting=gettext("Hello,"),
            why=gettext("somebody asked for an account with this address. Choose its name and password here:"),
            address=_address("auth.make_account", token),
            until=now + _link_lifetime(),
            otherwise=gettext("If it was not you, there is nothing to do: no account is made."),
        ),
    )


@blueprint.route("/register/<token>", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_ADDRESS, deduct_when=lambda response: response.status_code == 404)
def make_account(token: str) -> ResponseReturnValue:
    """Choose name and password of a new account, with a link from a mail, and be signed in."""
    if not login_settings().registration:
        raise NoSuchPage
    form = AccountForm()
    now = datetime.now(UTC)
    link = mailed_links.look(session(), token, TokenPurpose.REGISTER, now)
    if not form.validate_on_submit():
        return render_template("auth/make_account.html", form=form, email=link.email), 422 if form.errors else 200
    try:
        with transaction(session()) as database:
            user = mailed_links.make_account(
                database, token, now, form.name.data, form.password.data, display_name=form.display_name.data
            )
    except (InvalidValue, AlreadyExists) as error:
        _put_errors(form, error)
        return render_template("auth/make_account.html", form=form, email=link.email), 422
    signing.log.info("%r made an account", user.name)
    return signing.complete(user, Source("local", strong=not login_settings().admin_code), url_for("auth.account"))


@blueprint.route("/account/password", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_NAME, key_func=_own_password, methods=["POST"], deduct_when=failed)
@login_required
def change_password() -> ResponseReturnValue:
    """Change one's password; all sign-ins end, so that whoever knew the old one is out."""
    name = the_viewer().name
    if accounts.active_user(session(), the_viewer().user_id).password_hash is None:
        raise NoSuchPage
    form = ChangeForm()
    if not form.validate_on_submit():
        return render_template("auth/new_password.html", form=form), 422 if form.errors else 200
    try:
        with transaction(session()) as database:
            user = accounts.authenticate(database, name, form.old.data, datetime.now(UTC))
            accounts.change_password(database, user, form.password.data)
    except SignInRefused:
        form.old.errors = [gettext("That is not your password.")]
    except InvalidValue as error:
        _put_errors(form, error)
    else:
        signing.log.info("%r changed the password", name)
        flash(gettext("Your password is changed, and you are signed out everywhere. Sign in with the new one."))
        return redirect(url_for("auth.login"))
    return render_template("auth/new_password.html", form=form), 422


@blueprint.route("/account/address", methods=["GET", "POST"])
@limiter.limit(MAILS_PER_ADDRESS, methods=["POST"])
@limiter.limit(FAILURES_PER_NAME, key_func=_own_password, methods=["POST"], deduct_when=failed)
@login_required
def change_address() -> ResponseReturnValue:
    """Ask for a link to another mail address of one's own; it is mailed there. Needs the password."""
    if accounts.active_user(session(), the_viewer().user_id).password_hash is None:
        raise NoSuchPage
    form, now = NewAddressForm(), datetime.now(UTC)
    if mail.is_set_up() and form.validate_on_submit():
        try:
            with transaction(session()) as database:
                user = accounts.authenticate(database, the_viewer().name, form.password.data, now)
                token = mailed_links.offer_address(database, user, form.email.data, now, _link_lifetime())
        except SignInRefused:
            form.password.errors = [gettext("That is not your password.")]
        except InvalidValue as error:
            _put_errors(form, error)
        else:
            _mail_new_address(user.name, form.email.data.strip(), token, now)
            return redirect(url_for("auth.mail_sent"))
    page = render_template("auth/new_address.html", form=form, mail=mail.is_set_up())
    return page, 422 if form.errors else 200


def _mail_new_address(name: str, email: str, token: str | None, now: datetime) -> None:
    """To whoever reads the new address. That another account has it is told there only."""
    if token is None:
        told = gettext("Somebody wanted this address for the account %(name)s.", name=name)
        why = gettext("Another account has it, or too many links are open.")
        mail.send(email, gettext("Your new mail address"), f"{told} {why}\n")
        return
    mail.send(
        email,
        gettext("Your new mail address"),
        _link_mail(
            greeting=gettext("Hello,"),
            why=gettext("somebody wants this address for the account %(name)s. Confirm it here:", name=name),
            address=_address("auth.confirm_address", token),
            until=now + _link_lifetime(),
            otherwise=gettext("If it was not you, there is nothing to do: nothing is changed."),
        ),
    )


@blueprint.route("/account/address/<token>", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_ADDRESS, deduct_when=lambda response: response.status_code == 404)
def confirm_address(token: str) -> ResponseReturnValue:
    """Change the mail address, with a link from a mail to it; the address until now is told."""
    form, now = FlaskForm(), datetime.now(UTC)
    link, user = mailed_links.look_at_address(session(), token, now)
    if not form.validate_on_submit():
        return render_template("auth/confirm_address.html", form=form, email=link.email, name=user.name)
    with transaction(session()) as database:
        user, before = mailed_links.change_address(database, token, now)
    if before:
        told = gettext(
            "the mail address of your account %(name)s is now %(email)s; mails come here no more.",
            name=user.name,
            email=user.email,
        )
        otherwise = gettext("If it was not you, somebody knows your password: write to an administrator at once.")
        text = f"{_hello(user)}\n\n{told}\n\n{otherwise}\n"
        mail.send(before, gettext("Your mail address was changed"), text)
    signing.log.info("%r changed the mail address", user.name)
    flash(gettext("Your mail address is changed."))
    return redirect(url_for("auth.account"))


@blueprint.route("/account/code", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_ADDRESS, methods=["POST"], deduct_when=lambda response: response.status_code == 422)
@login_required
def switch_on_code() -> ResponseReturnValue:
    """Put a secret into one's device, and confirm it by a first code. The recovery codes are shown once."""
    person = the_viewer()
    if accounts.active_user(session(), person.user_id).password_hash is None:
        raise NoSuchPage
    if second_factor.is_on(session(), person.user_id):
        return redirect(url_for("auth.account"))
    form = CodeForm()
    now = datetime.now(UTC)
    if form.validate_on_submit():
        try:
            with transaction(session()) as database:
                codes = second_factor.confirm(database, person.user_id, form.code.data, now)
            signing.log.info("%r switched one-time codes on", person.name)
            return keep_nowhere(make_response(render_template("auth/recovery_codes.html", codes=codes)))
        except InvalidValue as error:
            form.code.errors = [said_by_services(error.message)]
    with transaction(session()) as database:
        secret = second_factor.prepare(database, person.user_id, now, again=request.method == "POST")
    address = second_factor.address(secret, person.name, everything().frontend.site_name)
    page = render_template("auth/switch_on_code.html", form=form, secret=secret, address=address, picture=_qr(address))
    return keep_nowhere(make_response(page, 422 if form.errors else 200))


def _qr(text: str) -> Markup:
    """A QR code as SVG in the page: nobody else is asked for it, and no cache keeps it."""
    made = segno.make(text, micro=False)
    drawn = made.svg_inline(scale=5, border=4, dark="#000", light="#fff", omitsize=True, title=gettext("QR code"))
    return Markup(drawn)  # noqa: S704 - made by segno; the text is in it as squares only


@blueprint.route("/account/code/off", methods=["GET", "POST"])
@limiter.limit(FAILURES_PER_NAME, key_func=_own_password, methods=["POST"], deduct_when=failed)
@login_required
def switch_off_code() -> ResponseReturnValue:
    """No one-time codes any more: needs the password, and ends all sign-ins."""
    form = SwitchOffForm()
    if not form.validate_on_submit():
        return render_template("auth/switch_off_code.html", form=form), 422 if form.errors else 200
    name = the_viewer().name
    try:
        with transaction(session()) as database:
            user = accounts.authenticate(database, name, form.password.data, datetime.now(UTC))
            second_factor.switch_off(database, user)
    except SignInRefused:
        form.password.errors = [gettext("That is not your password.")]
        return render_template("auth/switch_off_code.html", form=form), 422
    signing.log.info("%r switched one-time codes off", name)
    flash(gettext("One-time codes are off, and you are signed out everywhere. Please sign in again."))
    return redirect(url_for("auth.login"))
