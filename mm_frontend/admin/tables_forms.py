"""Rows made, changed and removed by forms."""

from __future__ import annotations

from flask import current_app, render_template, request, url_for
from flask.typing import ResponseReturnValue

from mm_frontend.admin import tables_fields
from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.tables_fields import RowForm
from mm_frontend.db import Work, session
from mm_frontend.operators.details import RESOLVER
from mm_frontend.operators.forms import ConfirmForm
from mm_frontend.operators.pages import carried_out, me, now, removal, saved
from mm_lib.services import probes, table_changes, table_reading, tables
from mm_lib.services.errors import NotFound
from mm_lib.services.table_filling import By
from mm_lib.services.tables import Table


def by() -> By:
    """Who does it, and how names are looked up."""
    return By(me(), now(), current_app.config.get(RESOLVER, probes.resolve))


def row_link(table: Table, key: str) -> str:
    """The address of a row."""
    return url_for("admin.table_row", table=table.name, key=key)


@blueprint.route("/table/<table>/new", methods=["GET", "POST"])
def new_row(table: str) -> ResponseReturnValue:
    """Make a row."""
    found = tables.find(table)
    names = table_changes.writer(found).new.split()
    if not names:
        raise NotFound(f"{found.title} are not made here.")
    form = tables_fields.make(session(), found, names, None)
    made: list[str] = []
    values = _filled(form, found)

    def change(database: Work) -> None:
        made.append(table_changes.add(database, found, values or {}, by()))

    if values is not None and carried_out(form, change):
        return saved(f"Made the {found.one}.", row_link(found, made[0]))
    back = (url_for("admin.table", table=table), found.title)
    return _page(form, found, f"New {found.one}", back, f"Make the {found.one}")


@blueprint.route("/table/<table>/edit/<path:key>", methods=["GET", "POST"])
def edit_row(table: str, key: str) -> ResponseReturnValue:
    """Change a row."""
    found = tables.find(table)
    names = table_changes.writer(found).change.split()
    if not names:
        raise NotFound(f"{found.title} are not changed here.")
    row = table_changes.load(session(), found, key)
    current = table_reading.row(session(), found, key).values
    form, title = tables_fields.make(session(), found, names, current), table_reading.title(session(), found, key)
    values = _filled(form, found)
    back = (row_link(found, key), title)
    if values is not None and form.seen.data != tables_fields.fingerprint(found, current):
        form.seen.data = tables_fields.fingerprint(found, current)
        form.form_errors.append("Somebody changed it since this form was opened. Look at both before you save.")
        values = None
    if values is not None:
        new = {name: value for name, value in values.items() if getattr(row, name) != value}
        if not new:
            return saved("Nothing was changed.", back[0])
        if carried_out(form, lambda database: table_changes.edit(database, found, key, new, by())):
            return saved(f"Saved the {found.one}.", back[0])
    return _page(form, found, f"Change {title}", back, "Save")


def _filled(form: RowForm, table: Table) -> dict[str, object] | None:
    """What was filled in; None: nothing was sent, or it cannot be used, or something is looked for first."""
    if not form.is_submitted():
        return None
    if "find" in request.form:
        tables_fields.look_for(session(), form, request.form["find"])
        return None
    if not form.validate():
        return None
    values = tables_fields.values_of(session(), table, form)
    return None if form.errors else values


def _page(form: RowForm, table: Table, title: str, back: tuple[str, str], submit: str) -> ResponseReturnValue:
    note = table_changes.writer(table).note
    page = render_template(
        "admin/row_form.html", form=form, table=table, title=title, back=back, submit=submit, note=note
    )
    return page, 422 if form.errors else 200


@blueprint.route("/table/<table>/remove/<path:key>", methods=["GET", "POST"])
def drop_row(table: str, key: str) -> ResponseReturnValue:
    """Remove a row."""
    found = tables.find(table)
    how = table_changes.writer(found)
    if how.remove is None:
        raise NotFound(f"{found.title} are not removed here.")
    table_changes.load(session(), found, key)
    title = table_reading.title(session(), found, key)
    leading = table_reading.referrers(session(), found, key)
    goes = {each.table.title: each.number.number for each in leading if each.goes_with_it}
    if how.kept_together and goes:
        held = ", ".join(f"{name}: {number}" for name, number in goes.items())
        return saved(f"Remove what belongs to it first ({held}).", row_link(found, key))
    return removal(
        ConfirmForm(),
        f"the {found.one} {title}",
        (row_link(found, key), title),
        lambda database: table_changes.remove(database, found, key, by()),
        goes_with=goes,
        note="It can be brought back for 30 days." if found.deletable_softly else "",
        leads_to=url_for("admin.table", table=table),
    )
