"""The mirrorlist cache, prepared for questions: everything that does not depend on the request is done here.

A set of hosts ("mask") is one int with bit n set for host n, as in mm_lib.cache.schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import cos, nan, radians, sin
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm_lib.cache.schema import Host, MirrorlistCache
from mm_lib.cache.table import Pause, resting, unhurried
from mm_redirector.category import CategoryIndex
from mm_redirector.memory import Memory
from mm_redirector.networks import NetblockTable
from mm_redirector.query import UNSAFE
from mm_redirector.settings import BALANCED, Policy
from mm_redirector.shuffle import union

Vector = tuple[float, float, float]  # a place as a point on the unit sphere


class Claim(NamedTuple):
    """A netblock, and the hosts that are preferred for it."""

    netblock: str
    hosts: int


@dataclass(frozen=True, slots=True)
class Index:
    """A cache that is ready to be asked."""

    generated_at: int
    generation: int
    hosts: Sequence[Host]
    categories: Sequence[CategoryIndex]
    tops: Sequence[tuple[str, CategoryIndex]]  # of every category its top directory with a slash, "" if it has none
    repositories: Mapping[tuple[str, str], tuple[int, str]]  # (prefix, arch) -> (position in categories, directory)
    disabled: frozenset[tuple[str, str]]
    redirects: Mapping[str, str]
    listing: str  # all repositories, for a client that asked for another one
    public: int  # hosts that are not private
    countries: Mapping[str, int]  # country -> public hosts that are local there
    standing: Mapping[str, int]  # country -> hosts that stand there, private ones too
    continents: Mapping[str, tuple[str, ...]]  # continent -> its countries that have hosts, sorted
    continent_hosts: Mapping[str, int]  # continent -> public hosts that are local there
    continent_of: Mapping[str, str]
    unrestricted: int  # hosts that serve clients from everywhere
    accepting: Mapping[str, int]  # country -> hosts that serve only named countries, this one among them
    netblocks: NetblockTable[Claim]
    netblock_countries: NetblockTable[str]
    asn_hosts: Mapping[int, int]
    location_hosts: Mapping[str, int]
    embargoed: int  # hosts in countries whose hosts are not used
    ipv4: int  # hosts that are not known to lack IPv4
    ipv6: int  # hosts that are known to have IPv6
    country_of: Sequence[str]  # the country of each host, in capitals
    places: NDArray[np.float64]  # where each host stands, on the unit sphere; NaN if that is not known
    remembered: Memory[Any, Any] = field(default_factory=partial(Memory, 10_000))  # what lookup.find has found before
    plans: Memory[Any, Any] = field(default_factory=partial(Memory, 4_096))  # what app.py has made of requests before
    sorts: Memory[Any, int] = field(default_factory=partial(Memory, 1_024))  # sorts of questions, numbered
    claims: Memory[Any, Any] = field(default_factory=partial(Memory, 2_048))  # who may serve a country's clients

    def open_to(self, country: str) -> int:
        """The hosts that serve clients from a country."""
        return self.unrestricted | self.accepting.get(country, 0)


def build(cache: MirrorlistCache, policy: Policy = BALANCED, pause: Pause = unhurried) -> Index:
    """Prepare a cache. It is not changed, but the index goes on using its containers.

    `pause` is called every few microseconds, so that whoever waits for the interpreter can have it now and then.
    """
    rest = partial(resting, pause=pause)
    hosts, country_of = cache.hosts, [host.country.upper() for host in rest(cache.hosts)]
    embargoed = _standing_in(cache.embargoed_countries, country_of)
    public = _mask(n for n, host in rest(enumerate(hosts)) if not host.private)
    countries = _countries(rest(hosts), public & ~embargoed)
    continent_of, continents = _continents(countries, cache.country_continents)
    categories = [CategoryIndex(one, hosts, cache.masks, policy.factors, pause) for one in cache.categories]
    return Index(
        generated_at=cache.generated_at,
        generation=cache.generation,
        hosts=hosts,
        categories=categories,
        tops=[(category.top, category) for category in categories],
        repositories=cache.repositories,
        disabled=frozenset((prefix, arch) for prefix, arch in cache.disabled_repositories),
        redirects=cache.repository_redirects,
        listing=_listing(cache, pause),
        public=public,
        countries=countries,
        standing=_by_country(rest(hosts), lambda host: (host.country,)),
        continents=continents,
        continent_hosts={name: union(countries[country] for country in group) for name, group in continents.items()},
        continent_of=continent_of,
        unrestricted=_mask(n for n, host in rest(enumerate(hosts)) if not host.allowed_countries),
        accepting=_by_country(rest(hosts), lambda host: host.allowed_countries),
        netblocks=NetblockTable({text: Claim(text, mask) for text, mask in rest(cache.netblock_hosts.items())}, pause),
        netblock_countries=NetblockTable(cache.netblock_countries, pause),
        asn_hosts=cache.asn_hosts,
        location_hosts=cache.location_hosts,
        embargoed=embargoed,
        ipv4=_mask(n for n, host in rest(enumerate(hosts)) if host.ipv4 is not False),
        ipv6=_mask(n for n, host in rest(enumerate(hosts)) if host.ipv6),
        country_of=country_of,
        places=np.array([_place(host) for host in rest(hosts)]).reshape(-1, 3),
    )


def let_go(index: Index, pause: Pause) -> list[Any]:
    """Forget what was remembered, and return what else there is much of: whoever holds that can free it bit by bit.

    Requests may still be asking the index.
    """
    for memory in (index.remembered, index.plans, index.sorts, index.claims):
        while memory.forget(AT_ONCE):
            pause()
    found: list[Any] = [*index.hosts, *index.repositories.values()]
    for category in index.categories:
        pause()
        found += category.pieces()
    return found + index.netblocks.pieces()


AT_ONCE = 20  # entries, forgotten in a twentieth of a millisecond


def _countries(hosts: Iterable[Host], served: int) -> dict[str, int]:
    """Country -> those hosts of a mask that are local there; none without any."""
    masks = _by_country(hosts, _local_countries)
    return {country: local for country, mask in masks.items() if (local := mask & served)}


def vector(latitude: float, longitude: float) -> Vector:
    """A place in degrees as a point on the unit sphere: the angle between two gives their great-circle distance."""
    phi, lam = radians(latitude), radians(longitude)
    return cos(phi) * cos(lam), cos(phi) * sin(lam), sin(phi)


def _place(host: Host) -> Vector:
    if host.latitude is None or host.longitude is None:
        return nan, nan, nan
    return vector(host.latitude, host.longitude)


def _mask(numbers: Iterable[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def _standing_in(countries: Iterable[str], country_of: Sequence[str]) -> int:
    wanted = {country.upper() for country in countries}
    return _mask(n for n, country in enumerate(country_of) if country in wanted)


def _local_countries(host: Host) -> Iterable[str]:
    return filter(None, (host.country, *host.extra_countries))


def _by_country(hosts: Iterable[Host], countries_of: Callable[[Host], Iterable[str]]) -> dict[str, int]:
    masks: dict[str, int] = {}
    for number, host in enumerate(hosts):
        for country in countries_of(host):
            masks[country.upper()] = masks.get(country.upper(), 0) | 1 << number
    return masks


def _continents(
    countries: Iterable[str], given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """(the continent of every country, in capitals; the countries of every continent)."""
    continent_of = {country.upper(): name for country, name in given.items()}
    groups: dict[str, list[str]] = {}
    for country in sorted(countries):
        if country in continent_of:
            groups.setdefault(continent_of[country], []).append(country)
    return continent_of, {continent: tuple(members) for continent, members in groups.items()}


def _listing(cache: MirrorlistCache, pause: Pause) -> str:
    """One comment line per repository that would be answered."""
    off = {(prefix, arch) for prefix, arch in cache.disabled_repositories}
    names = resting(cache.repositories, pause)
    lines = sorted(f"# repo={prefix}&arch={arch}" for prefix, arch in names if (prefix, arch) not in off)
    return "\n".join(UNSAFE.sub("\ufffd", line) for line in resting(lines, pause))
