"""Five mirrors on loopback ports, each with its own way of being a mirror."""

from __future__ import annotations

import shutil
import threading
import time
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from utils.demo import master_tree

SLOW_SECONDS = 0.25


class Mirror(NamedTuple):
    """What kind of mirror it is, and what is registered for it."""

    name: str
    kind: str
    country: str
    bandwidth: int  # Mbit/s
    what: str


MIRRORS = (
    Mirror("mirror.berlin.example", "in-sync", "DE", 10_000, "in sync"),
    Mirror("mirror.boston.example", "stale", "US", 1_000, "one day stale: lacks the newest updates"),
    Mirror("mirror.tokyo.example", "partial", "JP", 1_000, "partly synced: no updates, no aarch64"),
    Mirror("mirror.recife.example", "broken", "BR", 500, "broken: every answer is 503"),
    Mirror("mirror.lyon.example", "slow", "FR", 100, "in sync, but each answer takes a while"),
)


def build_trees(root: Path) -> Path:
    """The master at day 1 and the mirrors' copies below root; returns the master's folder."""
    master = root / "master"
    master_tree.build(master, day=0)
    _copy(master, root / "stale")
    master_tree.build(master, day=1)
    _copy(master, root / "in-sync")
    _copy(master, root / "partial")
    shutil.rmtree(root / "partial/pub/fedora/linux/updates")
    for folder in sorted((root / "partial").rglob("aarch64")):
        shutil.rmtree(folder, ignore_errors=True)
    return master


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder over HTTP/1.1, slowly or never where the mirror is like that."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, kind: str, **options: Any) -> None:
        self.kind = kind
        super().__init__(*args, **options)

    def send_head(self) -> Any:
        """The file, unless this mirror is broken."""
        if self.kind == "broken":
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
            return None
        if self.kind == "slow":
            time.sleep(SLOW_SECONDS)
        return super().send_head()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the crawler reports."""


def serve(root: Path) -> dict[str, ThreadingHTTPServer]:
    """Start every mirror on a free loopback port; by name."""
    servers = {}
    for mirror in MIRRORS:
        folder = root / (mirror.kind if mirror.kind in ("stale", "partial") else "in-sync")
        handler = partial(Handler, kind=mirror.kind, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers[mirror.name] = server
    return servers
