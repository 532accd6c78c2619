"""Settings -> store, geo, access log -> `application`; and `mm-redirector`, which serves it with gunicorn.

`mm_redirector.wsgi:application` is for any WSGI server. Nothing happens on import: the application is built when
the name is first used, which is after a server has started its worker process, so that threads live where they serve.
"""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_lib import log
from mm_lib.settings import Settings, SettingsError, load
from mm_redirector.access_log import AccessLog, ignore
from mm_redirector.app import Application
from mm_redirector.geo import GeoData
from mm_redirector.settings import policy
from mm_redirector.store import Store

if TYPE_CHECKING:
    import click

    application: Application

THREADS = 4  # per worker, so that idle keep-alive connections do not keep others waiting
KEEPALIVE = 75  # seconds; longer than the reverse proxies in front keep theirs, or they would meet closed connections

logger = logging.getLogger(__name__)


def __getattr__(name: str) -> Application:
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = load()
    log.configure(settings.log)
    globals()[name] = built = build(settings)
    return built


def build(settings: Settings) -> Application:
    """The application with everything it needs, its background thread started."""
    chosen = settings.redirector
    geo = GeoData(settings.geo)
    access_log = AccessLog(chosen.access_log) if chosen.access_log else None
    watchers = [geo.refresh, *([access_log.refresh] if access_log else [])]
    store = Store(settings.cache.file, chosen.reload_interval, policy(chosen), watchers)
    store.start()
    reload_on_hangup(store)
    return Application(store.current, geo, policy(chosen), log=access_log.write if access_log else ignore)


def reload_on_hangup(store: Store) -> None:
    """Let SIGHUP read the cache again, where this process may choose and has no other use for the signal."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda _number, _frame: store.reload_soon())


def main() -> None:
    """Entry point of mm-redirector."""
    _command()()


def _command() -> click.Command:
    """The command line; click is loaded here, so that a redirector in another WSGI server does without it."""
    import click

    @click.command(help=HELP)
    @click.option("--config", type=click.Path(path_type=Path), help="The configuration file [default: $MM_CONFIG].")
    @click.option("--host", help="Listen on this address instead of redirector.host.")
    @click.option("--port", type=click.IntRange(1, 65535), help="Listen on this port instead of redirector.port.")
    @click.option("--workers", type=click.IntRange(1), help="Run this many processes instead of redirector.workers.")
    def command(config: Path | None, **overrides: Any) -> None:
        try:
            settings = load(config)
        except SettingsError as error:
            click.echo(f"Error: {error}", err=True)
            raise SystemExit(2) from None
        changes = {name: value for name, value in overrides.items() if value is not None}
        redirector = settings.redirector.model_copy(update=changes)
        serve(settings.model_copy(update={"redirector": redirector}))

    return command


HELP = """Answer /mirrorlist and /metalink from the published mirrorlist cache.

A missing cache file is waited for: until it comes, requests are answered with 503. A new one is noticed by itself,
and at once on SIGHUP.

Example: mm-redirector --config /etc/mirrormanager/mirrormanager.toml --workers 4
"""


def serve(settings: Settings) -> None:
    """Serve until a signal ends it."""
    from gunicorn.app.base import BaseApplication

    log.configure(settings.log)
    chosen = settings.redirector
    host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    options = {
        "bind": [f"{host}:{chosen.port}"],
        "workers": chosen.workers,
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": KEEPALIVE,
        "control_socket_disable": True,  # nobody asked for a socket in the home directory
    }

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in options.items():
                if name in self.cfg.settings:  # not every release of gunicorn that we work with knows every option
                    self.cfg.set(name, value)

        def load(self) -> Application:
            """Called in each worker, after the fork."""
            return build(settings)

    Server().run()
