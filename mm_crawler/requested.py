"""Crawls what somebody asked for ("check now"), in this process; a worker does the same by jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mm_crawler import crawling
from mm_crawler.crawling import CrawlSummary, Options, Teller
from mm_crawler.report import Outcome, Tier
from mm_crawler.selection import Selection
from mm_lib.cli.common import Program
from mm_lib.services import jobs
from mm_lib.services.jobs import Check

GRACE = timedelta(minutes=5)  # after the run's time is over, until somebody else takes its checks
NOTHING = "It does not take part: there was nothing to ask."


def crawl(program: Program, options: Options, teller: Teller) -> CrawlSummary:
    """Do all checks that wait. What could not be done now is put back."""
    checks = _take(program)
    if not checks:
        return CrawlSummary()
    # Its owner may ask about a host that is switched off, or private.
    selection = Selection(
        host_categories=frozenset(check.host_category_id for check in checks),
        include_private=True,
        include_disabled=True,
    )
    summary = CrawlSummary(outcome="interrupted")
    try:
        summary = crawling.crawl(program, selection, Tier.INCREMENTAL, options, teller)
    finally:
        _give_back(program, checks, summary)
    return summary


def _take(program: Program) -> list[Check]:
    settings, now = program.settings.crawler, datetime.now(UTC)
    lease = timedelta(seconds=settings.total_timeout) + GRACE
    with program.transaction() as session:
        return [check for check in jobs.hand_over(session, now, lease) if jobs.begin(session, check.id, now, lease)]


def _give_back(program: Program, checks: list[Check], summary: CrawlSummary) -> None:
    asked = [row for row in summary.rows if row["outcome"] != Outcome.NOT_ASKED]
    results = {(row["host"], row["category"]): str(row["result"]) for row in asked}
    with program.transaction() as session:
        for check in checks:
            result = results.get((check.host, check.category))
            if check.host in summary.busy or (result is None and (summary.stopped or summary.timed_out)):
                jobs.put_back(session, check.id)
            else:
                jobs.finish(session, check.id, datetime.now(UTC), result or NOTHING)
