"""How long a cache of Fedora's size takes to build, write and read back: 150,000 directories, 350 hosts.

python tests/bench/bench_publish.py
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyroaring import BitMap

sys.path.insert(0, str(Path(__file__).parents[2]))
from mm_lib.cache import codec
from mm_lib.publish.build import build
from mm_lib.publish.rows import CarriedRow, CategoryRow, DirectoryRow, FileRow, HostRow, RepositoryRow, Rows

DIRECTORIES, HOSTS, REPOSITORIES, CATEGORIES = 150_000, 350, 1_500, 6
T = TypeVar("T")


def bitmap(rng: random.Random, ids: range) -> bytes:
    """What a mirror has: nearly all, or whole parts only, and a few stale directories."""
    if rng.random() < 0.3:
        first = rng.randrange(ids.start, ids.stop)
        has = BitMap(range(first, min(first + len(ids) // 2, ids.stop)))
    else:
        has = BitMap(ids)
    has -= BitMap(rng.sample(ids, rng.randrange(0, len(ids) // 50)))
    return bytes(has.serialize())


def rows(rng: random.Random) -> Rows:
    """A registry of that size."""
    per = DIRECTORIES // CATEGORIES
    spans = {category: range(category * per, (category + 1) * per) for category in range(CATEGORIES)}
    repositories = rng.sample(range(DIRECTORIES), REPOSITORIES)
    return Rows(
        hosts=[HostRow(n, f"m{n}.example", "s", "DE", 1000, False, True, 1, None, None) for n in range(HOSTS)],
        categories=[CategoryRow(category, f"c{category}", f"pub/c{category}") for category in spans],
        carried=[
            CarriedRow(host * CATEGORIES + category, host, category, False, bitmap(rng, ids))
            for host in range(HOSTS)
            for category, ids in spans.items()
        ],
        urls=[(n, f"https://m{n // CATEGORIES}.example/c{n % CATEGORIES}") for n in range(HOSTS * CATEGORIES)],
        directories=[
            DirectoryRow(n, category, f"pub/c{category}/releases/{n % 40}/Everything/x86_64/os/{n}", True)
            for category, ids in spans.items()
            for n in ids
        ],
        files=[FileRow(n, "repomd.xml", 1, 4000, "a" * 32, "b" * 40, "c" * 64, "d" * 128) for n in repositories],
        repositories=[RepositoryRow(f"repo-{n}", "x86_64", n, True) for n in repositories],
    )


def timed(what: str, work: Callable[[], T]) -> T:
    """Run it and print its CPU time."""
    start = time.process_time()
    result = work()
    print(f"{what:<40} {time.process_time() - start:6.2f} s of CPU")
    return result


def main() -> None:
    """Print the figures."""
    registry = rows(random.Random(1))
    cache = timed(
        f"build {DIRECTORIES:,} directories, {HOSTS} hosts", lambda: build(registry, 1, 1, lambda _: [])
    ).cache
    data = timed("encode", lambda: codec.encode(cache))
    timed("decode and check", lambda: codec.decode(data))
    print(f"{len(data) / 1e6:.1f} MB, {len(cache.masks):,} host sets")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB with the registry's rows")


if __name__ == "__main__":
    main()
