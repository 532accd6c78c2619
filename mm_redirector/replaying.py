"""What another policy or registry would change: past requests through the selection twice, and what moves between.

No host is drawn here. A host stands first in an answer with a chance that follows from the law of the draw
(shuffle.py), and each request counts with these chances: the figures have no noise, and the same policy twice moves
nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import count, repeat
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import numpy as np

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector import location, lookup, query, selection
from mm_redirector.comparing import Comparison, First, Ground, Rows
from mm_redirector.index import Index, Vector
from mm_redirector.location import ClientLocation, GeoSource
from mm_redirector.lookup import Target
from mm_redirector.query import Kind, MirrorQuery, Reason, Refusal
from mm_redirector.selection import UNIFORM, Share, Stage, TierKind
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Hosts, numbers

AT_ONCE = 1_000_000  # requests that are counted together
MANY = 100_000  # things remembered at once of each sort
# In the client's country or network, on its continent, or anywhere.
NEAR = frozenset({TierKind.NETBLOCK, TierKind.LOCATION, TierKind.ASN, TierKind.REQUESTED, TierKind.COUNTRY})

_BITS = 32
_CLIENT = (1 << _BITS) - 1
Key = TypeVar("Key", bound=Hashable)


class Question(NamedTuple):
    """What a log tells of a request, but for the client."""

    repository: str
    arch: str
    kind: str  # "" where the log does not tell


@dataclass(frozen=True, slots=True)
class HostChange:
    """What is different about a host in the proposed registry."""

    removed: bool = False
    bandwidth: int | None = None
    country: str | None = None
    add_countries: tuple[str, ...] = ()


def changed(cache: MirrorlistCache, changes: Mapping[str, HostChange]) -> list[str]:
    """Change hosts of a cache that nobody else uses, all of a name; the names that it does not have."""
    for number, host in enumerate(cache.hosts):
        change = changes.get(host.name)
        if change is None:
            continue
        cache.hosts[number] = host._replace(
            bandwidth=host.bandwidth if change.bandwidth is None else change.bandwidth,
            country=host.country if change.country is None else change.country,
            extra_countries=(*host.extra_countries, *change.add_countries),
        )
        if change.removed:
            for category in cache.categories:
                category.urls.pop(number, None)
    return sorted(changes.keys() - {host.name for host in cache.hosts})


class _Logged:
    """Countries as the databases say now, or else as the log said then."""

    def __init__(self, geo: GeoSource) -> None:
        self._geo = geo
        self.country_then = ""
        self.place, self.asn = geo.place, geo.asn

    def country(self, address: str) -> str:
        """ISO code in capitals; "" if unknown."""
        return self._geo.country(address) or self.country_then


class _Understood(NamedTuple):
    """A question that is answered, on one side."""

    asked: MirrorQuery
    target: Target
    sort: tuple[Any, ...]  # selection.sort_of()


class Side:
    """One of the two: an index, and the policy that it is asked by."""

    def __init__(self, index: Index, policy: Policy, hosts: list[tuple[str, str]]) -> None:
        self.index = index
        self._policy = policy._replace(trusted_proxies=0)
        numbers_of = {host: number for number, host in enumerate(hosts)}
        self._numbers = np.array([numbers_of[host.name, host.site] for host in index.hosts], np.intp)
        places = np.full((len(hosts), 3), np.nan)
        places[self._numbers] = index.places
        self.ground = Ground(places, policy.nearness_km if "nearness" in policy.factors else None)
        self._understood: dict[Question, _Understood | None] = {}
        self._tiers: dict[Any, tuple[int, tuple[Stage, ...]]] = {}
        self._numbering = count()  # of tiers; never used again, so that what was forgotten is nobody else's
        self._firsts: dict[Any, First | None] = {}
        self._alike: dict[Any, First] = {}

    def locate(self, address: str, geo: GeoSource) -> ClientLocation:
        """Where the client is."""
        client = location.locate(address, False, self.index, geo)
        assert isinstance(client, ClientLocation)  # only addresses that a client chose are refused
        return client

    def kind(self, client: ClientLocation) -> ClientLocation:
        """Of a client what counts but for its place: its country, and networks that hosts have claimed."""
        asn = client.asn if client.asn in self.index.asn_hosts else None
        return client._replace(address="", outer=None, place=None, asn=asn)

    def first(self, question: Question, kind: ClientLocation) -> First | None:
        """Who would stand first; None: nobody."""
        if question not in self._understood:
            _make_room(self._understood)
            self._understood[question] = self._find(question)
        understood = self._understood[question]
        if understood is None:
            return None
        asked, target, sort = understood
        tiers = self._tiers.get((sort, kind))
        if tiers is None:
            _make_room(self._tiers)
            claims = selection.claims(target, kind, asked, self.index, self._policy)
            tiers = next(self._numbering), selection.stages(claims, kind, asked, self.index)
            self._tiers[sort, kind] = tiers
        number, stages = tiers
        key = target.carriers, number
        if key not in self._firsts:
            _make_room(self._firsts)
            self._firsts[key] = self._apportion(asked, target, stages)
        return self._firsts[key]

    def _find(self, question: Question) -> _Understood | None:
        """None: it would be refused."""
        names = urlencode({"repo": question.repository, "arch": question.arch})
        named = {kind.value: kind for kind in Kind}.get(question.kind)
        for kind in [named] if named else [Kind.METALINK, Kind.MIRRORLIST]:
            # A redirect is by path: for a repository it was asked of the mirror list.
            path = "/metalink" if kind is Kind.METALINK else "/mirrorlist"
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": names}
            asked = query.parse(environ, self._policy)
            target = asked if isinstance(asked, Refusal) else lookup.find(asked, self.index)
            if isinstance(asked, MirrorQuery) and isinstance(target, Target):
                asked = lookup.settled(asked, target)
                return _Understood(asked, target, selection.sort_of(target, asked))
            if isinstance(target, Refusal) and target.reason is not Reason.NO_DETAILS:
                return None
        return None

    def _apportion(self, asked: MirrorQuery, target: Target, stages: Iterable[Stage]) -> First | None:
        shares = selection.apportion(target, stages, asked, self._policy)
        share = next((share for share in shares if share.number), None)
        if share is None:
            return None
        # Directories differ in who has them, but often not in who of a country has them.
        key = target.category.name, share.fresh, share.kind in UNIFORM, share.kind in NEAR
        if key not in self._alike:
            _make_room(self._alike)
            self._alike[key] = self._weigh(target, share)
        return self._alike[key]

    def _weigh(self, target: Target, share: Share) -> First:
        hosts = numbers(share.fresh)
        weighed = share.kind not in UNIFORM
        weights = target.category.law.weights[hosts] if weighed else np.ones(hosts.size)
        return First(self._numbers[hosts], weights, weighed, share.kind in NEAR)


def _make_room(known: dict[Any, Any]) -> None:
    if len(known) >= MANY:
        known.clear()


class Country(NamedTuple):
    """What changes for the clients of one country, in numbers of requests."""

    requests: int = 0
    lost: int = 0  # had a near mirror, and have none
    measured: int = 0  # with distances that are known on both sides
    near_before: int = 0
    near_after: int = 0
    unanswered_before: int = 0
    unanswered_after: int = 0
    moved: float = 0.0  # to another host first
    kilometres_before: float = 0.0  # sums
    kilometres_after: float = 0.0

    def plus(self, other: Country) -> Country:
        """For all of them together."""
        return Country._make(map(sum, zip(self, other, strict=True)))


class _Numbered(dict[Key, int]):
    """Numbers from 0 on for whatever is asked for."""

    def __missing__(self, key: Key) -> int:
        number = self[key] = len(self)
        return number


class Replay:
    """Counts what moves."""

    def __init__(self, before: tuple[Index, Policy], after: tuple[Index, Policy], geo: GeoSource) -> None:
        sides = (before, after)
        # Names are unique within a site only.
        hosts = sorted({(host.name, host.site) for index, _ in sides for host in index.hosts})
        self.hosts = [name for name, _ in hosts]
        self._sides = [Side(index, policy, hosts) for index, policy in sides]
        self._comparison = Comparison(*(side.ground for side in self._sides))
        self.shares = self._comparison.shares
        self._geo = _Logged(geo)
        self._asked = array("q")  # question and client of each request
        self.countries: dict[str, Country] = {}
        self._forget()

    def _forget(self) -> None:
        """Begin with new numbers."""
        self._questions: _Numbered[Question] = _Numbered()
        self._addresses: dict[tuple[str, str], int] = {}  # address and country -> client
        # Clients at one place in the same networks are the same, whatever their addresses.
        self._clients: _Numbered[tuple[int, int]] = _Numbered()  # kind and place
        self._kinds: _Numbered[tuple[ClientLocation, ...]] = _Numbered()  # one for each side
        self._places: _Numbered[Vector | None] = _Numbered({None: 0})

    def add(self, asked: Iterable[tuple[Question, str, str]]) -> None:
        """Requests: what for, the client's address, and its country as it was then."""
        for question, address, country in asked:
            client = self._addresses.get((address, country))
            if client is None:
                client = self._locate(address, country)
            self._asked.append(self._questions[question] << _BITS | client)
            if len(self._asked) >= AT_ONCE:
                self.finish()

    def _locate(self, address: str, country: str) -> int:
        self._geo.country_then = country
        clients = [side.locate(address, self._geo) for side in self._sides]
        kinds = tuple(side.kind(client) for side, client in zip(self._sides, clients, strict=True))
        number = self._clients[self._kinds[kinds], self._places[clients[0].place]]
        self._addresses[address, country] = number
        return number

    def finish(self) -> None:
        """Count what has been added."""
        if self._asked:
            groups, requests = np.unique(np.array(self._asked, np.int64), return_counts=True)
            kinds, places = np.array(list(self._clients)).T[:, groups & _CLIENT]
            names = _Numbered[str]()
            countries = np.array([names[before.country] for before, _ in self._kinds])[kinds]
            pairs = self._pairs(groups >> _BITS, kinds)
            key = (pairs * len(self._places) + places) * len(names) + countries
            _, one, row = np.unique(key, return_index=True, return_inverse=True)
            rows = Rows(pairs[one], places[one], np.bincount(row, requests).astype(np.float64))
            self._count(rows, countries[one], list(names))
        del self._asked[:]
        self._comparison.forget()
        if max(len(self._addresses), len(self._questions)) >= MANY:
            self._forget()

    def _pairs(self, questions: Hosts, kinds: Hosts) -> Hosts:
        """Who stands first on both sides, as a number."""
        asked, kinds_of = list(self._questions), list(self._kinds)
        found, which = np.unique(questions * len(kinds_of) + kinds, return_inverse=True)
        pairs = []
        for question, kind in map(divmod, found.tolist(), repeat(len(kinds_of))):
            firsts = [side.first(asked[question], kind) for side, kind in zip(self._sides, kinds_of[kind], strict=True)]
            pairs.append(self._comparison.number(*firsts))
        return np.array(pairs)[which]

    def _count(self, rows: Rows, countries: Hosts, names: list[str]) -> None:
        """Add the rows to their countries."""
        places = np.array([place or (np.nan,) * 3 for place in self._places])
        moved, kilometres = self._comparison.compare(rows, places)
        near, answered = self._comparison.near()[:, rows.pairs], self._comparison.answered()[:, rows.pairs]
        measured = ~np.isnan(kilometres).any(axis=0)
        counts = (np.ones(moved.size), near[0] & ~near[1], measured, *near, *~answered)
        sums = (moved, *np.where(measured, kilometres, 0.0))
        columns = [np.bincount(countries, rows.requests * what, len(names)).tolist() for what in (*counts, *sums)]
        for name, *figures in zip(names, *columns, strict=True):
            here = Country(*map(int, figures[: len(counts)]), *figures[len(counts) :])
            self.countries[name] = self.countries.get(name, Country()).plus(here)


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
    everywhere = reduce(Country.plus, replay.countries.values(), Country())
    return {"total": _country("", everywhere), "hosts": hosts, "countries": countries}


def _country(name: str, country: Country) -> dict[str, Any]:
    def mean(kilometres: float) -> float | None:
        return round(kilometres / country.measured, 1) if country.measured else None

    return {
        "country": name,
        "requests": country.requests,
        "moved": round(country.moved, 1),
        "near_before": country.near_before,
        "near_after": country.near_after,
        "lost_near_mirror": country.lost,
        "unanswered_before": country.unanswered_before,
        "unanswered_after": country.unanswered_after,
        "kilometres_before": mean(country.kilometres_before),
        "kilometres_after": mean(country.kilometres_after),
    }
