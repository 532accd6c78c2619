"""What crawls cost: `make bench-crawler`. Each part runs in a process of its own, beside local servers.

Metadata over HTTP beside what libcurl itself takes; a listing of a million entries; a full crawl of 400 simulated hosts
into each database; memory per host in flight; and how often a mirror is asked in a full check.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pycurl
from sqlalchemy import insert

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_crawler import crawling, inputs, plan
from mm_crawler.crawling import Keeper
from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.fetch.host import HostFetcher, Manners
from mm_crawler.report import (
    CrawlInput,
    HostReport,
    HostTask,
    MasterCategory,
    Mirror,
    MirrorCategory,
    MirrorUrl,
    Tier,
    Verdict,
)
from mm_crawler.selection import Selection
from mm_lib.cli.common import Program
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model import content, hosts, sites
from mm_lib.services import schema
from mm_lib.settings import DatabaseSettings, Settings
from tests.bench.bench_publish import postgres
from tests.bench.crawls import LISTED, REPOMD, SHA256, Figures, InstantMirror, crawl, digest, metadata, plain, used
from tests.bench.processes import static_files
from tests.bench.report import bar, close
from tests.crawler.laboratory import rsyncd
from tests.crawler.laboratory.raw import RawServer
from tests.master_servers import Rsyncd
from tests.servers import Nginx

REPOSITORIES, HOSTS = 500, 20  # of the metadata tier: so many requests to each of so many hosts
ROUNDS = 3
MILLION = ([f"releases/{number:05}" for number in range(10_000)], [f"package-{number:03}.rpm" for number in range(100)])
SIMULATED_HOSTS, DIRECTORIES = 400, 20_000
STORED = 50
IN_FLIGHT = (50, 200)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
UNHURRIED = Manners(1, float("inf"), 5, 60)


def tasks_for(urls: list[str], category: MasterCategory, tier: Tier) -> tuple[HostTask, ...]:
    """A task per URL."""
    mirrors = tuple(
        Mirror(number, url, "site", (MirrorCategory(number, 1, (MirrorUrl(url, False),), (tier,)),))
        for number, url in enumerate(urls, 1)
    )
    return plan.make_tasks(CrawlInput({1: category}, mirrors), Random(1))


def good(reports: list[HostReport]) -> int:
    """How many directories were found as on the master."""
    return sum(len(each.directories(Verdict.OK)) for report in reports for each in report.categories)


def requests(reports: list[HostReport]) -> int:
    """How often mirrors were asked."""
    return sum(each.requests for report in reports for each in report.categories)


async def crawl_by_net(tasks: tuple[HostTask, ...]) -> list[HostReport]:
    """By the fetchers that a real crawl has, as fast as the mirrors allow."""
    async with CurlClient(CurlOptions("bench", 5, 60, 2000)) as client:
        return await crawl(tasks, lambda: HostFetcher(client, UNHURRIED, Random(1)))


# ---------------------------------------------------------------- metadata over HTTP


def metadata_tier(base: str) -> Figures:
    """Requests per CPU-second: of the crawler, and of libcurl in the shortest loop there is; they take turns."""
    category = MasterCategory(1, "Fedora", "", tuple(metadata(n, f"{n}/repodata") for n in range(1, REPOSITORIES + 1)))
    urls = [f"{base}/mirror{number}" for number in range(HOSTS)]
    tasks = tasks_for(urls, category, Tier.METADATA)
    files = [f"{url}/{n}/repodata/repomd.xml" for url in urls for n in range(1, REPOSITORIES + 1)]
    rates, floors = [], []
    for _ in range(ROUNDS):
        with used() as crawled:
            reports = asyncio.run(crawl_by_net(tasks))
        assert good(reports) == len(files), f"only {good(reports)} of {len(files)} directories were found up to date"
        rates.append(requests(reports) / crawled["cpu"])
        with used() as bare:
            bare_libcurl(files, 2 * HOSTS)
        floors.append(len(files) / bare["cpu"])
    return {"rate": median(rates), "floor": median(floors)}


def bare_libcurl(urls: list[str], at_once: int) -> None:
    """Read all files over kept connections and throw them away."""
    multi = pycurl.CurlMulti()
    waiting = iter(urls)
    running = 0
    for _ in range(at_once):
        handle = pycurl.Curl()
        handle.setopt(pycurl.WRITEFUNCTION, len)
        handle.setopt(pycurl.URL, next(waiting))
        multi.add_handle(handle)
        running += 1
    while running:
        multi.perform()
        _, succeeded, failed = multi.info_read()
        assert not failed
        for handle in succeeded:
            multi.remove_handle(handle)
            url = next(waiting, None)
            if url:
                handle.setopt(pycurl.URL, url)
                multi.add_handle(handle)
            else:
                running -= 1
        if not succeeded:
            multi.select(0.1)


def measure_metadata(place: Path) -> None:
    """Against nginx on the other core."""
    with static_files(place, []) as server:
        for number in range(1, REPOSITORIES + 1):
            folder = place / "static" / "tree" / f"{number}" / "repodata"
            folder.mkdir(parents=True)
            (folder / "repomd.xml").write_bytes(REPOMD)
        for number in range(HOSTS):
            (place / "static" / f"mirror{number}").symlink_to(place / "static" / "tree")
        found = apart(metadata_tier, f"http://127.0.0.1:{server.port}")
    print(f"metadata: {found['floor']:.0f} requests per CPU-second by libcurl in a bare loop")
    bar("crawler-metadata-rate", found["rate"], "verified-requests/CPU-s", ">=", 10_000)


# ---------------------------------------------------------------- a million entries by rsync


def judge_million(url: str) -> Figures:
    """Judge a listing."""
    folders, names = MILLION
    category = MasterCategory(1, "Fedora", "", tuple(plain(n, path, names) for n, path in enumerate(folders, 1)))
    tasks = tasks_for([url], category, Tier.FULL)
    with used() as found:
        reports = asyncio.run(crawl_by_net(tasks))
    assert good(reports) == len(folders), reports
    return found


def measure_million() -> None:
    """What rsync itself takes is not the crawler's."""
    with RawServer(rsyncd.daemon(rsyncd.pack_many(*MILLION))) as server:
        found = apart(judge_million, f"rsync://127.0.0.1:{server.port}/module")
    bar("crawler-million-cpu", found["cpu"], "s", "<", 3)
    bar("crawler-million-growth", found["growth"], "MB", "<", 50)


# ---------------------------------------------------------------- 400 hosts


def _paths() -> list[str]:
    """Every 40th directory has metadata: 500 repositories."""
    return [
        f"linux/updates/{n // 40}/x86_64/repodata" if n % 40 == 0 else f"linux/updates/{n // 40}/x86_64/Packages/{n}"
        for n in range(DIRECTORIES)
    ]


def prepare(url: str) -> None:
    """A category and the hosts that carry it."""
    engine = make_engine(DatabaseSettings(url=url))
    schema.upgrade(engine)
    rows: dict[Any, list[dict[str, Any]]] = {
        content.Product: [{"id": 1, "name": "Fedora"}],
        content.Version: [{"id": 1, "product_id": 1, "name": "44"}],
        content.Arch: [{"id": 1, "name": "x86_64"}],
        content.Category: [{"id": 1, "product_id": 1, "name": "Fedora Linux", "topdir": "linux"}],
        sites.Site: [{"id": 1, "name": "site", "state_since": LONG_AGO}],
    }
    tables: list[tuple[Any, list[dict[str, Any]]]] = [*rows.items(), *_master_rows(), *_host_rows()]
    with make_sessions(engine)() as session, transaction(session):
        for table, values in tables:
            session.execute(insert(table), values)
    engine.dispose()


def _master_rows() -> list[tuple[Any, list[dict[str, Any]]]]:
    directories, files, repositories = [], [], []
    for id_, path in enumerate(_paths(), 1):
        is_metadata = path.endswith("/repodata")
        name, size = ("repomd.xml", len(REPOMD)) if is_metadata else (f"package-{id_}.rpm", 4)
        listing = {"file_count": 1, "listing_digest": digest([name], size), "sample": [[name, size, 0]]}
        directories.append({"id": id_, "category_id": 1, "path": path, "mtime": 1, **listing})
        if is_metadata:
            version = {"timestamp": 1, "size": size, "sha256": SHA256, "content_id": f"sha256:{SHA256}"}
            files.append({"id": id_, "directory_id": id_, "filename": name, **version})
            what = {"prefix": f"repo-{id_}", "version_id": 1, "arch_id": 1, "category_id": 1}
            repositories.append({"id": id_, "directory_id": id_, **what})
    return [(content.Directory, directories), (content.FileDetail, files), (content.Repository, repositories)]


def _host_rows() -> list[tuple[Any, list[dict[str, Any]]]]:
    ids = range(1, SIMULATED_HOSTS + 1)
    return [
        (hosts.Host, [{"id": n, "site_id": 1, "name": f"host{n}", "state_since": LONG_AGO} for n in ids]),
        (hosts.HostCategory, [{"id": n, "host_id": n, "category_id": 1} for n in ids]),
        (hosts.HostCategoryUrl, [{"host_category_id": n, "url": f"rsync://host{n}.example/fedora"} for n in ids]),
    ]


def _listing(part: int) -> bytes:
    """What rsync lists of a mirror: one in ten of its directories differs from the master's, which ones by its part."""
    lines = []
    for id_, path in enumerate(_paths(), 1):
        below = path.removeprefix("linux/")
        name, size = ("repomd.xml", len(REPOMD)) if below.endswith("/repodata") else (f"package-{id_}.rpm", 4)
        lines.append(LISTED.format(size + (id_ % 10 == part), f"{below}/{name}"))
    return "\n".join([*lines, ""]).encode()


def many_hosts(url: str) -> Figures:
    """Crawl all of them, as many at once as the settings' defaults say, through the database."""
    program, listings, rng = _program(url), [_listing(part) for part in range(10)], Random(1)
    crawling.fetchers = lambda _client, _settings: lambda: InstantMirror(rng.choice(listings))
    with used() as found:
        summary = crawling.crawl(program, Selection(), Tier.FULL)
    assert summary.counts["asked"] == SIMULATED_HOSTS, summary
    assert not summary.problem, summary.problem
    return found


def store(url: str) -> Figures:
    """Store what was found of some hosts, one after the other; then again, as after each further crawl."""
    program, listing = _program(url), _listing(1)
    with program.reading() as session:
        tasks = plan.make_tasks(inputs.read(session, Selection(), lambda _: (Tier.FULL,)), Random(1))[:STORED]
    reports = asyncio.run(crawl(tasks, lambda: InstantMirror(listing)))
    keeper = Keeper(program, tasks, {})
    keeper.open()
    first, again = ([_milliseconds(keeper, report) for report in reports] for _ in range(2))
    return {"first": median(first), "again": median(again), "slowest": max(first + again)}


def _milliseconds(keeper: Keeper, report: HostReport) -> float:
    start = time.monotonic()
    assert keeper.keep(report)
    return (time.monotonic() - start) * 1000


def _program(url: str) -> Program:
    program = Program(None)
    program.settings = Settings(database=DatabaseSettings(url=url))
    return program


def measure_many_hosts(place: Path) -> None:
    """On each database."""
    with postgres() as server:
        urls = {"sqlite": f"sqlite:///{place / 'bench.sqlite'}"}
        if server:
            urls["postgresql"] = server.url(server.create())
        for database, url in urls.items():
            prepare(url)
            stored = apart(store, url)
            print(f"{database}: a first result in {stored['first']:.1f} ms, the slowest in {stored['slowest']:.1f}")
            bar(f"crawler-{database}-store", stored["again"], "ms", "<", 20)
            found = apart(many_hosts, url)
            print(f"{database}: {SIMULATED_HOSTS} hosts in {found['wall']:.0f} s, {found['cpu']:.0f} s of CPU")
            bar(f"crawler-{database}-peak", found["peak"], "MB", "<", 400)


# ---------------------------------------------------------------- memory per host


def in_flight(count: str, base: str) -> Figures:
    """All hosts wait for the server, which holds its answers back, each over two connections."""
    names = ["package.rpm"]
    category = MasterCategory(1, "Fedora", "", tuple(plain(n, f"{n}", names) for n in range(1, DIRECTORIES + 1)))
    tasks = tasks_for([f"{base}/{number}" for number in range(int(count))], category, Tier.INCREMENTAL)
    with used() as found:
        asyncio.run(_until_all_wait(tasks))
    return found


async def _until_all_wait(tasks: tuple[HostTask, ...]) -> None:
    """Each host has asked for its topdir, and for two files that it waits for."""
    made: list[HostFetcher] = []

    def make() -> HostFetcher:
        made.append(HostFetcher(client, UNHURRIED, Random(1)))
        return made[-1]

    async with CurlClient(CurlOptions("bench", 30, 60, 2000)) as client:
        crawling_all = asyncio.create_task(crawl(tasks, make))
        while len(made) < len(tasks) or any(mirror.requests < 3 for mirror in made):
            assert not crawling_all.done()
            await asyncio.sleep(0.1)
        crawling_all.cancel()
        await asyncio.wait([crawling_all])


async def _hold() -> None:
    """Answer the first question of each mirror, and no other. Prints its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                if b"/ HTTP/1.1" in line:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measure_in_flight() -> None:
    """What each further host adds."""
    command = [sys.executable, __file__, "hold"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        base = f"http://127.0.0.1:{int(server.stdout.readline())}"
        few, many = (apart(in_flight, str(count), base)["peak"] for count in IN_FLIGHT)
        server.kill()
    each = (many - few) * 1024 / (IN_FLIGHT[1] - IN_FLIGHT[0])
    print(f"in flight: {few:.0f} MB with {IN_FLIGHT[0]} hosts, {many:.0f} MB with {IN_FLIGHT[1]}")
    bar("crawler-memory-per-host", each, "kB", "<", 250)


# ---------------------------------------------------------------- requests


def requests_of(url: str) -> Figures:
    """A full check of a category that is as on the master."""
    names = [f"package-{number:04}.rpm" for number in range(2500)]
    category = MasterCategory(1, "Fedora", "", tuple(plain(n, f"{n:02}", names) for n in range(1, 41)))
    reports = asyncio.run(crawl_by_net(tasks_for([url], category, Tier.FULL)))
    assert good(reports) == 40, reports
    return {"requests": requests(reports)}


def measure_requests(place: Path) -> None:
    """Of 100,000 files in 40 directories, on real servers."""
    top = place / "large"
    for number in range(1, 41):
        (top / f"{number:02}").mkdir(parents=True)
        for file in range(2500):
            (top / f"{number:02}" / f"package-{file:04}.rpm").write_bytes(b"good")
    with Rsyncd(top) as daemon, Nginx({"mirror": top}) as nginx:
        for name, url in (("rsync", daemon.url.rstrip("/")), ("pages", nginx.urls["mirror"])):
            bar(f"crawler-requests-{name}", apart(requests_of, url)["requests"], "requests", "<=", 50)
    shutil.rmtree(top)


# ---------------------------------------------------------------- all of it

_PARTS: Mapping[str, Callable[..., Figures]] = {
    part.__name__: part for part in (metadata_tier, judge_million, many_hosts, store, in_flight, requests_of)
}


def apart(part: Callable[..., Figures], *arguments: str) -> Figures:
    """Run it in a process of its own."""
    command = [sys.executable, __file__, part.__name__, *arguments]
    found: Figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main(wanted: list[str]) -> None:
    """Print the figures of all parts, or of those that are named."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # and end all servers
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-bench-")))
        place.chmod(0o755)
        measures: dict[str, Callable[[], None]] = {
            "metadata": lambda: measure_metadata(place),
            "million": measure_million,
            "hosts": lambda: measure_many_hosts(place),
            "memory": measure_in_flight,
            "requests": lambda: measure_requests(place),
        }
        for name, measure in measures.items():
            if not wanted or name in wanted:
                measure()
    close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["hold"]:
        asyncio.run(_hold())
    elif sys.argv[1:2] and sys.argv[1] in _PARTS:
        print(json.dumps(_PARTS[sys.argv[1]](*sys.argv[2:])))
    else:
        main(sys.argv[1:])
