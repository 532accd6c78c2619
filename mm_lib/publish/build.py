"""Rows -> mirrorlist cache. Pure: the time and the addresses behind DNS names are handed in.

Per category: number the hosts that have a public URL, turn each host's bitmap of directory ids around into one
host set per directory, and intern the sets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pyroaring import BitMap

from mm_lib.cache.schema import (
    MAX_BANDWIDTH,
    MIN_BANDWIDTH,
    Absent,
    Category,
    Factors,
    FileDetail,
    Host,
    MirrorlistCache,
)
from mm_lib.cache.table import MaskTable, width_of
from mm_lib.model.base import State
from mm_lib.model.state import Health
from mm_lib.publish.rows import CarriedRow, CategoryRow, FileRow, HostRow, NetblockRow, Rows
from mm_lib.publish.transpose import host_sets
from mm_lib.rules import urls, weights
from mm_lib.rules.netblocks import parse_network
from mm_lib.settings import WeightsSettings

Resolver = Callable[[str], Iterable[str]]
Files = dict[str, tuple[FileDetail, ...]]

DEFAULT_WEIGHTS = WeightsSettings()


@dataclass
class Built:
    """The cache, and what a person should know about it."""

    cache: MirrorlistCache
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Registry:
    """What is looked up again and again while a cache is built."""

    rows: Rows
    now: int
    weights: WeightsSettings
    hosts: dict[int, HostRow]  # by id, all of them
    urls: dict[int, tuple[str, ...]]  # host category -> its public URLs
    numbers: dict[int, int]  # host id -> its number in the cache
    carried: dict[int, list[CarriedRow]]  # category -> who carries it, also those that are not served
    resting: frozenset[int]  # hosts that are under maintenance

    def reason(self, row: CarriedRow) -> str:
        """Why a host is not in the cache for a category: one of ABSENCES, "" if it is."""
        host = self.hosts[row.host_id]
        if host.site_state is not State.ACTIVE:
            return "site-waiting" if host.site_state is State.WAITING else "site-disabled"
        if host.state is not State.ACTIVE:
            return host.state.value
        if row.host_id in self.resting:
            return "maintenance"
        # A host that could not be reached leaves the cache at once; its bitmap waits for its return.
        if row.health is Health.QUARANTINED and not row.always_up_to_date:
            return "quarantined"
        if row.id not in self.urls:
            return "no-url"
        return "embargoed" if host.country in self.rows.embargoed else ""

    def served(self, category: int) -> list[CarriedRow]:
        """Who carries a category and is in the cache for it."""
        return [row for row in self.carried[category] if not self.reason(row)]


def build(
    rows: Rows, now: int, generation: int, resolve: Resolver, settings: WeightsSettings = DEFAULT_WEIGHTS
) -> Built:
    """The cache of this moment. `now` is in Unix seconds; `resolve` gives a DNS name's addresses, none if unknown."""
    registry = _registry(rows, now, settings)
    hosts = [registry.hosts[id_] for id_ in registry.numbers]
    cache = MirrorlistCache(
        generated_at=now,
        generation=generation,
        hosts=_hosts(hosts, rows.countries),
        repository_redirects=rows.redirects,
        location_hosts=_location_hosts(rows, registry.numbers),
        asn_hosts=_asn_hosts(rows, hosts, registry.numbers),
        country_continents=rows.continents,
        netblock_countries=rows.netblock_countries,
        embargoed_countries=sorted(rows.embargoed),
    )
    built = Built(cache)
    _add_categories(cache, registry)
    _add_repositories(built, rows)
    _add_netblocks(built, rows.netblocks, registry.numbers, resolve)
    return built


def _registry(rows: Rows, now: int, settings: WeightsSettings) -> Registry:
    carried: dict[int, list[CarriedRow]] = defaultdict(list)
    for row in rows.carried:
        carried[row.category_id].append(row)
    hosts = {row.id: row for row in rows.hosts}
    resting = frozenset(row.host_id for row in rows.maintenance if row.starts_at <= now < row.ends_at)
    registry = Registry(rows, now, settings, hosts, _public_urls(rows.urls), {}, carried, resting)
    served = {row.host_id for row in rows.carried if not registry.reason(row)}
    for host in sorted((hosts[id_] for id_ in served), key=lambda host: _place(host, rows.continents)):
        registry.numbers[host.id] = len(registry.numbers)
    return registry


def _place(host: HostRow, continents: Mapping[str, str]) -> tuple[str, str, int]:
    """Neighbours on the map get neighbouring numbers."""
    country = host.country or ""
    return continents.get(country, ""), country, host.id


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
            bandwidth=_bandwidth(row),
            private=bool(row.private),
            max_connections=row.max_connections,
            latitude=row.latitude,
            longitude=row.longitude,
            allowed_countries=tuple(listed[row.id, "allowed"]),
            extra_countries=tuple(listed[row.id, "extra"]),
            ipv4=row.ipv4,
            ipv6=row.ipv6,
        )
        for row in rows
    ]


def _asn_hosts(rows: Rows, hosts: Iterable[HostRow], numbers: Mapping[int, int]) -> dict[int, int]:
    """Own ASNs count where the owner wants their clients, peers' always: they were named for that."""
    wants_own = {row.id for row in hosts if row.asn_clients}
    masks: dict[int, int] = defaultdict(int)
    for host, asn, kind in rows.asns:
        if host in numbers and (kind == "peer" or host in wants_own):
            masks[asn] |= 1 << numbers[host]
    return dict(masks)


def _location_hosts(rows: Rows, numbers: Mapping[int, int]) -> dict[str, int]:
    masks: dict[str, int] = defaultdict(int)
    for location, host in rows.locations:
        masks[location] |= 1 << numbers[host] if host is not None and host in numbers else 0
    return dict(masks)


def _add_categories(cache: MirrorlistCache, registry: Registry) -> None:
    files = _files(registry.rows.files)
    positions = Positions()
    for category in registry.rows.categories:
        cache.categories.append(_category(registry, category, positions, files.get(category.id, {})))
    cache.masks = MaskTable(b"".join(positions), len(cache.hosts))


class Positions(dict[bytes, int]):
    """Packed mask -> its position; a mask that is not known gets the next one."""

    def __missing__(self, mask: bytes) -> int:
        self[mask] = position = len(self)
        return position


def _category(registry: Registry, category: CategoryRow, positions: Positions, files: Files) -> Category:
    served, numbers = registry.served(category.id), registry.numbers
    reserved, paths = _reserved(registry, category.id)
    return Category(
        name=category.name,
        topdir=category.topdir,
        urls={numbers[row.host_id]: registry.urls[row.id] for row in served},
        directories=_directories(registry, category.id, served, reserved, positions),
        files=files,
        factors=_factors(registry, served),
        always_up_to_date=sum(1 << numbers[row.host_id] for row in served if row.always_up_to_date),
        reserved={path: reserved[directory] for directory, path in paths.items()},
        absent=_absent(registry, category.id),
    )


def _directories(
    registry: Registry, category: int, served: Iterable[CarriedRow], reserved: dict[int, int], positions: Positions
) -> dict[str, int]:
    """Path -> position of its mask."""
    rows = list(registry.rows.directories(category))
    carried = ((registry.numbers[row.host_id], _has(row)) for row in served)
    width = width_of(len(registry.numbers))
    sets = host_sets([id_ for id_, _ in rows], carried, width)
    # What nobody may read on the master, no mirror can have.
    limits = reserved | dict.fromkeys(registry.rows.unreadable, 0)
    for number, (id_, _) in enumerate(rows):
        if id_ in limits:
            sets[number] = (int.from_bytes(sets[number], "little") & limits[id_]).to_bytes(width, "little")
    return {path: positions[mask] for (_, path), mask in zip(rows, sets, strict=True)}


def _has(row: CarriedRow) -> BitMap | None:
    if row.always_up_to_date:
        return None
    return BitMap.deserialize(row.up_to_date) if row.up_to_date else BitMap()


def _reserved(registry: Registry, category: int) -> tuple[dict[int, int], dict[int, str]]:
    """Directory id -> the only hosts that may serve it, and directory id -> path."""
    masks: dict[int, int] = defaultdict(int)
    paths: dict[int, str] = {}
    for row in registry.rows.reserved:
        if row.category_id == category:
            paths[row.directory_id] = row.path
            masks[row.directory_id] |= 1 << registry.numbers[row.host_id] if row.host_id in registry.numbers else 0
    return dict(masks), paths


def _absent(registry: Registry, category: int) -> list[Absent]:
    """The public hosts that carry a category and are not served, by name. Private ones are nobody's business."""
    return sorted(
        Absent(registry.hosts[row.host_id].name, reason)
        for row in registry.carried[category]
        if not registry.hosts[row.host_id].private and (reason := registry.reason(row))
    )


def _factors(registry: Registry, served: Iterable[CarriedRow]) -> dict[int, Factors]:
    """Host number -> what its bandwidth is multiplied by, for those that are held down."""
    settings, rows = registry.weights, {registry.numbers[row.host_id]: row for row in served}
    health = {number: _health(row, settings) for number, row in rows.items()}
    hosts = {number: registry.hosts[row.host_id] for number, row in rows.items()}
    ages = {number: registry.now - max(row.since, hosts[number].since) for number, row in rows.items()}
    starting = weights.slow_start(ages, settings.slow_start_hours * 3600, settings.slow_start_floor)
    countries: dict[str, dict[int, float]] = defaultdict(dict)
    for number, host in hosts.items():
        if host.country and not host.private:  # private hosts serve their own networks, not the country
            countries[host.country][number] = _bandwidth(host) * health[number] * starting[number]
    share = dict.fromkeys(rows, 1.0)
    for country in countries.values():
        share |= weights.shares(country, settings.max_share, settings.share_floor)
    found = {number: Factors(health[number], starting[number], share[number]) for number in rows}
    return {number: factors for number, factors in found.items() if factors != Factors()}


def _health(row: CarriedRow, settings: WeightsSettings) -> float:
    if row.always_up_to_date:  # a crawl has no say in whether it is served
        return 1.0
    return {Health.SUSPECT: settings.suspect, Health.PROBATION: settings.probation}.get(row.health, 1.0)


def _files(rows: Iterable[FileRow]) -> dict[int, Files]:
    """Category id -> full path of the file -> versions, newest first."""
    found: dict[int, dict[str, list[FileDetail]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        path = f"{row.directory}/{row.filename}" if row.directory else row.filename
        found[row.category_id][path].append(_detail(row))
    return {category: {path: tuple(details) for path, details in files.items()} for category, files in found.items()}


def _detail(row: FileRow) -> FileDetail:
    return FileDetail(row.timestamp, row.size, row.md5 or "", row.sha1 or "", row.sha256 or "", row.sha512 or "")


def _bandwidth(row: HostRow) -> int:
    return min(max(row.bandwidth_mbps, MIN_BANDWIDTH), MAX_BANDWIDTH)


def _add_repositories(built: Built, rows: Rows) -> None:
    position = {row.id: index for index, row in enumerate(rows.categories)}
    for repository in rows.repositories:
        key = (repository.prefix, repository.arch)
        if not repository.enabled:
            built.cache.disabled_repositories.append(key)
        elif repository.category_id is not None and repository.directory is not None:
            category, path = position[repository.category_id], repository.directory
            built.cache.repositories[key] = (category, path)
            if not built.cache.masks[built.cache.categories[category].directories[path]]:
                built.warnings.append(f"no mirror carries {repository.prefix} ({repository.arch}), {path}")


def _add_netblocks(
    built: Built, netblocks: Iterable[NetblockRow], numbers: Mapping[int, int], resolve: Resolver
) -> None:
    masks: dict[str, int] = defaultdict(int)
    for row in netblocks:
        if row.host_id not in numbers:
            continue
        networks = [parse_network(address).text for address in resolve(row.text)] if row.is_name else [row.text]
        if not networks:
            name = built.cache.hosts[numbers[row.host_id]].name
            built.warnings.append(f"{name}: netblock {row.text} has no address")
        for network in networks:
            masks[network] |= 1 << numbers[row.host_id]
    built.cache.netblock_hosts = dict(masks)
