"""What the sign-in page asks for, and where it may lead."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from mm_lib.services.accounts import MAX_PASSWORD


class SignInForm(FlaskForm):  # type: ignore[misc]
    """User name and password of a local account."""

    name = StringField("User name", [InputRequired("Enter your user name."), Length(max=64)])
    password = PasswordField("Password", [InputRequired("Enter your password."), Length(max=MAX_PASSWORD)])


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
