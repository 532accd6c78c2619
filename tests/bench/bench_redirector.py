"""Requests per CPU-second of the redirector, in-process: `python tests/bench/bench_redirector.py`.

The world is synthetic and seeded: 500 hosts, 1,500 repositories, 5,000 directories. What is measured is the WSGI
application alone; a server in front adds its own floor (about 20 us of CPU with granian, 150 with gunicorn).
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache
from mm_lib.settings import GeoSettings
from mm_redirector.app import Application
from mm_redirector.geo import GeoData
from mm_redirector.index import build
from mm_redirector.settings import Policy

HOSTS, REPOSITORIES, DIRECTORIES = 500, 1_500, 5_000
SECONDS_PER_CASE = 2.0
TOPDIR = "pub/fedora/linux"
CONTINENTS = {
    "EU": "DE FR GB NL SE CZ PL IT ES CH AT FI",
    "NA": "US CA MX",
    "AS": "CN JP KR IN TW SG",
    "SA": "BR CL AR",
    "OC": "AU NZ",
    "AF": "ZA KE",
}
COUNTRIES = {country: continent for continent, names in CONTINENTS.items() for country in names.split()}


def world(rng: random.Random) -> MirrorlistCache:
    """A cache like that of a large distribution."""
    shares = [1 / rank for rank in range(1, len(COUNTRIES) + 1)]
    countries = rng.choices(rng.sample(sorted(COUNTRIES), len(COUNTRIES)), shares, k=HOSTS)
    hosts = [host(number, country, rng) for number, country in enumerate(countries)]
    masks = [sum(1 << n for n in range(HOSTS) if rng.random() < share) for share in (0.3, 0.5, 0.7, 0.9) * 250]
    repositories = [f"{TOPDIR}/updates/{n}/x86_64" for n in range(REPOSITORIES)]
    paths = [*repositories, *(f"{path}/repodata" for path in repositories)]
    paths += [f"{TOPDIR}/releases/{n}" for n in range(DIRECTORIES - len(paths))]
    category = Category(
        name="Fedora Linux",
        topdir=TOPDIR,
        urls={n: urls(n, rng) for n in range(HOSTS)},
        directories={path: rng.randrange(len(masks)) for path in paths},
        files={f"{path}/repodata/repomd.xml": details(rng) for path in repositories},
    )
    return MirrorlistCache(
        generated_at=1_790_000_000,
        generation=1,
        hosts=hosts,
        masks=masks,
        categories=[category],
        repositories={(f"updates-{n}", "x86_64"): (0, path) for n, path in enumerate(repositories)},
        netblock_hosts={f"{rng.randrange(1, 224)}.{rng.randrange(256)}.0.0/16": 1 << n for n in range(HOSTS)},
        asn_hosts={rng.randrange(1, 60_000): 1 << n for n in range(HOSTS)},
        country_continents=COUNTRIES,
    )


def host(number: int, country: str, rng: random.Random) -> Host:
    bandwidth = rng.choice([100, 1_000, 10_000])
    allowed = (country,) if rng.random() < 0.02 else ()
    return Host(number, f"m{number}", f"s{number}", country, bandwidth, number % 7 == 0, 10, None, None, allowed, ())


def urls(number: int, rng: random.Random) -> tuple[str, ...]:
    schemes = ["https", "http", "rsync"][: rng.randint(2, 3)]
    return tuple(f"{scheme}://mirror{number}.example.org/{TOPDIR}" for scheme in schemes)


def details(rng: random.Random) -> tuple[FileDetail, ...]:
    hashes = (rng.randbytes(size).hex() for size in (16, 20, 32, 64) * 3)
    return tuple(
        FileDetail(1_790_000_000 - age, 6_000 + age, next(hashes), next(hashes), next(hashes), next(hashes))
        for age in range(3)
    )


def environments(path: str, parameters: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Requests of random clients for random repositories."""
    requests = [
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "QUERY_STRING": f"repo=updates-{rng.randrange(REPOSITORIES)}&arch=x86_64{parameters}",
            "REMOTE_ADDR": f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
        }
        for _ in range(5_000)
    ]
    return cycle(requests)


def measure(application: Application, requests: Iterator[dict[str, Any]]) -> tuple[float, float, float]:
    """(requests per CPU-second, hosts and bytes of a mean answer)."""
    answered = size = lines = 0
    start = time.process_time()
    while (spent := time.process_time() - start) < SECONDS_PER_CASE:
        for _ in range(100):
            status: list[str] = []
            body = b"".join(application(next(requests), lambda line, _headers, seen=status: seen.append(line)))
            assert status == ["200 OK"], status
            answered += 1
            size += len(body)
        lines += body.count(b"://mirror")
    return answered / spent, lines / (answered / 100), size / answered


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def main() -> None:
    rng = random.Random(44)
    cache = world(rng)
    index, seconds = timed(lambda: build(cache))
    print(f"index of {HOSTS} hosts and {DIRECTORIES} directories built in {seconds * 1e3:.0f} ms of CPU")
    application = Application(lambda: index, GeoData(GeoSettings()), Policy())
    print(f"{'case':<32}{'per CPU-second':>16}{'us':>8}{'URLs':>8}{'bytes':>10}")
    for path in ("/mirrorlist", "/metalink"):
        for parameters in ("", "&country=DE", "&country=global"):
            rate, lines, size = measure(application, environments(path, parameters, rng))
            print(f"{path + ' ' + parameters:<32}{rate:>16,.0f}{1e6 / rate:>8.0f}{lines:>8.0f}{size:>10,.0f}")


if __name__ == "__main__":
    main()
