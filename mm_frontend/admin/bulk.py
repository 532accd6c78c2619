"""One thing done to many rows: the page that says what will happen, and the button that does it."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import HiddenField, StringField
from wtforms.validators import Length

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.tables import asked_for, list_link
from mm_frontend.admin.tables_forms import by
from mm_frontend.db import Work, session
from mm_frontend.operators.pages import carried_out, saved
from mm_lib.services import table_bulk, table_links, table_reading, tables
from mm_lib.services.errors import InvalidValue
from mm_lib.services.table_bulk import MOST_ROWS, Given, Task
from mm_lib.services.tables import Table


class BulkForm(FlaskForm):  # type: ignore[misc]
    """`seen` is what was shown."""

    seen = HiddenField()
    reason = StringField("Reason", [Length(max=500)], description="The members of the sites see it.")


@blueprint.route("/table/<table>/bulk", methods=["GET", "POST"])
def bulk(table: str) -> ResponseReturnValue:
    """Say what will happen to the chosen rows; do it when the answer is yes. The address says which rows."""
    found = tables.find(table)
    action = table_bulk.find(found, request.args.get("action", ""))
    back = (list_link(found, asked_for(found)), found.title)
    category = request.args.get("category", type=int)
    form = BulkForm()
    if action.needs != "reason":
        del form.reason
    reason = form.reason.data or "" if action.needs == "reason" else ""
    task = Task(found, action, _keys(found), Given(reason, category), by())
    try:
        effects = table_bulk.preview(session(), task)
    except InvalidValue as error:
        return saved(f"The {error.field} {error.message}.", back[0])
    done: list[int] = []

    def change(database: Work) -> None:
        done.append(table_bulk.carry_out(database, task, form.seen.data or ""))

    if carried_out(form, change):
        what = found.one if done[0] == 1 else found.title.lower()
        return saved(f"{action.label}: done for {done[0]} {what}.", back[0])
    form.seen.data = table_bulk.fingerprint(effects)  # what this page shows, whatever was sent
    choose = table_links.few(session(), "category") if action.needs == "category" and category is None else None
    page = render_template(
        "admin/bulk.html", table=found, action=action, effects=effects, form=form, back=back, choose=choose
    )
    return page, 422 if form.errors else 200


def _keys(found: Table) -> list[str]:
    if "all" in request.args:
        return table_reading.matching_keys(session(), found, asked_for(found), MOST_ROWS)
    return request.args.getlist("key")


@blueprint.app_template_global()
def repeated_arguments() -> list[tuple[str, str]]:
    """What the address says, for a form that says more."""
    return [(name, value) for name, values in request.args.lists() for value in values]
