"""How long public pages may be kept, and by whom; and an answer without body to those who have the page already."""

from __future__ import annotations

import flask
from flask import Response, request

from mm_frontend.guards import viewer
from mm_frontend.settings import frontend


def finish(response: Response) -> Response:
    """Give a public page its ETag and its Cache-Control; leave alone what belongs to one reader."""
    if request.method not in ("GET", "HEAD") or response.status_code != 200:
        return response
    response.vary.update(("Accept-Language", "Cookie"))
    # A page that shows who is signed in, or a message for one reader, must not reach another.
    if viewer() is None and not flask.session.modified:
        response.headers["Cache-Control"] = f"public, max-age={int(frontend().cache_seconds)}"
    else:
        response.headers["Cache-Control"] = "private, no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
