"""How fast one mirror is asked."""

from __future__ import annotations

import asyncio
import time
from random import Random

from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.engine import crawl
from mm_crawler.fetch.host import HostFetcher, Manners
from mm_crawler.fetch.pace import Pace
from mm_crawler.report import Tier
from tests.crawler import hostile
from tests.crawler.builders import TOPDIR, category, directory, limits, tasks_for
from tests.crawler.hostile import HostileServer


def test_turns_come_evenly_whoever_wants_them() -> None:
    async def run() -> list[float]:
        pace, began, times = Pace(100), time.monotonic(), []

        async def one() -> None:
            await pace.turn()
            times.append(time.monotonic() - began)

        await asyncio.gather(*(one() for _ in range(20)))
        return times

    assert asyncio.run(run())[-1] > 0.18


def test_time_that_was_not_used_is_not_saved_up() -> None:
    async def run() -> float:
        pace = Pace(50)
        await pace.turn()
        await asyncio.sleep(0.1)
        began = time.monotonic()
        for _ in range(3):
            await pace.turn()
        return time.monotonic() - began

    assert asyncio.run(run()) > 0.035


def test_a_pause_holds_everybody() -> None:
    async def run() -> float:
        pace, began = Pace(), time.monotonic()
        pace.hold(0.1)
        await asyncio.gather(pace.turn(), pace.turn())
        return time.monotonic() - began

    assert asyncio.run(run()) >= 0.09


def test_a_mirror_never_gets_more_requests_a_second_than_allowed() -> None:
    tree = category(*(directory(id_, f"{TOPDIR}/{id_}", "f") for id_ in range(1, 30)))
    times: list[float] = []

    def noting(asked: hostile.Asked, connection: object) -> bool:
        times.append(time.monotonic())
        return hostile.polite(asked, connection)  # type: ignore[arg-type]

    async def run(url: str) -> None:
        async with CurlClient(CurlOptions("tests", 5, 5, 4)) as client:
            tasks = tasks_for({"m": url}, tree, Tier.INCREMENTAL)
            async for _ in crawl(tasks, lambda: HostFetcher(client, Manners(1, 30, 5, 5), Random(1)), limits()):
                pass

    with HostileServer(noting) as server:
        asyncio.run(run(server.url))
    assert len(times) == 30
    assert times[-1] - times[0] > 0.9
