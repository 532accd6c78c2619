"""Mirrorlist cache -> the file that MirrorManager's own mirrorlist servers answer from (mirrorlist.proto).

What our cache has beyond it does not travel: names and coordinates of hosts, factors of weights, address families, the
generation, who is absent. What it has no place for (docs/moving.md) waits in MirrorlistCache.carried_over, as plain
values: "internet2" (mask of hosts), "ordered" (directories), "urls" (of nobody), "repositories" (key -> directory),
"disabled" (prefixes), "continents" (country -> continent).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from mm_lib.cache.schema import Category, FileDetail, MirrorlistCache
from mm_lib.publish import mirrorlist_pb2 as pb
from mm_lib.services.geography import continents

KEPT = 1_000  # host sets whose parts are kept while directories are written: neighbours mostly have the same


def encode(cache: MirrorlistCache) -> Iterator[bytes]:
    """The parts of the file. In memory there is never more than one directory, and what many directories share."""
    writer = _Writer(cache)
    first, rest = writer.small()
    yield first
    yield from writer.files()
    yield rest
    yield from writer.directories()


def hosts_of(mask: int) -> Iterator[int]:
    """The numbers of the hosts in a set, from the lowest."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


class _Writer:
    """A cache with what is looked up again and again while it is written."""

    def __init__(self, cache: MirrorlistCache) -> None:
        self._cache = cache
        self._ids = [host.id for host in cache.hosts]
        self._internet2: int = cache.carried_over.get("internet2", 0)
        self._url_ids = {url: number for number, url in enumerate(_urls(cache), 1)}
        self._shared = lru_cache(KEPT)(self._shared_parts)

    # -- everything but files and directories

    def small(self) -> tuple[bytes, bytes]:
        """The fields before those of files, and those between files and directories."""
        cache = self._cache
        first, rest = pb.MirrorList(Time=cache.generated_at), pb.MirrorList()
        _put(first.NetblockCountryCache, cache.netblock_countries)
        _put(first.LocationCache, {name: self._listed(mask) for name, mask in cache.location_hosts.items()})
        _put(first.HCUrlCache, {number: url for url, number in self._url_ids.items()})
        self._repositories(rest)
        _put(rest.CountryContinentRedirectCache, self._continents())
        _put(rest.RepositoryRedirectCache, cache.repository_redirects)
        _put(rest.HostAsnCache, {asn: self._listed(mask) for asn, mask in cache.asn_hosts.items()})
        _put(rest.HostMaxConnectionCache, {host.id: host.max_connections for host in cache.hosts})
        _put(rest.HostCountryCache, {host.id: host.country for host in cache.hosts if host.country})
        _put(rest.HostBandwidthCache, {host.id: host.bandwidth for host in cache.hosts})
        allowed = {host.id: sorted(host.allowed_countries) for host in cache.hosts if host.allowed_countries}
        _put(rest.HostCountryAllowedCache, allowed)
        _put(rest.HostNetblockCache, {name: self._listed(mask) for name, mask in cache.netblock_hosts.items()})
        return first.SerializePartialToString(), rest.SerializePartialToString()

    def _listed(self, mask: int) -> list[int]:
        return sorted(self._ids[number] for number in hosts_of(mask))

    def _continents(self) -> dict[str, str]:
        """Where countries are not on the continent that the list of countries has them on."""
        usual, now = continents(), self._cache.country_continents
        moved = {country: name for country, name in now.items() if usual.get(country) != name}
        return {**self._cache.carried_over.get("continents", {}), **moved}

    def _repositories(self, rest: pb.MirrorList) -> None:
        """The format switches prefixes off, not arches: of one with any arch that is on, the others are left out."""
        cache = self._cache
        disabled = set(cache.disabled_repositories)
        off = {prefix for prefix, _ in disabled} - {prefix for prefix, _ in cache.repositories.keys() - disabled}
        _put(rest.DisabledRepositoryCache, dict.fromkeys(off | set(cache.carried_over.get("disabled", ())), True))
        found = {
            f"{prefix}+{arch}": path
            for (prefix, arch), (_, path) in cache.repositories.items()
            if prefix in off or (prefix, arch) not in disabled
        }
        _put(rest.RepoArchToDirectoryName, {**cache.carried_over.get("repositories", {}), **found})

    # -- files

    def files(self) -> Iterator[bytes]:
        """Directories with their important files, by name."""
        names: dict[str, list[tuple[str, tuple[FileDetail, ...]]]] = defaultdict(list)
        for category in self._cache.categories:
            for path, versions in category.files.items():
                directory, _, name = path.rpartition("/")
                if is_text(path):
                    names[directory].append((name, versions))
        for directory in sorted(names):
            entry = pb.FileDetailsCacheDirectoryType(directory=directory)
            for name, versions in sorted(names[directory]):
                entry.FileDetailsCacheFiles.add(filename=name, FileDetails=map(_detail, versions))
            yield pb.MirrorListEntries(FileDetailsCache=[entry.SerializeToString()]).SerializeToString()

    # -- directories

    def directories(self) -> Iterator[bytes]:
        """Every directory once, by name; the first category that has it says who has it."""
        cache = self._cache
        ordered = set(cache.carried_over.get("ordered", ()))
        for path, position in _first_categories(cache.categories):
            category = cache.categories[position]
            before, after = self._shared(position, cache.masks[category.directories[path]])
            of = pb.MirrorListCacheType
            parts = (
                of(directory=path).SerializePartialToString(),
                before,
                of(Subpath=below(path, category.topdir)).SerializePartialToString(),
                after,
                of(OrderedMirrorList=True).SerializePartialToString() if path in ordered else b"",
            )
            yield pb.MirrorListEntries(MirrorListCache=[b"".join(parts)]).SerializeToString()

    def _shared_parts(self, position: int, mask: int) -> tuple[bytes, bytes]:
        """What directories of a category with the same hosts have in common, before and after the path."""
        urls, hosts = self._cache.categories[position].urls, self._cache.hosts
        carrying = [number for number in hosts_of(mask) if urls.get(number)]
        public = [number for number in carrying if not hosts[number].private]
        before = pb.MirrorListCacheType(Global=sorted(self._ids[number] for number in public))
        after = pb.MirrorListCacheType()
        _put(after.ByCountry, self._by_country(public))
        of_internet2 = [number for number in public if self._internet2 >> number & 1]
        _put(after.ByCountryInternet2, self._by_country(of_internet2))
        _put(after.ByHostId, {self._ids[n]: [self._url_ids[url] for url in urls[n]] for n in carrying})
        return before.SerializePartialToString(), after.SerializePartialToString()

    def _by_country(self, numbers: Iterable[int]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for number in numbers:
            host = self._cache.hosts[number]
            for country in {host.country, *host.extra_countries} - {""}:
                found[country].append(host.id)
        return {country: sorted(ids) for country, ids in found.items()}


def _urls(cache: MirrorlistCache) -> list[str]:
    """Every URL once, those of nobody last."""
    found = {url for category in cache.categories for urls in category.urls.values() for url in urls}
    return [*sorted(found), *sorted(set(cache.carried_over.get("urls", ())) - found)]


def _first_categories(categories: Iterable[Category]) -> list[tuple[str, int]]:
    """Each directory with the position of the category that answers for it, by name."""
    found: dict[str, int] = {}
    for position, category in enumerate(categories):
        for path in category.directories:
            if is_text(path):
                found.setdefault(path, position)
    return sorted(found.items())


def below(path: str, topdir: str) -> str:
    """The part of a path below a category's top directory."""
    return path[len(topdir) :].lstrip("/") if topdir else path


def is_text(path: str) -> bool:
    """Whether it can stand in a protobuf string: names that are no UTF-8 cannot, and MirrorManager knows none."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


def _detail(version: FileDetail) -> pb.FileDetailsType:
    hashes = {name.upper(): getattr(version, name) for name in ("sha1", "md5", "sha256", "sha512")}
    return pb.FileDetailsType(
        TimeStamp=version.timestamp, Size=version.size, **{name: text for name, text in hashes.items() if text}
    )


def _put(entries: Any, values: Mapping[Any, Any]) -> None:
    """Key and value each, or key and list, by key."""
    for key in sorted(values):
        entries.add(key=key, value=values[key])
