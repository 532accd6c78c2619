"""Crawls of one mirror, for tests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from pyroaring import BitMap

from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.engine import crawl
from mm_crawler.fetch.host import HostFetcher, Manners
from mm_crawler.notes import NO_NOTES, Notes
from mm_crawler.plan import make_plan
from mm_crawler.report import Because, CategoryReport, CategoryTask, HostTask, MasterCategory, Tier, Verdict
from tests.crawler.builders import limits


def crawl_one(
    urls: tuple[str, ...],
    master: MasterCategory,
    tier: Tier = Tier.FULL,
    *,
    ca_file: Path | None = None,
    notes: Notes = NO_NOTES,
    again: BitMap | None = None,
) -> CategoryReport:
    """Ask a mirror at these URLs, the best first, for all of a category; `again`: where something was wrong."""
    plan, because = make_plan(master, Random(1)), Because(BitMap(), again or BitMap(), BitMap())
    addresses = tuple(url.rstrip("/") for url in urls)
    task = HostTask(1, "mirror", "site", (CategoryTask(1, addresses, plan, tier, because),))

    async def run() -> CategoryReport:
        async with CurlClient(CurlOptions("tests", 2, 2, 40, ca_file)) as client:
            fetcher = HostFetcher(client, Manners(1, 1000, 2, 2), Random(1))
            async for report in crawl([task], lambda: fetcher, limits(), make_notes=lambda _: notes):
                return report.categories[0]
        raise AssertionError

    return asyncio.run(run())


def verdicts(report: CategoryReport) -> dict[int, Verdict]:
    """By directory."""
    return {id_: verdict for verdict, ids in report.verdicts.items() for id_ in ids}
