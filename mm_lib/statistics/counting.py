"""Portions of a log to counts, on as many cores as there are."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

from mm_lib.statistics.systems import Systems, opened
from mm_lib.statistics.tally import Counted, Salts, count

_chosen: list[tuple[Salts, frozenset[str], Systems | None]] = []  # of this process


class Counters:
    """Processes that count. They start with the first log that is worth it."""

    def __init__(
        self, salts: Salts, embargoed: frozenset[str], processes: int, asn_database: Path | None = None
    ) -> None:
        self._salts = salts
        self._embargoed = embargoed
        self._processes = processes
        self._systems = opened(asn_database)
        self._asn_database = asn_database if self._systems is not None else None
        self._pool: ProcessPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Counters:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def count(self, portions: Iterable[bytes]) -> Iterator[Counted]:
        """What each portion comes to; few of them are in memory at once. Raises BrokenProcessPool."""
        waiting = iter(portions)
        first = list(islice(waiting, 2))
        if len(first) < 2:
            yield from (count(portion, self._salts, self._embargoed, self._systems) for portion in first)
            return
        try:
            yield from self._together(chain(first, waiting))
        except BrokenProcessPool:
            self._pool = None  # the next log gets a new one
            raise

    def _together(self, portions: Iterable[bytes]) -> Iterator[Counted]:
        pool = self._started()
        busy: deque[Future[Counted]] = deque()
        for portion in portions:
            busy.append(pool.submit(_count, portion))
            if len(busy) > self._processes:
                yield busy.popleft().result()
        while busy:
            yield busy.popleft().result()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not by fork: connections to the database must not be shared.
            context = get_context("forkserver")
            context.set_forkserver_preload(["__main__", __name__])  # once, for all of them
            chosen = (self._salts, self._embargoed, self._asn_database)
            pool = ProcessPoolExecutor(self._processes, mp_context=context, initializer=_begin, initargs=chosen)
            self._pool = self._stack.enter_context(pool)
        return self._pool


def _begin(salts: Salts, embargoed: frozenset[str], asn_database: Path | None) -> None:
    _chosen.append((salts, embargoed, opened(asn_database)))
    # Millions of small objects live for a moment, none of them in a circle: looking for circles takes half of the time.
    gc.freeze()
    gc.disable()


def _count(portion: bytes) -> Counted:
    return count(portion, *_chosen[0])
