"""Locks that keep two programs, here or on another machine, from doing the same thing at once.

With PostgreSQL they are advisory locks of a session of their own: the server lets go of them when the process dies, and
a minute after its machine did. With SQLite, which has one machine, they are flocks on files beside the database.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from mm_lib.database import driver_url
from mm_lib.settings import DatabaseSettings

POLL_SECONDS = 0.5  # between tries while we wait
FOREVER = float("inf")

# Both ends notice within a minute that the other machine is gone.
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_SERVER_KEEPALIVE = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
_HOLDER = text(
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32) | objid::bigint = :key"
)
# A lock must not end because nothing was said for long; older servers do not have the setting.
_NEVER_IDLE = text("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")

logger = logging.getLogger(__name__)


class Busy(Exception):
    """Somebody else does the same; the message says who, and what to do."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"The {name} is running already ({holder}). Try later, or wait for its end with --wait.")


class Locks(Protocol):
    """Named locks that this process holds until it lets go of them or ends. Threads may share it."""

    def take(self, name: str) -> str:
        """Take a lock. Empty: it is ours now; else who has it."""

    def release(self, name: str) -> None:
        """Let go of a lock."""

    def close(self) -> None:
        """Let go of all."""


@contextmanager
def opened(settings: DatabaseSettings) -> Iterator[Locks]:
    """Locks among all programs that use this database."""
    url = make_url(driver_url(settings.url))
    postgresql = url.get_backend_name() == "postgresql"
    locks: Locks = _Advisory(settings.url) if postgresql else _Files(Path(f"{url.database}.locks"))
    try:
        yield locks
    finally:
        locks.close()


@contextmanager
def held(settings: DatabaseSettings, *names: str, wait: float = 0.0) -> Iterator[None]:
    """Hold locks while the block runs. Raises Busy when somebody has one for longer than we want to wait (seconds)."""
    until = time.monotonic() + wait
    with ExitStack() as stack:
        locks = stack.enter_context(opened(settings))
        for name in sorted(names):  # in one order, so that two who wait never wait for each other
            _take(locks, name, until)
        yield


def _take(locks: Locks, name: str, until: float) -> None:
    said = False
    while holder := locks.take(name):
        if time.monotonic() >= until:
            raise Busy(name, holder)
        if not said:
            logger.info("waiting for the end of the %s (%s)", name, holder)
            said = True
        time.sleep(min(POLL_SECONDS, max(0.0, until - time.monotonic())))


def me() -> str:
    """Who holds a lock, in the 63 bytes that PostgreSQL has room for."""
    host = socket.gethostname().split(".")[0][:20]
    return f"process {os.getpid()} on {host} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


def _key(name: str) -> int:
    """A lock's number: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


class _Advisory:
    """PostgreSQL's advisory locks, in one session."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(
            driver_url(url),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={**_KEEPALIVE, "options": _SERVER_KEEPALIVE},
        )
        self._connection: Connection | None = None
        self._held: set[str] = set()
        self._guard = threading.Lock()

    def take(self, name: str) -> str:
        """Take a lock. Empty: it is ours now; else who has it."""
        with self._guard:
            if name in self._held:  # the server would let one session have it twice
                return me()
            if self._query("SELECT pg_try_advisory_lock(:key)", key=_key(name)):
                self._held.add(name)
                # For the next one who asks; also seen in pg_stat_activity.
                self._query("SELECT set_config('application_name', :me, false)", me=me())
                return ""
            holder = self._query(_HOLDER.text, key=_key(name))
            return str(holder) if holder else "somebody who has just ended"

    def release(self, name: str) -> None:
        """Let go of a lock."""
        with self._guard:
            if name in self._held:
                self._query("SELECT pg_advisory_unlock(:key)", key=_key(name))
                self._held.discard(name)

    def close(self) -> None:
        """Let go of all."""
        with self._guard:
            self._held.clear()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _query(self, statement: str, **values: Any) -> Any:
        """The one value of the answer; once more on a new connection when the server has closed the old one."""
        try:
            return self._connect().execute(text(statement), values).scalar()
        except OperationalError:
            if self._connection is None:
                raise
            lost, self._connection = sorted(self._held), None
            self._held.clear()
            if lost:
                logger.warning("the database closed the connection that held these locks: %s", ", ".join(lost))
            return self._connect().execute(text(statement), values).scalar()

    def _connect(self) -> Connection:
        if self._connection is None:
            connection = self._engine.connect()
            connection.execute(_NEVER_IDLE)
            self._connection = connection
        return self._connection


class _Files:
    """flock on a file per lock; it says who has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        self._guard = threading.Lock()

    def take(self, name: str) -> str:
        """Take a lock. Empty: it is ours now; else who has it."""
        self._folder.mkdir(mode=0o770, exist_ok=True)
        path = self._folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', name)[:80]}-{_key(name) & 0xFFFFFFFF:08x}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o660)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace")
            os.close(handle)
            return holder or "a process that has just started"
        os.ftruncate(handle, 0)
        os.write(handle, me().encode())
        with self._guard:
            self._held[name] = handle
        return ""

    def release(self, name: str) -> None:
        """Let go of a lock."""
        with self._guard:
            handle = self._held.pop(name, None)
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Let go of all."""
        for name in list(self._held):
            self.release(name)
