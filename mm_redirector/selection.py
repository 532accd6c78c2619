"""Which hosts an answer names, in which order, and why. Nothing is written here: render.py speaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from mm_redirector.index import Index, View, members
from mm_redirector.location import ClientLocation
from mm_redirector.lookup import Target
from mm_redirector.query import GLOBAL, MirrorQuery
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Random, uniform, weighted


class TierKind(Enum):
    """Why a host is in the answer."""

    NETBLOCK = "it claimed a netblock around the client"
    ASN = "it claimed the client's autonomous system"
    REQUESTED = "it stands in a country that was asked for"
    COUNTRY = "it stands in the client's country"
    CONTINENT = "it stands on the client's continent"
    GLOBAL = "there were too few nearer hosts"


class Exclusion(Enum):
    """Why a host of the category is not in the answer."""

    NOT_UP_TO_DATE = "it does not have the directory up to date"
    NO_URL = "it has no URL with an asked protocol"
    PRIVATE = "it is private, and neither netblock nor autonomous system match"
    COUNTRY_NOT_ALLOWED = "it does not serve the client's country"
    NOT_NEEDED = "nearer or asked-for hosts are enough"


class Tier(NamedTuple):
    """Hosts with the same claim, in the order that was drawn; a host stands in the first tier that has it."""

    kind: TierKind
    names: tuple[str, ...]  # the countries, or the number of the autonomous system
    hosts: list[int]


@dataclass(frozen=True, slots=True)
class Selection:
    """The hosts of an answer."""

    target: Target
    view: View
    tiers: tuple[Tier, ...]
    allowed: int  # public hosts that have the directory, a URL, and serve the client's country

    @property
    def hosts(self) -> list[int]:
        """All hosts in the order of the answer."""
        return [host for tier in self.tiers for host in tier.hosts]


class _Stage(NamedTuple):
    """A tier before hosts of earlier tiers are taken out and the rest is drawn."""

    kind: TierKind
    names: tuple[str, ...]
    hosts: int


def select(
    target: Target, location: ClientLocation, query: MirrorQuery, index: Index, *, policy: Policy, random: Random
) -> Selection:
    """Choose and order the hosts."""
    view = target.category.view(query.choice)
    servable = target.carriers & view.hosts
    public = servable & index.public
    allowed = public & index.open_to(location.country)
    stages = _requested(query.countries, public, allowed, index)
    if not stages:
        if query.networks and not query.countries:
            stages += _by_network(location, servable, index)
        stages += _by_place(location, allowed, index)
        if _union(stage.hosts for stage in stages).bit_count() < policy.minimum_hosts and allowed:
            stages.append(_Stage(TierKind.GLOBAL, (GLOBAL.lower(),), allowed))
    return Selection(target, view, tuple(_draw(stages, index.inverse_bandwidth, random)), allowed)


def _requested(countries: Sequence[str], public: int, allowed: int, index: Index) -> list[_Stage]:
    """The hosts of the countries that were asked for, or else of their neighbours on the same continents.

    Countries without any host count as not asked for. Those whose hosts all refuse the client's country do not:
    the client wanted these and no others, so it gets none.
    """
    found = _with_hosts(countries, public, index)
    if not found:
        capitals = {name.upper() for name in countries}
        continents = sorted({index.continent_of[name] for name in capitals if name in index.continent_of})
        neighbours = [name for continent in continents for name in index.continents.get(continent, ())]
        found = _with_hosts(neighbours, public, index)
    return [_Stage(TierKind.REQUESTED, tuple(found), _union(found.values()) & allowed)] if found else []


def _by_network(location: ClientLocation, servable: int, index: Index) -> list[_Stage]:
    """Hosts that claimed the client's network; private ones and those for other countries as well."""
    stages = [_Stage(TierKind.NETBLOCK, (), claimed & servable) for claimed in location.netblocks]
    if location.asn is not None:
        hosts = index.asn_hosts.get(location.asn, 0) & servable
        stages.append(_Stage(TierKind.ASN, (str(location.asn),), hosts))
    return [stage for stage in stages if stage.hosts]


def _by_place(location: ClientLocation, allowed: int, index: Index) -> list[_Stage]:
    """The client's country, and then always the rest of its continent."""
    own = _with_hosts([location.country], allowed, index)
    others = (name for name in index.continents.get(location.continent, ()) if name != location.country)
    near = _with_hosts(others, allowed, index)
    stages = [
        _Stage(TierKind.COUNTRY, tuple(own), _union(own.values())),
        _Stage(TierKind.CONTINENT, tuple(near), _union(near.values())),
    ]
    return [stage for stage in stages if stage.hosts]


def _with_hosts(names: Iterable[str], pool: int, index: Index) -> dict[str, int]:
    """Those of the countries that have hosts in the pool, with these hosts. "global" is all the world."""
    found: dict[str, int] = {}
    for name in names:
        if name.upper() == GLOBAL:
            found[GLOBAL.lower()] = pool
        elif hosts := index.countries.get(name.upper(), 0) & pool:
            found[name] = hosts
    return found


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union


_UNIFORM = (TierKind.NETBLOCK, TierKind.ASN)  # claims of equal right: the bandwidth to the world says nothing here


def _draw(stages: Iterable[_Stage], inverse_bandwidth: Sequence[float], random: Random) -> Iterator[Tier]:
    seen = 0
    for kind, names, hosts in stages:
        fresh = members(hosts & ~seen)
        seen |= hosts
        drawn = uniform(fresh, random) if kind in _UNIFORM else weighted(fresh, inverse_bandwidth, random)
        yield Tier(kind, names, drawn)


def exclusions(selection: Selection, index: Index) -> dict[Exclusion, int]:
    """For every host of the category that is not in the answer exactly one reason, as a mask per reason."""
    target = selection.target
    rest = target.category.hosts & ~_union(1 << host for host in selection.hosts)
    reasons: dict[Exclusion, int] = {}
    for reason, passing in (
        (Exclusion.NOT_UP_TO_DATE, target.carriers),
        (Exclusion.NO_URL, selection.view.hosts),
        (Exclusion.PRIVATE, index.public),
        (Exclusion.COUNTRY_NOT_ALLOWED, selection.allowed),
        (Exclusion.NOT_NEEDED, 0),
    ):
        reasons[reason] = rest & ~passing
        rest &= passing
    return reasons
