"""mm-redirector under granian: a main process that keeps workers alive, and one interpreter thread in each.

What was found out about granian 2.8 and matters here or to what reads its WSGI environment:

- REMOTE_ADDR is the bare address, without port. Repeated headers are joined with a comma, without a blank. Of a
  header's value with bytes beyond ASCII nothing arrives.
- A header spelt with underscores becomes the same variable as one with hyphens, and the later of the two wins: a client
  that sends `X_Forwarded_For` replaces what the proxies wrote. A proxy in front must drop such headers (nginx does).
- PATH_INFO is percent-decoded and not normalised; QUERY_STRING is raw. `<`, `>` and `"` in a query, and bytes that are
  not UTF-8, are answered by granian itself with an empty 400, a target beyond 64 kB with 414. A HEAD's body is dropped.
- Every variable of the process's environment is copied into the WSGI environment of every request.
- `backpressure` counts connections, idle ones too, and is 1024 by default: as many idle clients and nobody is answered.
- On Linux each worker opens a listening socket of its own: connections that wait for a worker that dies are lost, and
  without another worker new ones are refused. With one socket for all, as elsewhere, they wait for the next worker.
- SIGHUP to its main process replaces the workers. A worker that dies twice within 5.5 seconds ends the server, and two
  that die at the same time may leave one of them out. Its signal handlers set an Event, which blocks for ever if the
  signal comes while the same thread is inside of that Event. So the loop of the main process is ours.
- Workers outlive a main process that is killed: they would keep the port from the next one.
- SIGTERM lets a worker answer the requests that it has read; all other connections are closed at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketSpec  # type: ignore[attr-defined]
from granian.server import MPServer

from mm_lib.settings import Settings
from mm_redirector import lame_duck, wsgi
from mm_redirector.app import Application

KEEPALIVE = 75_000  # ms; longer than the reverse proxies in front keep theirs, or they would meet closed connections
BACKLOG = 2048  # connections that wait to be accepted
CONNECTIONS = 20_000  # open ones per worker
LOOK = 0.25  # seconds between looks for dead workers
MIN_LIFE = 1.0  # seconds from one start of a worker to the next, so that one that cannot start does not use up the CPU
KILL_AFTER = 20  # seconds that a worker has to end; less than systemd waits for all of it

# Its messages go where ours go, not to standard output in a format of their own.
_LOGGING: dict[str, Any] = {"incremental": True, "formatters": {}, "handlers": {}}
_LOGGING["loggers"] = {"_granian": {"propagate": True}, "granian.access": {"propagate": False}}


class Server(MPServer):
    """granian, with a loop of our own that passes signals on and starts dead workers again."""

    def __init__(self, **options: Any) -> None:
        super().__init__("mm_redirector.wsgi:application", **options)
        self._news: SimpleQueue[int] = SimpleQueue()  # put() is safe inside of a signal handler

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """A signal came."""
        self._news.put(number)

    signal_handler_interrupt = signal_handler_reload = hear

    def _init_shared_socket(self) -> None:
        """One listening socket for all workers: what granian does where there is no SO_REUSEPORT."""
        holder = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
        self._shd = holder  # type: ignore[assignment]
        self._ssp = None
        self._sso = self._listener = socket.socket(fileno=holder.get_fd())

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        number = None
        while number not in (signal.SIGTERM, signal.SIGINT):
            try:
                number = self._news.get(timeout=LOOK)
            except Empty:
                number = None
            if number in (signal.SIGHUP, signal.SIGUSR1):
                self._pass_on(number)
            self._replace_dead(spawn_target, target_loader)
        lame_duck.retire([self._listener])
        self.interrupt_children.clear()  # they were replaced: no reason for an exit code

    def _pass_on(self, number: int) -> None:
        for worker in self.wrks:
            if worker.inner.is_alive():
                os.kill(worker.inner.pid, number)

    def _replace_dead(self, spawn_target: Any, target_loader: Any) -> None:
        now = time.monotonic()
        dead = [worker.idx for worker in self.wrks if not worker.inner.is_alive() and now - worker.birth >= MIN_LIFE]
        if dead:
            self._respawn_workers(dead, spawn_target, target_loader)


def start(settings: Settings, metrics: Path) -> Application:
    """Called in each worker, after the fork."""
    application = wsgi.start(settings, metrics)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    return application


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        while True:  # until the handler, which is set after the application was built, hears it
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)


def serve(settings: Settings, address: str, metrics: Path) -> None:
    """Serve until a signal ends it."""
    chosen = settings.redirector
    server = Server(
        address=address,
        port=chosen.port,
        interface=Interfaces.WSGI,
        workers=chosen.workers,
        # The interpreter lock lets one thread run at a time; connections are kept by Rust, outside of it. With more
        # threads they only wait for each other.
        blocking_threads=1,
        runtime_mode=RuntimeModes.st,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=KEEPALIVE),
        backlog=BACKLOG,
        backpressure=CONNECTIONS,
        workers_kill_timeout=KILL_AFTER,
        log_level=LogLevels(settings.log.level.lower()),
        log_dictconfig=_LOGGING,
    )
    signal.signal(signal.SIGUSR1, server.hear)
    server.serve(target_loader=partial(start, settings, metrics), wrap_loader=False)
