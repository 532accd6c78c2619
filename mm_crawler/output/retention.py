"""How long the results of crawls are kept."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session, aliased

from mm_lib.model.state import CrawlResult, CrawlRun


def forget(session: Session, before: datetime) -> int:
    """Remove results of crawls that began before that moment, and runs that are left without any; how many results.

    The last result of each host and category stays, and so does the last run of each kind.
    """
    newer = aliased(CrawlResult)
    followed = exists().where(
        newer.host_category_id == CrawlResult.host_category_id, newer.started_at > CrawlResult.started_at
    )
    gone = session.scalars(
        delete(CrawlResult).where(CrawlResult.started_at < before, followed).returning(CrawlResult.id),
        execution_options={"synchronize_session": False},
    ).all()
    last = select(func.max(CrawlRun.id)).group_by(CrawlRun.kind)
    bare = ~exists().where(CrawlResult.run_id == CrawlRun.id)
    session.execute(
        delete(CrawlRun).where(CrawlRun.started_at < before, bare, CrawlRun.id.not_in(last)),
        execution_options={"synchronize_session": False},
    )
    return len(gone)
