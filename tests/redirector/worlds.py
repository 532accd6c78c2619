"""Random worlds for the redirector's property tests: hosts, netblocks, groups, factors, and clients in them."""

from __future__ import annotations

from typing import Any
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
    "10.1.2.9": "SE", "10.1.9.9": "DE", "2001:db8:1::9": "US", "2002:0a01:0209::1": "", "unknown": "",
}  # fmt: skip
ADDRESSES = sorted(CLIENTS)
PLACES = [None, (59.3, 18.1), (52.5, 13.4), (48.9, 2.4), (40.7, -74.0), (35.7, 139.7)]


def atlas(place: tuple[float, float] | None = None, asn: int | None = None) -> Atlas:
    """Every client stands at the place and in the autonomous system."""
    places = dict.fromkeys(ADDRESSES, place) if place else {}
    numbers = dict.fromkeys(ADDRESSES, asn) if asn is not None else {}
    return Atlas(countries=dict(CLIENTS), places=places, numbers=numbers)  # type: ignore[arg-type]


@st.composite
def hosts(draw: Any, number: int) -> Host:
    """One mirror."""
    latitude, longitude = draw(st.sampled_from(PLACES)) or (None, None)
    few = st.lists(st.sampled_from(COUNTRIES), max_size=2, unique=True).map(tuple)
    return Host(
        number,
        f"h{number}.example",
        f"site{number}",
        draw(st.sampled_from([*COUNTRIES, ""])),
        draw(st.sampled_from([0, 1, 10, 100, 1000, 10_000])),
        draw(st.integers(0, 4)) == 0,
        1,
        latitude,
        longitude,
        draw(few) if draw(st.integers(0, 3)) == 0 else (),
        draw(few) if draw(st.integers(0, 3)) == 0 else (),
        draw(st.sampled_from([None, True, False])),
        draw(st.sampled_from([None, True, False])),
    )


FACTORS = st.builds(
    Factors, st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([0.1, 1.0]), st.sampled_from([0.5, 1.0])
)


@st.composite
def worlds(draw: Any, largest: int = 30) -> MirrorlistCache:
    """A cache with one directory, its repodata, and whatever may be said about hosts."""
    everybody = [draw(hosts(number)) for number in range(draw(st.integers(0, largest)))]
    mask = st.integers(0, (1 << len(everybody)) - 1)
    schemes = st.lists(st.sampled_from(["https", "http", "ftp", "rsync"]), max_size=3, unique=True)
    urls = {number: draw(schemes) for number in range(len(everybody))}
    details: tuple[FileDetail, ...] = (NEWEST, OLDER)
    category = Category(
        "Random",
        "top",
        {n: tuple(f"{scheme}://h{n}.example/top" for scheme in chosen) for n, chosen in urls.items() if chosen},
        {DIRECTORY: 0, f"{DIRECTORY}/repodata": 1, "top": 2},
        {FILE: details},
        {number: draw(FACTORS) for number in range(len(everybody)) if draw(st.booleans())},
        reserved={DIRECTORY: draw(mask)} if draw(st.integers(0, 9)) == 0 else {},
    )
    everyone = (1 << len(everybody)) - 1
    return MirrorlistCache(
        generated_at=1_790_000_000,
        generation=draw(st.integers(1, 3)),
        hosts=everybody,
        masks=[draw(mask) | draw(mask), draw(mask) | draw(mask), everyone],
        categories=[category],
        repositories={("r", "a"): (0, DIRECTORY)},
        netblock_hosts={"10.1.0.0/16": draw(mask), "10.1.2.0/24": draw(mask), "2001:db8:1::/48": draw(mask)},
        location_hosts={GROUP: draw(mask), "other": draw(mask)},
        asn_hosts={SYSTEM: draw(mask)},
        country_continents=CONTINENTS,
        netblock_countries={},
        embargoed_countries=draw(st.lists(st.sampled_from(COUNTRIES), max_size=1)),
    )


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


@st.composite
def questions(draw: Any, names: tuple[str, ...] = tuple(PARAMETERS)) -> dict[str, str]:
    """Some parameters of a request."""
    chosen = {name: draw(st.sampled_from(PARAMETERS[name])) for name in names}
    return {name: value for name, value in chosen.items() if value is not None}


def encoded(parameters: dict[str, str]) -> str:
    """As a query string."""
    return urlencode(parameters)
