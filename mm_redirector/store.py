"""The current index, kept current in the background.

A thread looks for a new cache file by its stamp; it reads, checks and prepares the file aside and then swaps one
reference, so that no request waits or sees a half. A file that cannot be used changes nothing.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable
from errno import ENOENT
from pathlib import Path
from queue import Empty, SimpleQueue

from mm_lib.cache import codec, file
from mm_lib.cache.table import Pause, unhurried
from mm_redirector import index
from mm_redirector.index import Index
from mm_redirector.query import Reason, Refusal
from mm_redirector.settings import Policy

logger = logging.getLogger(__name__)

# The last ones: what preparing a cache can raise whose checksum is right but whose values are not.
_UNUSABLE = (OSError, codec.CacheError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


WORK, REST = 0.001, 0.003  # seconds; at half of the load that a core bears, more work would make requests queue up


class Pauses:
    """Lets requests have the interpreter while a cache is prepared.

    A thread that works on keeps the others waiting for the interpreter's switch interval, 5 ms, again and again: at
    a few thousand requests per second they would queue up. One that sleeps lets them in at once.
    """

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self) -> None:
        """Rest if it is time to."""
        if time.perf_counter() - self._since > WORK:
            time.sleep(REST)
            self._since = time.perf_counter()


class Store:
    """Holds the index of the published cache file."""

    def __init__(
        self, path: Path, interval: float, policy: Policy, watchers: Iterable[Callable[[], None]] = ()
    ) -> None:
        self._path = path
        self._policy = policy
        self._interval = interval
        self._watchers = tuple(watchers)  # others who look for replaced files in the same rhythm
        self._current: Index | Refusal = Refusal(Reason.NOT_READY, "no mirrorlist cache was read yet")
        self.reloads = {"taken": 0, "refused": 0}
        self._seen: file.Stamp | None = None
        self._complained_about: tuple[file.Stamp | None, str] | None = None
        # A queue, not an Event: put() is safe inside of a signal handler that interrupts another put().
        self._wishes: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def current(self) -> Index | Refusal:
        """The index to answer from, or why there is none."""
        return self._current

    def start(self) -> None:
        """Read the file now, fall back to the previous one if need be, and keep looking in the background."""
        self.poll()
        if isinstance(self._current, Refusal):
            self._fall_back()
        self._thread = threading.Thread(target=self._watch, name="cache-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread."""
        self._wishes.put(False)
        if self._thread is not None:
            self._thread.join()

    def reload_soon(self) -> None:
        """Read the file again even if its stamp is known; returns at once and may be called from a signal handler."""
        self._wishes.put(True)

    def poll(self, again: bool = False) -> None:
        """Look for a new file, and take it if it is good."""
        try:
            seen = file.stamp(self._path)
            if seen is None:
                raise FileNotFoundError(ENOENT, "it does not exist; `mm-admin cache build` writes it", str(self._path))
            if again or seen != self._seen:
                # At the first time nobody is served yet, so nobody waits for the interpreter.
                pause = Pauses() if isinstance(self._current, Index) else unhurried
                data = file.read(self._path, pause)  # a failure here may pass: it is tried again at the next look
                self._seen = seen
                prepared = self._prepare(data, pause)
                self._replace(prepared, pause)
                self._complained_about = None
                self.reloads["taken"] += 1
                _announce(prepared, self._path)
        except _UNUSABLE as error:
            self._complain(error)

    def _prepare(self, data: bytes, pause: Pause) -> Index:
        """The index of a file's content, made behind the backs of requests."""
        # The collector would look at every object of the new index at once, and find nothing. They are frozen: it
        # will not look at them later either. The old index has no cycles and ends when its last request does.
        gc.disable()
        try:
            prepared = index.build(codec.decode(data, pause), self._policy, pause)
            gc.freeze()
        finally:
            gc.enable()
        return prepared

    def _replace(self, prepared: Index, pause: Pause) -> None:
        """Serve from it; the old one goes piece by piece, for to free it at once keeps requests waiting."""
        old, self._current = self._current, prepared
        if isinstance(old, Index):
            pieces = index.let_go(old, pause)
            del old  # from here on its pieces live for the sake of the list, and of open requests
            while pieces:
                pause()
                del pieces[-index.AT_ONCE :]

    def _complain(self, error: Exception) -> None:
        """Once per file and reason, not at every look."""
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if (self._seen, reason) == self._complained_about:
            return
        self._complained_about = (self._seen, reason)
        self.reloads["refused"] += 1
        if isinstance(self._current, Index):
            logger.error("the mirrorlist cache %s is refused, the one in memory stays: %s", self._path, reason)
        else:
            self._current = Refusal(Reason.NOT_READY, f"there is no usable mirrorlist cache: {reason}")
            logger.error("the mirrorlist cache %s is refused, and there is no other: %s", self._path, reason)

    def _fall_back(self) -> None:
        spare = file.previous(self._path)
        try:
            self._current = index.build(codec.decode(file.read(spare)), self._policy)
        except _UNUSABLE as error:
            logger.info("nor can the version before it be used: %s", error)
        else:
            logger.warning("serving the version before it, generation %d of %s", self._current.generation, spare)

    def _watch(self) -> None:
        while True:
            try:
                wish = self._wishes.get(timeout=self._interval)
            except Empty:
                wish = None
            if wish is False:
                return
            try:
                self.poll(again=wish is True)
                for look in self._watchers:
                    look()
            except Exception:  # the thread must outlive whatever it meets: without it nothing is ever new again
                logger.exception("looking for new files failed")


def _announce(current: Index, path: Path) -> None:
    logger.info("serving generation %d of %s", current.generation, path)
    unreadable = [*current.netblocks.unreadable, *current.netblock_countries.unreadable]
    if unreadable:
        logger.warning("%d of its netblocks are no networks and are ignored: %s", len(unreadable), unreadable[:10])
