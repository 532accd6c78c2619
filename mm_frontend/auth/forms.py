"""What the pages about signing in ask for, and where they may lead."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import PasswordField, RadioField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from mm_lib.services.accounts import MAX_PASSWORD

MAX_NAME = 255


class SignInForm(FlaskForm):  # type: ignore[misc]
    """User name and password, and whose they are where there is a choice."""

    source = RadioField(_("Account"))
    name = StringField(_("User name"), [InputRequired(_("Enter your user name.")), Length(max=MAX_NAME)])
    password = PasswordField(_("Password"), [InputRequired(_("Enter your password.")), Length(max=MAX_PASSWORD)])


class CodeForm(FlaskForm):  # type: ignore[misc]
    """A one-time code, or a recovery code."""

    code = StringField(_("Code"), [InputRequired(_("Enter the code.")), Length(max=64)])


class SwitchOffForm(FlaskForm):  # type: ignore[misc]
    """The password again, before something is made less safe."""

    password = PasswordField(_("Password"), [InputRequired(_("Enter your password.")), Length(max=MAX_PASSWORD)])


class ForgottenForm(FlaskForm):  # type: ignore[misc]
    """Who wants a new password."""

    name = StringField(
        _("User name or mail address"),
        [InputRequired(_("Enter your user name or mail address.")), Length(max=MAX_NAME)],
    )


class AddressForm(FlaskForm):  # type: ignore[misc]
    """Where the link to a new account goes."""

    email = StringField(_("Mail address"), [InputRequired(_("Enter your mail address.")), Length(max=MAX_NAME)])


class NewAddressForm(AddressForm):
    """Another mail address, and the password."""

    password = PasswordField(_("Password"), [InputRequired(_("Enter your password.")), Length(max=MAX_PASSWORD)])


class PasswordForm(FlaskForm):  # type: ignore[misc]
    """A new password, twice."""

    password = PasswordField(_("New password"), [InputRequired(_("Enter a password.")), Length(max=MAX_PASSWORD)])
    again = PasswordField(_("The same again"), [EqualTo("password", _("The two passwords are not the same."))])


class ChangeForm(PasswordForm):
    """The password that is, and the new one."""

    old = PasswordField(_("Password until now"), [InputRequired(_("Enter your password.")), Length(max=MAX_PASSWORD)])


class AccountForm(PasswordForm):
    """Name and password of a new account."""

    name = StringField(_("User name"), [InputRequired(_("Choose a user name.")), Length(max=64)])
    display_name = StringField(_("Your name"), [Length(max=MAX_NAME)])


def safe_next(target: str) -> str:
    """The target if it is a path on this host; else empty, so that no link to us can lead elsewhere."""
    # Browsers read \\ as / and skip control characters: //evil.example hides in many spellings.
    if not target.startswith("/") or target.startswith("//") or "\\" in target or not target.isprintable():
        return ""
    try:
        parts = urlsplit(target)
    except ValueError:
        return ""
    return "" if parts.scheme or parts.netloc else target
