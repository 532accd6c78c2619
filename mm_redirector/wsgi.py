"""Settings -> store, geo, access log, metrics -> `application`, and what one worker process needs around it.

`mm_redirector.wsgi:application` is for any WSGI server; server.py is our own command. Nothing happens on import: the
application is built when the name is first used, which is after a server has started its worker process, so that
threads live where they serve.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mm_lib import log
from mm_lib.settings import Settings, load
from mm_redirector.access_log import AccessLog, ignore
from mm_redirector.app import Application
from mm_redirector.geo import GeoData
from mm_redirector.index import Index
from mm_redirector.metrics import Metrics, Sources
from mm_redirector.settings import policy
from mm_redirector.store import Store

if TYPE_CHECKING:
    application: Application


@dataclass(frozen=True, slots=True)
class Worker:
    """What runs in one process."""

    application: Application
    store: Store
    metrics: Metrics
    access_log: AccessLog | None

    def start(self) -> None:
        """Start the threads that work in the background, and read the cache."""
        if self.access_log:
            self.access_log.start()
        self.store.start()
        self.metrics.start()

    def reopen_soon(self) -> None:
        """Open the access log anew, if there is one."""
        if self.access_log:
            self.access_log.reopen_soon()

    def close(self) -> None:
        """Bring what was remembered to where it belongs. After the last answer."""
        if self.access_log:
            self.access_log.close()
        self.metrics.close()


def __getattr__(name: str) -> Application:
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = load()
    log.configure(settings.log)
    globals()[name] = built = start(settings, runtime_directory())
    return built


def runtime_directory() -> Path | None:
    """Where systemd lets a service keep files for as long as it runs; the workers meet there to add up metrics."""
    first = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(first) / "metrics" if first else None


def start(settings: Settings, metrics_directory: Path | None) -> Application:
    """Build, listen to signals, and see to it that the end of the process loses nothing."""
    worker = build(settings, metrics_directory)
    # Before the cache is read: a hang-up meanwhile must not go unheard.
    on_signals({signal.SIGHUP: worker.store.reload_soon, signal.SIGUSR1: worker.reopen_soon})
    worker.start()
    # Not atexit: granian's workers are children of multiprocessing, which ends them without it.
    Finalize(None, worker.close, exitpriority=1)
    return worker.application


def build(settings: Settings, metrics_directory: Path | None = None) -> Worker:
    """Everything, not started yet."""
    chosen = settings.redirector
    geo = GeoData(settings.geo)
    store = Store(settings.cache.file, chosen.reload_interval, policy(chosen), [geo.refresh])
    access_log = None
    if chosen.access_log:
        access_log = AccessLog(chosen.access_log, chosen.access_log_format, networks=chosen.log_networks)
    metrics = Metrics(_sources(store, geo, access_log), metrics_directory)
    application = Application(
        store.current,
        geo,
        policy(chosen),
        log=access_log.write if access_log else ignore,
        log_all=bool(access_log) and chosen.access_log_format == "json",
        observe=metrics.observe,
        exposition=metrics.exposition,
    )
    return Worker(application, store, metrics, access_log)


def _sources(store: Store, geo: GeoData, access_log: AccessLog | None) -> Sources:
    def index() -> tuple[int, int] | None:
        current = store.current()
        return (current.generation, current.generated_at) if isinstance(current, Index) else None

    dropped = (lambda: access_log.dropped) if access_log else int
    return Sources(index=index, databases=geo.built, reloads=lambda: store.reloads, dropped=dropped)


def on_signals(actions: Mapping[signal.Signals, Callable[[], None]]) -> None:
    """Do these as well when the signals come, unless this process ignores them or another thread builds it.

    Python's handlers run in the main thread only, but the kernel may give the second of two signals, or any that the
    main thread blocks, to another thread. Under granian the main thread then sleeps on, and the signal is late for
    ever. So a thread acts on what the interpreter writes to its wake-up pipe, whichever thread was interrupted. The
    main thread leaves these signals to others: SIGTERM is always the first one that it gets.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in actions:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _heard)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    next_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, actions)

    def act() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, actions)
        while numbers := os.read(reader, 1024):
            for number in numbers:
                if number in actions:
                    actions[signal.Signals(number)]()
            if next_writer >= 0:  # gunicorn waits for this
                with suppress(BlockingIOError):
                    os.write(next_writer, numbers)

    threading.Thread(target=act, name="signals", daemon=True).start()


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Without a handler the process would end."""
