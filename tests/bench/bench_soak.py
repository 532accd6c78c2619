"""A million requests of every kind, a new cache every two seconds: nothing fails, and memory does not grow."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_lib.cache import file
from tests.bench import config, load, processes, report, traffic
from tests.bench.data import Geo, Size, World, make_geo, make_world, with_generation
from tests.bench.processes import Server
from tests.bench.traffic import CASES

REQUESTS, QUICK_REQUESTS = 1_000_000, 50_000
SIZE = Size(300, 50, 20_000, 500)
PERIOD = 2.0  # seconds from one cache to the next
SLICE, QUICK_SLICE = 10, 3  # seconds of each run of wrk
FIRST = 1_000  # generation
LIMIT = 3_600  # seconds after which it ends, whatever was reached


class Soak:
    """A server, what it is asked, and what happens to it meanwhile."""

    def __init__(self, server: Server, cache: Path, world: World, geo: Geo) -> None:
        self.server = server
        self.world = world
        self.geo = geo
        self.cache = cache
        self.generation = FIRST
        self.memory: list[tuple[float, float]] = []  # (seconds, MB)
        self.failure: Exception | None = None
        self._end = threading.Event()

    def ask(self, asked: Path, wanted: int, seconds: float) -> tuple[int, int]:
        """(requests, how many of them failed)."""
        done = failed = 0
        end = time.monotonic() + LIMIT
        while done < wanted and time.monotonic() < end:
            found = load.wrk(self.server.port, asked, seconds, start=done)
            done, failed = done + found.requests, failed + found.failed
            for case in CASES.values():
                traffic.check(self.server.get, case, self.world, self.geo, count=5, seed=done)
            words = f"{done:>9,} requests, {found.requests / found.seconds:,.0f} a second"
            print(f"{words}, {self.server.pss():.1f} MB", flush=True)
        return done, failed

    @contextmanager
    def running(self) -> Iterator[None]:
        """Publish and watch as long as the block lasts."""
        threads = [
            threading.Thread(target=self._keep, args=work) for work in ((self._publish, PERIOD), (self._watch, 1))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in threads:
                thread.join()
        if self.failure:
            raise self.failure

    def _keep(self, work: Callable[[], None], seconds: float) -> None:
        while not self._end.wait(seconds):
            try:
                work()
            except Exception as error:
                self.failure = error
                return

    def _publish(self) -> None:
        data = with_generation(self.cache, self.generation + 1)
        file.publish(self.cache, data)
        self.generation += 1

    def _watch(self) -> None:
        self.memory.append((time.monotonic(), self.server.pss()))


def mixed(world: World, geo: Geo, path: Path) -> Path:
    """Requests of all kinds, as a file."""
    found = [request for case in CASES.values() for request in traffic.requests(case, world, geo, 20_000)]
    random.Random(1).shuffle(found)
    return load.write(path, found)


def wait_for(server: Server, generation: int) -> bool:
    """Whether the server comes to answer from that cache."""
    for _ in range(200):
        if str(generation) in server.get("/healthz/ready")[1].decode():
            return True
        time.sleep(0.05)
    return False


def growth(memory: list[tuple[float, float]]) -> float:
    """Megabytes by which the last fifth of the time is above the second: in the first, caches fill."""
    start, end = memory[0][0], memory[-1][0]
    early, late = (
        [size for when, size in memory if low <= (when - start) / (end - start) <= high]
        for low, high in ((0.2, 0.4), (0.8, 1.0))
    )
    print(f"median PSS {median(early):.1f} MB from 20 to 40 % of the time, {median(late):.1f} MB in the last fifth")
    return median(late) - median(early)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK_REQUESTS:,} requests, to see that all works")
    quick = parser.parse_args().quick
    wanted, seconds = (QUICK_REQUESTS, QUICK_SLICE) if quick else (REQUESTS, SLICE)
    world, geo = make_world(SIZE), make_geo()
    processes.take_load_core()
    with tempfile.TemporaryDirectory(prefix="mm-bench-") as name:
        place = Path(name)
        cache = Path(shutil.copy(world.cache, place))
        log = str(place / "access.log")
        path = config.write(place / "mirrormanager.toml", cache, geo, reload_interval=0.5, access_log=log)
        asked = mixed(world, geo, place / "requests")
        with processes.redirector(path) as server:
            state = Soak(server, cache, world, geo)
            with state.running():
                done, failed = state.ask(asked, wanted, seconds)
            current = wait_for(server, state.generation)
    print(f"{state.generation - FIRST} caches were published")
    report.bar("soak-requests", done, "requests", ">=", wanted)
    report.bar("soak-failed", failed, "requests", "=", 0)
    report.bar("soak-last-cache-in-use", current, "of 1", "=", 1)
    report.bar("soak-growth", growth(state.memory), "MB", "<", 5)
    report.close()


if __name__ == "__main__":
    main()
