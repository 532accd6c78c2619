"""mm-redirector under gunicorn: slower than granian, but plain Python."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from mm_lib.settings import Settings
from mm_redirector import lame_duck, wsgi
from mm_redirector.app import Application

THREADS = 4  # per worker, so that idle keep-alive connections do not keep others waiting
KEEPALIVE = 75  # seconds; longer than the reverse proxies in front keep theirs, or they would meet closed connections


class Main(Arbiter):  # type: ignore[misc]
    """gunicorn's main process. It passes SIGUSR1 on by itself, and starts dead workers again."""

    def handle_hup(self) -> None:
        """Let the workers read the cache again, instead of replacing them."""
        self.kill_workers(signal.SIGHUP)

    def stop(self, graceful: bool = True) -> None:
        """End the workers; on SIGTERM, after they have accepted every connection that waits."""
        if graceful:
            lame_duck.retire(listener.sock for listener in self.LISTENERS)
        super().stop(graceful)


class Log(Logger):  # type: ignore[misc]
    """gunicorn's messages go where ours go, in the same format."""

    def setup(self, cfg: Any) -> None:
        """Called once, in the main process."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, told by our settings instead of its own files and flags."""

    def __init__(self, settings: Settings, address: str, metrics: Path) -> None:
        self._settings = settings
        self._address = address
        self._metrics = metrics
        super().__init__()

    def load_config(self) -> None:
        """The settings, in gunicorn's words."""
        host = f"[{self._address}]" if ":" in self._address else self._address
        options = {
            "bind": [f"{host}:{self._settings.redirector.port}"],
            "workers": self._settings.redirector.workers,
            "worker_class": "gthread",
            "threads": THREADS,
            "keepalive": KEEPALIVE,
            "logger_class": Log,
            "control_socket_disable": True,  # nobody asked for a socket in the home directory
        }
        for name, value in options.items():
            if name in self.cfg.settings:  # not every release of gunicorn that we work with knows every option
                self.cfg.set(name, value)

    def load(self) -> Application:
        """Called in each worker, after the fork."""
        return wsgi.start(self._settings, self._metrics)

    def run(self) -> None:
        """Serve until a signal ends it."""
        Main(self).run()


def serve(settings: Settings, address: str, metrics: Path) -> None:
    """Serve until a signal ends it."""
    Server(settings, address, metrics).run()
