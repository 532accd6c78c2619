"""The walk of one request, top to bottom (docs/request.md tells it in words)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from mm_redirector import location, lookup, query, render, selection
from mm_redirector.access_log import Entry, ignore
from mm_redirector.index import Index
from mm_redirector.location import ClientLocation, GeoSource
from mm_redirector.query import MirrorQuery, Refusal
from mm_redirector.render import Response
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Random

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Application:
    """The WSGI application. What it needs from outside are its arguments."""

    def __init__(
        self,
        current: Callable[[], Index | Refusal],
        geo: GeoSource,
        policy: Policy,
        *,
        log: Callable[[Entry], None] = ignore,
        draw: Random = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._current = current
        self._geo = geo
        self._policy = policy
        self._log = log
        self._draw = draw
        self._clock = clock

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request of the WSGI server."""
        response = self.answer(environ)
        start_response(f"{response.status.value} {response.status.phrase}", response.headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]

    def answer(self, environ: Mapping[str, Any]) -> Response:
        """The answer to one request."""
        path = query.path_of(environ)
        if path.endswith(("/healthz/live", "/healthz/ready")):
            return self._health(path)
        kind = query.kind_of(path)
        asked = query.parse(environ, self._policy)
        result = asked if isinstance(asked, Refusal) else self._serve(asked)
        return render.refuse(result, kind, self._now()) if isinstance(result, Refusal) else result

    def _serve(self, asked: MirrorQuery) -> Response | Refusal:
        index = self._current()  # once: a reload in the middle of the request is harmless
        if isinstance(index, Refusal):
            return index
        target = lookup.find(asked, index)
        if isinstance(target, Refusal):
            return target
        client = location.locate(asked.address, asked.address_chosen, index, self._geo)
        if isinstance(client, Refusal):
            return client
        selected = selection.select(target, client, asked, index, policy=self._policy, random=self._draw)
        now = self._now()
        self._record(asked, client, now)
        return render.respond(selected, asked, index, now)

    def _record(self, asked: MirrorQuery, client: ClientLocation, now: int) -> None:
        if asked.repo is not None and asked.arch is not None:
            self._log(
                Entry(datetime.fromtimestamp(now, UTC).date(), client.address, client.country, asked.repo, asked.arch)
            )

    def _health(self, path: str) -> Response:
        if path.endswith("/live"):
            return render.text("live\n")
        index = self._current()
        if isinstance(index, Refusal):
            return render.refuse(index, None, self._now())
        return render.text(f"ready: cache generation {index.generation} of {index.generated_at}\n")

    def _now(self) -> int:
        return int(self._clock())
