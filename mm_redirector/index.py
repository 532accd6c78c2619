"""The mirrorlist cache, prepared for questions: everything that does not depend on the request is done here.

A set of hosts ("mask") is one int with bit n set for host n, as in mm_lib.cache.schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import compress, count
from typing import Generic, TypeVar
from urllib.parse import quote

from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache
from mm_redirector.query import LIST_PROTOCOLS, REDIRECT_PROTOCOLS, UNSAFE, Choice

HOLE = b"\x01"  # stands in a host's contribution where the rest of the URL comes; no URL contains it
Address = IPv4Address | IPv6Address
Value = TypeVar("Value")

_CUT = "\x02"
_URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~"
_TRUTH = bytes.maketrans(b"01", b"\x00\x01")


def members(mask: int) -> list[int]:
    """The hosts of a mask, lowest number first."""
    return list(compress(count(), bin(mask)[:1:-1].encode().translate(_TRUTH)))


def escape(text: str) -> str:
    """Safe as content and as a quoted attribute of an XML element."""
    safe = UNSAFE.sub("\ufffd", text)
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@dataclass(frozen=True, slots=True)
class View:
    """What each host of a category contributes to an answer with one choice of URLs, by number of the host."""

    hosts: int  # who has a URL at all
    lines: Sequence[bytes]  # for a list: "URL HOLE" per URL
    elements: Sequence[tuple[bytes, ...]]  # for a metalink: <url> elements, cut where the preference comes


class CategoryIndex:
    """One category: its directories, and what its hosts contribute to answers."""

    def __init__(self, category: Category, hosts: Sequence[Host], masks: Sequence[int]) -> None:
        self.name = category.name
        self._strip = len(category.topdir) + 1 if category.topdir else 0
        self._directories = category.directories
        self._masks = masks
        self._files = category.files
        self._hosts = hosts
        self._urls = {number: _ordered(urls) for number, urls in category.urls.items() if 0 <= number < len(hosts)}
        self._protocols = frozenset(_protocol(url) for urls in self._urls.values() for url in urls)
        self._most = max((len(urls) for urls in self._urls.values()), default=0)
        self._views: dict[Choice, View] = {}
        self.hosts = self.view(Choice(None, None)).hosts
        self.view(Choice(frozenset(LIST_PROTOCOLS), 1))
        self.view(Choice(frozenset(REDIRECT_PROTOCOLS), 1))

    def carriers(self, path: str) -> int | None:
        """Who has the directory up to date; None when there is no such directory."""
        position = self._directories.get(path)
        return None if position is None else self._masks[position]

    def details(self, path: str, file: str) -> tuple[FileDetail, ...]:
        """The known versions of a file, newest first."""
        return self._files.get(f"{path}/{file}" if path else file, ())

    def below_topdir(self, path: str) -> str:
        """The part of a directory's path that follows the URL of a host."""
        return path[self._strip :]

    def view(self, choice: Choice) -> View:
        """What hosts contribute with this choice; made once per distinct choice, of which there are only a few."""
        protocols, limit = choice
        wanted = self._protocols if protocols is None else self._protocols & protocols
        key = Choice(wanted, self._most if limit is None else min(limit, self._most))
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self._make_view(key)
        return found

    def _make_view(self, choice: Choice) -> View:
        protocols, limit = choice
        mask = 0
        lines = [b""] * len(self._hosts)
        elements: list[tuple[bytes, ...]] = [()] * len(self._hosts)
        for number, urls in self._urls.items():
            chosen = [url for url in urls if _protocol(url) in (protocols or ())][:limit]
            if chosen:
                mask |= 1 << number
                lines[number] = b"".join(url.encode() + HOLE for url in chosen)
                elements[number] = _elements(self._hosts[number], chosen)
        return View(mask, lines, elements)


def _protocol(url: str) -> str:
    return url.partition(":")[0]


def _ordered(urls: Iterable[str]) -> list[str]:
    """Safe to print, and https first; the order of the operator otherwise."""
    clean = [quote(url.rstrip("/"), safe=_URL_CHARACTERS) for url in urls]
    return sorted(clean, key=lambda url: not url.startswith("https:"))


def _elements(host: Host, urls: Iterable[str]) -> tuple[bytes, ...]:
    """The <url> elements of a host, cut in pieces: joined by a preference they are whole."""
    private = ' mm0:private="True"' if host.private else ""
    text = "".join(
        f'    <url protocol="{escape(_protocol(url))}" type="{escape(_protocol(url))}"'
        f' location="{escape(host.country.upper())}"'
        f' preference="{_CUT}"{private}>{escape(url)}{HOLE.decode()}</url>\n'
        for url in urls
    )
    return tuple(piece.encode() for piece in text.split(_CUT))


class NetblockTable(Generic[Value]):
    """Networks and what they stand for: one dictionary per prefix length, so a question costs no scan."""

    def __init__(self, entries: Mapping[str, Value]) -> None:
        self.unreadable: list[str] = []
        tables: dict[int, dict[int, dict[int, Value]]] = {4: {}, 6: {}}  # version -> bits of the host part -> network
        for text, value in entries.items():
            try:
                network = ip_network(text, strict=False)
            except ValueError:
                self.unreadable.append(text)
                continue
            shift = network.max_prefixlen - network.prefixlen
            tables[network.version].setdefault(shift, {})[int(network.network_address) >> shift] = value
        self._tables = {version: sorted(by_shift.items()) for version, by_shift in tables.items()}

    def matches(self, address: Address) -> list[Value]:
        """The values of all networks that contain the address, most specific first."""
        number = int(address)
        return [table[number >> shift] for shift, table in self._tables[address.version] if (number >> shift) in table]


@dataclass(frozen=True, slots=True)
class Index:
    """A cache that is ready to be asked."""

    generated_at: int
    generation: int
    hosts: Sequence[Host]
    categories: Sequence[CategoryIndex]
    repositories: Mapping[tuple[str, str], tuple[int, str]]  # (prefix, arch) -> (position in categories, directory)
    disabled: frozenset[tuple[str, str]]
    redirects: Mapping[str, str]
    listing: str  # all repositories, for a client that asked for another one
    public: int  # hosts that are not private
    countries: Mapping[str, int]  # country -> public hosts that are local there
    continents: Mapping[str, tuple[str, ...]]  # continent -> its countries that have hosts, sorted
    continent_of: Mapping[str, str]
    unrestricted: int  # hosts that serve clients from everywhere
    accepting: Mapping[str, int]  # country -> hosts that serve only named countries, this one among them
    netblocks: NetblockTable[int]
    netblock_countries: NetblockTable[str]
    asn_hosts: Mapping[int, int]
    embargoed: frozenset[str]
    inverse_bandwidth: Sequence[float]

    def open_to(self, country: str) -> int:
        """The hosts that serve clients from a country."""
        return self.unrestricted | self.accepting.get(country, 0)


def build(cache: MirrorlistCache) -> Index:
    """Prepare a cache. It is not changed, but the index goes on using its containers."""
    _check(cache)
    hosts = cache.hosts
    public = _mask(n for n, host in enumerate(hosts) if not host.private)
    countries = {
        country: local for country, mask in _by_country(hosts, _local_countries).items() if (local := mask & public)
    }
    continent_of = {country.upper(): continent for country, continent in cache.country_continents.items()}
    return Index(
        generated_at=cache.generated_at,
        generation=cache.generation,
        hosts=hosts,
        categories=[CategoryIndex(category, hosts, cache.masks) for category in cache.categories],
        repositories=cache.repositories,
        disabled=frozenset((prefix, arch) for prefix, arch in cache.disabled_repositories),
        redirects=cache.repository_redirects,
        listing=_listing(cache),
        public=public,
        countries=countries,
        continents=_continents(countries, continent_of),
        continent_of=continent_of,
        unrestricted=_mask(n for n, host in enumerate(hosts) if not host.allowed_countries),
        accepting=_by_country(hosts, lambda host: host.allowed_countries),
        netblocks=NetblockTable(cache.netblock_hosts),
        netblock_countries=NetblockTable(cache.netblock_countries),
        asn_hosts=cache.asn_hosts,
        embargoed=frozenset(country.upper() for country in cache.embargoed_countries),
        # A weight of nothing would never be drawn: a host that is up to date has at least some bandwidth.
        inverse_bandwidth=[1.0 / max(1, host.bandwidth) for host in hosts],
    )


def _check(cache: MirrorlistCache) -> None:
    """Raise ValueError for masks that would fail in the middle of a request."""
    for mask in (*cache.netblock_hosts.values(), *cache.asn_hosts.values()):
        if not isinstance(mask, int) or mask < 0 or mask >> len(cache.hosts):
            raise ValueError("a netblock or an autonomous system names a host that does not exist")


def _mask(numbers: Iterable[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def _local_countries(host: Host) -> Iterable[str]:
    return filter(None, (host.country, *host.extra_countries))


def _by_country(hosts: Sequence[Host], countries_of: Callable[[Host], Iterable[str]]) -> dict[str, int]:
    masks: dict[str, int] = {}
    for number, host in enumerate(hosts):
        for country in countries_of(host):
            masks[country.upper()] = masks.get(country.upper(), 0) | 1 << number
    return masks


def _continents(countries: Iterable[str], continent_of: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for country in sorted(countries):
        if country in continent_of:
            groups.setdefault(continent_of[country], []).append(country)
    return {continent: tuple(members) for continent, members in groups.items()}


def _listing(cache: MirrorlistCache) -> str:
    """One comment line per repository that would be answered."""
    off = {(prefix, arch) for prefix, arch in cache.disabled_repositories}
    lines = sorted(f"# repo={prefix}&arch={arch}" for prefix, arch in cache.repositories if (prefix, arch) not in off)
    return "\n".join(UNSAFE.sub("\ufffd", line) for line in lines)
