"""A value that many readers share: read once, kept for a while, and read again by one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Per process. While one thread reads anew, the others go on with what there is: no crowd asks the database."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._held: tuple[float, T] | None = None  # one reference, so that reading it needs no lock

    def get(self, read: Callable[[], T]) -> T:
        """The value, at most as old as it may be; a little older while another thread reads it."""
        held = self._held
        if held is not None and self._fresh(held):
            return held[1]
        if not self._lock.acquire(blocking=held is None or self._seconds <= 0):
            assert held is not None
            return held[1]
        try:
            if self._held is None or self._held is held or not self._fresh(self._held):
                started = self._clock()
                self._held = (started, read())
            return self._held[1]
        finally:
            self._lock.release()

    def _fresh(self, held: tuple[float, T]) -> bool:
        return self._clock() - held[0] < self._seconds
