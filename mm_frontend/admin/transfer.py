"""Tables as files: out as CSV and JSON, and in again."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from flask import Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import HiddenField

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.tables import asked_for
from mm_frontend.admin.tables_forms import by
from mm_frontend.db import Work, reading, session
from mm_frontend.operators.pages import carried_out, saved
from mm_lib.database import freeze
from mm_lib.services import (
    table_changes,
    table_files,
    table_import,
    table_links,
    table_queries,
    table_reading,
    tables,
)
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.table_import import Verdict
from mm_lib.services.table_queries import Wanted
from mm_lib.services.tables import Table

MOST_SHOWN = 500  # rows of a dry run
_ORDER = (Verdict.REFUSED, Verdict.CHANGED, Verdict.NEW, Verdict.UNCHANGED)
_MEDIA = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


@blueprint.get("/table/<table>/file")
def table_file(table: str) -> ResponseReturnValue:
    """All rows that match, as a file; it is sent while it is read."""
    found = tables.find(table)
    form = "csv" if request.args.get("format") == "csv" else "json"
    wanted = asked_for(found)
    table_queries.condition_for(found, wanted)  # refuses what cannot be before the answer begins
    disposition = {"Content-Disposition": f'attachment; filename="{found.name}.{form}"'}
    parts = _read(reading(), found, wanted, form)
    return Response(parts, content_type=_MEDIA[form], headers=disposition)


def _read(database: Work, found: Table, wanted: Wanted, form: str) -> Iterator[str]:
    """Nothing is asked before the first part is wanted; whoever stops reading lets go of the database."""
    with database:
        freeze(database)
        rows = table_reading.export(database, found, wanted)
        yield from table_files.as_csv(found, rows) if form == "csv" else table_files.as_json(rows)


class UploadForm(FlaskForm):  # type: ignore[misc]
    """A file."""

    file = FileField("CSV or JSON file", description=f"At most {table_import.MOST_BYTES // 1000} kB, in UTF-8.")


class ApplyForm(FlaskForm):  # type: ignore[misc]
    """What was shown, once more: nothing of it is kept here between the two pages."""

    content = HiddenField()  # base64
    fingerprint = HiddenField()


@blueprint.route("/table/<table>/import", methods=["GET", "POST"])
def import_rows(table: str) -> ResponseReturnValue:
    """Take in a file: first a dry run that shows what it would change."""
    found = tables.find(table)
    if not table_import.may_import(found):
        raise NotFound(f"{found.title} are not taken in from files.")
    upload = UploadForm()
    if "content" in request.form:
        return _applied(found)
    if not upload.validate_on_submit():
        return _upload_page(found, upload)
    content = upload.file.data.read(table_import.MOST_BYTES + 1) if upload.file.data else b""
    try:
        return _shown(found, content)
    except InvalidValue as error:
        upload.file.errors = [f"The file {error.message}." if error.field == "file" else str(error)]
        return _upload_page(found, upload)


def _applied(found: Table) -> ResponseReturnValue:
    form, done = ApplyForm(), []
    try:
        content = base64.b64decode(form.content.data or "", validate=True)
    except ValueError:
        raise InvalidValue("file", "was damaged on its way; send it again") from None

    def change(database: Work) -> None:
        done.append(table_import.apply(database, found, content, by(), form.fingerprint.data or ""))

    if carried_out(form, change):
        counts = done[0].counts
        text = f"Made {counts[Verdict.NEW]} and changed {counts[Verdict.CHANGED]} {found.title.lower()}."
        return saved(text, url_for("admin.table", table=found.name))
    return _shown(found, content, " ".join(form.form_errors))


def _shown(found: Table, content: bytes, problem: str = "") -> ResponseReturnValue:
    outcome = table_import.dry_run(session(), found, content, by())
    session().rollback()
    form = ApplyForm(formdata=None, content=base64.b64encode(content).decode(), fingerprint=outcome.fingerprint)
    lines = sorted(outcome.lines, key=lambda line: _ORDER.index(line.verdict))
    shown = [line for line in lines if line.verdict is not Verdict.UNCHANGED]
    page = render_template(
        "admin/dry_run.html",
        table=found,
        outcome=outcome,
        counts={verdict.value: outcome.counts[verdict] for verdict in Verdict},
        lines=shown[:MOST_SHOWN],
        more=len(shown) - MOST_SHOWN,
        form=form,
        problem=problem,
        back=(url_for("admin.import_rows", table=found.name), f"Take in {found.title.lower()}"),
    )
    return page, 422 if problem else 200


def _upload_page(found: Table, form: UploadForm) -> ResponseReturnValue:
    how = table_changes.writer(found)
    settable = {*how.new.split(), *how.change.split()}
    columns = [
        (name, column, column.name in found.key.split(), column.name in settable)
        for column in table_reading.exported(found)
        for name in table_links.flat(column)
    ]
    back = (url_for("admin.table", table=found.name), found.title)
    page = render_template("admin/import.html", table=found, form=form, columns=columns, back=back)
    return page, 422 if form.errors else 200
