"""Where mirrors stand, by the addresses that their names lead to: for --continent, and for embargoes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import urlsplit

from mm_crawler.report import Mirror
from mm_lib.services.doctor import Probes

LOOKUPS = 32  # at once; resolvers are slow for names that lead nowhere
NOWHERE = "--"  # what stands for the continent of a mirror of which nothing is known


class Place(NamedTuple):
    """Where a mirror stands."""

    addresses: Mapping[str, str]  # address -> country; "": not known
    country: str  # that most of its addresses are in; else as its owner says; "": not known


def locate(mirrors: Iterable[Mirror], probes: Probes) -> dict[int, Place]:
    """Host id -> place, by the name in its first URL."""
    found = list(mirrors)
    with ThreadPoolExecutor(LOOKUPS) as pool:
        return dict(pool.map(lambda mirror: (mirror.host_id, _place(mirror, probes)), found))


def _place(mirror: Mirror, probes: Probes) -> Place:
    urls = [url.url for carried in mirror.categories for url in carried.urls]
    name = urlsplit(urls[0]).hostname if urls else None
    addresses = {address: probes.country(address) for address in (probes.resolve(name) if name else ())}
    counts = Counter(country for country in addresses.values() if country)
    most = counts.most_common(1)[0][0] if counts else mirror.country or ""
    return Place(addresses, most)


def refusal(place: Place, embargoed: frozenset[str]) -> str:
    """Why we may not deal with a mirror: all of its addresses are in embargoed countries. Else empty."""
    countries = set(place.addresses.values())
    if not countries or not countries <= embargoed:
        return ""
    where = ", ".join(f"{address} ({country})" for address, country in place.addresses.items())
    return (
        f"its addresses are in countries that we may not serve from: {where}. If that is wrong, tell us where it stands"
    )


def is_wanted(place: Place, wanted: tuple[str, ...], continents: Mapping[str, str]) -> bool:
    """Whether a mirror stands where --continent says: on one of those named, and on none of those with ^."""
    continent = continents.get(place.country, NOWHERE)
    named = {each for each in wanted if not each.startswith("^")}
    return f"^{continent}" not in wanted and (not named or continent in named)
