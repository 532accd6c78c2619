"""Forms that show what would happen before anything is saved: what was shown is what is saved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from flask import request
from flask_wtf import FlaskForm
from wtforms import HiddenField

from mm_frontend.operators.pages import Change, carried_out
from mm_lib.services.errors import InvalidValue, ServiceError

T = TypeVar("T")


class PreviewForm(FlaskForm):  # type: ignore[misc]
    """The first answer shows the effect; the second, with the same values, saves."""

    seen = HiddenField()

    def mark(self) -> str:
        """Changes with whatever was filled in."""
        values = [(field.name, field.data) for field in self if field.name not in ("seen", "csrf_token")]
        return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def previewed(form: PreviewForm, effect: Callable[[], T], change: Change) -> tuple[bool, T | None]:
    """Whether the change was made, and what it would do when it was not; none: the form is not filled in right."""
    if not form.validate_on_submit():
        return False, None
    try:
        shown = effect()
    except InvalidValue as error:
        name = error.field.rpartition(": ")[2]  # of rules: "Category rule 3: pattern"
        if name in form:
            form[name].errors = [*form[name].errors, error.message]
        else:
            form.form_errors.append(str(error))
        return False, None
    except ServiceError as error:
        form.form_errors.append(str(error))
        return False, None
    looked = form.seen.data == form.mark() and request.form.get("save") == "1"
    if looked and carried_out(form, change):
        return True, shown
    form.seen.data = form.mark()
    return False, shown
