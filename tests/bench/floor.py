"""A WSGI application that answers /N with N ready-made bytes: what the server itself costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any


@cache
def _answer(path: str) -> tuple[list[tuple[str, str]], list[bytes]]:
    body = b"x" * int(path[1:])
    return [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))], [body]


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    headers, body = _answer(environ["PATH_INFO"])
    start_response("200 OK", headers)
    return body
