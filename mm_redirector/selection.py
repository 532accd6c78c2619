"""Which hosts an answer names, in which order, and why. Nothing is written here: render.py speaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from mm_redirector.address import network_of
from mm_redirector.category import View
from mm_redirector.index import Index, Vector
from mm_redirector.location import ClientLocation
from mm_redirector.lookup import Target
from mm_redirector.query import GLOBAL, MirrorQuery
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Draw, Hosts, Nearness, Numbers, Random, StableDraw, seed, union

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


class Selection(NamedTuple):
    """The hosts of an answer."""

    target: Target
    view: View
    tiers: list[Tier]
    hosts: list[int]  # all of them, in the order of the answer


class _Stage(NamedTuple):
    """Who has a claim, before hosts of earlier tiers are taken out."""

    kind: TierKind
    names: tuple[str, ...]
    hosts: int


class Share(NamedTuple):
    """What one tier gives to an answer: so many of these hosts."""

    kind: TierKind
    names: tuple[str, ...]
    mask: int  # all with this claim
    fresh: int  # those whom no earlier tier has
    need: int


_NETWORK = (TierKind.NETBLOCK, TierKind.ASN)
_UNIFORM = frozenset({TierKind.NETBLOCK, TierKind.LOCATION, TierKind.ASN})  # bandwidth to the world says nothing here
_UNLIMITED = 1 << 30


def apportion(target: Target, client: ClientLocation, query: MirrorQuery, index: Index, policy: Policy) -> list[Share]:
    """Which tiers an answer has and how many hosts of each: all but chance. Of the client only its networks, country
    and continent count.
    """
    servable = -1
    for _, passing in filters(target, target.category.view(query.choice), query, index):
        servable &= passing
    allowed = servable & index.public & index.open_to(client.country)
    groups = query.locations if policy.location_groups else ()
    shares: list[Share] = []
    count = seen = 0
    for kind, names, mask in _stages(client, query, index, _Hosts(servable, allowed), groups):
        if kind is TierKind.GLOBAL and not policy.max_hosts and count >= policy.minimum_hosts:
            break
        # What the client asked for by name it gets in full; else the list ends when it is long enough.
        limit = policy.max_hosts if kind is not TierKind.REQUESTED else 0
        need = max(limit, policy.minimum_hosts) - count if limit else _UNLIMITED
        if need <= 0:
            break
        fresh = mask & ~seen
        there = fresh.bit_count()
        # Who is not drawn from a group may still stand in a country that was asked for: select() looks.
        if there <= need or not groups:
            seen |= mask
        shares.append(Share(kind, names, mask, fresh, need))
        count += min(there, need)
    return shares


def sort_of(target: Target, query: MirrorQuery) -> tuple[Any, ...]:
    """Questions of one sort are apportioned alike: all that apportion() looks at, but for the client."""
    category = target.category
    return (
        category.name,
        target.carriers,
        category.reserved.get(target.path),
        query.choice,
        query.countries,
        query.avoided,
        query.locations,
        query.networks,
        query.ipv4,
        query.ipv6,
    )


def select(target: Target, query: MirrorQuery, shares: Iterable[Share], draw: Draw) -> Selection:
    """Draw the hosts of every share, each in its order."""
    tiers: list[Tier] = []
    hosts: list[int] = []
    for kind, names, mask, fresh, need in shares:
        if query.locations and hosts:
            fresh &= ~union(1 << host for host in hosts)  # noqa: PLW2901
        drawn = draw.uniform(fresh, need) if kind in _UNIFORM else draw.weighted(fresh, need)
        tiers.append(Tier(kind, names, mask, drawn, len(drawn) < fresh.bit_count()))
        hosts += drawn
    return Selection(target, target.category.view(query.choice), tiers, hosts)


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


def drawing(
    target: Target, client: ClientLocation, query: MirrorQuery, index: Index, *, policy: Policy, random: Random
) -> Draw:
    """How the order is drawn: anew for each request, or the same for one network as long as the cache is the same."""
    nearness = None
    if client.place is not None and "nearness" in policy.factors:
        nearness = _nearness(client.place, index, policy.nearness_km)
    if query.stable:
        network = network_of(client.outer) if client.outer else ""
        return StableDraw(seed(network, index.generation), target.category.inverse_weights, nearness)
    return Draw(random, target.category.inverse_weights, nearness)


def _nearness(client: Vector, index: Index, half_at_km: float) -> Nearness:
    """hosts -> factors: 1 next door, half at a set great-circle distance, falling with its square."""
    places, origin = index.places, np.array(client)

    def measure(hosts: Hosts) -> Numbers:
        kilometres = np.arccos(np.clip(places[hosts] @ origin, -1.0, 1.0)) * EARTH_RADIUS_KM
        near = np.maximum(1.0 / (1.0 + (kilometres / half_at_km) ** 2), MIN_NEARNESS)
        return np.where(np.isnan(near), UNKNOWN_NEARNESS, near)

    return measure


class _Hosts(NamedTuple):
    """Who may be in a tier."""

    servable: int  # up to date, with a URL; private ones, too
    allowed: int  # those of them that serve every client of the client's country


def _stages(
    client: ClientLocation, query: MirrorQuery, index: Index, hosts: _Hosts, groups: Sequence[str]
) -> Iterator[_Stage]:
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


def _requested(countries: Iterable[str], hosts: _Hosts, index: Index) -> _Stage | None:
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
    return _Stage(TierKind.REQUESTED, tuple(found), union(found.values()) & hosts.allowed) if found else None


def _by_network(client: ClientLocation, hosts: _Hosts) -> Iterator[_Stage]:
    """Hosts that claimed a netblock around the client; private ones and those for other countries as well."""
    for claim in client.netblocks:
        if found := claim.hosts & hosts.servable:
            yield _Stage(TierKind.NETBLOCK, (claim.netblock,), found)


def _by_asn(client: ClientLocation, hosts: _Hosts, index: Index) -> Iterator[_Stage]:
    """Hosts that claimed the client's autonomous system; again all of them."""
    if client.asn is not None and (found := index.asn_hosts.get(client.asn, 0) & hosts.servable):
        yield _Stage(TierKind.ASN, (str(client.asn),), found)


def _by_group(groups: Iterable[str], hosts: _Hosts, index: Index) -> Iterator[_Stage]:
    for group in groups:
        if found := index.location_hosts.get(group, 0) & hosts.allowed:
            yield _Stage(TierKind.LOCATION, (group,), found)


def _by_place(client: ClientLocation, hosts: _Hosts, index: Index) -> Iterator[_Stage]:
    """The client's country, the rest of its continent, all the world."""
    allowed = hosts.allowed
    own = index.countries.get(client.country, 0)
    if found := own & allowed:
        yield _Stage(TierKind.COUNTRY, (client.country,), found)
    found = index.continent_hosts.get(client.continent, 0) & allowed
    if found & ~own:
        yield _Stage(TierKind.CONTINENT, (), found)
    if allowed:
        yield _Stage(TierKind.GLOBAL, (GLOBAL.lower(),), allowed)


def countries_of(tier: Tier, index: Index, client: ClientLocation) -> tuple[str, ...]:
    """The countries that a tier takes hosts from, for the first line of a list."""
    if tier.kind is not TierKind.CONTINENT:
        return tier.names
    if tier.cut:
        drawn = {index.hosts[host].country.upper() for host in tier.hosts}
        return tuple(sorted(drawn))
    names = index.continents.get(client.continent, ())
    return tuple(name for name in names if name != client.country and index.countries[name] & tier.mask)


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
