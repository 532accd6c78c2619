"""The first page of administration, and every table of the model: lists, rows, forms."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.entries import ENTRIES


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """What there is to administer."""
    return render_template("admin/index.html", entries=ENTRIES)
