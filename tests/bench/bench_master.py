"""What it costs to scan a master as large as Fedora's: `make bench-master`.

Each scan runs in a fresh process: 150,000 directories and 12 million rows of a fullfiletimelist, into each database,
and again without a change. Then a tree of 100,000 directories is walked, and the calls that touch it are counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_crawler.master import scan as scan_module
from mm_crawler.master import walk
from mm_crawler.master.diff import compare
from mm_crawler.master.scan import Options, scan_category
from mm_crawler.master.scanned import Excludes, Remembered
from mm_lib.cli.common import Program
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.content import Arch, Category, Product
from mm_lib.services import schema
from mm_lib.services.rules import load_rules
from mm_lib.settings import DatabaseSettings, Settings
from tests.bench.bench_publish import postgres
from tests.bench.data import make_master
from tests.bench.master_list import ARCHES
from tests.bench.report import bar, close

NAME = "Fedora Linux"
WALKED = 100_000
CHANGED = 50
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def prepare(url: str, master: Path) -> None:
    """The schema, the category, its rules and arches."""
    engine = make_engine(DatabaseSettings(url=url))
    schema.upgrade(engine)
    source = {
        "type": "fullfiletimelist",
        "path": str(master / "fullfiletimelist-bench"),
        "prefix": "linux",
        "content": str(master / "linux"),
    }
    rules = resources.files("mm_lib.data").joinpath("rules/fedora.toml").read_text(encoding="utf-8")
    with make_sessions(engine)() as session, transaction(session):
        for name in (NAME, "Fedora EPEL"):  # the shipped rules are for both
            product = Product(name=f"Product of {name}")
            session.add(
                Category(name=name, topdir="pub/fedora/linux", product=product, source=source, updated_at=LONG_AGO)
            )
        session.add_all(Arch(name=name) for name in (*ARCHES, "source"))
        session.flush()
        load_rules(session, rules)
    engine.dispose()


def scan_once(url: str, hours: float) -> None:
    """Print what one scan costs; runs alone in its process."""
    program = Program(None)
    program.settings = Settings(database=DatabaseSettings(url=url))
    stored = _time_record()
    start = time.process_time()
    outcome = scan_category(program, NAME, Options(), datetime.now(UTC) + timedelta(hours=hours), lambda _: None)
    cpu = time.process_time() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    figures = {"cpu": cpu, "memory": int(status["VmHWM"].split()[0]) / 1024, "store": stored[0]}
    print(json.dumps({"figures": figures, "counts": outcome.counts}))


def _time_record() -> list[float]:
    taken = [0.0]
    record = scan_module.record

    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.monotonic()
        try:
            return record(*arguments, **options)
        finally:
            taken[0] = time.monotonic() - start

    scan_module.record = timed
    return taken


def measure(database: str, url: str, master: Path) -> None:
    """Scan twice and print the figures."""
    prepare(url, master)
    for run, bars in (("first", {"cpu": 60, "memory": 300, "store": 60}), ("second", {"cpu": 30, "memory": 300})):
        command = [sys.executable, __file__, url, "0" if run == "first" else "1"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result = json.loads(output)
        print(f"{database}, {run}:", ", ".join(f"{value:,} {key}" for key, value in result["counts"].items() if value))
        for name, limit in bars.items():
            bar(
                f"master-{database}-{run}-{name}",
                result["figures"][name],
                "MB" if name == "memory" else "s",
                "<",
                limit,
            )
        if run == "second":
            counts = result["counts"]
            written = sum(
                value for key, value in counts.items() if key not in ("directories", "unmatched", "unreadable")
            )
            bar(f"master-{database}-second-written", written, "rows", "=", 0)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often a walk lists a directory or looks at something."""
    calls: Counter[str] = Counter()
    originals = {name: getattr(os, name) for name in ("scandir", "stat")}

    def count(name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[name] += 1
            return originals[name](*arguments, **options)

        return call

    for name in originals:
        setattr(walk.os, name, count(name))
    try:
        yield calls
    finally:
        for name, original in originals.items():
            setattr(walk.os, name, original)


def measure_walk(folder: Path) -> None:
    """Walk a tree, then again after a few of its directories changed."""
    top = folder / "tree"
    for number in range(WALKED - 101):
        (top / f"{number % 100}" / f"{number}").mkdir(parents=True)
    tree = walk.DirectoryTree(top, Excludes(()))
    seen = compare(tree.directories({}), {}, Excludes(()), 0).new
    children: dict[str, list[str]] = {}
    for state in seen:
        if state.path:
            children.setdefault(state.path.rpartition("/")[0], []).append(state.path.rpartition("/")[2])
    memory = {state.path: Remembered(state.mtime, tuple(children.get(state.path, ())), {}) for state in seen}
    for state in seen[-CHANGED:]:
        os.utime(top / state.path, (1, 1))
    with counted() as calls:
        start = time.process_time()
        walked = sum(1 for _ in tree.directories(memory))
        cpu = time.process_time() - start
    print(f"walk: {walked:,} directories, {CHANGED} of them changed")
    # The top is opened once more, to tell an empty master from one that is not there.
    bar("master-walk-scandir", calls["scandir"], "calls", "<=", CHANGED + 1)
    bar("master-walk-stat", calls["stat"], "calls", "<=", walked)
    bar("master-walk-cpu", cpu, "s", "<", 10)


def main() -> None:
    """Print the figures of every database, and of a walk."""
    master = make_master()
    with tempfile.TemporaryDirectory() as name, postgres() as server:
        measure("sqlite", f"sqlite:///{Path(name) / 'bench'}.sqlite", master)
        if server:
            measure("postgresql", server.url(server.create()), master)
        measure_walk(Path(name))
    close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        scan_once(sys.argv[1], float(sys.argv[2]))
    else:
        main()
