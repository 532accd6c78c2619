"""No request lost and none late while the cache and the GeoIP files of a redirector are replaced again and again.

One worker on a core is asked at a constant rate, at half of what it bears; latency counts from when a request was due.
What falls into the moments in which the benchmark itself writes the files is left out of the latencies, for the writer
shares the core of the clients.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from bisect import bisect
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import config, load, processes, report, traffic
from tests.bench.data import Geo, World, make_geo, make_world
from tests.bench.load import Sample, percentile
from tests.bench.processes import Server
from tests.bench.replacing import SETTLE, Replacement, Replacer

PERIOD = 2.5  # seconds from one replacement to the next
REPLACEMENTS, QUICK_REPLACEMENTS = 24, 4
LOOK = 0.2  # redirector.reload_interval
LOAD = 0.5  # of what the worker bears
CASE = traffic.CASES["metalink"]


def copies(place: Path, world: World, geo: Geo) -> tuple[Path, Geo]:
    """Files of our own, to be replaced."""
    place.mkdir()
    cache, asn, countries = (Path(shutil.copy(path, place)) for path in (world.cache, geo.asn, geo.countries))
    return cache, geo._replace(asn=asn, countries=countries)


def ask(
    server: Server, world: World, geo: Geo, files: list[Path], count: int
) -> tuple[list[Sample], list[Replacement]]:
    """Ask for as long as `count` replacements take."""
    asked = traffic.requests(CASE, world, geo, 50_000)
    with tempfile.NamedTemporaryFile(suffix=".requests") as name:
        rate = load.flood(server, load.write(Path(name.name), asked), 2).rate * LOAD
    replacer = Replacer(files[0], files[1:], server.log)
    done = 0

    def tick(now: float) -> None:
        nonlocal done
        if done < count and now > (done + 1) * PERIOD:
            done += 1
            replacer.replace()

    try:
        samples = load.paced(server.port, asked, rate, (count + 1.5) * PERIOD, tick)
        print(f"{len(samples):,} requests, {rate:,.0f} a second")
        return samples, replacer.end()
    finally:
        replacer.stop()


def split(samples: list[Sample], replacements: list[Replacement]) -> tuple[list[Sample], list[Sample]]:
    """(those during reloads, those in quiet times)."""
    starts = [each.begun for each in replacements]
    loading, quiet = [], []
    for sample in samples:
        place = bisect(starts, sample.due + sample.latency) - 1
        if place < 0 or sample.due > replacements[place].used + SETTLE:
            quiet.append(sample)
        elif sample.due > replacements[place].published:
            loading.append(sample)
    return loading, quiet


def measure(world: World, geo: Geo, place: Path, workers: int, count: int) -> None:
    """The bars for so many workers; latency only where each worker has a core of its own."""
    cache, own = copies(place, world, geo)
    path = config.write(place / "mirrormanager.toml", cache, own, reload_interval=LOOK)
    with processes.redirector(path, workers) as server:
        samples, replacements = ask(server, world, geo, [cache, own.asn, own.countries], count)
    used = sum(each.used > 0 for each in replacements)
    took = max((each.used - each.published for each in replacements), default=0.0)
    print(f"{workers} worker(s): {used} of {len(replacements)} replacements in use, each within {took:.2f} s")
    name = f"reload-{workers}-worker{'s' if workers > 1 else ''}"
    report.bar(f"{name}-taken", used, "reloads", ">=", count)
    report.bar(f"{name}-failed", sum(each.status != 200 for each in samples), "requests", "=", 0)
    if workers == 1:
        loading, quiet = split(load.clear(samples), replacements)
        for words, some in (("while reloading", loading), ("in quiet times", quiet)):
            shares = ", ".join(f"p{share * 100:g} {percentile(some, share):.2f}" for share in (0.5, 0.99, 0.999, 1))
            print(f"{words}: {len(some):,} requests, {shares} ms")
        # Where the worker cannot keep up even in quiet times, the difference says nothing.
        report.bar(f"{name}-quiet", percentile(quiet, 0.999), "ms at p99.9", "<=", 20)
        report.bar(f"{name}-spike", percentile(loading, 0.999) - percentile(quiet, 0.999), "ms at p99.9", "<=", 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only a few reloads, to see that all works")
    count = QUICK_REPLACEMENTS if parser.parse_args().quick else REPLACEMENTS
    world, geo = make_world(), make_geo()
    processes.take_load_core()
    with tempfile.TemporaryDirectory(prefix="mm-bench-") as place:
        for workers in (1, 2):
            measure(world, geo, Path(place) / str(workers), workers, count)
    report.close()


if __name__ == "__main__":
    main()
