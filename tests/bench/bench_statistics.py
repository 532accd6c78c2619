"""What statistics cost: `make bench-statistics`. Parts by name: ingest, pages, replay; --lines for slower machines.

ingest   20 million lines of the reference's form (1.7 GB) through `mm-admin statistics ingest`, on all cores
pages    three years of requests, and months of propagation and health, in PostgreSQL; each page of the front end anew
replay   past requests through a world like Fedora's, as it is and as proposed
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from flask import Flask

from mm_frontend.app import create_app
from mm_frontend.public.views import forget_kept
from mm_frontend.wsgi import settle
from mm_lib.database import make_engine
from mm_lib.settings import DatabaseSettings, Settings
from mm_lib.statistics.lines import requests
from mm_redirector.index import build
from mm_redirector.replaying import HostChange, Question, Replay, changed
from mm_redirector.settings import BALANCED
from tests.bench import statistics_world
from tests.bench.report import bar, close
from tests.bench.statistics_world import ARCHES, COUNTRIES, PREFIXES
from tests.bench.world import world
from tests.postgres import Postgres

SEED = 8
FULL = 20_000_000
BLOCK = 200_000
SECONDS, MEGABYTES = 60.0, 500.0  # for FULL lines
MAIN_JOB = Path(sys.executable).parent / "mm-admin"


def lines(number: int, seed: int = SEED) -> Iterator[str]:
    """So many lines of one day, in blocks: clients by popularity, countries and repositories by Zipf's law."""
    draw = random.Random(seed)
    networks = [f"{draw.randint(1, 223)}.{draw.randrange(256)}.{draw.randrange(256)}" for _ in range(400_000)]
    networks += [f"2001:db8:{n:x}:" for n in range(40_000)]
    home = {network: draw.choices(COUNTRIES, [1 / (n + 1) for n in range(250)])[0] for network in networks}
    wanted = [1 / (n + 1) for n in range(len(PREFIXES))]
    for start in range(0, number, BLOCK):
        size = min(BLOCK, number - start)
        repositories = draw.choices(PREFIXES, wanted, k=size)
        arches = draw.choices(ARCHES, (80, 15, 2, 2, 1), k=size)
        clients = [networks[int(draw.random() ** 2 * len(networks))] for _ in range(size)]
        yield "".join(
            f"IP: {client}{':' if ':' in client else '.'}{n % 250}; DATE: 2026-11-29; COUNTRY: {home[client]}; "
            f"REPO: {repository}; ARCH: {arch}\n"
            for n, (client, repository, arch) in enumerate(zip(clients, repositories, arches, strict=True))
        )


def ingest(number: int) -> None:
    """One log, once, into SQLite."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, config = folder / "access.log", folder / "mm.toml"
        with log.open("w") as target:
            target.writelines(lines(number))
        config.write_text(f"[database]\nurl = 'sqlite:///{folder}/test.sqlite'\n")
        subprocess.run([MAIN_JOB, "--config", config, "db", "upgrade"], check=True, capture_output=True)
        start = time.perf_counter()
        running = subprocess.Popen([MAIN_JOB, "--config", config, "statistics", "ingest", "--json", log])
        most = 0
        cpu: dict[int, float] = {}
        while running.poll() is None:
            family = _family(running.pid)
            most = max(most, sum(map(_memory, family)))
            cpu |= {process: seconds for process in family if (seconds := _cpu(process))}
            time.sleep(0.2)
        spent = time.perf_counter() - start
        assert running.returncode == 0
        size = log.stat().st_size / 1e9
    scale = number / FULL
    print(f"bench: {number} lines, {size:.2f} GB, {sum(cpu.values()):.1f} s of CPU, {number / spent:.0f} lines/s")
    bar("statistics-ingest", spent, "s", "<", SECONDS * scale)
    bar("statistics-ingest-cpu", sum(cpu.values()) / 2, "s per core of two", "<", SECONDS * scale)
    bar("statistics-ingest-memory", most / 1e6, "MB", "<", MEGABYTES)


def _family(parent: int) -> list[int]:
    """A process and all below it."""
    found = [parent]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def _memory(process: int) -> int:
    """Proportional set size: what processes share counts once."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def _cpu(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


PAGES = [
    "/statistics",
    "/statistics/2026-11-20/countries",
    "/statistics/2026-11-20/repositories",
    "/statistics/2026-11-20/repositories?period=week",
    "/statistics/2026-11-20/repositories?period=month&compare=year",
    "/statistics/2025-11-20/repositories?period=year",
    "/statistics/2025-11-20/countries?period=year&compare=none",
    "/statistics/2023-12-15/repositories?until=2026-11-15",
    "/statistics/2024-02-02/countries?until=2026-10-30",
    "/statistics/2026-11-20/hosts?period=month",
    "/statistics/2023-12-15/repositories?until=2026-11-15&format=json",
    "/statistics/2026-11-20/repositories?format=csv",
    "/propagation/",
    "/propagation/?product=EPEL",
    "/propagation/?format=json",
    "/propagation/7",
    "/propagation/7?format=json",
    "/maps",
    "/maps?x=5000&y=1000&zoom=4",
    "/maps?format=json",
    "/map/mirrors_location.txt",
    "/statistics/health",
    "/statistics/health?format=json",
    "/statistics/load",
    "/statistics/load?by=countries",
    "/statistics/load?by=asns&since=2025-12-14",
]


def pages(rounds: int = 20) -> None:
    """Every page anew, as for the first reader after a minute without any."""
    server = Postgres()
    try:
        engine = make_engine(DatabaseSettings(url=server.url(server.create())))
        rows = statistics_world.fill(engine)
        app = create_app(
            Settings.model_validate({"frontend": {"secret_key": "0123456789abcdefghijklmnopqrstuvwxyz"}}), engine
        )
        settle()  # as mm-frontend does in each of its processes
        spent = {path: [_timed(app, path) for _ in range(rounds + 1)][1:] for path in PAGES}
        engine.dispose()
    finally:
        server.stop()
    print(f"bench: {rows} rows")
    slowest = {}
    for path, times in spent.items():
        clock, cpu = ([1000 * getattr(one, name) for one in times] for name in Spent._fields)
        slowest[path] = quantiles(clock, n=20, method="inclusive")[-1]
        figures = f"{slowest[path]:.0f} ms at p95, {median(clock):.0f} ms, {min(clock):.0f} ms at best"
        print(f"bench: {path} {figures}, {median(cpu):.0f} ms of CPU without the database's")
    every = [1000 * one.clock for times in spent.values() for one in times]
    bar("statistics-pages-p95", quantiles(every, n=20)[-1], "ms", "<", 100.0)
    bar("statistics-slowest-page-p95", max(slowest.values()), "ms", "<", 100.0)


class Spent(NamedTuple):
    """On a page, in seconds."""

    clock: float
    cpu: float  # of this process; the database's is not in it


def _timed(app: Flask, path: str) -> Spent:
    """As for the first reader, for whom nothing is kept yet."""
    forget_kept(app, 60)
    clock, cpu = time.perf_counter(), time.process_time()
    answer = app.test_client().get(path)
    spent = Spent(time.perf_counter() - clock, time.process_time() - cpu)
    assert answer.status_code == 200, path
    return spent


class Countries:
    """Countries as the log has them, and nothing else."""

    def country(self, _address: str) -> str:
        return ""

    def place(self, _address: str) -> tuple[float, float] | None:
        return None

    def asn(self, _address: str) -> None:
        return None


class Cities(Countries):
    """And a city of five thousand for every network."""

    def place(self, address: str) -> tuple[float, float]:
        number = hash(address.rpartition(".")[0]) % 5000
        return number % 140 - 60.0, number % 359 - 179.0


def replay(number: int = 200_000) -> None:
    """Lines of a log, both sides, to the last figure."""
    caches = [world(SEED, distinct_masks=2_000) for _ in range(2)]
    names = sorted(caches[0].repositories)
    draw = random.Random(SEED)
    changed(caches[1], {host.name: HostChange(removed=True) for host in draw.sample(caches[1].hosts, 20)})
    asked = draw.choices(names, [1 / (n + 1) for n in range(len(names))], k=number)
    countries = sorted({host.country for host in caches[0].hosts if host.country})
    clients = [(f"198.{n % 200}.{draw.randrange(256)}.{n % 250}", draw.choice(countries)) for n in range(number // 4)]
    log = "".join(
        "IP: {}; DATE: 2026-11-29; COUNTRY: {}; ".format(*draw.choice(clients)) + f"REPO: {prefix}; ARCH: {arch}\n"
        for prefix, arch in asked
    ).encode()
    sides = [(build(cache, BALANCED), BALANCED) for cache in caches]
    for name, geo in (("countries", Countries()), ("cities", Cities())):
        start = time.process_time()
        played = Replay(sides[0], sides[1], geo)
        played.add(
            (Question(one.asked.repository, one.asked.arch, ""), one.address, one.asked.country)
            for one in requests(log)
        )
        played.finish()
        spent = time.process_time() - start
        moved = sum(country.moved for country in played.countries.values())
        print(f"bench: {name}: {moved / number:.1%} moved, {np.count_nonzero(played.shares[0])} hosts")
        bar(f"statistics-replay-{name}", number / spent, "requests/CPU-s", ">=", 20_000.0)


def main() -> None:
    """Run the parts that were named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["ingest", "pages", "replay"])
    parser.add_argument("--lines", type=int, default=FULL, help="of the log; the bar is for 20 million")
    chosen = parser.parse_args()
    parts = {"ingest": lambda: ingest(chosen.lines), "pages": pages, "replay": replay}
    for part in chosen.parts:
        parts[part]()
    close()


if __name__ == "__main__":
    main()
