"""Runs of the crawler, and what they found of a host."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mm_frontend.api.hosts import CRAWLS, the_host
from mm_frontend.api.models import Output
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, page, wanted
from mm_frontend.db import session
from mm_lib.model.state import CrawlRun, CrawlTier, RunKind
from mm_lib.services import listings
from mm_lib.services.access import SEE, SIGNED_IN
from mm_lib.services.listings import Crawl
from mm_lib.services.tokens import Scope


class RunOut(Output):
    """One run of the scanner or the crawler."""

    id: int
    kind: RunKind
    started_at: datetime
    finished_at: datetime | None
    outcome: str
    counts: dict[str, Any]


class CrawlOut(Output):
    """What one run found for one category of a host."""

    id: int
    run_id: int
    category: str
    tier: CrawlTier
    started_at: datetime
    seconds: float
    requests: int
    outcome: str
    reason: str
    counts: dict[str, int]


class CrawlDetail(CrawlOut):
    """With a bounded number of verdicts: URL, what was expected, what was found."""

    evidence: list[Any]


def _run(row: CrawlRun) -> RunOut:
    return RunOut.model_validate(row)


def _members(crawl: Crawl) -> dict[str, Any]:
    names = CrawlOut.model_fields.keys() - {"category"}
    return {"category": crawl.category, **{name: getattr(crawl.result, name) for name in names}}


def _crawl(crawl: Crawl) -> CrawlOut:
    return CrawlOut(**_members(crawl))


@operation(
    "GET",
    "/crawl-runs",
    tag=CRAWLS,
    summary="List runs of the scanner and the crawler",
    scope=Scope.CRAWLS_READ,
    who=SIGNED_IN,
    query=PageQuery,
    answer=Page[RunOut],
)
def list_runs(query: PageQuery) -> Page[RunOut]:
    """The newest first."""
    return page(listings.crawl_runs(session(), wanted(query)), query, _run, lambda row: row.id)


@operation(
    "GET",
    "/hosts/<int:host_id>/crawls",
    tag=CRAWLS,
    summary="List what crawls found of a host",
    scope=Scope.CRAWLS_READ,
    who=SEE,
    query=PageQuery,
    answer=Page[CrawlOut],
)
def list_crawls(query: PageQuery) -> Page[CrawlOut]:
    """The newest first, with the number of directories for each verdict."""
    rows = listings.crawls(session(), the_host().id, wanted(query))
    return page(rows, query, _crawl, lambda row: row.result.id)


@operation(
    "GET",
    "/hosts/<int:host_id>/crawls/<int:crawl_id>",
    tag=CRAWLS,
    summary="Show what a crawl found, with its verdicts",
    scope=Scope.CRAWLS_READ,
    who=SEE,
    answer=CrawlDetail,
)
def show_crawl(crawl_id: int) -> CrawlDetail:
    """Each verdict that is kept says by what it was reached."""
    crawl = listings.crawl(session(), the_host().id, crawl_id)
    return CrawlDetail(evidence=crawl.result.evidence, **_members(crawl))
