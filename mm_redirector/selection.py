"""Which hosts an answer names, in which order, and why. Nothing is written here: render.py speaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from mm_redirector.address import network_of
from mm_redirector.category import View
from mm_redirector.index import Index, Vector
from mm_redirector.location import ClientLocation
from mm_redirector.lookup import Target
from mm_redirector.query import GLOBAL, MirrorQuery
from mm_redirector.settings import Policy
from mm_redirector.shuffle import (
    Draw,
    Hosts,
    Lots,
    Nearness,
    Numbers,
    Random,
    StableDraw,
    flags,
    lots,
    numbers,
    seed,
    union,
)

EARTH_RADIUS_KM = 6371.0
MIN_NEARNESS = 0.05  # farther away than a few thousand kilometres, the distance says little
UNKNOWN_NEARNESS = 0.2  # of a host whose place is not known


class TierKind(Enum):
    """Why a host is in the answer."""

    __hash__ = object.__hash__  # Enum's own is a function in Python

    NETBLOCK = "it claimed a netblock around the client"
    LOCATION = "it belongs to a location group that was asked for"
    ASN = "it claimed the client's autonomous system"
    REQUESTED = "it stands in a country that was asked for"
    COUNTRY = "it stands in the client's country"
    CONTINENT = "it stands on the client's continent"
    GLOBAL = "there were too few nearer hosts"


class Exclusion(Enum):
    """Why a host of the category is not in the answer."""

    RESERVED = "the directory is reserved for other hosts"
    NOT_UP_TO_DATE = "it does not have the directory up to date"
    NO_URL = "it has no URL with an asked protocol"
    EMBARGOED = "it stands in a country whose mirrors are not used"
    AVOIDED = "it stands in a country that the client avoids"
    NO_IPV4 = "it cannot be reached by IPv4"
    NO_IPV6 = "it is not known to be reachable by IPv6"
    PRIVATE = "it is private, and neither netblock nor autonomous system match"
    COUNTRY_NOT_ALLOWED = "it does not serve the client's country"
    NOT_NEEDED = "nearer, asked-for or drawn hosts are enough"


class Tier(NamedTuple):
    """Hosts with the same claim, in the order that was drawn; a host stands in the first tier that has it."""

    kind: TierKind
    names: tuple[str, ...]  # the countries, or the netblock, location group or autonomous system
    mask: int  # all hosts with this claim, also those that an earlier tier has
    hosts: list[int]
    cut: bool  # not all were needed


class Share(NamedTuple):
    """What one tier gives to an answer: so many of these hosts."""

    kind: TierKind
    names: tuple[str, ...]
    mask: int  # all with this claim
    fresh: int  # those whom no earlier tier has
    number: int  # how many of them
    cut: bool  # there are more


class Portion(NamedTuple):
    """All of an answer but chance: what its tiers are, and of whom how many are drawn."""

    shares: tuple[Share, ...]
    hosts: Hosts  # the fresh ones of all shares
    lots: Lots  # theirs
    number: int  # of them to be drawn


class Selection(NamedTuple):
    """The hosts of an answer."""

    target: Target
    view: View
    shares: tuple[Share, ...]  # with the numbers of hosts that were drawn
    hosts: list[int]  # all of them, in the order of the answer

    @property
    def tiers(self) -> list[Tier]:
        """The hosts, tier by tier."""
        tiers, start = [], 0
        for kind, names, mask, _, number, cut in self.shares:
            tiers.append(Tier(kind, names, mask, self.hosts[start : start + number], cut))
            start += number
        return tiers


class Stage(NamedTuple):
    """Who has a claim, before hosts of earlier tiers are taken out."""

    kind: TierKind
    names: tuple[str, ...]
    hosts: int
    telling: int = -1  # without any of these it is no tier of its own


class Claims(NamedTuple):
    """Who may serve the clients of one kind, and by which claim: all but the directory, chance and the place."""

    stages: tuple[Stage, ...]
    lots: Lots  # for drawing from all stages at once
    number: int  # no other ones ever have the same


_NETWORK = (TierKind.NETBLOCK, TierKind.ASN)
UNIFORM = frozenset({TierKind.NETBLOCK, TierKind.LOCATION, TierKind.ASN})  # bandwidth to the world says nothing here
_REQUESTED, _GLOBAL = TierKind.REQUESTED, TierKind.GLOBAL  # asking an Enum for a member is slow
_UNLIMITED = 1 << 30
_COUNTER = count()


def claims(target: Target, client: ClientLocation, query: MirrorQuery, index: Index, policy: Policy) -> Claims:
    """Who may serve such clients. Of the client only its networks, country and continent count; of the target only
    its category, and more of it where the question is bound to its directory.
    """
    servable = -1
    for reason, passing in filters(target, target.category.view(query.choice), query, index):
        if reason is not Exclusion.NOT_UP_TO_DATE or bound(target, query):
            servable &= passing
    allowed = servable & index.public & index.open_to(client.country)
    groups = query.locations if policy.location_groups else ()
    stages = tuple(_stages(client, query, index, _Hosts(servable, allowed), groups))
    return Claims(stages, _lots(stages, target.category.inverse_weights), next(_COUNTER))


def bound(target: Target, query: MirrorQuery) -> bool:
    """Whether it depends on the directory who may serve it, beyond having it: these are remembered one by one."""
    return bool(query.countries or query.locations or target.path in target.category.reserved)


def _lots(stages: Iterable[Stage], inverse_weights: Numbers) -> Lots:
    """How to draw from all stages at once: hosts of earlier ones first, each by the rules of its stage."""
    size = inverse_weights.size
    rank = np.zeros(size, np.uint16)
    left, alike = (1 << size) - 1, 0
    for kind, _, mask, _ in stages:
        if kind in UNIFORM:
            alike |= mask & left
        left &= ~mask
        rank += flags(left, size)  # the rank of a host is the number of stages before the first one that has it
    if not alike:
        return lots(inverse_weights, rank)
    uniform = flags(alike, size).view(np.bool_)
    return lots(np.where(uniform, 1.0, inverse_weights), rank, uniform)


def apportion(target: Target, found: Claims, query: MirrorQuery, policy: Policy) -> Portion:
    """Which tiers an answer has and how many hosts of each."""
    carriers, minimum, most = target.carriers, policy.minimum_hosts, policy.max_hosts
    enough = max(most, minimum) if most else _UNLIMITED
    shares: list[Share] = []
    total = seen = everybody = 0
    for kind, names, claiming, telling in found.stages:
        mask = claiming & carriers
        # A country that was asked for is named though none of its hosts may serve the client.
        if not mask & telling and kind is not _REQUESTED:
            continue
        if kind is _GLOBAL and not most and total >= minimum:
            break
        # What the client asked for by name it gets in full; else the list ends when it is long enough.
        need = enough - total if kind is not _REQUESTED else _UNLIMITED
        if need <= 0:
            break
        fresh = mask & ~seen
        there = fresh.bit_count()
        # Who is not drawn from a group may still stand in a country that was asked for: _apart() looks.
        if there <= need or not query.locations:
            seen |= mask
        number = min(there, need)
        shares.append(Share(kind, names, mask, fresh, number, number < there))
        everybody |= fresh
        total += number
    hosts = numbers(everybody)
    return Portion(tuple(shares), hosts, found.lots.of(hosts), total)


def sort_of(target: Target, query: MirrorQuery) -> tuple[Any, ...]:
    """For questions of one sort the same hosts have the same claims: all that claims() looks at, but for the client."""
    return (
        target.category.name,
        (target.carriers, target.path) if bound(target, query) else None,
        query.choice,
        query.countries,
        query.avoided,
        query.locations,
        query.networks,
        query.ipv4,
        query.ipv6,
    )


def select(target: Target, query: MirrorQuery, portion: Portion, draw: Draw) -> Selection:
    """Draw the hosts of every share, each in its order."""
    shares, fresh, lots_of_fresh, number = portion
    view = target.category.view(query.choice)
    if query.locations and any(share.kind is TierKind.LOCATION for share in shares):
        return Selection(target, view, *_apart(shares, target.category.inverse_weights, draw))
    hosts = draw.first(fresh, number, lots_of_fresh)
    return Selection(target, view, shares, hosts)


def _apart(shares: Iterable[Share], inverse_weights: Numbers, draw: Draw) -> tuple[tuple[Share, ...], list[int]]:
    """Share by share: hosts that were not drawn from a location group may be in a later tier."""
    settled: list[Share] = []
    hosts: list[int] = []
    for share in shares:
        left = share.fresh & ~union(1 << host for host in hosts)
        alone = _lots([Stage(share.kind, share.names, left)], inverse_weights)
        rest = numbers(left)
        drawn = draw.first(rest, share.number, alone.of(rest))
        settled.append(share._replace(number=len(drawn), cut=len(drawn) < left.bit_count()))
        hosts += drawn
    return tuple(settled), hosts


def filters(target: Target, view: View, query: MirrorQuery, index: Index) -> list[tuple[Exclusion, int]]:
    """What a host must pass to be in any tier: the reason for those that fail, and who passes."""
    found = [(Exclusion.NOT_UP_TO_DATE, target.carriers), (Exclusion.NO_URL, view.hosts)]
    reserved = target.category.reserved.get(target.path)
    if reserved is not None:
        found.insert(0, (Exclusion.RESERVED, reserved))
    if index.embargoed:
        found.append((Exclusion.EMBARGOED, ~index.embargoed))
    if query.avoided:
        found.append((Exclusion.AVOIDED, ~union(index.standing.get(country, 0) for country in query.avoided)))
    if query.ipv4:
        found.append((Exclusion.NO_IPV4, index.ipv4))
    if query.ipv6:
        found.append((Exclusion.NO_IPV6, index.ipv6))
    return found


def drawing(client: ClientLocation, query: MirrorQuery, index: Index, *, policy: Policy, random: Random) -> Draw:
    """How the order is drawn: anew for each request, or the same for one network as long as the cache is the same."""
    nearness = None
    if client.place is not None and "nearness" in policy.factors:
        nearness = _nearness(client.place, index, policy.nearness_km)
    if query.stable:
        network = network_of(client.outer) if client.outer else ""
        return StableDraw(seed(network, index.generation), len(index.hosts), nearness)
    return Draw(random, nearness)


def _nearness(client: Vector, index: Index, half_at_km: float) -> Nearness:
    """hosts -> factors: 1 next door, half at a set great-circle distance, falling with its square."""
    places, origin = index.places, np.array(client)

    def measure(hosts: Hosts) -> Numbers:
        return fading(np.arccos(np.clip(places[hosts] @ origin, -1.0, 1.0)) * EARTH_RADIUS_KM, half_at_km)

    return measure


def fading(kilometres: Numbers, half_at_km: float) -> Numbers:
    """The factors of hosts that are so far away; NaN: not known."""
    near = np.maximum(1.0 / (1.0 + (kilometres / half_at_km) ** 2), MIN_NEARNESS)
    return np.where(np.isnan(near), UNKNOWN_NEARNESS, near)


class _Hosts(NamedTuple):
    """Who may be in a tier."""

    servable: int  # up to date, with a URL; private ones, too
    allowed: int  # those of them that serve every client of the client's country


def _stages(
    client: ClientLocation, query: MirrorQuery, index: Index, hosts: _Hosts, groups: Sequence[str]
) -> Iterator[Stage]:
    """The tiers in their order; whoever asks stops when it has enough."""
    if query.countries:
        requested = _requested(query.countries, hosts, index)
        if requested is not None:
            yield from _by_group(groups, hosts, index)
            yield requested
            return
    elif query.networks:
        yield from _by_network(client, hosts)
    yield from _by_group(groups, hosts, index)
    if query.networks and not query.countries:
        yield from _by_asn(client, hosts, index)
    yield from _by_place(client, hosts, index)


def _requested(countries: Iterable[str], hosts: _Hosts, index: Index) -> Stage | None:
    """The hosts of the countries that were asked for, or else of their neighbours on the same continents.

    Countries without any host count as not asked for. Those whose hosts all refuse the client's country do not:
    the client wanted these and no others, so it gets none.
    """
    public = hosts.servable & index.public
    found = _with_hosts(countries, public, index)
    if not found:
        capitals = {name.upper() for name in countries}
        continents = sorted({index.continent_of[name] for name in capitals if name in index.continent_of})
        neighbours = [name for continent in continents for name in index.continents.get(continent, ())]
        found = _with_hosts(neighbours, public, index)
    return Stage(TierKind.REQUESTED, tuple(found), union(found.values()) & hosts.allowed) if found else None


def _by_network(client: ClientLocation, hosts: _Hosts) -> Iterator[Stage]:
    """Hosts that claimed a netblock around the client; private ones and those for other countries as well."""
    for claim in client.netblocks:
        if found := claim.hosts & hosts.servable:
            yield Stage(TierKind.NETBLOCK, (claim.netblock,), found)


def _by_asn(client: ClientLocation, hosts: _Hosts, index: Index) -> Iterator[Stage]:
    """Hosts that claimed the client's autonomous system; again all of them."""
    if client.asn is not None and (found := index.asn_hosts.get(client.asn, 0) & hosts.servable):
        yield Stage(TierKind.ASN, (str(client.asn),), found)


def _by_group(groups: Iterable[str], hosts: _Hosts, index: Index) -> Iterator[Stage]:
    for group in groups:
        if found := index.location_hosts.get(group, 0) & hosts.allowed:
            yield Stage(TierKind.LOCATION, (group,), found)


def _by_place(client: ClientLocation, hosts: _Hosts, index: Index) -> Iterator[Stage]:
    """The client's country, the rest of its continent, all the world."""
    allowed = hosts.allowed
    own = index.countries.get(client.country, 0)
    if found := own & allowed:
        yield Stage(TierKind.COUNTRY, (client.country,), found)
    found = index.continent_hosts.get(client.continent, 0) & allowed
    if found & ~own:
        yield Stage(TierKind.CONTINENT, (), found, ~own)
    if allowed:
        yield Stage(TierKind.GLOBAL, (GLOBAL.lower(),), allowed)


def countries_of(tier: Tier, index: Index, client: ClientLocation) -> tuple[str, ...]:
    """What a tier is named by: the countries that it takes hosts from, or what the hosts claimed."""
    if tier.kind is not TierKind.CONTINENT:
        return tier.names
    return continental(tier.mask, tier.hosts, tier.cut, client, index)


def continental(mask: int, hosts: list[int], cut: bool, client: ClientLocation, index: Index) -> tuple[str, ...]:
    """The countries of the client's continent: of the hosts that were drawn, or of all where all were needed."""
    if cut:
        return tuple(sorted(set(map(index.country_of.__getitem__, hosts))))
    names = index.continents.get(client.continent, ())
    return tuple([name for name in names if name != client.country and index.countries[name] & mask])


def _with_hosts(names: Iterable[str], pool: int, index: Index) -> dict[str, int]:
    """Those of the countries that have hosts in the pool, with these hosts. "global" is all the world."""
    found: dict[str, int] = {}
    for name in names:
        if name.upper() == GLOBAL:
            found[GLOBAL.lower()] = pool
        elif hosts := index.countries.get(name.upper(), 0) & pool:
            found[name] = hosts
    return found


def _claimed(client: ClientLocation, query: MirrorQuery, index: Index) -> int:
    """The hosts that may serve the client because of its network, whether the list got as far as them or not."""
    if query.countries or not query.networks:
        return 0
    by_system = index.asn_hosts.get(client.asn, 0) if client.asn is not None else 0
    return by_system | union(claim.hosts for claim in client.netblocks)


def exclusions(
    selection: Selection, client: ClientLocation, query: MirrorQuery, index: Index
) -> Mapping[Exclusion, int]:
    """For every host of the category that is not in the answer exactly one reason, as a mask per reason."""
    target = selection.target
    rest = target.category.hosts & ~union(1 << host for host in selection.hosts)
    claimed = _claimed(client, query, index)
    reasons: dict[Exclusion, int] = {}
    for reason, passing in (
        *filters(target, selection.view, query, index),
        (Exclusion.PRIVATE, index.public | claimed),
        (Exclusion.COUNTRY_NOT_ALLOWED, index.open_to(client.country) | claimed),
        (Exclusion.NOT_NEEDED, 0),
    ):
        reasons[reason] = rest & ~passing
        rest &= passing
    return reasons
