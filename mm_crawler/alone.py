"""Keeps a crawl out of the way of others: no host is asked twice at once, and whoever runs a crawl can end it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy.exc import SQLAlchemyError

from mm_crawler.report import HostTask
from mm_lib import locks
from mm_lib.locks import Locks
from mm_lib.settings import DatabaseSettings

logger = logging.getLogger(__name__)


class Alone:
    """A lock per host while it is asked, among all programs that use this database."""

    def __init__(self, held: Locks) -> None:
        self._locks = held
        self.busy: list[str] = []  # hosts that another program was asking

    @asynccontextmanager
    async def guard(self, task: HostTask) -> AsyncIterator[str]:
        """Says who asks the host already; empty: nobody, and it is ours while the block runs."""
        lock = f"crawl of host {task.host_id}"
        try:
            holder = await asyncio.to_thread(self._locks.take, lock)
        except SQLAlchemyError as error:  # one host is left out; the others must not be
            holder = f"the database does not tell: {error}"
        if holder:
            self.busy.append(task.name)
            yield f"it is being crawled already ({holder})"
            return
        try:
            yield ""
        finally:
            try:
                await asyncio.to_thread(self._locks.release, lock)
            except SQLAlchemyError:  # it goes with the connection
                logger.exception("the lock of %s could not be given back", task.name)


@contextmanager
def alone(settings: DatabaseSettings) -> Iterator[Alone]:
    """Locks for one crawl; what is left of them goes with the block."""
    with locks.opened(settings) as held:
        yield Alone(held)


class Stop:
    """Ends a crawl that runs in another thread; what was found until then is kept."""

    def __init__(self) -> None:
        self.wanted = False
        self._cancel: Callable[[], object] | None = None
        self._guard = threading.Lock()

    @contextmanager
    def listening(self, cancel: Callable[[], object]) -> Iterator[None]:
        """While the block runs, this is what ends the crawl; at once when that is wanted already."""
        with self._guard:
            self._cancel = cancel
            if self.wanted:
                cancel()
        try:
            yield
        finally:
            with self._guard:
                self._cancel = None

    def now(self) -> None:
        """End the crawl."""
        with self._guard:
            self.wanted = True
            if self._cancel is not None:
                self._cancel()
