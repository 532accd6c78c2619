"""The files that benchmarks serve from: worlds as caches, GeoIP tables, clients. Made once and kept.

They lie in $XDG_CACHE_HOME/mirrormanager-bench, else in /var/tmp/mirrormanager-bench, in a folder whose name stands for
the code that made them: another code makes other files, and the old ones are removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from mm_lib.cache import codec
from tests.bench import master_list, mmdb
from tests.bench.world import CONTINENT, address_plan, asn_prefixes, client_addresses, country_networks, world

FORMAT = b"1"  # of the files that are written here; to be raised with every change
SEED = 44
CLIENTS = 200_000
PREFIXES = 1_000_000
ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Size:
    """How large a world is."""

    hosts: int = 600
    private: int = 100
    directories: int = 150_000
    repositories: int = 1_500


class World(NamedTuple):
    """The files of one world."""

    cache: Path
    repositories: list[tuple[str, str]]  # (prefix, arch), in the order in which they are popular
    repository_paths: list[str]  # their directories
    paths: list[str]  # of directories


class Geo(NamedTuple):
    """Who owns which addresses, and who asks."""

    asn: Path
    countries: Path
    clients: list[str]


def folder() -> Path:
    """Where everything is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "/var/tmp") / "mirrormanager-bench"


def make_world(size: Size = Size()) -> World:  # frozen
    """The cache of such a world, and what can be asked for."""
    name = "-".join(f"{value}" for value in asdict(size).values())
    sources = [HERE / "world.py", *(ROOT / "mm_lib" / "cache").glob("*.py")]
    made = _kept(f"world-{name}", sources, lambda place: _write_world(place, size))
    return World(made / "mirrorlist.cache", *_read_questions(made))


def make_geo() -> Geo:
    """An ASN table of a million prefixes, a country table, and clients by the weight of their countries."""
    made = _kept("geo", [HERE / "world.py", HERE / "mmdb.py"], _write_geo)
    return Geo(made / "asn.mmdb", made / "country.mmdb", (made / "clients").read_text().split())


def _kept(name: str, sources: Iterable[Path], write: Callable[[Path], None]) -> Path:
    code = hashlib.sha256(FORMAT + b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:12]
    place = folder() / f"{name}-{code}"
    if not place.is_dir():
        print(f"making {place}, once")
        draft = folder() / f"draft-{os.getpid()}-{place.name}"
        draft.mkdir(parents=True)
        try:
            write(draft)
            for old in folder().glob(f"{name}-{'?' * len(code)}"):
                shutil.rmtree(old, ignore_errors=True)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return place


def _write_world(place: Path, size: Size) -> None:
    cache = world(SEED, **asdict(size))
    (place / "mirrorlist.cache").write_bytes(codec.encode(cache))
    asked = {
        "repositories": [[*names, path] for names, (_, path) in cache.repositories.items()],
        "paths": [path for category in cache.categories for path in category.directories],
    }
    (place / "questions.json").write_text(json.dumps(asked))


def _read_questions(place: Path) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    asked = json.loads((place / "questions.json").read_text())
    repositories = asked["repositories"]
    return [(prefix, arch) for prefix, arch, _ in repositories], [path for *_, path in repositories], asked["paths"]


def with_generation(path: Path, generation: int) -> bytes:
    """The same cache as one that was built later."""
    cache = codec.decode(path.read_bytes())
    cache.generation = generation
    return codec.encode(cache)


# GeoIP


def _write_geo(place: Path) -> None:
    plan = address_plan(SEED)
    prefixes = list(asn_prefixes(plan, SEED, PREFIXES))
    asns = sorted({asn for _, asn in prefixes})
    records = [
        {"autonomous_system_number": asn, "autonomous_system_organization": f"Network {asn} Ltd"} for asn in asns
    ]
    position = {asn: number for number, asn in enumerate(asns)}
    networks = sorted(_networks((text, position[asn]) for text, asn in prefixes))
    mmdb.write(place / "asn.mmdb", networks, records, "GeoLite2-ASN")
    countries = {country: number for number, country in enumerate(CONTINENT)}
    owned = sorted(_networks((text, countries[country]) for text, country in country_networks(plan)))
    answers = [
        {"continent": {"code": CONTINENT[country]}, "country": {"iso_code": country, "names": {"en": country}}}
        for country in countries
    ]
    mmdb.write(place / "country.mmdb", owned, answers, "GeoLite2-Country")
    (place / "clients").write_text("\n".join(client_addresses(SEED, CLIENTS, plan)))


def _networks(entries: Iterable[tuple[str, int]]) -> Iterator[mmdb.Network]:
    for text, record in entries:
        address, _, length = text.partition("/")
        if ":" in address:
            number = int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
            yield mmdb.Network(number, int(length), record)
        else:
            yield mmdb.ipv4(int.from_bytes(socket.inet_aton(address), "big"), int(length), record)


# A master


def make_master() -> Path:
    """A folder with the fullfiletimelist of a master as large as Fedora's, and what is read of its files."""
    return _kept("master", [HERE / "master_list.py"], master_list.write)
