"""Bodies that are larger than a form's: packed with gzip where the client likes, and bounded before they are parsed."""

from __future__ import annotations

from flask import request

from mm_frontend.api.problems import Problem
from mm_lib.rules import checkin


def read() -> bytes:
    """The request's body as its client wrote it. Raises Problem."""
    body = request.get_data()
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Problem("media-type", "Send it as it is, or with Content-Encoding: gzip.")
    try:
        text = checkin.gunzip(body) if encoding == "gzip" else body
        checkin.refuse_size(text)
    except checkin.Unreadable as error:
        raise Problem("malformed", f"The body is {error}.") from None
    except checkin.Refused as error:
        raise Problem("too-large", str(error)) from None
    return text
