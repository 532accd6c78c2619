"""The API's own pages: its description for programs and people, to read and to try."""

from __future__ import annotations

from functools import cache

from flask import Response, json, render_template, request
from flask.typing import ResponseReturnValue

from mm_frontend.api.blueprint import PREFIX, blueprint
from mm_frontend.api.openapi import document, problem_names
from mm_frontend.api.operation import OPEN, OPERATIONS, Operation
from mm_frontend.api.problems import TYPES
from mm_frontend.security import CONTENT_SECURITY_POLICY
from mm_frontend.settings import frontend
from mm_lib.services.tokens import ABOUT

# The one page with a script: Swagger UI, served by us, which asks our API and nothing else.
_WITH_SCRIPT = {**CONTENT_SECURITY_POLICY, "script-src": "'self'", "connect-src": "'self'"}

OPEN |= {"api.index", "api.browse", "api.openapi", "api.problem_types"}


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Every operation, without a script."""
    by_tag: dict[str, list[Operation]] = {}
    for row in OPERATIONS.values():
        by_tag.setdefault(row.tag, []).append(row)
    return render_template(
        "api/index.html", operations=by_tag, prefix=PREFIX, scopes=ABOUT, problems=TYPES, problem_names=problem_names
    )


@blueprint.get("/browse")
def browse() -> ResponseReturnValue:
    """Every operation, to try out."""
    return render_template("api/browse.html")


browse.talisman_view_options = {"content_security_policy": _WITH_SCRIPT}  # type: ignore[attr-defined]


@blueprint.get("/problems")
def problem_types() -> ResponseReturnValue:
    """What the types of problems mean; each type is an address on this page."""
    return render_template("api/problems.html", problems=TYPES.values())


@blueprint.get("/openapi.json")
def openapi() -> ResponseReturnValue:
    """The description, as OpenAPI 3.1."""
    response = Response(_description(frontend().site_name), content_type="application/json")
    response.headers["Cache-Control"] = "public, max-age=300"
    response.add_etag()
    response.make_conditional(request)
    return response


@cache
def _description(title: str) -> str:
    return json.dumps(document(title))
