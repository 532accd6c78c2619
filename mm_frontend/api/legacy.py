"""The two addresses that MirrorManager had for programs, in the shape that they had."""

from __future__ import annotations

from typing import Any

from flask import Response, json, request
from flask.typing import ResponseReturnValue

from mm_frontend.api.blueprint import old
from mm_frontend.db import session
from mm_lib.services import legacy
from mm_lib.services.errors import NotFound


@old.get("/mirroradmins")
def mirror_admins() -> ResponseReturnValue:
    """Who speaks for sites: for all, or for the host or site that name= names."""
    try:
        found = legacy.mirror_admins(session(), request.args.get("name", "")[:255])
    except NotFound as error:
        return _json({"message": str(error)}, 400)
    return _json({"admins": found, "total": len(found)})


@old.get("/repositories")
def repositories() -> ResponseReturnValue:
    """Every repository with its directory."""
    found = legacy.repositories(session())
    return _json({"repositories": found, "total": len(found)})


def _json(members: dict[str, Any], status: int = 200) -> Response:
    response = Response(json.dumps(members), status, content_type="application/json")
    response.add_etag()
    response.make_conditional(request)
    return response
