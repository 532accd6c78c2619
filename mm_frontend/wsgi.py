"""The WSGI entry point `mm_frontend.wsgi:application`, and the command that serves it."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from gunicorn.app.base import BaseApplication
from werkzeug.middleware.proxy_fix import ProxyFix

from mm_frontend import metrics
from mm_frontend.app import create_app
from mm_lib import log
from mm_lib.cli.common import config_option
from mm_lib.settings import Settings, SettingsError, load, require_secret

COLLECTIONS = (20_000, 20, 100)  # objects that are new, and how many collections before the next generation's


def build(settings: Settings) -> Any:
    """The application behind as many proxies as are trusted: each one's word on the client counts, nobody else's."""
    app = create_app(settings)
    count = settings.frontend.trusted_proxies
    return ProxyFix(app, x_for=count, x_proto=count, x_host=count) if count else app


def __getattr__(name: str) -> Any:
    """`application` is made when a WSGI server asks for it, so that importing this module does nothing."""
    if name != "application":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = load()
    log.configure(settings.log)
    globals()[name] = build(settings)
    return globals()[name]


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, told by our settings instead of its own files and flags."""

    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self.settings = settings
        self.options = options
        super().__init__()

    def load_config(self) -> None:
        """Hand over the options."""
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called in each worker: connections must not be shared between processes."""
        log.configure(self.settings.log)
        application = build(self.settings)
        settle()
        return application


def settle() -> None:
    """What was loaded lives as long as the process: to look through it takes 0.2 s in the middle of somebody's page.

    What is kept between requests, too: it is looked through rarely, and what a request leaves behind often enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@click.option("--host", help="Address to listen on instead of frontend.host.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on instead of frontend.port.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes instead of frontend.workers.")
def main(config: Path | None, host: str | None, port: int | None, workers: int | None) -> None:
    """Serve the web pages.

    \b
    Example:
      mm-frontend --config /etc/mirrormanager/mirrormanager.toml
    """
    try:
        settings = load(config)
        require_secret(settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    frontend = settings.frontend
    address = host or frontend.host
    options = {
        "bind": f"{f'[{address}]' if ':' in address else address}:{port or frontend.port}",
        "workers": workers or frontend.workers,
        "worker_class": "gthread",
        "threads": 4,
        "proc_name": "mm-frontend",
    }
    if frontend.metrics_networks:
        options |= _shared_figures()
    Server(settings, options).run()


def _shared_figures() -> dict[str, Any]:
    """A directory in which the worker processes add up their figures for /metrics, and gunicorn's hook to end it."""
    place = tempfile.mkdtemp(prefix="mm-frontend-")
    os.environ[metrics.DIRECTORY] = place
    return {"on_exit": lambda _server: shutil.rmtree(place, ignore_errors=True)}
