"""What many readers share: a value that is read once and kept for a while, and the pages that were made of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
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

    def fresh(self) -> T | None:
        """The value, when there is one that is not too old."""
        held = self._held
        return held[1] if held is not None and self._fresh(held) else None

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


class Pages:
    """Finished pages, as long as what they show is the same object; bounded, however many filters somebody tries."""

    def __init__(self, most: int = 16 << 20) -> None:
        self._most = most
        self._shown: object = None
        self._pages: dict[Hashable, str] = {}
        self._size = 0
        self._lock = Lock()

    def get(self, shown: object, key: Hashable, make: Callable[[], str]) -> str:
        """The page of this key, made when there is none."""
        with self._lock:
            if self._shown is not shown:
                self._shown, self._pages, self._size = shown, {}, 0
            page = self._pages.get(key)
        if page is None:
            page = make()
            with self._lock:
                if self._size + len(page) > self._most:
                    self._pages, self._size = {}, 0
                if self._shown is shown and key not in self._pages:
                    self._pages[key] = page
                    self._size += len(page)
        return page
