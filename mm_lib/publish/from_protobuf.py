"""A file that MirrorManager's own mirrorlist servers answer from (mirrorlist.proto) -> mirrorlist cache.

The file says per directory who has it and under which URLs, ours per category: directories that lie below the same top
directory and whose hosts have the same URLs become one category. The file is read entry by entry; what thousands of
directories have in common is understood once.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError

from mm_lib.cache.codec import CacheError
from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache
from mm_lib.publish import mirrorlist_pb2 as pb
from mm_lib.rules.netblocks import parse_network
from mm_lib.services.geography import continents

NOBODYS = "(of no category)"
_FILES, _DIRECTORIES = 5, 16  # numbers of the fields that there is very much of
_VARINT, _LENGTH_DELIMITED = 0, 2  # kinds of fields on the wire
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_HEXADECIMAL = frozenset("0123456789abcdef")


class NotAMirrorList(CacheError):
    """The bytes are no MirrorList message, or no whole one."""


@dataclass
class Converted:
    """The cache, and what could not be taken as it stood."""

    cache: MirrorlistCache
    warnings: list[str] = field(default_factory=list)


class _Entry(NamedTuple):
    """Where an entry of a large field lies in the file."""

    offset: int
    length: int


def decode(stream: BinaryIO) -> Converted:
    """The cache that a seekable file holds. Raises NotAMirrorList, OSError."""
    try:
        head, entries = _scan(stream)
        return _Reader(stream, head, entries).convert()
    except DecodeError as error:
        raise NotAMirrorList(f"it is no MirrorList message, nor a cache of ours: {error}") from error


def _scan(stream: BinaryIO) -> tuple[pb.MirrorList, dict[int, list[_Entry]]]:
    """The message without its large fields, and where their entries lie."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    small, entries = bytearray(), defaultdict[int, list[_Entry]](list)
    while (start := stream.tell()) < size:
        number, kind = divmod(_varint(stream), 8)
        if kind == _VARINT:
            _varint(stream)
        elif kind == _LENGTH_DELIMITED:
            length = _varint(stream)
            if number in (_FILES, _DIRECTORIES):
                entries[number].append(_Entry(stream.tell(), length))
            stream.seek(length, os.SEEK_CUR)
        else:
            raise NotAMirrorList("it is no MirrorList message: it has fields of a kind that none of its fields has")
        end = stream.tell()
        if end > size:
            raise NotAMirrorList("it is cut off")
        if number not in entries:
            stream.seek(start)
            small += stream.read(end - start)
    return pb.MirrorList.FromString(bytes(small)), entries


def _varint(stream: BinaryIO) -> int:
    """A number as protobuf writes them: seven bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise NotAMirrorList("it is cut off")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise NotAMirrorList("it is no MirrorList message: it has a number that does not end")


class _Carriers(NamedTuple):
    """Who has a directory, under which URLs, in hosts' numbers."""

    mask: int
    urls: Mapping[int, tuple[str, ...]]


class _Reader:
    """A message on its way into a cache."""

    def __init__(self, stream: BinaryIO, head: pb.MirrorList, entries: Mapping[int, list[_Entry]]) -> None:
        self._stream, self._head, self._entries = stream, head, entries
        self._warnings: dict[str, None] = {}  # a set that keeps its order
        self._urls = {entry.key: entry.value.rstrip("/") for entry in head.HCUrlCache}
        self._used: set[int] = set()  # numbers of URLs
        numbers = count()
        self._numbers: defaultdict[int, int] = defaultdict(lambda: next(numbers))  # id of a host -> its number
        self._local: dict[int, set[str]] = defaultdict(set)  # number of a host -> countries that it is listed for
        self._public, self._private, self._internet2 = set[int](), set[int](), set[int]()  # numbers
        self._masks: dict[int, int] = {}  # mask -> its position
        self._categories: dict[str, list[Category]] = defaultdict(list)  # top directory -> its categories
        self._order: list[Category] = []
        self._places: dict[bytes, tuple[Category, int]] = {}  # what directories share -> category and mask
        self._where: dict[str, Category] = {}  # directory -> its category
        self._ordered: list[str] = []

    def convert(self) -> Converted:
        """The cache."""
        self._number_hosts()
        for place in self._entries.get(_DIRECTORIES, ()):
            self._directory(pb.MirrorListCacheType.FromString(self._bytes(place)))
        for place in self._entries.get(_FILES, ()):
            self._files(pb.FileDetailsCacheDirectoryType.FromString(self._bytes(place)))
        cache = self._small()
        return Converted(cache, list(self._warnings))

    def _bytes(self, place: _Entry) -> bytes:
        self._stream.seek(place.offset)
        return self._stream.read(place.length)

    def _warn(self, text: str) -> None:
        self._warnings[text] = None

    # -- hosts

    def _number_hosts(self) -> None:
        """Those that stand in one country next to each other, as in a cache that was built."""
        country = {entry.key: entry.value.upper() for entry in self._head.HostCountryCache}
        known = {entry.key for entry in (*self._head.HostBandwidthCache, *self._head.HostMaxConnectionCache)}
        usual = continents()
        for id_ in sorted(known | country.keys(), key=lambda id_: self._place(country.get(id_, ""), id_, usual)):
            self._numbers[id_]  # looking it up numbers it

    @staticmethod
    def _place(country: str, id_: int, usual: Mapping[str, str]) -> tuple[str, str, int]:
        return usual.get(country, ""), country, id_

    def _mask(self, ids: Iterable[int]) -> int:
        mask = 0
        for id_ in ids:
            mask |= 1 << self._numbers[id_]
        return mask

    def _hosts(self) -> list[Host]:
        head = self._head
        bandwidth = {entry.key: entry.value for entry in head.HostBandwidthCache}
        connections = {entry.key: entry.value for entry in head.HostMaxConnectionCache}
        country = {entry.key: entry.value.upper() for entry in head.HostCountryCache}
        allowed = {
            entry.key: tuple(sorted({code.upper() for code in entry.value})) for entry in head.HostCountryAllowedCache
        }
        names = self._names()
        for number in self._public & self._private:
            self._warn(f"{names.get(number, number)} is public for some directories only: it is private now")
        return [
            Host(
                id=id_,
                name=names.get(number, f"host {id_}"),
                site="",
                country=country.get(id_, ""),
                bandwidth=max(1, bandwidth.get(id_, 1)),
                private=number in self._private,
                max_connections=max(1, connections.get(id_, 1)),
                latitude=None,
                longitude=None,
                allowed_countries=tuple(allowed.get(id_, ())),
                extra_countries=tuple(sorted(self._local[number] - {country.get(id_, "")})),
            )
            for id_, number in self._numbers.items()
        ]

    def _names(self) -> dict[int, str]:
        """The message has no names of hosts: their first URL has one."""
        found: dict[int, str] = {}
        for category in self._order:
            for number, addresses in category.urls.items():
                found.setdefault(number, urlsplit(addresses[0]).hostname or addresses[0])
        return found

    # -- directories

    def _directory(self, entry: pb.MirrorListCacheType) -> None:
        path, subpath = entry.directory.strip("/"), entry.Subpath.strip("/")
        topdir = _topdir(path, subpath)
        if topdir is None:
            self._warn(f"{path}: it does not end in {subpath}, so that its top directory is not known; left out")
            return
        if path in self._where:
            self._warn(f"{path}: it is there twice; the first counts")
            return
        if entry.OrderedMirrorList:
            self._ordered.append(path)
        category, mask = self._shared(entry, topdir)
        assert isinstance(category.directories, dict)
        category.directories[path] = self._position(mask)
        self._where[path] = category

    def _position(self, mask: int) -> int:
        return self._masks.setdefault(mask, len(self._masks))

    def _shared(self, entry: pb.MirrorListCacheType, topdir: str) -> tuple[Category, int]:
        """The category of a directory, and who has it; most directories have both in common with others."""
        for name in ("directory", "Subpath", "OrderedMirrorList"):
            entry.ClearField(name)
        key = hashlib.sha256(entry.SerializePartialToString() + b"\0" + topdir.encode()).digest()
        found = self._places.get(key)
        if found is None:
            carriers = self._carriers(entry)
            found = self._places[key] = (self._category(topdir, carriers.urls), carriers.mask)
        return found

    def _carriers(self, entry: pb.MirrorListCacheType) -> _Carriers:
        public = {self._numbers[id_] for id_ in entry.Global}
        mask, addresses = 0, {}
        for host in entry.ByHostId:
            listed = tuple(self._urls[number] for number in host.value if number in self._urls)
            self._used.update(host.value)
            number = self._numbers[host.key]
            if listed:
                mask |= 1 << number
                addresses[number] = listed
                (self._public if number in public else self._private).add(number)
        for country in entry.ByCountry:
            for id_ in country.value:
                self._local[self._numbers[id_]].add(country.key.upper())
        self._internet2.update(self._numbers[id_] for country in entry.ByCountryInternet2 for id_ in country.value)
        return _Carriers(mask, addresses)

    def _category(self, topdir: str, addresses: Mapping[int, tuple[str, ...]]) -> Category:
        """The first one there whose hosts have these URLs, or a new one."""
        for category in self._categories[topdir]:
            if all(category.urls.get(number, listed) == listed for number, listed in addresses.items()):
                category.urls.update(addresses)
                return category
        others = len(self._categories[topdir])
        name = f"{topdir or '(top)'} ({others + 1})" if others else topdir or "(top)"
        category = Category(name=name, topdir=topdir, urls=dict(addresses), directories={}, files={})
        self._categories[topdir].append(category)
        self._order.append(category)
        return category

    # -- files

    def _files(self, entry: pb.FileDetailsCacheDirectoryType) -> None:
        directory = entry.directory.strip("/")
        category = self._where.get(directory) or self._category_above(directory)
        assert isinstance(category.files, dict)
        for file in entry.FileDetailsCacheFiles:
            path = f"{directory}/{file.filename}" if directory else file.filename
            category.files[path] = tuple(self._detail(path, version) for version in file.FileDetails)

    def _category_above(self, directory: str) -> Category:
        """For files in directories that nobody has: where they would be looked for."""
        above = [each for each in self._order if not each.topdir or f"{directory}/".startswith(f"{each.topdir}/")]
        if above:
            return max(above, key=lambda category: len(category.topdir))
        category = Category(name=NOBODYS, topdir="", urls={}, directories={}, files={})
        self._order.append(category)
        return category

    def _detail(self, path: str, version: pb.FileDetailsType) -> FileDetail:
        hashes = {}
        for name, length in _HASHES.items():
            text = getattr(version, name.upper()).lower()
            if text and (len(text) != length or not _HEXADECIMAL.issuperset(text)):
                self._warn(f"{path}: {text} is no {name}; left out")
                text = ""
            hashes[name] = text
        return FileDetail(version.TimeStamp, version.Size, **hashes)

    # -- the rest

    def _small(self) -> MirrorlistCache:
        head = self._head
        usual = continents()
        moved = {entry.key: entry.value for entry in head.CountryContinentRedirectCache}
        locations = {entry.key: self._mask(entry.value) for entry in head.LocationCache}
        asns = {entry.key: self._mask(entry.value) for entry in head.HostAsnCache}
        netblocks = self._netblocks()
        cache = MirrorlistCache(
            generated_at=head.Time,
            generation=head.Time * 1_000_000,  # that of a built cache counts microseconds, too
            hosts=self._hosts(),  # now that all of them have been met
            masks=list(self._masks),
            categories=self._order,
            repository_redirects={entry.key: entry.value for entry in head.RepositoryRedirectCache},
            netblock_hosts=netblocks,
            location_hosts=locations,
            asn_hosts=asns,
            country_continents={**usual, **moved},
            netblock_countries=self._netblock_countries(),
        )
        kept = self._repositories(cache)
        kept["continents"] = {country: name for country, name in moved.items() if usual.get(country) == name}
        kept["internet2"] = sum(1 << number for number in self._internet2)
        kept["ordered"] = sorted(self._ordered)
        kept["urls"] = sorted({url for number, url in self._urls.items() if number not in self._used})
        cache.carried_over = {name: value for name, value in kept.items() if value}
        return cache

    def _netblocks(self) -> dict[str, int]:
        found: dict[str, int] = defaultdict(int)
        for entry in self._head.HostNetblockCache:
            if network := self._network(entry.key):
                found[network] |= self._mask(entry.value)
        return dict(found)

    def _netblock_countries(self) -> dict[str, str]:
        entries = ((self._network(entry.key), entry.value) for entry in self._head.NetblockCountryCache)
        return {network: country.upper() for network, country in entries if network}

    def _network(self, text: str) -> str:
        with suppress(ValueError):
            return parse_network(text).text
        self._warn(f"{text} is no network; left out")
        return ""

    def _repositories(self, cache: MirrorlistCache) -> dict[str, Any]:
        """Put repositories into the cache; what has no place there is returned."""
        positions = {id(category): number for number, category in enumerate(cache.categories)}
        off = {entry.key for entry in self._head.DisabledRepositoryCache if entry.value}
        kept: dict[str, str] = {}
        switched_off: set[tuple[str, str]] = set()
        for entry in self._head.RepoArchToDirectoryName:
            prefix, plus, arch = entry.key.rpartition("+")
            category = self._where.get(entry.value.strip("/"))
            if plus and prefix in off:
                switched_off.add((prefix, arch))
                kept[entry.key] = entry.value
            elif plus and category:
                cache.repositories[prefix, arch] = (positions[id(category)], entry.value.strip("/"))
            else:
                self._warn(f"repository {entry.key}: {entry.value} is not among the directories; left out")
                kept[entry.key] = entry.value
        cache.disabled_repositories = sorted(switched_off)
        return {"repositories": kept, "disabled": sorted(off - {prefix for prefix, _ in switched_off})}


def _topdir(path: str, subpath: str) -> str | None:
    """A directory's path without what lies below its category's top directory; None: that does not fit."""
    if not subpath:
        return path
    if path == subpath:
        return ""
    return path.removesuffix(f"/{subpath}") if path.endswith(f"/{subpath}") else None
