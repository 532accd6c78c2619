"""The walk of one request, top to bottom (docs/request.md tells it in words)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from mm_redirector import explain, location, lookup, networks, query, render, selection
from mm_redirector.access_log import Entry, ignore
from mm_redirector.explain import Decision
from mm_redirector.index import Index
from mm_redirector.location import NOWHERE, GeoSource
from mm_redirector.query import Kind, MirrorQuery, Reason, Refusal
from mm_redirector.render import Response
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Random, fresh, seeded

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Observe = Callable[[str, str, str, float, int], None]  # kind, result, tier, seconds, bytes

PAGE_HEADERS = [
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", "Accept"),
]


def unobserved(_kind: str, _result: str, _tier: str, _seconds: float, _size: int) -> None:
    """Where nobody counts."""


class Application:
    """The WSGI application. What it needs from outside are its arguments."""

    def __init__(
        self,
        current: Callable[[], Index | Refusal],
        geo: GeoSource,
        policy: Policy,
        *,
        log: Callable[[Entry], None] = ignore,
        log_all: bool = False,  # refusals and requests by path as well
        observe: Observe = unobserved,
        exposition: Callable[[], bytes] | None = None,
        draw: Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._current = current
        self._geo = geo
        self._policy = policy
        self._log = log
        self._log_all = log_all
        self._observe = observe
        self._exposition = exposition
        self._draw = draw or fresh()
        self._clock = clock
        self._explained: tuple[int, int] = (0, 0)  # minute, explanations in it

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request of the WSGI server."""
        response = self.answer(environ)
        start_response(_STATUS_LINES[response.status], response.headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [response.body]

    def answer(self, environ: Mapping[str, Any]) -> Response:
        """The answer to one request."""
        path = query.path_of(environ)
        kind = query.kind_of(path)
        if kind is None and (found := self._service(path, environ)):
            return found
        start = time.perf_counter()
        asked = query.parse(environ, self._policy)
        decision = asked if isinstance(asked, Refusal) else self._decide(asked, self._draw)
        now = self._clock()
        if isinstance(decision, Refusal):
            response, result, tier = render.refuse(decision, kind, int(now)), decision.reason.name, ""
        else:
            selected = decision.selection
            response = render.respond(selected, decision.query, decision.client, decision.cache, int(now))
            result, tier = "OK", _NAMES[selected.tiers[0].kind] if selected.tiers else "NONE"
        spent = time.perf_counter() - start
        self._observe(_NAMES[kind] if kind else "", result, tier, spent, len(response.body))
        if self._log_all:
            self._log(_entry(now, spent, environ, response=response, asked=asked, decision=decision))
        elif not isinstance(decision, Refusal):
            _, _, repo, arch, *_ = decision.query
            if repo is not None and arch is not None:
                self._log(Entry(now, decision.client.address, decision.client.country, repo, arch))
        return response

    def _decide(self, asked: MirrorQuery, draw: Random) -> Decision | Refusal:
        index = self._current()  # once: a reload in the middle of the request is harmless
        if isinstance(index, Refusal):
            return index
        target = lookup.find(asked, index)
        if isinstance(target, Refusal):
            return target
        client = location.locate(asked.address, asked.address_chosen, index, self._geo, coarsely=asked.stable)
        if isinstance(client, Refusal):
            return client
        asked = lookup.settled(asked, target)
        order = selection.drawing(target, client, asked, index, policy=self._policy, random=draw)
        selected = selection.select(target, client, asked, index, policy=self._policy, draw=order)
        return Decision(asked, client, selected, order, index, self._policy)

    def _service(self, path: str, environ: Mapping[str, Any]) -> Response | None:
        """Answers for those who run it."""
        if path.endswith("/healthz/live"):
            return render.text("live\n")
        if path.endswith("/healthz/ready"):
            return self._ready()
        # Below no other path: a proxy that passes /mirrorlist/... on must not open these as well.
        own = environ.get("PATH_INFO")
        if own == "/explain":
            return self._explain(environ)
        if own == "/metrics" and self._exposition is not None:
            return render.plain(HTTPStatus.OK, render.METRICS, self._exposition())
        return None

    def _ready(self) -> Response:
        index = self._current()
        now = int(self._clock())
        if isinstance(index, Refusal):
            return render.refuse(index, None, now)
        age, limit = now - index.generated_at, self._policy.max_cache_age
        if limit and age > limit:
            detail = f"the mirrorlist cache is {age} seconds old, more than the {limit:.0f} that are allowed"
            return render.refuse(Refusal(Reason.NOT_READY, detail), None, now)
        return render.text(f"ready: cache generation {index.generation} of {index.generated_at}\n")

    def _explain(self, environ: Mapping[str, Any]) -> Response:
        now = int(self._clock())
        if refusal := self._refuse_explanation(environ, now):
            return render.refuse(refusal, None, now)
        parameters = query.parameters_of(str(environ.get("QUERY_STRING", "")))
        if isinstance(parameters, Refusal):
            return render.refuse(parameters, None, now)
        decision = self._decide_explained(parameters, environ)
        explanation = explain.explain(decision, names_private=self._policy.explain == "networks")
        status = render.STATUS[decision.reason] if isinstance(decision, Refusal) else HTTPStatus.OK
        if "text/html" in str(environ.get("HTTP_ACCEPT", "")) and "json" not in parameters:
            return render.plain(status, "text/html; charset=utf-8", explain.page(explanation).encode(), PAGE_HEADERS)
        return render.plain(status, render.JSON, render.as_json(explanation), PAGE_HEADERS)

    def _decide_explained(self, parameters: dict[str, str], environ: Mapping[str, Any]) -> Decision | Refusal:
        """As the answer to a request with these parameters is decided; seed= makes the draw repeatable."""
        # Whoever may ask for explanations may ask about any address.
        policy = self._policy._replace(allow_ip_parameter=True)
        kind = query.kind_meant(parameters)
        if kind is None:
            return Refusal(Reason.BAD_VALUE, f"kind= is not one of {', '.join(one.value for one in Kind)}")
        asked = query.query_of(kind, parameters, environ, policy, "")
        draw = seeded(parameters["seed"]) if "seed" in parameters else self._draw
        return asked if isinstance(asked, Refusal) else self._decide(asked, draw)

    def _refuse_explanation(self, environ: Mapping[str, Any], now: int) -> Refusal | None:
        policy = self._policy
        if policy.explain == "off":
            return Refusal(Reason.NOT_SERVED, "We don't serve their kind here!")
        address = networks.parse(query.client_address(environ, policy.trusted_proxies))
        known = address is not None and any(address in network for network in policy.explain_networks)
        if policy.explain == "networks" and not known:
            return Refusal(Reason.FORBIDDEN, "explanations are for the networks in redirector.explain_networks only")
        minute, number = self._explained
        self._explained = (now // 60, number + 1 if minute == now // 60 else 1)
        if self._explained[1] > policy.explain_per_minute:
            return Refusal(Reason.TOO_OFTEN, "too many explanations in this minute")
        return None


def _entry(
    now: float,
    spent: float,
    environ: Mapping[str, Any],
    *,
    response: Response,
    asked: MirrorQuery | Refusal,
    decision: Decision | Refusal,
) -> Entry:
    """All that a JSON line tells of a request."""
    client = NOWHERE if isinstance(decision, Refusal) else decision.client
    address = "" if isinstance(asked, Refusal) else asked.address
    tiers = [] if isinstance(decision, Refusal) else decision.selection.tiers
    first = None if isinstance(decision, Refusal) or not decision.selection.hosts else decision.selection.hosts[0]
    return Entry(
        now,
        client.address or address,
        client.country,
        "" if isinstance(asked, Refusal) else asked.repo or "",
        "" if isinstance(asked, Refusal) else asked.arch or "",
        str(environ.get("REQUEST_METHOD", "")),
        response.status.value,
        len(response.body),
        query.path_of(environ),
        str(environ.get("HTTP_USER_AGENT", "")),
        spent,
        client.asn,
        "" if isinstance(asked, Refusal) else asked.kind.name.lower(),
        tiers[0].kind.name.lower() if tiers else "",
        decision.cache.hosts[first].name if isinstance(decision, Decision) and first is not None else "",
    )


_NAMES = {member: member.name for member in (*Kind, *selection.TierKind)}  # asking an Enum for a name is a call
_STATUS_LINES = {status: f"{status.value} {status.phrase}" for status in HTTPStatus}
