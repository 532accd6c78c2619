"""The settings that count, where each comes from, and what is unsafe; secrets only as being there."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.settings import everything
from mm_lib.services import configuration


@blueprint.get("/configuration")
def configuration_page() -> ResponseReturnValue:
    """All of them, or only what is set."""
    return render_template(
        "admin/configuration.html",
        sections=configuration.effective(everything()),
        warnings=configuration.warnings(everything()),
        only_set=request.args.get("show") == "set",
    )
