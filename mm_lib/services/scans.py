"""When each category's master was last scanned, by the records of the runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.content import Category
from mm_lib.model.state import CrawlRun, RunKind

_RUNS = 500  # that are looked through: a scan of one category may be rare among those of the others


def last_scans(session: Session) -> dict[str, datetime]:
    """When the last scan that was carried through began, by category; a scan without changes left only its record."""
    rows = session.execute(select(Category.name, Category.last_scanned_at))
    found = {name: changed for name, changed in rows if changed is not None}
    runs = select(CrawlRun.started_at, CrawlRun.counts).where(CrawlRun.kind == RunKind.MASTER)
    for started, counts in session.execute(runs.order_by(CrawlRun.id.desc()).limit(_RUNS)):
        for name, row in counts.items():
            if name in found and "failed" not in row:
                found[name] = max(found[name], started)
    return found
