"""What another policy or registry would change: past requests through the selection twice, and what moves between.

No host is drawn here. A host stands first in an answer with a chance that follows from the law of the draw
(shuffle.py), and each request counts with these chances: the figures have no noise, and the same policy twice moves
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector import location, lookup, query, selection
from mm_redirector.index import Index
from mm_redirector.location import ClientLocation, GeoSource
from mm_redirector.lookup import Target
from mm_redirector.query import Kind, MirrorQuery, Reason, Refusal
from mm_redirector.selection import EARTH_RADIUS_KM, UNIFORM, Claims, Portion, TierKind
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Numbers, fresh, numbers

MANY = 100_000  # things remembered at once of each sort; groups are counted when there are so many
# In the client's country or network, on its continent, or anywhere.
NEAR = frozenset({TierKind.NETBLOCK, TierKind.LOCATION, TierKind.ASN, TierKind.REQUESTED, TierKind.COUNTRY})


class Question(NamedTuple):
    """What a log tells of a request, but for the client."""

    repository: str
    arch: str
    kind: str  # "" where the log does not tell


class Outcome(NamedTuple):
    """Who stands first in an answer, and how likely."""

    places: NDArray[np.intp]  # in the list of all hosts of both sides
    chances: Numbers
    near: bool
    kilometres: float | None  # from the client to whoever stands first, on average; None: not known


NOBODY = Outcome(np.zeros(0, np.intp), np.zeros(0), False, None)


@dataclass(frozen=True, slots=True)
class HostChange:
    """What is different about a host in the proposed registry."""

    removed: bool = False
    bandwidth: int | None = None
    country: str | None = None
    add_countries: tuple[str, ...] = ()


def changed(cache: MirrorlistCache, changes: Mapping[str, HostChange]) -> list[str]:
    """Change hosts of a cache that nobody else uses; the names that it does not have."""
    known = {host.name: number for number, host in enumerate(cache.hosts)}
    for name in known.keys() & changes.keys():
        number, change = known[name], changes[name]
        host = cache.hosts[number]
        cache.hosts[number] = host._replace(
            bandwidth=host.bandwidth if change.bandwidth is None else change.bandwidth,
            country=host.country if change.country is None else change.country,
            extra_countries=(*host.extra_countries, *change.add_countries),
        )
        if change.removed:
            for category in cache.categories:
                category.urls.pop(number, None)
    return sorted(changes.keys() - known.keys())


class _Logged:
    """Countries as the databases say now, or else as the log said then."""

    def __init__(self, geo: GeoSource) -> None:
        self._geo = geo
        self.country_then = ""
        self.place, self.asn = geo.place, geo.asn

    def country(self, address: str) -> str:
        """ISO code in capitals; "" if unknown."""
        return self._geo.country(address) or self.country_then


class Side:
    """One of the two: an index, and the policy that it is asked by."""

    def __init__(self, index: Index, policy: Policy, places: Sequence[int]) -> None:
        self.index = index
        self._policy = policy._replace(trusted_proxies=0)
        self._places = np.array(places, np.intp)
        self._understood: dict[Question, tuple[MirrorQuery, Target] | None] = {}
        self._claims: dict[Any, Claims] = {}
        self._portions: dict[Any, Portion] = {}

    def outcome(self, question: Question, client: ClientLocation) -> Outcome:
        """Who would stand first."""
        understood = self._understand(question)
        if understood is None:
            return NOBODY
        asked, target = understood
        claims = self._claim(asked, target, client)
        portion = self._apportion(asked, target, claims)
        return self._chances(target, asked, portion, client)

    def _understand(self, question: Question) -> tuple[MirrorQuery, Target] | None:
        """None: it would be refused."""
        if question not in self._understood:
            _make_room(self._understood)
            self._understood[question] = self._find(question)
        return self._understood[question]

    def _find(self, question: Question) -> tuple[MirrorQuery, Target] | None:
        names = urlencode({"repo": question.repository, "arch": question.arch})
        named = {kind.value: kind for kind in Kind}.get(question.kind)
        for kind in [named] if named else [Kind.METALINK, Kind.MIRRORLIST]:
            # A redirect is by path: for a repository it was asked of the mirror list.
            path = "/metalink" if kind is Kind.METALINK else "/mirrorlist"
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": names}
            asked = query.parse(environ, self._policy)
            target = asked if isinstance(asked, Refusal) else lookup.find(asked, self.index)
            if isinstance(asked, MirrorQuery) and isinstance(target, Target):
                return lookup.settled(asked, target), target
            if isinstance(target, Refusal) and target.reason is not Reason.NO_DETAILS:
                return None
        return None

    def _claim(self, asked: MirrorQuery, target: Target, client: ClientLocation) -> Claims:
        asn = client.asn if client.asn in self.index.asn_hosts else None
        key = (selection.sort_of(target, asked), client.country, client.netblocks, asn)
        if key not in self._claims:
            _make_room(self._claims)
            self._claims[key] = selection.claims(target, client, asked, self.index, self._policy)
        return self._claims[key]

    def _apportion(self, asked: MirrorQuery, target: Target, claims: Claims) -> Portion:
        key = target.carriers, claims.number
        if key not in self._portions:
            _make_room(self._portions)
            self._portions[key] = selection.apportion(target, claims, asked, self._policy)
        return self._portions[key]

    def _chances(self, target: Target, asked: MirrorQuery, portion: Portion, client: ClientLocation) -> Outcome:
        """Weight over the sum of weights, in the first tier that has anybody."""
        first = next((share for share in portion.shares if share.number), None)
        if first is None:
            return NOBODY
        hosts = numbers(first.fresh)
        if first.kind in UNIFORM:
            weights = np.ones(hosts.size)
        else:
            weights = 1.0 / target.category.inverse_weights[hosts]
            draw = selection.drawing(client, asked, self.index, policy=self._policy, random=_NO_CHANCE)
            if draw.nearness is not None:
                weights *= draw.nearness(hosts)
        chances = weights / weights.sum()
        return Outcome(self._places[hosts], chances, first.kind in NEAR, self._kilometres(hosts, chances, client))

    def _kilometres(self, hosts: NDArray[np.intp], chances: Numbers, client: ClientLocation) -> float | None:
        if client.place is None:
            return None
        angles = np.arccos(np.clip(self.index.places[hosts] @ np.array(client.place), -1.0, 1.0))
        known = ~np.isnan(angles)
        total = chances[known].sum()
        return float((angles[known] * chances[known]).sum() / total * EARTH_RADIUS_KM) if total else None


_NO_CHANCE = fresh()  # is not asked for numbers: only nearness is wanted of the draw


def _make_room(known: dict[Any, Any]) -> None:
    if len(known) >= MANY:
        known.clear()


@dataclass(slots=True)
class Country:
    """What changes for the clients of one country."""

    requests: int = 0
    moved: float = 0.0  # requests that go to another host first
    near: list[int] = field(default_factory=lambda: [0, 0])  # before and after: requests with a near mirror
    lost: int = 0  # had a near mirror, and have none
    unanswered: list[int] = field(default_factory=lambda: [0, 0])
    kilometres: list[float] = field(default_factory=lambda: [0.0, 0.0])  # sums
    measured: int = 0  # requests whose distances are known on both sides


class Replay:
    """Counts what moves."""

    def __init__(self, before: tuple[Index, Policy], after: tuple[Index, Policy], geo: GeoSource) -> None:
        sides = (before, after)
        self.hosts = sorted({host.name for index, _ in sides for host in index.hosts})
        place = {name: number for number, name in enumerate(self.hosts)}
        self._sides = [Side(index, policy, [place[host.name] for host in index.hosts]) for index, policy in sides]
        self._geo = _Logged(geo)
        self._clients: dict[tuple[str, str], tuple[ClientLocation, ...]] = {}
        self._groups: Counter[tuple[Question, tuple[ClientLocation, ...]]] = Counter()
        self.shares = np.zeros((2, len(self.hosts)))  # before and after: requests that get the host first
        self.countries: dict[str, Country] = {}

    def add(self, asked: Iterable[tuple[Question, str, str]]) -> None:
        """Requests: what for, the client's address, and its country as it was then."""
        for question, address, country in asked:
            clients = self._clients.get((address, country))
            if clients is None:
                clients = self._locate(address, country)
            self._groups[question, clients] += 1
            if len(self._groups) >= MANY:
                self.finish()

    def _locate(self, address: str, country: str) -> tuple[ClientLocation, ...]:
        """Clients at one place in the same networks are the same, whatever their addresses."""
        self._geo.country_then = country
        found = []
        for side in self._sides:
            client = location.locate(address, False, side.index, self._geo)
            assert isinstance(client, ClientLocation)
            asn = client.asn if any(client.asn in one.index.asn_hosts for one in self._sides) else None
            found.append(client._replace(address="", outer=None, asn=asn))
        _make_room(self._clients)
        self._clients[address, country] = clients = tuple(found)
        return clients

    def finish(self) -> None:
        """Count what has been added."""
        for (question, clients), requests in self._groups.items():
            outcomes = [side.outcome(question, client) for side, client in zip(self._sides, clients, strict=True)]
            self._count(clients[0].country, requests, *outcomes)
        self._groups.clear()

    def _count(self, name: str, requests: int, before: Outcome, after: Outcome) -> None:
        country = self.countries.setdefault(name, Country())
        country.requests += requests
        difference = np.zeros(len(self.hosts))
        for side, sign, outcome in ((0, -1.0, before), (1, 1.0, after)):
            self.shares[side, outcome.places] += outcome.chances * requests
            difference[outcome.places] += outcome.chances * sign
            country.near[side] += requests if outcome.near else 0
            country.unanswered[side] += 0 if outcome.places.size else requests
        country.moved += requests * max(
            float(difference[difference > 0].sum()), float(-difference[difference < 0].sum())
        )
        country.lost += requests if before.near and not after.near else 0
        if before.kilometres is not None and after.kilometres is not None:
            country.measured += requests
            country.kilometres[0] += requests * before.kilometres
            country.kilometres[1] += requests * after.kilometres


def result(replay: Replay, of_hosts: Mapping[str, str]) -> dict[str, Any]:
    """All figures as plain values; `of_hosts` are the countries of the hosts."""
    countries = [_country(name, country) for name, country in replay.countries.items()]
    total = sum(country["requests"] for country in countries)
    hosts = [
        {
            "host": name,
            "country": of_hosts.get(name, ""),
            "requests_before": round(float(before), 1),
            "requests_after": round(float(after), 1),
            "share_before": float(before) / total if total else 0.0,
            "share_after": float(after) / total if total else 0.0,
        }
        for name, before, after in zip(replay.hosts, *replay.shares, strict=True)
        if before or after
    ]
    hosts.sort(key=lambda row: (-abs(row["share_after"] - row["share_before"]), row["host"]))
    countries.sort(key=lambda row: (-row["moved"], -row["requests"], row["country"]))
    every = replay.countries.values()
    sums = Country(
        requests=total,
        moved=sum(country.moved for country in every),
        near=_pairs(country.near for country in every),
        lost=sum(country.lost for country in every),
        unanswered=_pairs(country.unanswered for country in every),
        kilometres=_pairs(country.kilometres for country in every),
        measured=sum(country.measured for country in every),
    )
    return {"total": _country("", sums), "hosts": hosts, "countries": countries}


def _pairs(pairs: Iterable[list[Any]]) -> list[Any]:
    """Before and after, each added up."""
    return [sum(side) for side in zip(*pairs, strict=True)] or [0, 0]


def _country(name: str, country: Country) -> dict[str, Any]:
    def mean(side: int) -> float | None:
        return round(country.kilometres[side] / country.measured, 1) if country.measured else None

    return {
        "country": name,
        "requests": country.requests,
        "moved": round(country.moved, 1),
        "near_before": country.near[0],
        "near_after": country.near[1],
        "lost_near_mirror": country.lost,
        "unanswered_before": country.unanswered[0],
        "unanswered_after": country.unanswered[1],
        "kilometres_before": mean(0),
        "kilometres_after": mean(1),
    }
