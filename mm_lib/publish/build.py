"""Rows -> mirrorlist cache. Pure: the time and the addresses behind DNS names are handed in.

Per category: number the hosts that have a public URL, turn each host's bitmap of directory ids around into one
host set per directory, and intern the sets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pyroaring import BitMap

from mm_lib.cache.schema import MAX_BANDWIDTH, MIN_BANDWIDTH, Category, FileDetail, Host, MirrorlistCache
from mm_lib.publish.rows import CarriedRow, DirectoryRow, FileRow, HostRow, Rows
from mm_lib.rules import urls
from mm_lib.rules.netblocks import parse_netblock, parse_network

Resolver = Callable[[str], Iterable[str]]
Files = dict[str, tuple[FileDetail, ...]]


@dataclass
class Built:
    """The cache, and what a person should know about it."""

    cache: MirrorlistCache
    warnings: list[str] = field(default_factory=list)


def build(rows: Rows, now: int, generation: int, resolve: Resolver) -> Built:
    """The cache of this moment. `now` is in Unix seconds; `resolve` gives a DNS name's addresses, none if unknown."""
    urls_of = _public_urls(rows.urls)
    served = {row.host_id for row in rows.carried if row.id in urls_of}
    embargoed = set(rows.embargoed)
    hosts = [row for row in rows.hosts if row.id in served and row.country not in embargoed]
    number = {row.id: position for position, row in enumerate(hosts)}
    carried = [row for row in rows.carried if row.host_id in number and row.id in urls_of]
    cache = MirrorlistCache(
        generated_at=now,
        generation=generation,
        hosts=_hosts(hosts, rows.countries),
        repository_redirects=rows.redirects,
        asn_hosts=_asn_hosts(rows, hosts, number),
        country_continents=rows.continents,
        netblock_countries=rows.netblock_countries,
        embargoed_countries=sorted(embargoed),
    )
    built = Built(cache)
    _add_categories(built.cache, rows, carried, number, urls_of)
    _add_repositories(built, rows)
    _add_netblocks(built, rows.netblocks, number, resolve)
    return built


def _public_urls(rows: Iterable[tuple[int, str]]) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = defaultdict(list)
    for host_category, url in rows:
        found[host_category].append(url)
    return {key: tuple(sorted(values, key=urls.preference)) for key, values in found.items()}


def _hosts(rows: Iterable[HostRow], countries: Iterable[tuple[int, str, str]]) -> list[Host]:
    listed: dict[tuple[int, str], list[str]] = defaultdict(list)
    for host, country, kind in countries:
        listed[host, kind].append(country)
    return [
        Host(
            id=row.id,
            name=row.name,
            site=row.site,
            country=row.country or "",
            bandwidth=min(max(row.bandwidth_mbps, MIN_BANDWIDTH), MAX_BANDWIDTH),
            private=bool(row.private),
            max_connections=row.max_connections,
            latitude=row.latitude,
            longitude=row.longitude,
            allowed_countries=tuple(listed[row.id, "allowed"]),
            extra_countries=tuple(listed[row.id, "extra"]),
        )
        for row in rows
    ]


def _asn_hosts(rows: Rows, hosts: Iterable[HostRow], number: Mapping[int, int]) -> dict[int, int]:
    """Own ASNs count where the owner wants their clients, peers' always: they were named for that."""
    wants_own = {row.id for row in hosts if row.asn_clients}
    masks: dict[int, int] = defaultdict(int)
    for host, asn, kind in rows.asns:
        if host in number and (kind == "peer" or host in wants_own):
            masks[asn] |= 1 << number[host]
    return dict(masks)


def _add_categories(
    cache: MirrorlistCache,
    rows: Rows,
    carried: Iterable[CarriedRow],
    number: Mapping[int, int],
    urls_of: Mapping[int, tuple[str, ...]],
) -> None:
    directories: dict[int, list[DirectoryRow]] = defaultdict(list)
    for row in rows.directories:
        directories[row.category_id].append(row)
    carriers: dict[int, list[CarriedRow]] = defaultdict(list)
    for carrier in carried:
        carriers[carrier.category_id].append(carrier)
    exclusive = _exclusive(rows.exclusive, number)
    files = _files(rows)
    interned: dict[int, int] = {}
    for category in rows.categories:
        masks = directory_masks(
            directories[category.id], [(number[row.host_id], row) for row in carriers[category.id]], exclusive
        )
        cache.categories.append(
            Category(
                name=category.name,
                topdir=category.topdir,
                urls={number[row.host_id]: urls_of[row.id] for row in carriers[category.id]},
                directories={path: interned.setdefault(mask, len(interned)) for path, mask in masks.items()},
                files=files.get(category.id, {}),
            )
        )
    cache.masks = list(interned)


def _exclusive(rows: Iterable[tuple[int, int]], number: Mapping[int, int]) -> dict[int, int]:
    """Directory id -> the only hosts that may serve it."""
    masks: dict[int, int] = defaultdict(int)
    for directory, host in rows:
        masks[directory] |= 1 << number[host] if host in number else 0
    return dict(masks)


def directory_masks(
    directories: Iterable[DirectoryRow], carried: Iterable[tuple[int, CarriedRow]], exclusive: Mapping[int, int]
) -> dict[str, int]:
    """Path -> mask of the hosts that have it up to date.

    Most hosts have nearly everything or nearly nothing, so each is stated by its exceptions: a host with more
    than half of the directories stands in `common`, and only the directories where it differs are touched.
    """
    rows = list(directories)
    everything = BitMap(row.id for row in rows)
    common = 0
    exceptions: dict[int, int] = defaultdict(int)
    for host, row in carried:
        if row.always_up_to_date:
            common |= 1 << host
            continue
        has = BitMap.deserialize(row.up_to_date) & everything if row.up_to_date else BitMap()
        lacks = everything - has
        if len(lacks) < len(has):
            common |= 1 << host
        for directory in min(has, lacks, key=len):
            exceptions[directory] ^= 1 << host
    # What nobody may read on the master, no mirror can have.
    return {
        row.path: (common ^ exceptions.get(row.id, 0)) & exclusive.get(row.id, -1) if row.readable else 0
        for row in rows
    }


def _files(rows: Rows) -> dict[int, Files]:
    """Category id -> full path of the file -> versions, newest first."""
    place = {row.id: (row.category_id, row.path) for row in rows.directories}
    found: dict[int, dict[str, list[FileDetail]]] = defaultdict(lambda: defaultdict(list))
    for row in rows.files:
        category, path = place[row.directory_id]
        found[category][f"{path}/{row.filename}" if path else row.filename].append(_detail(row))
    return {category: {path: tuple(details) for path, details in files.items()} for category, files in found.items()}


def _detail(row: FileRow) -> FileDetail:
    return FileDetail(row.timestamp, row.size, row.md5 or "", row.sha1 or "", row.sha256 or "", row.sha512 or "")


def _add_repositories(built: Built, rows: Rows) -> None:
    position = {row.id: index for index, row in enumerate(rows.categories)}
    place = {row.id: (position[row.category_id], row.path) for row in rows.directories}
    for repository in rows.repositories:
        key = (repository.prefix, repository.arch)
        if not repository.enabled:
            built.cache.disabled_repositories.append(key)
        elif repository.directory_id is not None:
            category, path = place[repository.directory_id]
            built.cache.repositories[key] = (category, path)
            if not built.cache.masks[built.cache.categories[category].directories[path]]:
                built.warnings.append(f"no mirror carries {repository.prefix} ({repository.arch}), {path}")


def _add_netblocks(
    built: Built, netblocks: Iterable[tuple[int, str]], number: Mapping[int, int], resolve: Resolver
) -> None:
    masks: dict[str, int] = defaultdict(int)
    for host, text in netblocks:
        if host not in number:
            continue
        networks = _networks(text, resolve)
        if not networks:
            built.warnings.append(f"{built.cache.hosts[number[host]].name}: netblock {text} has no address")
        for network in networks:
            masks[network] |= 1 << number[host]
    built.cache.netblock_hosts = dict(masks)


def _networks(text: str, resolve: Resolver) -> list[str]:
    netblock = parse_netblock(text)
    if netblock.family is not None:
        return [netblock.text]
    return [parse_network(address).text for address in resolve(netblock.text)]
