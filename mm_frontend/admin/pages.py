"""What the pages for administrators share."""

from __future__ import annotations

from typing import Any

from flask import render_template
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.guards import may
from mm_lib.services.access import ADMINISTER


@blueprint.context_processor
def _shared() -> dict[str, Any]:
    """Auditors see the same pages without what changes something."""
    return {"may_change": may(ADMINISTER)}


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
