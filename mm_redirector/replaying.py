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

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector import location, lookup, query, selection
from mm_redirector.index import Index, Vector
from mm_redirector.location import ClientLocation, GeoSource
from mm_redirector.lookup import Target
from mm_redirector.query import Kind, MirrorQuery, Reason, Refusal
from mm_redirector.selection import EARTH_RADIUS_KM, UNIFORM, Claims, Share, TierKind
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Hosts, Numbers, fresh, numbers

MANY_PLACES = 64  # of which distances to all hosts are remembered
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

    places: Hosts  # in the list of all hosts of both sides
    chances: Numbers
    near: bool
    kilometres: float | None  # from the client to whoever stands first, on average; None: not known


class _First(NamedTuple):
    """The first tier of an answer that has anybody."""

    hosts: Hosts
    weights: Numbers
    weighed: bool  # nearness counts as well
    anywhere: Outcome  # for clients whose place is not known


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
        self._firsts: dict[Any, _First | None] = {}
        self._nearnesses: dict[Vector, Numbers | None] = {}
        self._distances: dict[Vector, tuple[Numbers, Numbers]] = {}

    def outcome(self, question: Question, client: ClientLocation) -> Outcome:
        """Who would stand first."""
        understood = self._understand(question)
        if understood is None:
            return NOBODY
        asked, target = understood
        first = self._first(asked, target, self._claim(asked, target, client))
        if first is None:
            return NOBODY
        if client.place is None:
            return first.anywhere
        weights = first.weights
        if first.weighed and (nearness := self._nearness(asked, client)) is not None:
            weights = weights * nearness[first.hosts]
        chances = weights / weights.sum()
        kilometres = self._kilometres(first.hosts, chances, client.place)
        return Outcome(first.anywhere.places, chances, first.anywhere.near, kilometres)

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

    def _first(self, asked: MirrorQuery, target: Target, claims: Claims) -> _First | None:
        key = target.carriers, claims.number
        if key not in self._firsts:
            _make_room(self._firsts)
            portion = selection.apportion(target, claims, asked, self._policy)
            share = next((share for share in portion.shares if share.number), None)
            self._firsts[key] = self._weigh(target, share) if share else None
        return self._firsts[key]

    def _weigh(self, target: Target, share: Share) -> _First:
        """Weight over the sum of weights, in the first tier that has anybody."""
        hosts = numbers(share.fresh)
        weighed = share.kind not in UNIFORM
        weights = 1.0 / target.category.inverse_weights[hosts] if weighed else np.ones(hosts.size)
        anywhere = Outcome(self._places[hosts], weights / weights.sum(), share.kind in NEAR, None)
        return _First(hosts, weights, weighed, anywhere)

    def _nearness(self, asked: MirrorQuery, client: ClientLocation) -> Numbers | None:
        """What the draw would weigh each host with for clients at this place; None: nothing."""
        assert client.place is not None
        if client.place not in self._nearnesses:
            _make_room(self._nearnesses, MANY_PLACES)
            draw = selection.drawing(client, asked, self.index, policy=self._policy, random=_NO_CHANCE)
            every = np.arange(len(self.index.hosts))
            self._nearnesses[client.place] = None if draw.nearness is None else draw.nearness(every)
        return self._nearnesses[client.place]

    def _kilometres(self, hosts: Hosts, chances: Numbers, place: Vector) -> float | None:
        """On average; hosts whose place is not known do not count."""
        if place not in self._distances:
            _make_room(self._distances, MANY_PLACES)
            angles = np.arccos(np.clip(self.index.places @ np.array(place), -1.0, 1.0))
            known = ~np.isnan(angles)
            self._distances[place] = np.where(known, angles, 0.0) * EARTH_RADIUS_KM, known.astype(np.float64)
        distances, known_ones = self._distances[place]
        total = float(chances @ known_ones[hosts])
        return float(chances @ distances[hosts]) / total if total else None


_NO_CHANCE = fresh()  # is not asked for numbers: only nearness is wanted of the draw


def _make_room(known: dict[Any, Any], most: int = MANY) -> None:
    if len(known) >= most:
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
        self._scratch = np.zeros(len(self.hosts))  # all 0 between two uses
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
        # Place by place, so that distances to all hosts are computed once for each.
        groups = sorted(self._groups.items(), key=lambda group: group[0][1][0].place or ())
        for (question, clients), requests in groups:
            outcomes = [side.outcome(question, client) for side, client in zip(self._sides, clients, strict=True)]
            self._count(clients[0].country, requests, *outcomes)
        self._groups.clear()

    def _count(self, name: str, requests: int, before: Outcome, after: Outcome) -> None:
        country = self.countries.setdefault(name, Country())
        country.requests += requests
        for side, outcome in enumerate((before, after)):
            self.shares[side, outcome.places] += outcome.chances * requests
            country.near[side] += requests if outcome.near else 0
            country.unanswered[side] += 0 if outcome.places.size else requests
        country.moved += requests * self._moved(before, after)
        country.lost += requests if before.near and not after.near else 0
        if before.kilometres is not None and after.kilometres is not None:
            country.measured += requests
            country.kilometres[0] += requests * before.kilometres
            country.kilometres[1] += requests * after.kilometres

    def _moved(self, before: Outcome, after: Outcome) -> float:
        """The chance that another host stands first."""
        if before.places is after.places and before.chances is after.chances:
            return 0.0
        difference = self._scratch
        difference[before.places] = -before.chances
        difference[after.places] += after.chances
        gained = float(np.maximum(difference[after.places], 0.0).sum())
        lost = float(np.maximum(-difference[before.places], 0.0).sum())
        difference[before.places] = difference[after.places] = 0.0
        return max(gained, lost)


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
