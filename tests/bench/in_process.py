"""The WSGI application alone, without a server: microseconds per request, and where they go."""

from __future__ import annotations

import cProfile
import gc
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from tests.bench import config, traffic
from tests.bench.data import ROOT, Geo, World, make_geo, make_world
from tests.bench.traffic import CASES, Case

REQUESTS = 14_000
ROUNDS = 7
LINES = 45  # of a profile
WANTED_BYTES = 30_000
Application = Callable[[dict[str, Any], Callable[[str, list[tuple[str, str]]], object]], Iterable[bytes]]


class Cost(NamedTuple):
    """What a request costs."""

    microseconds: float  # of CPU
    size: float  # bytes of the body


def environment(target: str, client: str) -> dict[str, Any]:
    """What granian hands over."""
    path, _, query = target.partition("?")
    return {
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "3000",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path),
        "QUERY_STRING": query,
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "mirrors.example.org",
        "HTTP_ACCEPT": "*/*",
        "HTTP_X_FORWARDED_FOR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def application(world: World, geo: Geo, place: Path, **settings: Any) -> Application:
    """A redirector of that world in this process."""
    from mm_lib.settings import load
    from mm_redirector import wsgi

    worker = wsgi.build(load(config.write(place / "mirrormanager.toml", world.cache, geo, **settings)))
    worker.store.start()
    return worker.application


def measure(ask: Application, environments: list[dict[str, Any]]) -> Cost:
    """The median of several rounds. Raises AssertionError for an answer that is an error."""
    seen: set[str] = set()
    size = 0

    def start_response(status: str, _headers: list[tuple[str, str]]) -> None:
        seen.add(status[:3])

    gc.collect()
    gc.freeze()  # the requests that wait here are no work of the application's
    spent = []
    part = len(environments) // ROUNDS
    for number in range(ROUNDS):
        start = time.process_time()
        for environ in environments[number * part : (number + 1) * part]:
            size += sum(map(len, ask(environ, start_response)))
        spent.append((time.process_time() - start) / part)
    assert seen <= {"200", "302"}, f"answers had the status {', '.join(sorted(seen))}"
    return Cost(statistics.median(spent) * 1e6, size / (part * ROUNDS))


def max_hosts_for(world: World, geo: Geo, size: int = WANTED_BYTES) -> int:
    """How long a list must be so that a metalink has about so many bytes."""
    with tempfile.TemporaryDirectory() as place:
        sizes = {}
        for hosts in (20, 40):
            ask = application(world, geo, Path(place), max_hosts=hosts)
            sizes[hosts] = measure(ask, _environments(CASES["metalink"], world, geo, ROUNDS * 100)).size
    per_host = (sizes[40] - sizes[20]) / 20
    return round(20 + (size - sizes[20]) / per_host)


def max_hosts() -> int:
    """The same, found out in a process of its own, which takes its threads and its memory with it."""
    command = [sys.executable, "-m", "tests.bench.in_process"]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout)


def _environments(case: Case, world: World, geo: Geo, count: int) -> list[dict[str, Any]]:
    return [environment(*request) for request in traffic.requests(case, world, geo, count)]


def table(world: World, geo: Geo, requests: int = REQUESTS) -> None:
    """Print the cost of each case."""
    hosts = max_hosts_for(world, geo)
    print(f"{'case':<18}{'us':>8}{'per CPU-second':>16}{'bytes':>10}   (metalink-30k: max_hosts = {hosts})")
    with tempfile.TemporaryDirectory() as place:
        servers = _servers(world, geo, Path(place), hosts)
        for case in CASES.values():
            cost = measure(servers[case.long], _environments(case, world, geo, requests))
            print(f"{case.name:<18}{cost.microseconds:>8.1f}{1e6 / cost.microseconds:>16,.0f}{cost.size:>10,.0f}")


def profile(case: Case, world: World, geo: Geo, requests: int = REQUESTS) -> None:
    """Print where the time goes, dearest function first."""
    with tempfile.TemporaryDirectory() as place:
        settings = {"max_hosts": max_hosts_for(world, geo)} if case.long else {}
        ask = application(world, geo, Path(place), **settings)
        environments = _environments(case, world, geo, requests)
        measure(ask, environments[: ROUNDS * 100])
        recorded = cProfile.Profile()
        recorded.runcall(measure, ask, environments)
    print(f"{case.name}: {requests:,} requests; a profiler makes calls dear, so look at shares, not at seconds")
    pstats.Stats(recorded).sort_stats("tottime").print_stats(LINES)


def _servers(world: World, geo: Geo, place: Path, hosts: int) -> dict[bool, Application]:
    """The one with answers of 30 kB, and the one with default settings."""
    return {
        True: application(world, geo, place, max_hosts=hosts),
        False: application(world, geo, place),
    }


if __name__ == "__main__":
    print(max_hosts_for(make_world(), make_geo()))
