"""Several slow mirrors in one server, one of which can be held; and a database that knows them."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from sqlalchemy.orm import Session

from tests.crawler.builders import NEW, TOPDIR, World
from tests.crawler.hostile import Asked, HostileServer, send

HOSTS = ("blocked", "b", "c", "d")
CATEGORIES = ("Fedora Linux", "Fedora EPEL")
FILES = {"repodata/repomd.xml": NEW, "a/f": b"good"}


class Mirrors:
    """Several mirrors in one server, /HOST/CATEGORY/: in sync, slow, and one stops to answer while it is held.

    `most` says how many requests each host ever had at once. With one connection per host, two mean two crawls.
    """

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._free = threading.Event()
        self._reached = threading.Event()
        self._server = HostileServer(self._answer)
        self.url = self._server.url

    def __enter__(self) -> Mirrors:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.__exit__(None, None, None)

    def hold(self) -> None:
        """From now on, the host "blocked" does not answer."""
        self._free.clear()
        self._reached.clear()

    def release(self) -> None:
        """It answers again."""
        self._free.set()

    def wait_until_held(self) -> None:
        """Until somebody asks the one that does not answer."""
        assert self._reached.wait(60)

    def _answer(self, asked: Asked, connection: socket.socket) -> bool:
        host, _, path = asked.path.removeprefix("/").partition("/")
        with self._guard:
            self._now[host] += 1
            self.most[host] = max(self.most[host], self._now[host])
        try:
            if host == "blocked":
                self._reached.set()
                self._free.wait(120)
            time.sleep(0.01)
            return self._send(asked, path.partition("/")[2], connection)
        finally:
            with self._guard:
                self._now[host] -= 1

    def _send(self, asked: Asked, path: str, connection: socket.socket) -> bool:
        if path and path not in FILES:
            return send(connection, "404 Not Found", "Content-Length: 0")
        content = FILES.get(path, b"")
        body = content if asked.method == "GET" else b""
        return send(connection, "200 OK", f"Content-Length: {len(content)}", body=body)


def fill(session: Session, url: str) -> None:
    """Each of the hosts with both categories."""
    world = World(session)
    epel = world.other_category(CATEGORIES[1])
    for category, topdir in ((world.category, TOPDIR), (epel, "pub/epel")):
        world.detail(world.directory(f"{topdir}/repodata", category=category), NEW, 1)
        world.directory(f"{topdir}/a", "f", category=category)
    for name in HOSTS:
        host = world.host(name, f"{url}/{name}/fedora")
        world.carry(host, f"{url}/{name}/epel", category=epel)


def wait_for(condition: Callable[[], bool]) -> None:
    """Look again and again, for a minute and a half at most."""
    until = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
