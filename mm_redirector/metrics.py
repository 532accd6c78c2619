"""The numbers of all worker processes, in Prometheus' text format.

A request costs a few additions in memory. Once a second and at the end each worker writes its sums into a file of a
directory that all workers share; whichever of them is asked adds up the files. A file is a *slot*: its owner holds a
lock that the kernel releases when the owner dies, and the next worker takes the slot over and counts on from what it
finds there. So no counter goes backwards, and there are never more files than there were workers at the same time.
(prometheus_client's own multiprocess mode leaves files for each process that ever lived, needs an environment variable
before its import, and can add to a histogram only one observation at a time.)
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, count
from pathlib import Path
from threading import get_ident

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

BOUNDS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds
_WIDTH = len(BOUNDS) + 1  # the last bucket is for all that is slower
_EMPTY = (*(0 for _ in range(_WIDTH)), 0.0, 0)  # requests per bucket, seconds in all, bytes in all
INTERVAL = 1.0  # seconds between writes
LAST_WRITE = 5.0  # seconds that the end of the process waits for it

Labels = tuple[str, ...]
Series = dict[tuple[str, Labels], list[float]]  # (name, label values) -> numbers that add up


@dataclass(frozen=True, slots=True)
class Sources:
    """Where numbers come from that others keep. Called by the metrics' own thread, or by whoever asks for them."""

    index: Callable[[], tuple[int, int] | None] = lambda: None  # generation and time of the cache in use
    databases: Callable[[], Mapping[str, int]] = dict  # name -> when the GeoIP or ASN database was built
    reloads: Callable[[], Mapping[str, int]] = dict  # result -> how often
    dropped: Callable[[], int] = lambda: 0  # lines that the access log lost


@dataclass(slots=True)
class _Snapshot:
    """What one worker knows. Counters outlive it, gauges do not."""

    counters: Series = field(default_factory=dict)
    gauges: dict[tuple[str, str], float] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        counters = [[name, labels, numbers] for (name, labels), numbers in self.counters.items()]
        gauges = [[name, label, value] for (name, label), value in self.gauges.items()]
        return json.dumps({"counters": counters, "gauges": gauges}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> _Snapshot:
        read = json.loads(data)
        counters = {(name, tuple(labels)): numbers for name, labels, numbers in read["counters"]}
        return cls(counters, {(name, label): value for name, label, value in read["gauges"]})


def _add(total: Series, more: Series) -> None:
    for key, numbers in more.items():
        present = total.get(key)
        total[key] = list(numbers) if present is None else [a + b for a, b in zip(present, numbers, strict=True)]


class Metrics:
    """Counts in one worker, and tells for all of them. Without a directory it knows only its own numbers."""

    def __init__(self, sources: Sources, directory: Path | None = None) -> None:
        self._sources = sources
        self._directory = directory
        # A dictionary per thread, so that no two threads ever add to the same number: "+=" is not one step. Nothing
        # is ever reset, so a reader that comes in between misses one request for a moment and loses none.
        self._rows: dict[int, dict[Labels, list[float]]] = {}
        self._base: Series = {}  # what the earlier owners of the slot counted
        self._slot = ""
        self._lock: int | None = None
        self._started = time.time()
        self._flushing = threading.Lock()
        self._complained = False
        self._end = threading.Event()
        self._flusher: threading.Thread | None = None

    def observe(self, kind: str, result: str, tier: str, seconds: float, size: int) -> None:
        """Count one request. Each combination of the three names is a time series: they must not come from clients."""
        try:
            row = self._rows[get_ident()][kind, result, tier]
        except KeyError:
            row = self._rows.setdefault(get_ident(), {}).setdefault((kind, result, tier), list(_EMPTY))
        row[bisect_left(BOUNDS, seconds)] += 1
        row[-2] += seconds
        row[-1] += size

    def start(self) -> None:
        """Take a slot and write to it from now on. To be called in the worker: a fork takes no thread along."""
        if self._directory is None:
            return
        try:
            self._take_slot(self._directory)
        except OSError as error:
            logger.error("%s; /metrics will tell of one worker only", error)
            self._directory = None
            return
        self.flush()
        self._flusher = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._flusher.start()

    def close(self) -> None:
        """Write the last sums and leave the slot to the next worker."""
        if self._flusher is not None:
            self._end.set()
            self._flusher.join(LAST_WRITE)
            self._flusher = None
        if self._lock is not None:
            self.flush()
            os.close(self._lock)
            self._lock = None

    def flush(self) -> None:
        """Show the present sums to the other workers."""
        if self._lock is None or self._directory is None:
            return
        path = self._directory / f"{self._slot}.json"
        try:
            with self._flushing:  # the thread and a request for the numbers may meet
                draft = path.with_suffix(".new")
                draft.write_bytes(self._snapshot().to_bytes())
                draft.replace(path)
                self._complained = False
        except OSError as error:  # a full disk, say: the numbers stay in memory until the next time
            if not self._complained:
                self._complained = True
                logger.error("the metrics of this worker cannot be shown to the others: %s", error)

    def exposition(self) -> bytes:
        """The body of /metrics."""
        self.flush()
        registry = CollectorRegistry()
        registry.register(_Exposition(list(self._snapshots())))
        return generate_latest(registry)

    def _run(self) -> None:
        while not self._end.wait(INTERVAL):
            try:
                self.flush()
            except Exception:  # the thread must outlive whatever a source does
                logger.exception("collecting metrics failed")

    def _take_slot(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        for number in count():
            lock = _locked(directory / f"{number}.lock")
            if lock is not None:
                self._slot, self._lock = str(number), lock
                self._base = _read(directory / f"{number}.json").counters
                return

    def _snapshot(self) -> _Snapshot:
        own: Series = {}
        for rows in self._rows.copy().values():  # copy() is one step, a loop over what others add to would fail
            _add(own, {("requests", labels): row.copy() for labels, row in rows.copy().items()})
        sources = self._sources
        own |= {("reloads", (result,)): [number] for result, number in sources.reloads().items()}
        own[("dropped", ())] = [sources.dropped()]
        own[("cpu", ())] = [time.process_time()]
        _add(own, self._base)
        gauges = {("workers", ""): 1.0, ("start", ""): self._started, ("memory", ""): _resident_bytes()}
        if index := sources.index():
            gauges[("generation", "")], gauges[("generated", "")] = index
        gauges |= {("database", name): built for name, built in sources.databases().items()}
        return _Snapshot(own, gauges)

    def _snapshots(self) -> Iterator[_Snapshot]:
        """One per slot; without gauges where the worker is dead."""
        yield self._snapshot()
        if self._directory is None:
            return
        for path in self._directory.glob("*.json"):
            if path.stem != self._slot:
                snapshot = _read(path)
                # Never the own lock: closing any handle of a file gives up all of a process's locks on it.
                lock = _locked(path.with_suffix(".lock"))
                if lock is not None:
                    os.close(lock)
                    snapshot.gauges = {}
                yield snapshot


def _locked(path: Path) -> int | None:
    """A handle with the lock; None if another process has it. A child process does not inherit such a lock."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _read(path: Path) -> _Snapshot:
    try:
        return _Snapshot.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return _Snapshot()


def _resident_bytes() -> float:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0.0


class _Exposition(Collector):
    """Snapshots -> metric families."""

    def __init__(self, snapshots: Iterable[_Snapshot]) -> None:
        self._counters: Series = {}
        self._gauges: dict[tuple[str, str], list[float]] = defaultdict(list)
        for snapshot in snapshots:
            _add(self._counters, snapshot.counters)
            for key, value in snapshot.gauges.items():
                self._gauges[key].append(value)

    def describe(self) -> Iterable[Metric]:
        """Nothing: asked before there is anything to check names against."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._requests()
        yield from self._files()
        yield from self._processes()

    def _named(self, name: str) -> list[tuple[Labels, list[float]]]:
        return sorted((labels, numbers) for (kind, labels), numbers in self._counters.items() if kind == name)

    def _requests(self) -> Iterator[Metric]:
        labels = ("kind", "result", "tier")
        requests = CounterMetricFamily("mm_redirector_requests", "Requests that were answered.", labels=labels)
        sizes = CounterMetricFamily("mm_redirector_response_bytes", "Bytes of the answers' bodies.", labels=("kind",))
        times = HistogramMetricFamily("mm_redirector_request_seconds", "Time to make the answer.", labels=("kind",))
        kinds: dict[str, list[float]] = {}
        for names, row in self._named("requests"):
            requests.add_metric(names, sum(row[:_WIDTH]))
            present = kinds.setdefault(names[0], [0.0] * len(_EMPTY))
            kinds[names[0]] = [a + b for a, b in zip(present, row, strict=True)]
        bounds = [*(repr(bound) for bound in BOUNDS), "+Inf"]
        for kind, row in kinds.items():
            sizes.add_metric((kind,), row[-1])
            cumulative = accumulate(row[:_WIDTH])
            times.add_metric((kind,), list(zip(bounds, cumulative, strict=True)), sum_value=row[-2])
        return iter((requests, sizes, times))

    def _files(self) -> Iterator[Metric]:
        now = time.time()
        name = "mm_redirector_cache_generation"
        yield self._gauge(name, "Generation of the mirrorlist cache; of the oldest in any worker.", "generation", min)
        name = "mm_redirector_cache_generated_timestamp_seconds"
        yield self._gauge(name, "When that cache was generated.", "generated", min)
        age = GaugeMetricFamily("mm_redirector_cache_age_seconds", "Age of that cache.")
        if generated := self._gauges.get(("generated", "")):
            age.add_metric((), now - min(generated))
        yield age
        name = "mm_redirector_database_build_timestamp_seconds"
        built = GaugeMetricFamily(name, "When a GeoIP or ASN database was built.", labels=("database",))
        ages = GaugeMetricFamily("mm_redirector_database_age_seconds", "Age of that database.", labels=("database",))
        for (kind, database), values in sorted(self._gauges.items()):
            if kind == "database":
                built.add_metric((database,), min(values))
                ages.add_metric((database,), now - min(values))
        yield from (built, ages)
        reloads = CounterMetricFamily("mm_redirector_reloads", "Files that were loaded or refused.", labels=("result",))
        for labels, (number,) in self._named("reloads"):
            reloads.add_metric(labels, number)
        yield reloads

    def _processes(self) -> Iterator[Metric]:
        name = "mm_redirector_access_log_dropped_lines"
        yield self._counter(name, "Lines that the access log lost.", "dropped")
        yield self._gauge("mm_redirector_workers", "Worker processes that are alive.", "workers", sum)
        yield self._counter("process_cpu_seconds", "CPU time of all workers.", "cpu")
        yield self._gauge(
            "process_resident_memory_bytes", "Memory of all workers; shared pages count in each.", "memory", sum
        )
        yield self._gauge("process_start_time_seconds", "When the oldest worker started.", "start", min)
        info = InfoMetricFamily("mm_redirector_python", "What the workers run on.")
        compiled = (
            "no" if __file__.endswith(".py") else "yes"
        )  # an install without a compiler over one with it is silent
        values = {"implementation": platform.python_implementation(), "version": platform.python_version()}
        info.add_metric((), values | {"compiled": compiled})
        yield info

    def _gauge(self, name: str, text: str, key: str, combine: Callable[[list[float]], float]) -> Metric:
        values = self._gauges.get((key, ""))
        return GaugeMetricFamily(name, text, value=combine(values) if values else None)

    def _counter(self, name: str, text: str, key: str) -> Metric:
        return CounterMetricFamily(name, text, value=self._counters.get((key, ()), [0.0])[0])
