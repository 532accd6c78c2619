"""Replaces the files of a redirector while it is asked: python -m tests.bench.replacing CACHE ASN COUNTRIES LOG.

It does so once for every line that it reads, and then prints when, in seconds of time.perf_counter, which is the same
clock in every process: when it began to write, when the new files lay there, and when they were in use.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mm_lib.cache import file
from tests.bench.data import ROOT, with_generation

FIRST = 7_000_001  # generation; a number that nothing else in a log has
PREPARED = 8  # versions that are kept ready and published in turn: so many reloads later nobody knows the old one
_PATIENCE = 20.0  # seconds
SETTLE = 0.5  # seconds after the cache: GeoIP files are opened later, and the old index is thrown away


class Replacement(NamedTuple):
    """When something was replaced."""

    begun: float
    published: float
    used: float  # 0: never


class Replacer:
    """The process that replaces, seen from the one that asks."""

    def __init__(self, cache: Path, geo_files: Iterable[Path], log: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.replacing", *map(str, (cache, *geo_files, log))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._read()  # it is ready

    def replace(self) -> None:
        """Replace all files; does not wait."""
        assert self._process.stdin
        self._process.stdin.write("again\n")
        self._process.stdin.flush()

    def end(self) -> list[Replacement]:
        """All that was done."""
        output, _ = self._process.communicate(timeout=120)
        if self._process.returncode:
            raise RuntimeError("the process that replaces files failed")
        return [Replacement(*json.loads(line)) for line in output.splitlines()]

    def stop(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that replaces files did not start")
        return line


def main() -> None:
    cache, *geo_files, log = map(Path, sys.argv[1:])
    versions = [with_generation(cache, FIRST + number) for number in range(PREPARED)]
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin):
        seen = log.stat().st_size
        begun = time.perf_counter()
        file.publish(cache, versions[number % PREPARED])
        for path in geo_files:
            fresh = path.with_name(path.name + ".fresh")
            shutil.copyfile(path, fresh)
            fresh.replace(path)
        published = time.perf_counter()
        used = _wait(log, seen, f"generation {FIRST + number % PREPARED}")
        print(json.dumps([begun, published, used]), flush=True)


def _wait(log: Path, seen: int, words: str) -> float:
    """When the log said it."""
    end = time.perf_counter() + _PATIENCE
    while (now := time.perf_counter()) < end:
        with log.open() as stream:
            stream.seek(seen)
            if words in stream.read():
                return now
        time.sleep(0.02)
    return 0.0


if __name__ == "__main__":
    main()
