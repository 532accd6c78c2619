"""The walk of one request, top to bottom (docs/request.md tells it in words)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from itertools import count
from typing import Any, NamedTuple

from mm_redirector import address, explain, location, lookup, query, render, selection
from mm_redirector.access_log import Entry, ignore
from mm_redirector.explain import Decision
from mm_redirector.index import Index
from mm_redirector.location import NOWHERE, GeoSource
from mm_redirector.lookup import Target
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


class Plan(NamedTuple):
    """A question, understood: what does not depend on who asks."""

    asked: MirrorQuery
    target: Target
    sort: int | None  # of questions for which the same hosts have claims; None: too many for remembering


_COUNTER = count()


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
        self._logs = log is not ignore
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
        start = time.perf_counter()
        index = self._current()  # once: a reload in the middle of the request is harmless
        key = _key(environ)
        # What was made of the same question before: for a repository the same few are asked again and again.
        plan: Plan | Refusal | None = None if isinstance(index, Refusal) else index.plans.get(key)
        if plan is None:
            plan = self._make_plan(environ, index, key)
            if isinstance(plan, Refusal) and plan.reason is Reason.NOT_SERVED and (found := self._service(environ)):
                return found
        decision = self._decide(plan, index, environ, self._draw)
        now = self._clock()
        if isinstance(decision, Refusal):
            kind = query.kind_of(query.path_of(environ))
            response, result, tier = render.refuse(decision, kind, int(now)), decision.reason.name, ""
        else:
            asked, client, selected = decision.query, decision.client, decision.selection
            kind = asked.kind
            response = render.respond(selected, asked, client, decision.cache, int(now))
            result, tier = "OK", _NAMES[selected.shares[0].kind] if selected.shares else "NONE"
        spent = time.perf_counter() - start
        self._observe(_NAMES[kind] if kind else "", result, tier, spent, len(response.body))
        if self._log_all:
            self._log(self._entry(now, spent, environ, response=response, kind=kind, plan=plan, decision=decision))
        elif self._logs and not isinstance(decision, Refusal) and asked.repo is not None and asked.arch is not None:
            self._log(Entry(now, client.address, client.country, asked.repo, asked.arch))
        return response

    def _make_plan(self, environ: Mapping[str, Any], index: Index | Refusal, key: tuple[Any, ...]) -> Plan | Refusal:
        plan = _understand(query.parse(environ, self._policy), index)
        if isinstance(plan, Plan) and isinstance(index, Index) and plan.asked.path is None and plan.asked.ip is None:
            index.plans.keep(key, plan)
        return plan

    def _decide(
        self,
        plan: Plan | Refusal,
        index: Index | Refusal,
        environ: Mapping[str, Any],
        draw: Random,
        *,
        whole: bool = False,  # also hosts that the answer does not show
    ) -> Decision | Refusal:
        if isinstance(plan, Refusal):
            return plan
        if isinstance(index, Refusal):
            return index
        asked, target, sort = plan
        claimed = asked.ip or query.client_address(environ, self._policy.trusted_proxies)
        client = location.locate(claimed, asked.ip is not None, index, self._geo, coarsely=asked.stable)
        if isinstance(client, Refusal):
            return client
        # For clients of one country the same hosts have claims, whatever directory they want.
        key = (sort, client.country)
        claims = index.claims.get(key) if sort is not None else None
        if claims is None:
            claims = selection.claims(target, client, asked, index, self._policy)
            if sort is not None:
                index.claims.keep(key, claims)
        tiers = selection.stages(claims, client, asked, index)
        shares = selection.apportion(target, tiers, asked, self._policy, whole)
        order = selection.drawing(client, asked, index, policy=self._policy, random=draw)
        selected = selection.select(target, asked, shares, order, whole)
        return Decision(asked, client, selected, draw=order, cache=index, policy=self._policy)

    def _entry(
        self,
        now: float,
        spent: float,
        environ: Mapping[str, Any],
        *,
        response: Response,
        kind: Kind | None,
        plan: Plan | Refusal,
        decision: Decision | Refusal,
    ) -> Entry:
        """All that a JSON line tells of a request."""
        asked = None if isinstance(plan, Refusal) else plan.asked
        done = None if isinstance(decision, Refusal) else decision
        client = done.client if done else NOWHERE
        tiers = done.selection.tiers if done else []
        first = done.selection.hosts[:1] if done else []
        return Entry(
            now,
            client.address or query.client_address(environ, self._policy.trusted_proxies),
            client.country,
            (asked.repo or "") if asked else "",
            (asked.arch or "") if asked else "",
            str(environ.get("REQUEST_METHOD", "")),
            response.status.value,
            len(response.body),
            query.path_of(environ),
            str(environ.get("HTTP_USER_AGENT", "")),
            spent,
            client.asn,
            kind.name.lower() if kind else "",
            tiers[0].kind.name.lower() if tiers else "",
            done.cache.hosts[first[0]].name if done and first else "",
            done.selection.view.firsts[first[0]].partition(":")[0] if done and first else "",
            "success" if done else "failure",
        )

    def _service(self, environ: Mapping[str, Any]) -> Response | None:
        """Answers for those who run it."""
        path = query.path_of(environ)
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
        index = self._current()
        plan = _understand(asked, index)
        return self._decide(plan, index, environ, draw, whole=True)

    def _refuse_explanation(self, environ: Mapping[str, Any], now: int) -> Refusal | None:
        policy = self._policy
        if policy.explain == "off":
            return Refusal(Reason.NOT_SERVED, "We don't serve their kind here!")
        found = address.parse(query.client_address(environ, policy.trusted_proxies))
        known = found is not None and any(ip_address(str(found)) in network for network in policy.explain_networks)
        if policy.explain == "networks" and not known:
            return Refusal(Reason.FORBIDDEN, "explanations are for the networks in redirector.explain_networks only")
        minute, number = self._explained
        self._explained = (now // 60, number + 1 if minute == now // 60 else 1)
        if self._explained[1] > policy.explain_per_minute:
            return Refusal(Reason.TOO_OFTEN, "too many explanations in this minute")
        return None


def _key(environ: Mapping[str, Any]) -> tuple[Any, ...]:
    """All of a request that a plan depends on. Redirects depend on more, but they are by path and not remembered."""
    get = environ.get
    return get("REQUEST_METHOD"), get("SCRIPT_NAME"), get("PATH_INFO"), get("QUERY_STRING"), get("HTTP_ACCEPT")


def _understand(asked: MirrorQuery | Refusal, index: Index | Refusal) -> Plan | Refusal:
    if isinstance(asked, Refusal):
        return asked
    if isinstance(index, Refusal):
        return index
    target = lookup.find(asked, index)
    if isinstance(target, Refusal):
        return target
    asked = lookup.settled(asked, target)
    return Plan(asked, target, _sort(target, asked, index))


def _sort(target: Target, asked: MirrorQuery, index: Index) -> int | None:
    """The number of the question's sort; of directories there are too many for those that are bound to one."""
    if asked.path is not None and selection.bound(target, asked):
        return None
    sort = selection.sort_of(target, asked)
    number = index.sorts.get(sort)
    if number is None:
        number = next(_COUNTER)  # never used again, so that claims of a forgotten sort are nobody else's
        index.sorts.keep(sort, number)
    return number


_NAMES = {member: member.name for member in (*Kind, *selection.TierKind)}  # asking an Enum for a name is a call
_STATUS_LINES = {status: f"{status.value} {status.phrase}" for status in HTTPStatus}
