"""HEADs per CPU-second of the crawler's engine against a local nginx: `python tests/bench/bench_crawler.py`."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_crawler import engine, plan
from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.engine import Limits
from mm_crawler.fetch.http import HttpFetcher
from mm_crawler.report import CrawlInput, MasterCategory, MasterDirectory, Mirror, MirrorCategory, MirrorUrl, Verdict
from tests.servers import Nginx

DIRECTORIES = 500  # of FILES files each
FILES = 4
HOSTS = 10


def make_tree(root: Path) -> MasterCategory:
    """A tree on disk and the category that describes it."""
    directories = []
    for number in range(DIRECTORIES):
        path = f"releases/{number}"
        (root / path).mkdir(parents=True)
        names = [f"package-{number}-{file}.rpm" for file in range(FILES)]
        for name in names:
            (root / path / name).write_bytes(b"x" * 100)
        directories.append(
            MasterDirectory(number + 1, path, True, number, json.dumps([[name, 100, 0] for name in names]))
        )
    return MasterCategory(1, "Fedora", "", tuple(directories))


async def crawl(urls: dict[str, str], category: MasterCategory) -> tuple[int, int]:
    """Crawl all hosts; returns the requests sent and the directories found up to date."""
    mirrors = tuple(
        Mirror(number, url, "site", (MirrorCategory(number, 1, (MirrorUrl(url, False),)),))
        for number, url in enumerate(urls.values(), 1)
    )
    tasks = plan.make_tasks(CrawlInput({1: category}, mirrors), Random(1))
    limits = Limits(50, 200, 2, 600, 600, 1 << 20, 86400)
    requests = good = 0
    async with CurlClient(CurlOptions("bench", 5, 30, 200)) as client:
        async for report in engine.crawl(tasks, lambda: HttpFetcher(client, 3, Random(1)), limits):
            for found in report.categories:
                requests += found.requests
                good += len(found.directories(Verdict.OK))
    return requests, good


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder:
        category = make_tree(Path(folder))
        with Nginx({f"mirror{number}": Path(folder) for number in range(HOSTS)}) as nginx:
            before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            requests, good = asyncio.run(crawl(nginx.urls, category))
            after, seconds = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - started
    assert good == HOSTS * DIRECTORIES, f"only {good} directories were found up to date"
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{requests} HEADs of {HOSTS} hosts in {seconds:.1f} s, {cpu:.2f} s of CPU")
    print(f"{requests / cpu:.0f} HEADs per CPU-second, {cpu / requests * 1e6:.0f} us of CPU each")
    grown = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(f"peak memory {after.ru_maxrss / 1024:.0f} MB, of which the crawl took {grown:.0f} MB")


if __name__ == "__main__":
    main()
