"""Keeps what was found: one transaction per host, and a row for the whole run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pyroaring import BitMap
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mm_crawler.report import (
    CategoryDecision,
    CategoryPast,
    CategoryReport,
    HostDecision,
    HostPast,
    HostReport,
    Verdict,
)
from mm_lib.model.base import State
from mm_lib.model.content import FileDetail, Repository
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.state import (
    CrawlResult,
    CrawlRun,
    Health,
    HealthChange,
    HostCategoryHealth,
    HostCategoryState,
    RepositoryMirrorState,
    RunKind,
    StateSource,
)

PROGRAM = "mm-crawler"  # who decided, where a state or a change names somebody


def open_run(session: Session, arguments: dict[str, Any], started_at: datetime) -> int:
    """Note that a run of the crawler begins; returns its id."""
    run = CrawlRun(kind=RunKind.MIRRORS, arguments=arguments, started_at=started_at)
    session.add(run)
    session.flush()
    return run.id


def close_run(session: Session, run_id: int, outcome: str, counts: dict[str, int], finished_at: datetime) -> None:
    """Note how a run ended."""
    run = session.get_one(CrawlRun, run_id)
    run.outcome, run.counts, run.finished_at = outcome, counts, finished_at


def read_past(session: Session, host_id: int) -> HostPast | None:
    """What is known of the host, locked until the transaction ends; None when it was deleted meanwhile."""
    host = session.scalar(select(Host).where(Host.id == host_id).with_for_update())
    if host is None:
        return None
    query = (
        select(
            HostCategory.id,
            HostCategory.always_up_to_date,
            HostCategoryState.up_to_date,
            HostCategoryHealth.health,
            HostCategoryHealth.failures,
        )
        .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
        .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
        .where(HostCategory.host_id == host_id)
    )
    return HostPast(
        host.state,
        {
            id_: CategoryPast(
                BitMap.deserialize(bitmap) if bitmap else BitMap(), health or Health.ACTIVE, failures or 0, always
            )
            for id_, always, bitmap, health, failures in session.execute(query)
        },
    )


def store(session: Session, run_id: int, report: HostReport, decision: HostDecision) -> None:
    """Write all that follows from one host's crawl."""
    ended_at = report.started_at + timedelta(seconds=report.seconds)
    host = session.get_one(Host, report.host_id)
    if report.asked:
        host.last_crawled_at, host.last_crawl_seconds = ended_at, report.seconds
    if decision.disable_reason:
        host.state, host.state_reason = State.AUTO_DISABLED, decision.disable_reason
        host.state_since, host.state_by = ended_at, PROGRAM
    reports = {category.host_category_id: category for category in report.categories}
    for category in decision.categories:
        _store_category(session, run_id, reports[category.host_category_id], category)


def _store_category(session: Session, run_id: int, report: CategoryReport, decision: CategoryDecision) -> None:
    ended_at = report.started_at + timedelta(seconds=report.seconds)
    session.add(
        CrawlResult(
            run_id=run_id,
            host_category_id=report.host_category_id,
            started_at=report.started_at,
            seconds=report.seconds,
            requests=report.requests,
            outcome=report.outcome.value,
            reason=decision.reason,
            counts=report.counts,
            evidence=[[kind, *evidence] for kind, evidence in report.evidence],
        )
    )
    if decision.tried:
        _store_health(session, decision, ended_at)
    if decision.established:
        _store_state(session, report, decision, ended_at)
        _store_repositories(session, report, ended_at)


def _store_state(session: Session, report: CategoryReport, decision: CategoryDecision, at: datetime) -> None:
    values = {
        "host_category_id": report.host_category_id,
        "up_to_date": decision.up_to_date.serialize(),
        "directories_up_to_date": len(decision.up_to_date),
        "directories_total": report.total,
        "established_at": at,
        "source": StateSource.CRAWL,
    }
    _upsert(session, HostCategoryState, ["host_category_id"], [values])


def _store_health(session: Session, decision: CategoryDecision, at: datetime) -> None:
    row = session.get(HostCategoryHealth, decision.host_category_id)
    if row is None:
        row = HostCategoryHealth(host_category_id=decision.host_category_id, since=at)
        session.add(row)
    row.health, row.reason, row.failures, row.last_tried_at = decision.health, decision.reason, decision.failures, at
    if not decision.failures:
        row.last_ok_at = at
    if decision.health_changed:
        row.since = at
        session.add(
            HealthChange(
                host_category_id=decision.host_category_id, at=at, health=decision.health, reason=decision.reason
            )
        )


def _store_repositories(session: Session, report: CategoryReport, at: datetime) -> None:
    """Which version of each repository's metadata the mirror has; what could not be found out stays as it was."""
    found = {id_: said for id_, said in report.repositories.items() if said.verdict is not Verdict.UNKNOWN}
    # A scan may have removed some of them while we asked.
    repositories = set(session.scalars(select(Repository.id).where(Repository.id.in_(found))))
    details = {said.file_detail_id for said in found.values() if said.file_detail_id}
    details &= set(session.scalars(select(FileDetail.id).where(FileDetail.id.in_(details))))
    rows = {
        id_: (said.file_detail_id if said.file_detail_id in details else None, said.verdict.value, said.lag_seconds)
        for id_, said in found.items()
        if id_ in repositories
    }
    kept = _kept_repositories(session, report.host_category_id)
    changed = [
        {
            "host_category_id": report.host_category_id,
            "repository_id": id_,
            "file_detail_id": file_detail_id,
            "verdict": verdict,
            "lag_seconds": lag_seconds,
            "checked_at": at,
        }
        for id_, (file_detail_id, verdict, lag_seconds) in rows.items()
        if kept.get(id_) != rows[id_]
    ]
    _upsert(session, RepositoryMirrorState, ["host_category_id", "repository_id"], changed)
    state = RepositoryMirrorState
    mine = (state.host_category_id == report.host_category_id) & state.repository_id.in_(rows)
    session.execute(update(state).where(mine).values(checked_at=at), execution_options={"synchronize_session": False})


def _kept_repositories(session: Session, host_category_id: int) -> dict[int, tuple[int | None, str, int | None]]:
    """What is kept already: most of it is the same after each crawl and needs no row written."""
    state = RepositoryMirrorState
    query = select(state.repository_id, state.file_detail_id, state.verdict, state.lag_seconds)
    rows = session.execute(query.where(state.host_category_id == host_category_id))
    return {id_: (file_detail_id, verdict, lag) for id_, file_detail_id, verdict, lag in rows}


def _upsert(session: Session, table: type[Any], key: list[str], rows: list[dict[str, Any]]) -> None:
    """Insert rows, or update those that are there. Both databases can do that in one statement, each by its dialect."""
    if not rows:
        return
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), rows)
