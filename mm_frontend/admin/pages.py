"""What the pages for administrators share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.db import session
from mm_frontend.guards import may
from mm_frontend.operators.forms import ConfirmForm
from mm_frontend.operators.pages import Change, carried_out, saved
from mm_lib.services import approvals
from mm_lib.services.access import ADMINISTER
from mm_lib.services.places import Effect


@blueprint.context_processor
def _shared() -> dict[str, Any]:
    """Auditors see the same pages without what changes something. The first page tells what waits for somebody."""
    waiting = approvals.count(session()) if request.endpoint == "admin.index" else 0
    return {"may_change": may(ADMINISTER), "waiting_sites": waiting}


def form_page(
    form: FlaskForm,
    title: str,
    back: tuple[str, str],
    *,
    template: str = "admin/form.html",
    intro: str = "",
    submit: str = "Save",
    **shown: Any,
) -> ResponseReturnValue:
    """A page that is one form, with whatever its template shows besides."""
    page = render_template(template, form=form, title=title, back=back, intro=intro, submit=submit, **shown)
    return page, 422 if form.errors else 200


def confirmation(
    question: str,
    button: str,
    back: tuple[str, str],
    change: Change,
    *,
    done: str,
    follows: Sequence[str] = (),
    danger: bool = True,
    values: Mapping[str, str] | None = None,
    effect: Effect | None = None,
) -> ResponseReturnValue:
    """Ask before something is done that is more than a click away from being undone; say what follows from it.

    `values` come back with the answer: what was asked may have changed meanwhile.
    """
    form = ConfirmForm()
    if carried_out(form, change):
        return saved(done, back[0])
    shown: dict[str, Any] = {"follows": follows, "danger": danger, "values": values, "effect": effect}
    return form_page(form, question, back, template="admin/confirm.html", submit=button, **shown)
