"""Replay computes many clients together: the same figures as one request at a time through the selection."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
import pytest

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector import comparing, location, lookup, query, replaying, selection
from mm_redirector.comparing import Comparison, First, Ground, Rows
from mm_redirector.index import Index, build, vector
from mm_redirector.location import ClientLocation
from mm_redirector.query import MirrorQuery, Refusal
from mm_redirector.replaying import NEAR, HostChange, Question, Replay, changed, result
from mm_redirector.selection import EARTH_RADIUS_KM, UNIFORM
from mm_redirector.settings import BALANCED, CLASSIC, Policy
from mm_redirector.shuffle import fresh, members
from tests.redirector.world import Atlas
from tests.redirector.worlds import ADDRESSES, CLIENTS, DIRECTORY, SOMEWHERE, SYSTEM, make

QUESTIONS = [
    *(Question("r", "a", kind) for kind in ("", "metalink", "mirrorlist")),
    Question("whole", "a", ""),
    Question("none", "a", ""),  # there is no such repository
]
STOCKHOLM = (59.3, 18.1)
SLOWER = BALANCED._replace(nearness_km=2000.0, minimum_hosts=2)


class Plain(NamedTuple):
    """Who would stand first in one answer."""

    chances: dict[str, float]  # by the names of hosts
    near: bool
    kilometres: float | None


NOBODY = Plain({}, False, None)


def plain(question: Question, client: ClientLocation | Refusal, index: Index, policy: Policy) -> Plain:
    """One request through the selection, host by host."""
    assert isinstance(client, ClientLocation)
    names = urlencode({"repo": question.repository, "arch": question.arch})
    for kind in [question.kind] if question.kind else ["metalink", "mirrorlist"]:
        asked = query.parse({"REQUEST_METHOD": "GET", "PATH_INFO": f"/{kind}", "QUERY_STRING": names}, policy)
        assert isinstance(asked, MirrorQuery)
        target = lookup.find(asked, index)
        if isinstance(target, lookup.Target):
            break
    else:
        return NOBODY
    possible = selection.stages(selection.claims(target, client, asked, index, policy), client, asked, index)
    shares = [share for share in selection.apportion(target, possible, asked, policy) if share.number]
    if not shares:
        return NOBODY
    nearness = selection.drawing(client, asked, index, policy=policy, random=fresh()).nearness
    weights, distances = {}, {}
    for host in members(shares[0].fresh):
        weights[host] = 1.0
        if shares[0].kind not in UNIFORM:
            near = 1.0 if nearness is None else float(nearness(np.array([host]))[0])
            weights[host] = near * float(target.category.law.weights[host])
        if client.place and not np.isnan(index.places[host, 0]):
            distances[host] = float(np.arccos(np.clip(index.places[host] @ client.place, -1, 1))) * EARTH_RADIUS_KM
    known = sum(weights[host] for host in distances)
    kilometres = sum(weights[host] * distance for host, distance in distances.items()) / known if known else None
    total = sum(weights.values())
    chances = {index.hosts[host].name: weight / total for host, weight in weights.items()}
    return Plain(chances, shares[0].kind in NEAR, kilometres)


def zeros() -> defaultdict[str, float]:
    return defaultdict(float)


@dataclass
class Sums:
    """What is added up of the plain way, per country and for all hosts."""

    figures: dict[str, defaultdict[str, float]] = field(default_factory=lambda: defaultdict(zeros))
    shares: tuple[defaultdict[str, float], ...] = field(default_factory=lambda: (zeros(), zeros()))

    def add(self, country: str, before: Plain, after: Plain) -> None:
        here = self.figures[country]
        here["requests"] += 1
        here["lost_near_mirror"] += before.near and not after.near
        gone = {name: chance - after.chances.get(name, 0.0) for name, chance in before.chances.items()}
        come = {name: chance - before.chances.get(name, 0.0) for name, chance in after.chances.items()}
        here["moved"] += max(sum(max(0.0, chance) for chance in many.values()) for many in (gone, come))
        measured = before.kilometres is not None and after.kilometres is not None
        here["measured"] += measured
        for side, (when, one) in enumerate((("before", before), ("after", after))):
            here[f"near_{when}"] += one.near
            here[f"unanswered_{when}"] += not one.chances
            here[f"kilometres_{when}"] += (one.kilometres or 0.0) if measured else 0.0
            for name, chance in one.chances.items():
                self.shares[side][name] += chance


def proposal(seed: int) -> tuple[MirrorlistCache, MirrorlistCache]:
    """A random registry, and the same with hosts that went, grew or stand elsewhere."""
    draw = Random(seed)
    caches = make(30, seed), make(30, seed)
    for cache in caches:
        cache.repositories["whole", "a"] = (0, "top")
        assert cache.repositories["r", "a"] == (0, DIRECTORY)
    names = draw.sample([host.name for host in caches[1].hosts], 9)
    changes = [HostChange(removed=True), HostChange(bandwidth=50), HostChange(country="JP", add_countries=("SE",))]
    changed(caches[1], dict(zip(names, changes * 3, strict=True)))
    return caches


def world_of_clients(seed: int) -> tuple[list[str], Atlas]:
    """Clients at places of their own, some in a network that hosts claimed, of some little is known."""
    draw = Random(seed)
    countries = CLIENTS | {f"203.0.{number}.9": draw.choice(SOMEWHERE) for number in range(80)}
    cities = [(draw.uniform(-70, 70), draw.uniform(-180, 180)) for _ in range(40)]
    places = {address: draw.choice(cities) for address in countries if draw.random() < 0.8}
    numbers = {address: SYSTEM for address in countries if draw.random() < 0.2}
    addresses = sorted(countries)
    assert set(ADDRESSES) < set(addresses)
    return addresses, Atlas(countries=countries, places=places, numbers=numbers)


@pytest.fixture(params=["together", "bit by bit"])
def portions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests at once, or in so small portions that whatever is remembered is forgotten on the way."""
    if request.param == "bit by bit":
        monkeypatch.setattr(replaying, "AT_ONCE", 90)
        monkeypatch.setattr(replaying, "MANY", 20)
        monkeypatch.setattr(comparing, "AT_ONCE", 40)


@pytest.mark.usefixtures("portions")
@pytest.mark.parametrize("after", [BALANCED, CLASSIC, SLOWER], ids=["registry alone", "classic", "wider"])
@pytest.mark.parametrize("seed", [5, 6, 7, 8])
def test_many_clients_together_get_the_figures_of_one_request_at_a_time(seed: int, after: Policy) -> None:
    caches, (addresses, geo) = proposal(seed), world_of_clients(seed)
    draw = Random(seed)
    asked = [(draw.choice(QUESTIONS), draw.choice(addresses), "") for _ in range(400)]
    sides = [(build(cache, policy), policy) for cache, policy in zip(caches, (BALANCED, after), strict=True)]
    played = Replay(sides[0], sides[1], geo)
    played.add(asked)
    played.finish()
    expected = Sums()
    for question, address, _ in asked:
        clients = [location.locate(address, False, index, geo) for index, _ in sides]
        assert isinstance(clients[0], ClientLocation)
        before, after_it = (plain(question, client, *side) for client, side in zip(clients, sides, strict=True))
        expected.add(clients[0].country, before, after_it)
    check(played, expected)


def check(played: Replay, expected: Sums) -> None:
    """Every figure of every country and host."""
    found = result(played, {})
    assert {row["country"] for row in found["countries"]} == set(expected.figures)
    for row in found["countries"]:
        wanted: dict[str, Any] = dict(expected.figures[row["country"]])
        measured = wanted.pop("measured")
        for when in ("before", "after"):
            kilometres = wanted.pop(f"kilometres_{when}")
            wanted[f"kilometres_{when}"] = pytest.approx(kilometres / measured, abs=0.06) if measured else None
        wanted["moved"] = pytest.approx(wanted["moved"], abs=0.06)  # is rounded
        assert {key: row[key] for key in wanted} == wanted
    exactly = [dict(zip(played.hosts, side.tolist(), strict=True)) for side in played.shares]
    for side, shares in enumerate(expected.shares):
        assert exactly[side] == pytest.approx({name: shares[name] for name in played.hosts}, abs=1e-9)
    moved = sum(country["moved"] for country in expected.figures.values())
    assert sum(country.moved for country in played.countries.values()) == pytest.approx(moved, abs=1e-9)
    assert moved > 0


@pytest.mark.usefixtures("portions")
def test_the_same_twice_moves_nothing_wherever_clients_stand() -> None:
    (before, _), (addresses, geo) = proposal(5), world_of_clients(5)
    played = Replay((build(before), BALANCED), (build(proposal(5)[0]), BALANCED), geo)
    played.add((question, address, "") for question in QUESTIONS for address in addresses)
    played.finish()
    total = result(played, {})["total"]
    assert sum(country.moved for country in played.countries.values()) == 0.0
    assert np.array_equal(*played.shares)
    assert total["kilometres_before"] == total["kilometres_after"] > 0


def first_shares(cache: MirrorlistCache, names: set[str]) -> list[float]:
    """How many requests get each host of these names first."""
    addresses, geo = world_of_clients(5)
    played = Replay((build(cache), BALANCED), (build(cache), BALANCED), geo)
    played.add((QUESTIONS[0], address, "") for address in addresses)
    played.finish()
    return sorted(share for name, share in zip(played.hosts, played.shares[0], strict=True) if name in names)


def test_hosts_of_two_sites_that_have_one_name_are_two_hosts() -> None:
    """Names are unique within a site only. A proposal means both of them."""
    cache = make(30, 5)
    shares = first_shares(cache, {host.name for host in cache.hosts[:2]})
    cache.hosts[:2] = [host._replace(name="mirror", site=host.name) for host in cache.hosts[:2]]
    assert first_shares(cache, {"mirror"}) == pytest.approx(shares)
    assert shares[0] > 0
    assert changed(cache, {"mirror": HostChange(bandwidth=7)}) == []
    assert [host.bandwidth for host in cache.hosts if host.name == "mirror"] == [7, 7]


def test_nearness_counts_on_the_side_whose_tier_it_counts_in() -> None:
    places = np.array([vector(*STOCKHOLM), vector(35.7, 139.7)])
    compared = Comparison(Ground(places, 500.0), Ground(places, 500.0))
    hosts, alike = np.arange(2), np.ones(2)
    pair = compared.number(First(hosts, alike, weighed=True, near=True), First(hosts, alike, weighed=False, near=True))
    rows = Rows(np.array([pair]), np.array([1]), np.array([3.0]))
    compared.compare(rows, np.array([vector(0, 0), vector(*STOCKHOLM)]))
    assert compared.shares[0] == pytest.approx([3 / 1.05, 3 * 0.05 / 1.05])
    assert compared.shares[1] == pytest.approx([1.5, 1.5])
