"""What crawls are measured with: masters of any size, mirrors that answer at once, and what a process used."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mm_crawler import engine
from mm_crawler.engine import Limits
from mm_crawler.fetch.base import Answer, Fetcher, Listed, Reached
from mm_crawler.master.diff import listing_digest
from mm_crawler.master.scanned import Files
from mm_crawler.report import FileVersion, HostReport, HostTask, ImportantFile, MasterDirectory
from tests.bench.processes import LOAD_CORE

REPOMD = b"<repomd>" + b"x" * 3000 + b"</repomd>"
SHA256 = hashlib.sha256(REPOMD).hexdigest()
LIMITS = Limits(1000, 2000, 2, 600, 600, 1 << 20, 86400)
LISTED = "-rw-r--r-- {:11} 2026/03/01 00:00:00 {}"
_PIECE = 1 << 17

Figures = dict[str, float]


def digest(names: Sequence[str], size: int) -> bytes:
    """What a scan of the master records of a directory whose files all have this size."""
    return listing_digest(Files(list(names), [str(size)] * len(names), ()))


def plain(id_: int, path: str, names: Sequence[str], size: int = 4) -> MasterDirectory:
    """A directory of packages, of which three are sampled."""
    sample = json.dumps([[name, size, 0] for name in names[:3]])
    return MasterDirectory(id_, path, True, id_, sample, (), digest(names, size), len(names))


def metadata(id_: int, path: str) -> MasterDirectory:
    """A directory with a repomd.xml."""
    version = FileVersion(id_, 1, len(REPOMD), SHA256, None)
    return MasterDirectory(id_, path, True, id_, "[]", (ImportantFile("repomd.xml", (version,)),))


class InstantMirror:
    """Answers at once, as a mirror in sync does; what rsync lists of it is given."""

    def __init__(self, lines: bytes) -> None:
        self.requests = 0
        self._lines = lines

    async def reach(self, _url: str) -> Reached:
        """It is there."""
        self.requests += 1
        return Reached(Answer(200, None))

    async def listing(self, _url: str, take: Callable[[bytes], None], _below: Sequence[str] | None) -> Listed:
        """Hand out the lines in pieces, as rsync's come; others have their turn in between."""
        self.requests += 1
        start = 0
        while start < len(self._lines):
            end = self._lines.find(b"\n", start + _PIECE) + 1 or len(self._lines)
            take(self._lines[start:end])
            start = end
            await asyncio.sleep(0)
        return Listed(whole=True)

    async def fetch(self, _url: str, paths: Sequence[str], _limit: int) -> Mapping[str, Answer]:
        """Every repomd.xml is the newest."""
        self.requests += 1
        await asyncio.sleep(0)
        return {path: Answer(200, len(REPOMD), SHA256) for path in paths}

    async def look(self, url: str) -> Answer:
        """Nobody should have to ask."""
        raise AssertionError(url)

    async def digest(self, url: str, _limit: int) -> Answer:
        """Nobody should have to ask."""
        raise AssertionError(url)

    async def page(self, url: str, _limit: int) -> Answer:
        """Nobody should have to ask."""
        raise AssertionError(url)


async def crawl(tasks: Sequence[HostTask], make_fetcher: Callable[[], Fetcher]) -> list[HostReport]:
    """Run the engine, without a database."""
    return [report async for report in engine.crawl(tasks, make_fetcher, LIMITS)]


@contextmanager
def used() -> Iterator[Figures]:
    """CPU seconds of this process in the block, its peak in MB, and by how much that is more than before."""
    os.sched_setaffinity(0, {LOAD_CORE})
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, cpu, start = _memory("VmRSS"), time.process_time(), time.monotonic()
    found: Figures = {}
    yield found
    found["cpu"], found["wall"] = time.process_time() - cpu, time.monotonic() - start
    found["peak"] = _memory("VmHWM")
    found["growth"] = found["peak"] - before


def _memory(name: str) -> float:
    status: dict[str, Any] = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) / 1024
