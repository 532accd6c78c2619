"""What it costs to build the mirrorlist cache of a world like Fedora's from the database: `make bench-publish`.

Each case fills a database, publishes in a fresh process, and prints a line per figure beside its bar. The worlds differ
in how many distinct sets of hosts their directories have.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from pyroaring import BitMap
from sqlalchemy import insert
from sqlalchemy.orm import Session

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_lib.cache.schema import Category, MirrorlistCache
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model import content, hosts, sites, state
from mm_lib.publish.publication import publish
from mm_lib.rules.netblocks import parse_netblock
from mm_lib.services import schema
from mm_lib.settings import DatabaseSettings
from tests.bench.report import bar, close
from tests.bench.world import NOW, world
from tests.postgres import PACKAGES, Postgres

SEED = 44
CASES = {"few": 2_000, "many": 100_000}  # distinct sets of hosts
BARS = {"cpu": (5.0, "s"), "memory": (250.0, "MB"), "file": (40.0, "MB")}
LONG_AGO = datetime.fromtimestamp(NOW, UTC) - timedelta(days=365)

Rows = list[dict[str, Any]]


class Filling:
    """Puts a world into an empty database."""

    def __init__(self, session: Session, cache: MirrorlistCache) -> None:
        self._session = session
        self._cache = cache
        self._directories: dict[str, tuple[int, int]] = {}  # path -> (category, id)
        self._ids = count(1)  # of what carries what

    def run(self) -> None:
        """All tables."""
        self._hosts()
        self._put(content.Product, [{"id": 1, "name": "Fedora"}])
        self._put(content.Version, [{"id": 1, "product_id": 1, "name": "44"}])
        for number, category in enumerate(self._cache.categories, 1):
            fields = {"id": number, "product_id": 1, "name": category.name, "topdir": category.topdir}
            self._put(content.Category, [fields])
            self._category_directories(number, category)
            self._files(category)
            self._carriers(number, category)
        self._repositories()

    def _put(self, table: Any, rows: Rows) -> None:
        self._session.execute(insert(table), rows)

    def _hosts(self) -> None:
        cache = self._cache
        self._put(sites.Site, [{"id": host.id, "name": host.site, "state_since": LONG_AGO} for host in cache.hosts])
        same = ("id", "name", "private", "max_connections", "latitude", "longitude")
        self._put(
            hosts.Host,
            [
                {name: getattr(host, name) for name in same}
                | {"site_id": host.id, "country": host.country or None, "bandwidth_mbps": host.bandwidth}
                | {"has_ipv4": host.ipv4, "has_ipv6": host.ipv6, "state_since": LONG_AGO}
                for host in cache.hosts
            ],
        )
        self._put(hosts.HostNetblock, [self._netblock(text, mask) for text, mask in cache.netblock_hosts.items()])
        asns = [(asn, number) for asn, mask in cache.asn_hosts.items() for number in members(mask)]
        self._put(hosts.HostAsn, [{"host_id": self._id(number), "asn": asn, "kind": "own"} for asn, number in asns])

    def _id(self, number: int) -> int:
        return self._cache.hosts[number].id

    def _netblock(self, text: str, mask: int) -> dict[str, Any]:
        parsed = parse_netblock(text)
        bounds = {"family": parsed.family, "first_address": parsed.first, "last_address": parsed.last}
        return {"host_id": self._id(next(members(mask))), "netblock": parsed.text, **bounds}

    def _category_directories(self, category: int, of: Category) -> None:
        sample = [[f"package-{n}-1.0-1.fc44.x86_64.rpm", 1_234_567, NOW] for n in range(5)]
        first = len(self._directories) + 1
        self._directories |= {path: (category, number) for number, path in enumerate(of.directories, first)}
        self._put(
            content.Directory,
            [
                {"id": number, "category_id": category, "path": path, "mtime": NOW, "sample": sample}
                for number, path in enumerate(of.directories, first)
            ],
        )

    def _files(self, category: Category) -> None:
        rows = []
        for path, versions in category.files.items():
            directory, _, name = path.rpartition("/")
            of = {"directory_id": self._directories[directory][1], "filename": name}
            rows += [version._asdict() | of | {"content_id": f"sha256:{version.sha256}"} for version in versions]
        self._put(content.FileDetail, rows)

    def _carriers(self, number: int, category: Category) -> None:
        bitmaps = self._bitmaps(category)
        ids = {host: next(self._ids) for host in category.urls}
        by_host = [(host, {"host_category_id": id_}) for host, id_ in ids.items()]
        carried = {"category_id": number, "created_at": LONG_AGO}
        self._put(hosts.HostCategory, [{"id": id_, "host_id": self._id(host)} | carried for host, id_ in ids.items()])
        urls = [row | {"url": url} for host, row in by_host for url in category.urls[host]]
        self._put(hosts.HostCategoryUrl, urls)
        found = {"established_at": LONG_AGO, "source": "crawl", "directories_total": len(category.directories)}
        has = {host: bitmaps[host] for host in category.urls}
        sizes = {
            host: {"directories_up_to_date": len(bitmap), "up_to_date": bitmap.serialize()}
            for host, bitmap in has.items()
        }
        self._put(state.HostCategoryState, [row | found | sizes[host] for host, row in by_host])
        self._put(state.HostCategoryHealth, [row | {"since": LONG_AGO} for _, row in by_host])

    def _bitmaps(self, category: Category) -> dict[int, BitMap]:
        """Host -> the directories that it has."""
        everybody = sum(1 << host for host in category.urls)
        of_mask: dict[int, list[int]] = defaultdict(list)
        for path, position in category.directories.items():
            of_mask[position].append(self._directories[path][1])
        lacks: dict[int, list[int]] = defaultdict(list)
        for position, directories in of_mask.items():
            for host in members(everybody & ~self._cache.masks[position]):
                lacks[host] += directories
        everything = BitMap(number for numbers in of_mask.values() for number in numbers)
        return {host: everything - BitMap(lacks[host]) for host in category.urls}

    def _repositories(self) -> None:
        arches = {arch: number for number, arch in enumerate(sorted({arch for _, arch in self._cache.repositories}), 1)}
        self._put(content.Arch, [{"id": number, "name": arch} for arch, number in arches.items()])
        rows = []
        for (prefix, arch), (_, path) in self._cache.repositories.items():
            category, directory = self._directories[path]
            place = {"category_id": category, "directory_id": directory}
            rows.append({"prefix": prefix, "version_id": 1, "arch_id": arches[arch], **place})
        self._put(content.Repository, rows)


def members(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def fill(url: str, masks: int) -> None:
    """Make the schema and the world."""
    engine = make_engine(DatabaseSettings(url=url))
    schema.upgrade(engine)
    with make_sessions(engine)() as session, transaction(session):
        Filling(session, world(SEED, distinct_masks=masks)).run()
    engine.dispose()


def publish_once(url: str, path: Path) -> None:
    """Print what one publication costs; runs alone in its process."""
    engine = make_engine(DatabaseSettings(url=url))
    start = time.process_time()
    with make_sessions(engine)() as session:
        published = publish(session, path)
    cpu = time.process_time() - start
    # Not ru_maxrss: that counts what the process was before exec, too.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    figures = {"cpu": cpu, "memory": int(status["VmHWM"].split()[0]) / 1024, "file": published.size / 1e6}
    print(json.dumps({"figures": figures, "contents": published.contents}))


def measure(database: str, case: str, url: str, folder: Path) -> None:
    """Fill a database, publish from it twice, since there is mostly a file to compare with, and print the figures."""
    fill(url, CASES[case])
    command = [sys.executable, __file__, url, str(folder / f"{database}-{case}.cache")]
    for _ in range(2):
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(output)
    print(f"{database}, {case}:", ", ".join(f"{number:,} {what}" for what, number in result["contents"].items()))
    for name, value in result["figures"].items():
        limit, unit = BARS[name]
        bar(f"publish-{database}-{case}-{name}", value, unit, "<", limit)


@contextmanager
def postgres() -> Iterator[Postgres | None]:
    """A server, None where PostgreSQL is not installed."""
    if not any(PACKAGES.glob("*/bin/initdb")):
        yield None
        return
    server = Postgres()
    try:
        yield server
    finally:
        server.stop()


def main() -> None:
    """Print the figures of every database and case."""
    with tempfile.TemporaryDirectory() as name, postgres() as server:
        folder = Path(name)
        for case in CASES:
            measure("sqlite", case, f"sqlite:///{folder / case}.sqlite", folder)
            if server:
                measure("postgresql", case, server.url(server.create()), folder)
    close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        publish_once(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
