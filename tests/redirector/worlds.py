"""Random worlds for the redirector's property tests: hosts, netblocks, groups, factors, and clients in them."""

from __future__ import annotations

from random import Random
from urllib.parse import urlencode

from hypothesis import strategies as st

from mm_lib.cache.schema import Category, Factors, FileDetail, Host, MirrorlistCache
from tests.redirector.world import NEWEST, OLDER, Atlas

DIRECTORY = "top/d"
FILE = f"{DIRECTORY}/repodata/repomd.xml"
CONTINENTS = {"SE": "EU", "DE": "EU", "FR": "EU", "US": "NA", "CA": "NA", "JP": "AS", "A1": "--"}
COUNTRIES = sorted(CONTINENTS)
SOMEWHERE = [*COUNTRIES, "XX", ""]  # XX is on no continent
SYSTEM, GROUP = 64500, "campus"
CLIENTS = {f"198.51.{number}.7": country for number, country in enumerate(SOMEWHERE)} | {
    "10.1.2.9": "SE", "10.1.9.9": "DE", "2001:db8:1::9": "US", "2002:0a01:0209::1": "SE", "unknown": "",
}  # fmt: skip
ADDRESSES = sorted(CLIENTS)
PLACES = [None, (59.3, 18.1), (52.5, 13.4), (48.9, 2.4), (40.7, -74.0), (35.7, 139.7)]


def atlas(place: tuple[float, float] | None = None, asn: int | None = None) -> Atlas:
    """Every client stands at the place and in the autonomous system."""
    places = dict.fromkeys(ADDRESSES, place) if place else {}
    numbers = dict.fromkeys(ADDRESSES, asn) if asn is not None else {}
    return Atlas(countries=dict(CLIENTS), places=places, numbers=numbers)  # type: ignore[arg-type]


def _host(random: Random, number: int) -> Host:
    """One mirror."""
    latitude, longitude = random.choice(PLACES) or (None, None)

    def few() -> tuple[str, ...]:
        return tuple(random.sample(COUNTRIES, random.randint(1, 2))) if random.random() < 0.25 else ()

    return Host(
        number,
        f"h{number}.example",
        f"site{number}",
        random.choice([*COUNTRIES, ""]),
        random.choice([0, 1, 10, 100, 1000, 10_000]),
        random.random() < 0.2,
        1,
        latitude,
        longitude,
        few(),
        few(),
        random.choice([None, True, False]),
        random.choice([None, True, False]),
    )


def _factors(random: Random) -> Factors:
    return Factors(random.choice([0.0, 0.25, 1.0]), random.choice([0.1, 1.0]), random.choice([0.5, 1.0]))


def _urls(random: Random, number: int) -> tuple[str, ...]:
    schemes = random.sample(["https", "http", "ftp", "rsync"], random.randint(0, 3))
    return tuple(f"{scheme}://h{number}.example/top" for scheme in schemes)


def make(size: int, seed: int) -> MirrorlistCache:
    """A cache with one directory, its repodata, and whatever may be said about hosts."""
    random = Random(seed)

    def mask() -> int:
        return random.getrandbits(size) if size else 0

    everybody = [_host(random, number) for number in range(size)]
    details: tuple[FileDetail, ...] = (NEWEST, OLDER)
    category = Category(
        "Random",
        "top",
        {number: found for number in range(size) if (found := _urls(random, number))},
        {DIRECTORY: 0, f"{DIRECTORY}/repodata": 1, "top": 2},
        {FILE: details},
        {number: _factors(random) for number in range(size) if random.random() < 0.5},
        reserved={DIRECTORY: mask()} if random.random() < 0.1 else {},
    )
    return MirrorlistCache(
        generated_at=1_790_000_000,
        generation=random.randint(1, 3),
        hosts=everybody,
        masks=[mask() | mask(), mask() | mask(), (1 << size) - 1],
        categories=[category],
        repositories={("r", "a"): (0, DIRECTORY)},
        netblock_hosts={"10.1.0.0/16": mask(), "10.1.2.0/24": mask(), "2001:db8:1::/48": mask()},
        location_hosts={GROUP: mask(), "other": mask()},
        asn_hosts={SYSTEM: mask()},
        country_continents=CONTINENTS,
        netblock_countries={},
        embargoed_countries=random.sample(COUNTRIES, random.randint(0, 1)),
    )


def worlds(largest: int = 30) -> st.SearchStrategy[MirrorlistCache]:
    """Caches by size and seed: Hypothesis would need most of a test's time to choose every host's values itself."""
    return st.builds(make, st.integers(0, largest), st.integers(0, 1 << 32))


COUNTRY_LISTS = ["", "SE", "de", "FR,SE", "global", "Global,JP", "XX", "CA", "se,SE,de", "A1"]
PARAMETERS: dict[str, list[str | None]] = {
    "country": [None, None, None, *COUNTRY_LISTS],
    "avoid_country": [None, None, None, "SE", "us,DE", "global"],
    "location": [None, None, GROUP, f"other,{GROUP}", "none"],
    "protocol": [None, None, None, "https", "http,https", "rsync", "", "HTTPS"],
    "netblock": [None, None, "1", "0", ""],
    "ipv4": [None, None, None, "1"],
    "ipv6": [None, None, None, "1", "0"],
}


def question(names: tuple[str, ...], seed: int) -> dict[str, str]:
    """Some parameters of a request."""
    random = Random(seed)
    chosen = {name: random.choice(PARAMETERS[name]) for name in names}
    return {name: value for name, value in chosen.items() if value is not None}


def questions(names: tuple[str, ...] = tuple(PARAMETERS)) -> st.SearchStrategy[dict[str, str]]:
    """Parameters by seed."""
    return st.builds(question, st.just(names), st.integers(0, 1 << 32))


def encoded(parameters: dict[str, str]) -> str:
    """As a query string."""
    return urlencode(parameters)
