"""Tables as files: out as CSV and JSON, and in again."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, request
from flask.typing import ResponseReturnValue

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.tables import asked_for
from mm_frontend.db import Work, reading
from mm_lib.database import freeze
from mm_lib.services import table_files, table_queries, table_reading, tables
from mm_lib.services.table_queries import Wanted
from mm_lib.services.tables import Table

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
