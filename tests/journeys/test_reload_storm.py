"""A new cache is taken up while requests pour in, and none of them is lost."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from mm_lib.cache import codec, file
from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache
from tests.journeys.program import Installation, get

RELOADS = 10
CLIENTS = 4
QUERY = "/metalink?repo=fedora-44&arch=x86_64"


def cache(generation: int) -> MirrorlistCache:
    """A cache whose answers name its generation, large enough that loading it takes a while."""
    detail = FileDetail(1, 2, "", "", "a" * 64, "b" * 128)
    hosts = [Host(n, f"m{n}", "Site", "DE", 100, False, 1, None, None, (), ()) for n in range(20)]
    directories = {"pub/repodata": 0, **{f"pub/{n}": 0 for n in range(20_000)}, "pub": 0}
    urls = {n: (f"https://m{n}.g{generation}/pub",) for n in range(20)}
    return MirrorlistCache(
        generated_at=int(time.time()),
        generation=generation,
        hosts=hosts,
        masks=[(1 << 20) - 1],
        categories=[Category("Fedora", "pub", urls, directories, {"pub/repodata/repomd.xml": (detail,)})],
        repositories={("fedora-44", "x86_64"): (0, "pub")},
        country_continents={"DE": "EU"},
    )


class Client(threading.Thread):
    """Asks again and again over one connection until told to stop."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        super().__init__()
        self.url, self.stop = urlsplit(url), stop
        self.answers = 0
        self.failures: list[str] = []
        self.generations: set[str] = set()

    def run(self) -> None:
        assert self.url.hostname
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=10)
        while not self.stop.is_set():
            try:
                connection.request("GET", QUERY)
                answer = connection.getresponse()
                body = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            found = {part.split("/")[0] for part in body.split(".g")[1:]}
            if answer.status != 200 or len(found) != 1 or body.count("<url ") != 20:
                self.failures.append(f"{answer.status} {body[:200]}")
            self.generations |= found
            self.answers += 1
        connection.close()


def seen_by_all(url: str, generation: int) -> bool:
    """Several fresh connections, so that every worker is asked."""
    return all(f".g{generation}/" in get(url + QUERY) for _ in range(12))


def test_a_request_storm_during_ten_reloads_loses_no_request(tmp_path: Path) -> None:
    """Every answer is whole, from exactly one generation, and the last one is taken up by every worker."""
    path = tmp_path / "mirrorlist.cache"
    file.publish(path, codec.encode(cache(0)))
    installation = Installation(tmp_path, redirector__reload_interval="0.1", redirector__workers="2")
    (tmp_path / "mirrormanager.toml").touch()
    stop = threading.Event()
    with installation.serving("mm-redirector", "REDIRECTOR") as url:
        clients = [Client(url, stop) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for generation in range(1, RELOADS + 1):
                file.publish(path, codec.encode(cache(generation)))
                deadline = time.monotonic() + 20
                while not seen_by_all(url, generation):
                    assert time.monotonic() < deadline, f"generation {generation} was not taken up"
        finally:
            stop.set()
            for client in clients:
                client.join()
    assert [failure for client in clients for failure in client.failures] == []
    assert sum(client.answers for client in clients) > 100
    assert set.union(*(client.generations for client in clients)) >= {str(n) for n in range(1, RELOADS)}
