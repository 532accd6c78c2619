"""The first page of administration, and every table of the model: lists and rows."""

from __future__ import annotations

from typing import Any

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.entries import ENTRIES
from mm_frontend.db import session
from mm_lib.services import table_bulk, table_changes, table_import, table_reading, tables
from mm_lib.services.errors import InvalidValue
from mm_lib.services.table_queries import Wanted
from mm_lib.services.tables import Kind, Table

LONGEST = 200  # characters of a filter
_TYPES = {Kind.YES_NO: ("yes", "no")}


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """What there is to administer."""
    return render_template(
        "admin/index.html", entries=ENTRIES, groups=tables.grouped(), counts=table_reading.counts(session())
    )


@blueprint.get("/table/<table>")
def table(table: str) -> ResponseReturnValue:
    """The rows of a table."""
    found = tables.find(table)
    wanted, problem = asked_for(found), ""
    try:
        page = table_reading.page(session(), found, wanted)
    except InvalidValue as error:
        page, problem = None, f"{_label(found, error.field)}: {error.message}"
    shown = render_template(
        "admin/table.html",
        table=found,
        page=page,
        wanted=wanted,
        problem=problem,
        link=lambda **changes: list_link(found, wanted, **changes),
        may_add=table_changes.may_add(found),
        may_import=table_import.may_import(found),
        actions={name: action.label for name, action in table_bulk.actions(found).items()},
        choices={column.name: column.choices or _TYPES.get(column.kind, ()) for column in found.filters},
    )
    return shown, 422 if problem else 200


@blueprint.get("/table/<table>/row/<path:key>")
def table_row(table: str, key: str) -> ResponseReturnValue:
    """Everything that is shown of a row, and what leads to it."""
    found = tables.find(table)
    return render_template(
        "admin/row.html",
        table=found,
        row=table_reading.row(session(), found, key),
        title=table_reading.title(session(), found, key),
        how=table_changes.writer(found),
        referrers=table_reading.referrers(session(), found, key),
    )


def asked_for(found: Table) -> Wanted:
    """Which rows the address asks for."""
    names = [*(column.name for column in found.filters), *found.through]
    said = {name: request.args.get(name, "").strip()[:LONGEST] for name in names}
    filters = {name: text for name, text in said.items() if text}
    return Wanted(
        search=request.args.get("q", "").strip()[:LONGEST],
        filters=filters,
        sort=request.args.get("sort", "")[:LONGEST],
        page=request.args.get("page", 1, int),
    )


def list_link(found: Table, wanted: Wanted, endpoint: str = "admin.table", **changes: Any) -> str:
    """The address of the same list, with something changed."""
    asked = {"q": wanted.search, **wanted.filters, "sort": wanted.sort, **changes}
    return url_for(endpoint, table=found.name, **{name: value for name, value in asked.items() if value})


def _label(found: Table, name: str) -> str:
    if name in found.through:
        return found.through[name].label
    return found.columns[name].label if name in found.columns else "Search"
