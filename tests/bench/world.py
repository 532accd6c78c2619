"""A world like Fedora's from a seed: its mirrorlist cache, who owns which addresses, and the clients that ask.

Pure: the same seed gives the same world. Nobody of it exists; the names end in .example.org.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import accumulate, count, cycle, islice
from typing import NamedTuple, TypeVar

from mm_lib.cache.schema import Absent, Category, Factors, FileDetail, Host, MirrorlistCache

Things = TypeVar("Things", list[int], range)

NOW = 1_790_000_000  # Unix seconds
AUTONOMOUS_SYSTEMS = 75_000
# Mirrors per country, as they are spread over the real world; clients are spread alike.
WEIGHTS = {
    "EU": "DE 62 FR 34 GB 26 NL 22 RU 20 SE 16 CZ 15 PL 14 IT 13 ES 11 CH 11 AT 10 UA 10 FI 9 DK 8 BG 8 RO 8 NO 7 HU 7 "
    "PT 7 GR 7 BE 7 SK 5 SI 4 LT 4 LV 4 EE 4 HR 3 RS 3 IE 3 LU 3 IS 2 BY 2 MD 2 CY 1",
    "NA": "US 110 CA 22 MX 4 CR 3 PA 1 DO 1",
    "AS": "CN 20 JP 16 TW 14 IN 12 KR 10 SG 10 TH 7 ID 7 HK 7 VN 5 TR 8 IL 4 KZ 4 PH 3 MY 3 BD 3 PK 2 AM 1 GE 2 AZ 1 "
    "UZ 1 AE 1 SA 1 LK 1 NP 1",
    "SA": "BR 18 AR 5 CL 5 CO 4 EC 5 PY 1",
    "OC": "AU 13 NZ 5 NC 3",
    "AF": "ZA 8 KE 4 MA 2 TN 1 MU 1",
}
WEIGHT = {  # country -> weight
    country: int(weight)
    for text in WEIGHTS.values()
    for country, weight in zip(text.split()[::2], text.split()[1::2], strict=True)
}
CONTINENT = {country: continent for continent, text in WEIGHTS.items() for country in text.split()[::2]}
# Latitude and longitude of the corners that a continent's hosts stand between.
CORNERS = {
    "EU": (36, -9, 65, 40),
    "NA": (25, -122, 50, -70),
    "AS": (0, 45, 50, 140),
    "SA": (-40, -75, 0, -40),
    "OC": (-42, 115, -15, 175),
    "AF": (-34, -10, 35, 50),
}


class Tree(NamedTuple):
    """A category of the world."""

    name: str
    topdir: str
    prefix: str  # before the name of each of its repositories
    arches: tuple[str, ...]
    repositories: float  # share of all
    hosts: float  # share that carries it


TREES = (
    Tree("Fedora Linux", "pub/fedora/linux", "", ("x86_64", "aarch64", "armhfp"), 0.36, 0.92),
    Tree("Fedora EPEL", "pub/epel", "epel-", ("x86_64", "aarch64", "ppc64le", "s390x"), 0.22, 0.80),
    Tree("Fedora Archive", "pub/archive/fedora/linux", "archive-", ("x86_64", "i386"), 0.26, 0.18),
    Tree("Fedora Secondary Arches", "pub/fedora-secondary", "", ("ppc64le", "s390x", "i386"), 0.12, 0.25),
    Tree("Fedora Other", "pub/alt", "alt-", ("x86_64",), 0.04, 0.30),
)
KINDS = {  # repository -> its directory; {r} is the release, {a} the arch
    "fedora-{r}": "releases/{r}/Everything/{a}/os",
    "updates-released-f{r}": "updates/{r}/Everything/{a}",
    "updates-testing-f{r}": "updates/testing/{r}/Everything/{a}",
    "fedora-debug-{r}": "releases/{r}/Everything/{a}/debug/tree",
    "updates-released-debug-f{r}": "updates/{r}/Everything/{a}/debug",
    "updates-testing-debug-f{r}": "updates/testing/{r}/Everything/{a}/debug",
    "fedora-source-{r}": "releases/{r}/Everything/source/{a}/tree",
    "fedora-modular-{r}": "releases/{r}/Modular/{a}/os",
    "updates-released-modular-f{r}": "updates/{r}/Modular/{a}",
}
NEWEST = 44
PLAIN = ("images", "images/pxeboot", "isolinux", "EFI", "EFI/BOOT", "EFI/BOOT/fonts", "Packages", "drpms", "repoview")
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class AddressPlan:
    """Who owns which addresses."""

    ipv4: dict[str, list[int]]  # country -> the first 16 bits of its /16 networks
    ipv6: dict[str, list[int]]  # country -> the first 32 bits of its /32 networks
    asns: dict[str, range]  # country -> its autonomous systems


class Paths(NamedTuple):
    """What a category holds."""

    repositories: dict[tuple[str, str], str]  # (prefix, arch) -> directory
    directories: list[list[str]]  # those of one release and arch stand together: a mirror has a group or has it not


def world(
    seed: int,
    *,
    hosts: int = 600,
    private: int = 100,
    directories: int = 150_000,
    repositories: int = 1_500,
    netblocks: int = 5_000,
    distinct_masks: int = 5_000,
) -> MirrorlistCache:
    """The cache of a world. `private` hosts come on top of `hosts`; ValueError when the numbers do not go together."""
    rng = random.Random(seed)
    plan = address_plan(seed)
    servers = _hosts(rng, hosts, private)
    contents = [_paths(tree, round(directories * tree.repositories), repositories) for tree in TREES]
    cache = MirrorlistCache(
        generated_at=NOW,
        generation=1,
        hosts=servers,
        disabled_repositories=[("fedora-core-6", "ppc")],
        repository_redirects={"fedora-rawhide": "rawhide", "rawhide": f"fedora-{NEWEST}"},
        netblock_hosts=_netblocks(rng, plan, servers, netblocks),
        location_hosts={f"cloud-region-{n}": 1 << rng.randrange(len(servers)) for n in range(10)},
        asn_hosts=_asn_hosts(rng, plan, servers),
        country_continents=dict(CONTINENT),
        netblock_countries={f"{_network4(rng, plan, 'US', 24)}": "CA" for _ in range(20)},
        embargoed_countries=["CU", "IR", "KP", "SY"],
    )
    interned: dict[int, int] = {}
    for tree, paths in zip(TREES, contents, strict=True):
        share = round(distinct_masks * sum(map(len, paths.directories)) / directories)
        cache.categories.append(_category(rng, tree, paths, servers, masks=share, interned=interned))
        cache.repositories |= {key: (len(cache.categories) - 1, path) for key, path in paths.repositories.items()}
    cache.masks = list(interned)
    return cache


# Hosts.


def _hosts(rng: random.Random, public: int, private: int) -> list[Host]:
    """Numbered by continent, country and id."""
    countries = rng.choices([*WEIGHT, ""], [*WEIGHT.values(), 5], k=public + private)
    if len(countries) > 2 * len(WEIGHT):
        countries[: len(WEIGHT)] = WEIGHT  # so that every country has one
    centres = {country: _place(rng, *CORNERS[continent]) for country, continent in CONTINENT.items()}
    rng.shuffle(countries)
    made = [
        _host(rng, number, country, number > public, centres.get(country))
        for number, country in enumerate(countries, 1)
    ]
    return sorted(made, key=lambda host: (CONTINENT.get(host.country, ""), host.country, host.id))


def _host(rng: random.Random, number: int, country: str, private: bool, centre: tuple[float, float] | None) -> Host:
    known = centre is not None and rng.random() < 0.7
    latitude, longitude = (
        _place(rng, centre[0] - 2, centre[1] - 2, centre[0] + 2, centre[1] + 2) if known else (None, None)
    )
    return Host(
        id=number,
        name=f"mirror{number}.{country.lower() or 'net'}.example.org",
        site=f"University of {country or 'the World'} {number}",
        country=country,
        bandwidth=rng.choice((100, 1_000, 1_000, 1_000, 10_000, 10_000)),
        private=private,
        max_connections=rng.choice((1, 4, 10)),
        latitude=latitude,
        longitude=longitude,
        allowed_countries=(country,) if country and rng.random() < 0.02 else (),
        extra_countries=(rng.choice(list(WEIGHT)),) if rng.random() < 0.02 else (),
        ipv4=rng.choice((True, True, True, None)),
        ipv6=rng.choice((True, False, None)),
    )


def _place(rng: random.Random, south: float, west: float, north: float, east: float) -> tuple[float, float]:
    return round(rng.uniform(south, north), 4), round(rng.uniform(west, east), 4)


def _urls(rng: random.Random, host: Host, topdir: str) -> tuple[str, ...]:
    schemes = rng.choice((("https", "http", "rsync"), ("https", "http", "rsync"), ("https", "http"), ("http", "rsync")))
    below = rng.choice((topdir, topdir.removeprefix("pub/"), f"mirrors/{topdir.removeprefix('pub/')}"))
    return tuple(f"{scheme}://{host.name}/{below}" for scheme in schemes)


# Paths.


def _names(tree: Tree) -> Iterator[tuple[str, str, str, str]]:
    """(group, prefix, arch, directory) of every repository that a tree can have, newest first."""
    for release in range(NEWEST, 0, -1):
        for arch in tree.arches:
            for name, path in KINDS.items():
                place = path.format(r=release, a=arch)
                yield f"{release}/{arch}", tree.prefix + name.format(r=release), arch, f"{tree.topdir}/{place}"


def _paths(tree: Tree, directories: int, repositories: int) -> Paths:
    wanted = round(repositories * tree.repositories)
    chosen = list(islice(_names(tree), wanted))
    groups: dict[str, dict[str, None]] = {}
    for group, _, _, path in chosen:
        groups.setdefault(group, {}).update(dict.fromkeys((path, f"{path}/repodata")))
    parents = _parents(tree, (path for *_, path in chosen)) - {path for group in groups.values() for path in group}
    missing = directories - len(parents) - sum(map(len, groups.values()))
    if missing < 0 or len(chosen) < wanted:
        raise ValueError(f"{directories} directories and {wanted} repositories of {tree.name} do not go together")
    roots = cycle([(groups[group], path) for group, _, _, path in chosen])
    below = ((found, f"{path}/{name}") for name, (found, path) in zip(_fillers(len(chosen)), roots, strict=False))
    for found, path in islice(below, missing):
        found[path] = None
    listed = [list(group) for group in groups.values()]
    return Paths({(prefix, arch): path for _, prefix, arch, path in chosen}, [sorted(parents), *listed])


def _parents(tree: Tree, paths: Iterable[str]) -> set[str]:
    found = {tree.topdir}
    for path in paths:
        while (path := path.rpartition("/")[0]) not in found:
            found.add(path)
    return found


def _fillers(times: int) -> Iterator[str]:
    """What lies in a repository, each name for every repository once."""
    names = [*PLAIN, *(f"Packages/{letter}" for letter in LETTERS), *(f"repoview/{letter}" for letter in LETTERS)]
    for name in (*names, *(f"drpms/{letter}" for letter in LETTERS)):
        yield from [name] * times
    for number in count():
        yield from [f"Packages/{LETTERS[number % 36]}/part{number}"] * times


# Who has what.


def _category(
    rng: random.Random, tree: Tree, paths: Paths, hosts: Sequence[Host], *, masks: int, interned: dict[int, int]
) -> Category:
    carriers = [number for number in range(len(hosts)) if rng.random() < tree.hosts]
    partial = {number for number in carriers if rng.random() < 0.12}
    total = sum(map(len, paths.directories))
    directories: dict[str, int] = {}
    for group in paths.directories:
        has = [number for number in carriers if number not in partial or rng.random() < 0.5]
        sets = _stale_sets(rng, has, max(1, round(masks * len(group) / total)), interned)
        # Neighbours share a set: what is stale is stale with everything around it.
        directories |= {path: sets[n * len(sets) // len(group)] for n, path in enumerate(group)}
    return Category(
        name=tree.name,
        topdir=tree.topdir,
        urls={number: _urls(rng, hosts[number], tree.topdir) for number in carriers},
        directories=directories,
        files={f"{path}/repodata/repomd.xml": _versions(rng) for path in paths.repositories.values()},
        factors={number: _factors(rng) for number in carriers if rng.random() < 0.15},
        always_up_to_date=1 << carriers[0] if carriers else 0,
        absent=[Absent(f"gone{n}.example.org", "owner-disabled") for n in range(10)],
    )


def _stale_sets(rng: random.Random, has: list[int], wanted: int, interned: dict[int, int]) -> list[int]:
    """Positions of so many distinct sets, each everybody but a few."""
    everybody = sum(1 << number for number in has)
    found = [interned.setdefault(everybody, len(interned))]
    while len(found) < wanted:
        mask = everybody
        for number in rng.sample(has, min(len(has), rng.choice((1, 2, 2, 3, 3, 4, 6, 12)))):
            mask ^= 1 << number
        if mask not in interned:
            found.append(interned.setdefault(mask, len(interned)))
    return found


def _factors(rng: random.Random) -> Factors:
    return Factors(rng.choice((1.0, 0.5, 0.25)), rng.choice((1.0, 0.1, 0.6)), rng.choice((1.0, 1.0, 0.4)))


def _versions(rng: random.Random) -> tuple[FileDetail, ...]:
    hashes = (rng.randbytes(size).hex() for size in (16, 20, 32, 64) * 3)
    return tuple(
        FileDetail(NOW - age * 86_400, 6_000 + age, next(hashes), next(hashes), next(hashes), next(hashes))
        for age in range(3)
    )


# Addresses.


def address_plan(seed: int) -> AddressPlan:
    """Which country owns which networks and autonomous systems, by weight."""
    rng = random.Random(seed)
    private = {10, 100, 127, 169, 172, 192, 198, 203}
    ipv4 = [first << 8 | second for first in range(1, 224) if first not in private for second in range(256)]
    ipv6 = [first << 16 | second for first in (0x2400, 0x2600, 0x2800, 0x2A00) for second in range(4_096)]
    rng.shuffle(ipv4)
    rng.shuffle(ipv6)
    return AddressPlan(_shared_out(ipv4), _shared_out(ipv6), _shared_out(range(1_000, 1_000 + AUTONOMOUS_SYSTEMS)))


def _shared_out(things: Things) -> dict[str, Things]:
    ends = list(accumulate(WEIGHT.values(), initial=0))
    return {
        country: things[start * len(things) // ends[-1] : end * len(things) // ends[-1]]
        for country, start, end in zip(WEIGHT, ends, ends[1:], strict=False)
    }


def country_networks(plan: AddressPlan) -> Iterator[tuple[str, str]]:
    """(network, country): what a country database is made from."""
    for country in WEIGHT:
        yield from ((f"{IPv4Address(block << 16)}/16", country) for block in plan.ipv4[country])
        yield from ((f"{IPv6Address(block << 96)}/32", country) for block in plan.ipv6[country])


def asn_prefixes(plan: AddressPlan, seed: int, number: int = 1_000_000) -> Iterator[tuple[str, int]]:
    """(prefix, autonomous system): so many, disjoint, a sixth of them IPv6; what an ASN database is made from."""
    rng = random.Random(seed)
    prefixes = {"4": list(_owned(plan.ipv4)), "6": list(_owned(plan.ipv6))}
    parts4, parts6 = number - number // 6, number // 6
    for blocks, wanted, first, form in (
        (prefixes["4"], parts4, 16, lambda value, bits: f"{IPv4Address(value << 32 - bits)}/{bits}"),
        (prefixes["6"], parts6, 32, lambda value, bits: f"{IPv6Address(value << 128 - bits)}/{bits}"),
    ):
        bits = max(0, (wanted - 1) // len(blocks)).bit_length()
        for place in range(wanted):
            block, country = blocks[place % len(blocks)]
            part = place // len(blocks)
            yield form(block << bits | part, first + bits), _asn(rng, plan.asns[country])


def _owned(blocks: Mapping[str, list[int]]) -> Iterator[tuple[int, str]]:
    return ((block, country) for country, owned in blocks.items() for block in owned)


def _asn(rng: random.Random, owned: range) -> int:
    """A few networks are large, most are small."""
    return owned[int(len(owned) * rng.random() ** 3)]


def client_addresses(seed: int, number: int, plan: AddressPlan | None = None, ipv6: float = 0.2) -> list[str]:
    """Addresses of random clients by country weight; `ipv6` is the share of those."""
    rng = random.Random(f"clients {seed}")
    plan = plan or address_plan(seed)
    countries = rng.choices(list(WEIGHT), list(WEIGHT.values()), k=number)
    return [_address(rng, plan, country, rng.random() < ipv6) for country in countries]


def _address(rng: random.Random, plan: AddressPlan, country: str, ipv6: bool) -> str:
    if ipv6:
        return str(IPv6Address(rng.choice(plan.ipv6[country]) << 96 | rng.getrandbits(96)))
    return str(IPv4Address(rng.choice(plan.ipv4[country]) << 16 | rng.getrandbits(16)))


def _network4(rng: random.Random, plan: AddressPlan, country: str, bits: int) -> str:
    value = rng.choice(plan.ipv4[country]) << 16 | rng.getrandbits(16)
    return f"{IPv4Address(value >> 32 - bits << 32 - bits)}/{bits}"


def _network6(rng: random.Random, plan: AddressPlan, country: str) -> str:
    return f"{IPv6Address((rng.choice(plan.ipv6[country]) << 16 | rng.getrandbits(16)) << 80)}/48"


def _netblocks(rng: random.Random, plan: AddressPlan, hosts: Sequence[Host], wanted: int) -> dict[str, int]:
    """Most belong to private hosts, which have nothing else."""
    owners = [number for number, host in enumerate(hosts) for _ in range(20 if host.private else 1) if host.country]
    found: dict[str, int] = {}
    while len(found) < wanted:
        number = rng.choice(owners)
        country = hosts[number].country
        network = (
            _network6(rng, plan, country) if rng.random() < 0.15 else _network4(rng, plan, country, rng.randint(16, 26))
        )
        found[network] = found.get(network, 0) | 1 << number
    return found


def _asn_hosts(rng: random.Random, plan: AddressPlan, hosts: Sequence[Host]) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, host in enumerate(hosts):
        if host.country and rng.random() < 0.6:
            asn = _asn(rng, plan.asns[host.country])
            found[asn] = found.get(asn, 0) | 1 << number
    return found
