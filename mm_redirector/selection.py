"""Which hosts an answer names, in which order, and why. Nothing is written here: render.py speaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from mm_redirector.address import network_of
from mm_redirector.category import CategoryIndex, View
from mm_redirector.index import Index, Vector
from mm_redirector.location import ClientLocation
from mm_redirector.lookup import Target
from mm_redirector.query import ALL, GLOBAL, MirrorQuery, shown
from mm_redirector.settings import Policy
from mm_redirector.shuffle import Draw, Hosts, Law, Nearness, Numbers, Pool, Random, StableDraw, seed, union

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


class Share:
    """What one tier gives to an answer: so many of these hosts."""

    __slots__ = ("cut", "fresh", "kind", "mask", "names", "number", "pool")

    def __init__(
        self,
        kind: TierKind,
        names: tuple[str, ...],
        mask: int,
        *,
        fresh: int,
        number: int,
        cut: bool,
        pool: Pool | None,
    ) -> None:
        self.kind = kind
        self.names = names
        self.mask = mask  # all with this claim
        self.fresh = fresh  # those whom no earlier tier has
        self.number = number  # how many of them
        self.cut = cut  # there are more
        self.pool = pool  # where so few of them are needed that they are drawn one by one


class Selection:
    """The hosts of an answer."""

    __slots__ = ("hosts", "shares", "target", "view")

    def __init__(self, target: Target, view: View, shares: list[Share], hosts: list[int]) -> None:
        self.target = target
        self.view = view
        self.shares = shares  # with the numbers of hosts that there are to be drawn
        self.hosts = hosts  # those who were drawn, in the order of the answer

    @property
    def tiers(self) -> list[Tier]:
        """The hosts, tier by tier."""
        tiers, start = [], 0
        for share in self.shares:
            hosts = self.hosts[start : start + share.number]
            tiers.append(Tier(share.kind, share.names, share.mask, hosts, share.cut))
            start += share.number
        return tiers


class Stage(NamedTuple):
    """Who has a claim, before hosts of earlier tiers are taken out."""

    kind: TierKind
    names: tuple[str, ...]
    hosts: int
    telling: int = 0  # without any of these it is no tier of its own; 0: any of all
    pool: Pool | None = None  # the same hosts, where there may be many more than are needed


class Claims(NamedTuple):
    """Who may serve the clients of one country, and by which claim: all but networks, directory, chance and place."""

    servable: int  # who may serve a client whose network it claimed
    groups: tuple[Stage, ...]  # location groups that were asked for
    places: tuple[Stage, ...]  # countries
    stages: tuple[Stage, ...]  # both


UNIFORM = frozenset({TierKind.NETBLOCK, TierKind.LOCATION, TierKind.ASN})  # bandwidth to the world says nothing here
_LOCATION, _REQUESTED, _GLOBAL = TierKind.LOCATION, TierKind.REQUESTED, TierKind.GLOBAL  # members are found slowly
SPARSE = 4  # times as many hosts as are needed: they are drawn one by one
TRIES = 4  # for each host that is needed


def claims(target: Target, client: ClientLocation, query: MirrorQuery, index: Index, policy: Policy) -> Claims:
    """Who may serve such clients. Of the client only its country and continent count; of the target only its
    category, and more of it where the question is bound to its directory.
    """
    servable = -1
    for reason, passing in filters(target, target.category.view(query.choice), query, index):
        if reason is not Exclusion.NOT_UP_TO_DATE or bound(target, query):
            servable &= passing
    hosts = _Hosts(servable, servable & index.public & index.open_to(client.country), target.category)
    requested = _requested(query.countries, hosts, index) if query.countries else None
    places = tuple(_by_place(client, hosts, index)) if requested is None else (requested,)
    groups = tuple(_by_group(query.locations if policy.location_groups else (), hosts, index))
    return Claims(servable, groups, places, groups + places)


def stages(found: Claims, client: ClientLocation, query: MirrorQuery, index: Index) -> tuple[Stage, ...]:
    """The tiers that the client could get, in their order."""
    if query.countries or not query.networks:
        return found.stages
    systems = index.asn_hosts.get(client.asn, 0) if client.asn is not None else 0
    if not client.netblocks and not systems:  # most
        return found.stages
    return (
        *_by_network(client, found.servable),
        *found.groups,
        *_by_asn(client, systems & found.servable),
        *found.places,
    )


def bound(target: Target, query: MirrorQuery) -> bool:
    """Whether it depends on the directory who may serve it, beyond having it: these are remembered one by one."""
    return bool(query.countries or query.locations or target.path in target.category.reserved)


def apportion(
    target: Target, tiers: Iterable[Stage], query: MirrorQuery, policy: Policy, whole: bool = True
) -> list[Share]:
    """Which tiers an answer has and how many hosts of each; `whole`: also tiers of which it shows nobody."""
    carriers, minimum, visible = target.carriers, policy.minimum_hosts, shown(query)
    enough = max(policy.max_hosts, minimum) if policy.max_hosts else ALL
    shares: list[Share] = []
    total = seen = 0
    for kind, names, claiming, telling, pool in tiers:
        mask = claiming & carriers
        # A country that was asked for is named though none of its hosts may serve the client.
        if not (mask & telling if telling else mask) and kind is not _REQUESTED:
            continue
        if kind is _GLOBAL and enough == ALL and total >= minimum:
            break
        # What the client asked for by name it gets in full; else the list ends when it is long enough.
        need = enough - total if kind is not _REQUESTED else ALL
        if need <= 0 or (total >= visible and not whole):
            break
        fresh = mask & ~seen if seen else mask
        there = fresh.bit_count()
        # Who is not drawn from a group may still stand in a country that was asked for: select() looks.
        if there <= need or not query.locations:
            seen |= mask
        number = min(there, need)
        some = pool if _sparse(there, min(number, visible)) else None
        shares.append(Share(kind, names, mask, fresh=fresh, number=number, cut=number < there, pool=some))
        total += number
    return shares


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


def _sparse(there: int, needed: int) -> bool:
    """Whether to draw them one by one takes less: 0.3 us for each that is needed, else 4 us and 0.02 for each."""
    return there >= SPARSE * needed and there >= 12 * needed - 120


def select(target: Target, query: MirrorQuery, shares: list[Share], draw: Draw, whole: bool = True) -> Selection:
    """Draw the hosts of every share, each in its order; `whole`: also those that the answer does not show."""
    law, most = target.category.law, ALL if whole else shown(query)
    hosts: list[int] = []
    if query.locations and any(share.kind is _LOCATION for share in shares):
        _apart(shares, law, draw, hosts)
    else:
        for share in shares:
            left, fresh = min(share.number, most - len(hosts)), share.fresh
            if left == 1 and not fresh & (fresh - 1):
                hosts.append(fresh.bit_length() - 1)
            elif left > 0:
                by = None if share.kind in UNIFORM else law
                hosts += draw.first(fresh, left, by, share.pool, TRIES * share.number)
    return Selection(target, target.category.view(query.choice), shares, hosts)


def _apart(shares: Iterable[Share], law: Law, draw: Draw, hosts: list[int]) -> None:
    """Share by share: hosts that were not drawn from a location group may be in a later tier."""
    for share in shares:
        left = share.fresh & ~union([1 << host for host in hosts])
        drawn = draw.first(left, share.number, None if share.kind in UNIFORM else law)
        share.number, share.cut = len(drawn), len(drawn) < left.bit_count()
        hosts += drawn


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
    category: CategoryIndex


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
    if not found:
        return None
    allowed = union(found.values()) & hosts.allowed
    return Stage(TierKind.REQUESTED, tuple(found), allowed)


def _by_network(client: ClientLocation, servable: int) -> Iterator[Stage]:
    """Hosts that claimed a netblock around the client; private ones and those for other countries as well."""
    for claim in client.netblocks:
        if found := claim.hosts & servable:
            yield Stage(TierKind.NETBLOCK, (claim.netblock,), found)


def _by_asn(client: ClientLocation, found: int) -> Iterator[Stage]:
    """Hosts that claimed the client's autonomous system; again all of them."""
    if found:
        yield Stage(TierKind.ASN, (str(client.asn),), found)


def _by_group(groups: Iterable[str], hosts: _Hosts, index: Index) -> Iterator[Stage]:
    for group in groups:
        if found := index.location_hosts.get(group, 0) & hosts.allowed:
            yield Stage(TierKind.LOCATION, (group,), found)


def _by_place(client: ClientLocation, hosts: _Hosts, index: Index) -> Iterator[Stage]:
    """The client's country, the rest of its continent, all the world."""
    allowed = hosts.allowed
    own = index.countries.get(client.country, 0)
    pool = hosts.category.law.pool
    if found := own & allowed:
        yield Stage(TierKind.COUNTRY, (client.country,), found, pool=pool(found))
    found = index.continent_hosts.get(client.continent, 0) & allowed
    if abroad := found & ~own:
        yield Stage(TierKind.CONTINENT, (), found, abroad, pool(found))
    if allowed:
        yield Stage(TierKind.GLOBAL, (GLOBAL.lower(),), allowed, pool=pool(allowed))


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
