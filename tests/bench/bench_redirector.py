"""Requests per CPU-second of the redirector, latency, memory and loading, beside what the bare servers can do.

One worker of mm-redirector has one core for itself, wrk has the other. Each figure that has a bar is printed as
`bench: NAME VALUE UNIT bar OP NUMBER ok|short`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[2]))  # last: the packages may come from elsewhere

from tests.bench import compiled, config, in_process, load, loading, processes, report, traffic
from tests.bench.data import Geo, Size, World, make_geo, make_world
from tests.bench.load import Flood
from tests.bench.processes import Server
from tests.bench.traffic import CASES, Case

FLOOR_RATE = 45_000  # requests of 30 kB per CPU-second of granian, on the machine that the bars are set for
METALINK_RATE, OTHER_RATE = 9_000, 12_000
FAST = ("mirrorlist", "redirect", "redirect-path", "path", "apt")  # the cases with the higher bar
FLAT = ("mirrorlist", "redirect", "path", "apt")
SMALL_BODY = 2_000  # bytes; about what lists have
GROWTH = {
    "hosts-200-to-2000": (Size(200, 30, 20_000, 600), Size(2_000, 300, 20_000, 600)),
    "directories-1000-to-300000": (Size(600, 100, 1_000, 60), Size(600, 100, 300_000, 60)),
}
REQUESTS = 100_000  # in the file of a case
NEW_CLIENTS, KNOWN_CLIENTS = 200_000, 100


class Effort(NamedTuple):
    """How long is measured."""

    rounds: int
    seconds: float  # of each case in each round
    paced: float  # seconds at half load
    pairs: int  # of seconds in which two sides are compared


FULL, QUICK = Effort(3, 2, 5, 9), Effort(1, 1, 2, 1)


class Bench:
    """A world, its servers, and what they were asked."""

    def __init__(self, place: Path, effort: Effort, plain: bool) -> None:
        self.place = place
        self.effort = effort
        self.plain = plain
        self.geo: Geo = make_geo()
        self.world: World = make_world()
        self._files: dict[str, Path] = {}

    @contextmanager
    def redirector(self, name: str, world: World, workers: int = 1, **settings: int) -> Iterator[Server]:
        """A server of a world."""
        folder = self.place / name
        folder.mkdir()
        path = config.write(folder / "mirrormanager.toml", world.cache, self.geo, **settings)
        with processes.redirector(path, workers, plain=self.plain) as server:
            yield server

    def requests(self, name: str, case: Case, world: World, count: int = REQUESTS, known: int = 0) -> Path:
        """A file of requests."""
        if name not in self._files:
            asked = traffic.requests(case, world, self.geo, count, known=known)
            self._files[name] = load.write(self.place / f"{name}.requests", asked)
        return self._files[name]

    def rounds(self, work: dict[str, Callable[[int], Flood]], count: int) -> dict[str, list[Flood]]:
        """Every kind of work in turn, and that several times, so that a change of the machine meets all alike.

        Every second time it is the other way round: of two neighbours neither is always the first.
        """
        found: dict[str, list[Flood]] = {name: [] for name in work}
        for run in work.values():
            run(0)  # to warm up
        for number in range(1, count + 1):
            for name, run in list(work.items())[:: 1 if number % 2 else -1]:
                found[name].append(run(number))
        return found


def rate(floods: list[Flood]) -> float:
    """Requests per CPU-second."""
    return median(flood.rate for flood in floods)


def ratio(above: list[Flood], below: list[Flood]) -> float:
    """Of their rates, round by round."""
    return median(one.rate / other.rate for one, other in zip(above, below, strict=True))


def asking(server: Server, file: Path, seconds: float) -> Callable[[int], Flood]:
    """Flood a server with the requests of a file; each round begins elsewhere in it."""

    def run(number: int) -> Flood:
        return load.flood(server, file, seconds if number else 1.0, start=number * 30_011)

    return run


def measure_cases(bench: Bench) -> dict[str, float]:
    """Requests per CPU-second of each case, and the table of all; the floors are in it."""
    hosts = in_process.max_hosts()
    with ExitStack() as stack:
        servers = {
            True: stack.enter_context(bench.redirector("long", bench.world, max_hosts=hosts)),
            False: stack.enter_context(bench.redirector("default", bench.world)),
        }
        for case in CASES.values():
            traffic.check(servers[case.long].get, case, bench.world, bench.geo)
        work: dict[str, Callable[[int], Flood]] = {}
        sizes = {"30k": in_process.WANTED_BYTES, "2k": SMALL_BODY}
        floor = stack.enter_context(processes.floor(bench.place))
        static = stack.enter_context(processes.static_files(bench.place, list(sizes.values())))
        for name, size in sizes.items():
            file = load.write(bench.place / f"floor-{name}", [traffic.Request(f"/{size}", "192.0.2.1")])
            work[f"granian-{name}"] = asking(floor, file, bench.effort.seconds)
            work[f"nginx-{name}"] = asking(static, file, bench.effort.seconds)
        for case in CASES.values():
            file = bench.requests(case.name, case, bench.world)
            work[case.name] = asking(servers[case.long], file, bench.effort.seconds)
        found = bench.rounds(work, bench.effort.rounds)
        print_table(found)
        rates = {name: rate(floods) for name, floods in found.items()}
        report_cases(rates)
        half_load(bench, servers, floor, rates)
    return rates


def print_table(found: dict[str, list[Flood]]) -> None:
    """All that was measured under full load."""
    print(f"\n{'full load':<18}{'per CPU-second':>15}{'us':>8}{'p50 ms':>9}{'p99 ms':>9}{'bytes':>9}{'of a core':>11}")
    for name, floods in found.items():
        some = [median(getattr(flood, key) for flood in floods) for key in ("p50", "p99")]
        each = rate(floods)
        size = median(flood.bytes / flood.requests for flood in floods)
        busy = median(flood.cpu / flood.seconds for flood in floods)
        print(f"{name:<18}{each:>15,.0f}{1e6 / each:>8.1f}{some[0]:>9.2f}{some[1]:>9.2f}{size:>9,.0f}{busy:>10.0%}")
    print(flush=True)


def report_cases(rates: dict[str, float]) -> None:
    """The bars of speed: as measured, and as on a machine where the floor is FLOOR_RATE."""
    floor = rates["granian-30k"]
    scale = FLOOR_RATE / floor
    print(f"The floor is {floor:,.0f}: rates times {scale:.2f} are what a machine with a floor of {FLOOR_RATE:,} does")
    report.bar("metalink-30k-cost-over-floor", floor / rates["metalink-30k"], "times", "<=", 4)
    for name in ("metalink-30k", *FAST):
        wanted = METALINK_RATE if name == "metalink-30k" else OTHER_RATE
        report.bar(f"{name}-raw", rates[name], "requests/CPU-s", ">=", wanted)
        report.bar(f"{name}-normalised", rates[name] * scale, "requests/CPU-s", ">=", wanted)


def half_load(bench: Bench, servers: dict[bool, Server], floor: Server, rates: dict[str, float]) -> None:
    """Latency at half of what a core bears, counted from when each request was due: the median of several rounds.

    What else the machine does delays the floor as well: where its p99 is not far below 3 ms, the bars say nothing.
    What delayed the clients themselves is left out (load.clear).
    """
    ready_made = [traffic.Request(f"/{SMALL_BODY}", "192.0.2.1")]
    work = {"floor": (floor, ready_made, rates["mirrorlist"] / 2)}
    for name in ("metalink-30k", "metalink", "mirrorlist", "redirect", "path", "apt"):
        case = CASES[name]
        asked = traffic.requests(case, bench.world, bench.geo, 20_000, seed=3)
        work[name] = servers[case.long], asked, rates[name] / 2
    rounds = [
        {name: at_rate(*what, bench.effort.paced) for name, what in work.items()} for _ in range(bench.effort.rounds)
    ]
    for name, (_, _, pace) in work.items():
        found = [each[name] for each in rounds]
        some = ", ".join(
            f"p{share * 100:g} {' '.join(f'{load.percentile(samples, share):.2f}' for samples in found)}"
            for share in (0.5, 0.9, 0.99, 0.999)
        )
        print(f"{name} at {pace:,.0f} requests/s, by round: {some} ms")
        if name != "floor":
            value = median(load.percentile(samples, 0.99) for samples in found)
            report.bar(f"{name}-p99-at-half-load", value, "ms", "<", 3)


def at_rate(server: Server, asked: list[traffic.Request], pace: float, seconds: float) -> list[load.Sample]:
    """Latencies at a constant rate. RuntimeError where any request fails."""
    samples = load.paced(server.port, asked, pace, seconds)
    failed = sum(not 200 <= each.status < 400 for each in samples)
    if failed:
        raise RuntimeError(f"{failed} of {len(samples)} requests failed")
    return load.clear(samples)


def measure_clients(bench: Bench) -> None:
    """Clients that were never seen before, and known ones."""
    case = CASES["mirrorlist"]
    new = bench.requests("new", case, bench.world, NEW_CLIENTS)
    known = bench.requests("known", case, bench.world, NEW_CLIENTS, KNOWN_CLIENTS)
    with bench.redirector("clients", bench.world) as server:
        # The bar is near, and one pair differs from the next by a tenth.
        pairs = 3 * bench.effort.pairs
        found = bench.rounds({"new": asking(server, new, 1), "known": asking(server, known, 1)}, pairs)
    new_rate, known_rate = rate(found["new"]), rate(found["known"])
    print(f"new clients {new_rate:,.0f}, known clients {known_rate:,.0f} requests/CPU-s")
    report.bar("new-clients-over-known", ratio(found["new"], found["known"]), "times", ">=", 0.95)


def measure_growth(bench: Bench) -> None:
    """The same questions in a small and in a large world."""
    for name, sizes in GROWTH.items():
        with ExitStack() as stack:
            work = {}
            for label, size in zip(("small", "large"), sizes, strict=True):
                world = make_world(size)
                server = stack.enter_context(bench.redirector(f"{name}-{label}", world))
                for case in FLAT:
                    file = bench.requests(f"{name}-{label}-{case}", CASES[case], world)
                    work[f"{case}-{label}"] = asking(server, file, 1)
            # Each case small beside large: the ratio of neighbours in time.
            found = bench.rounds({key: work[key] for key in sorted(work)}, bench.effort.pairs)
        for case in FLAT:
            small, large = found[f"{case}-small"], found[f"{case}-large"]
            print(f"{case} {name}: {rate(small):,.0f} and {rate(large):,.0f} requests/CPU-s")
            report.bar(f"{case}-{name}", ratio(large, small), "times", ">=", 0.9)


def measure_memory(bench: Bench) -> None:
    """The file, loading it, and two workers that share what they can."""
    report.bar("cache-file", bench.world.cache.stat().st_size / 1e6, "MB", "<", 40)
    path = config.write(bench.place / "loading.toml", bench.world.cache, bench.geo)
    loads = [loading.measure(path) for _ in range(3)]
    print(f"loading took {median(each['cpu'] for each in loads):.2f} s of CPU")
    report.bar("load-and-index", median(each["seconds"] for each in loads), "s", "<", 1.5)
    with bench.redirector("memory", bench.world, workers=2) as server:
        idle = server.pss()
        for case in CASES.values():
            load.flood(server, bench.requests(case.name, case, bench.world), 2)
        print(f"PSS per worker before the first request: {idle:.0f} MB")
        report.bar("pss-per-worker", server.pss(), "MB", "<", 120)


PARTS: dict[str, Callable[[Bench], object]] = {
    "memory": measure_memory,
    "cases": measure_cases,
    "clients": measure_clients,
    "growth": measure_growth,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, to see that all works")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--in-process", action="store_true", help="only the WSGI application, without a server")
    parser.add_argument("--profile", choices=CASES, help="where the time of one kind of request goes")
    parser.add_argument("--plain", action="store_true", help="the redirector as it is without a compiler")
    chosen = parser.parse_args()
    if chosen.profile or chosen.in_process:
        compiled.begin_again(compiled.folder(chosen.plain))
    if chosen.profile:
        in_process.profile(CASES[chosen.profile], make_world(), make_geo())
    elif chosen.in_process:
        in_process.table(make_world(), make_geo())
    else:
        processes.take_load_core()
        with tempfile.TemporaryDirectory(prefix="mm-bench-") as place:
            bench = Bench(Path(place), QUICK if chosen.quick else FULL, chosen.plain)
            for name in chosen.part or PARTS:
                PARTS[name](bench)
        report.close()


if __name__ == "__main__":
    main()
