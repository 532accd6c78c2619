"""Keeps what was found: one transaction per host, and a row for the whole run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from pyroaring import BitMap
from sqlalchemy import Insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mm_crawler.memory import read_memories
from mm_crawler.report import (
    CategoryDecision,
    CategoryPast,
    CategoryReport,
    HostDecision,
    HostPast,
    HostReport,
    Memory,
    Tier,
    Verdict,
)
from mm_lib.model.base import Base, State
from mm_lib.model.content import FileDetail, Repository
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.state import (
    CrawlResult,
    CrawlRun,
    CrawlSchedule,
    HealthChange,
    HostCategoryCrawl,
    HostCategoryHealth,
    HostCategoryState,
    RepositoryMirrorState,
    RunKind,
    StateSource,
)

RepositoryRow = tuple[int | None, str, int | None]  # the version's file detail, verdict, seconds behind the newest

PROGRAM = "mm-crawler"  # who decided, where a state or a change names somebody


def open_run(session: Session, arguments: dict[str, Any], started_at: datetime, kind: RunKind = RunKind.MIRRORS) -> int:
    """Note that a run of the crawler begins; returns its id."""
    run = CrawlRun(kind=kind, arguments=arguments, started_at=started_at)
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
            HostCategoryState.directories_total,
            HostCategoryHealth,
        )
        .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
        .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
        # One without a URL is never asked: it neither fails nor speaks for the host.
        .where(HostCategory.host_id == host_id, HostCategory.urls.any())
    )
    rows = session.execute(query).all()
    memories = read_memories(session, [row.id for row in rows])
    return HostPast(
        host.state,
        {id_: _past(always, bitmap, total, health, memories.get(id_)) for id_, always, bitmap, total, health in rows},
    )


def _past(
    always: bool, bitmap: bytes | None, total: int | None, health: HostCategoryHealth | None, memory: Memory | None
) -> CategoryPast:
    up_to_date = BitMap.deserialize(bitmap) if bitmap else BitMap()
    if health is None:
        return CategoryPast(up_to_date, always_up_to_date=always, total=total, memory=memory or Memory())
    return CategoryPast(
        up_to_date,
        health.health,
        health.failures,
        always,
        total,
        health.since,
        health.failing_since,
        health.successes,
        memory or Memory(),
    )


def store(session: Session, run_id: int, report: HostReport, decision: HostDecision, log: str = "") -> None:
    """Write all that follows from one host's crawl; `log` names what was written down of it."""
    ended_at = report.started_at + timedelta(seconds=report.seconds)
    host = session.get_one(Host, report.host_id)
    if report.asked:
        host.last_crawled_at = ended_at
        # It decides who starts first in the next full crawl.
        if any(category.tier is Tier.FULL for category in decision.categories):
            host.last_crawl_seconds = report.seconds
    if decision.disable_reason:
        _switch(host, State.AUTO_DISABLED, decision.disable_reason, ended_at)
    elif decision.enable_reason:
        _switch(host, State.ACTIVE, decision.enable_reason, ended_at)
    if report.ipv4 is not None:
        host.has_ipv4 = report.ipv4
    if report.ipv6 is not None:
        host.has_ipv6 = report.ipv6
    reports = {category.host_category_id: category for category in report.categories}
    for category in decision.categories:
        _store_addresses(session, reports[category.host_category_id], ended_at)
        _store_category(session, run_id, reports[category.host_category_id], category, log)


def _store_addresses(session: Session, report: CategoryReport, at: datetime) -> None:
    """What each URL that was tried leads to. One that leads nowhere is not handed out until it does again."""
    for address in report.addresses:
        ends_at = datetime.fromtimestamp(address.certificate_ends_at, UTC) if address.certificate_ends_at else None
        values = {"tried_at": at, "problem": address.problem} | ({"certificate_ends_at": ends_at} if ends_at else {})
        mine = (HostCategoryUrl.host_category_id == report.host_category_id) & (HostCategoryUrl.url == address.url)
        statement = update(HostCategoryUrl).where(mine).values(values)
        session.execute(statement, execution_options={"synchronize_session": False})


def _switch(host: Host, state: State, reason: str, at: datetime) -> None:
    host.state, host.state_reason, host.state_since, host.state_by = state, reason, at, PROGRAM


def _store_category(
    session: Session, run_id: int, report: CategoryReport, decision: CategoryDecision, log: str
) -> None:
    ended_at = report.started_at + timedelta(seconds=report.seconds)
    session.add(
        CrawlResult(
            run_id=run_id,
            host_category_id=report.host_category_id,
            tier=decision.tier,
            started_at=report.started_at,
            seconds=report.seconds,
            requests=report.requests,
            log=log,
            outcome=report.outcome.value,
            reason=decision.reason,
            counts=report.counts,
            evidence=[[kind, *evidence] for kind, evidence in report.evidence],
        )
    )
    if decision.tried:
        _store_health(session, decision, ended_at)
    if decision.established:
        _store_state(session, decision, ended_at)
        _store_repositories(session, report, ended_at)
    if decision.memory is not None:
        _store_memory(session, decision.host_category_id, decision.memory)


def _store_state(session: Session, decision: CategoryDecision, at: datetime) -> None:
    values = {
        "host_category_id": decision.host_category_id,
        "up_to_date": decision.up_to_date.serialize(),
        "directories_up_to_date": len(decision.up_to_date),
        "directories_total": decision.total,
        "established_at": at,
        "source": StateSource.CRAWL,
    }
    _upsert(session, HostCategoryState, ["host_category_id"], [values])


def _store_memory(session: Session, host_category_id: int, memory: Memory) -> None:
    values = {
        "host_category_id": host_category_id,
        "ask_again": memory.ask_again.serialize(),
        "sampled": memory.sampled.serialize(),
        "unknown": memory.unknown.serialize(),
        "unknown_since": memory.unknown_since,
        "unknown_tries": memory.unknown_tries,
        "synced_at": memory.synced_at,
        "sync_seconds": memory.sync_seconds,
    }
    _upsert(session, HostCategoryCrawl, ["host_category_id"], [values])
    turns = [
        {
            "host_category_id": host_category_id,
            "tier": tier,
            "asked_at": turn.asked_at,
            "changes_until": turn.changes_until,
            "interval_seconds": turn.interval,
            "next_due_at": turn.next_due_at,
        }
        for tier, turn in memory.turns.items()
    ]
    _upsert(session, CrawlSchedule, ["host_category_id", "tier"], turns)


def _store_health(session: Session, decision: CategoryDecision, at: datetime) -> None:
    row = session.get(HostCategoryHealth, decision.host_category_id)
    if row is None:
        row = HostCategoryHealth(host_category_id=decision.host_category_id, since=at)
        session.add(row)
    row.last_tried_at = at
    if decision.tier is Tier.CANARY and not decision.health_changed:
        return  # what the last crawl found says more
    row.health, row.reason, row.failures = decision.health, decision.reason, decision.failures
    row.failing_since, row.successes = decision.failing_since, decision.successes
    if decision.established:
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
    found = {
        id_: (said.file_detail_id, said.verdict.value, said.lag_seconds)
        for id_, said in report.repositories.items()
        if said.verdict is not Verdict.UNKNOWN
    }
    kept = _kept_repositories(session, report.host_category_id)
    changed = _still_there(session, {id_: row for id_, row in found.items() if kept.get(id_) != row})
    rows = [
        {
            "host_category_id": report.host_category_id,
            "repository_id": id_,
            "file_detail_id": file_detail_id,
            "verdict": verdict,
            "lag_seconds": lag_seconds,
            "checked_at": at,
        }
        for id_, (file_detail_id, verdict, lag_seconds) in changed.items()
    ]
    _upsert(session, RepositoryMirrorState, ["host_category_id", "repository_id"], rows)
    state = RepositoryMirrorState
    others = kept.keys() - found.keys()  # mostly none: so many parameters would take longer than all the rest
    checked = state.repository_id.in_(found) if len(found) < len(others) else state.repository_id.not_in(others)
    mine = (state.host_category_id == report.host_category_id) & checked
    session.execute(update(state).where(mine).values(checked_at=at), execution_options={"synchronize_session": False})


def _still_there(session: Session, found: dict[int, RepositoryRow]) -> dict[int, RepositoryRow]:
    """A scan may have removed some repositories and versions while we asked."""
    if not found:
        return found
    details = {file_detail_id for file_detail_id, _, _ in found.values() if file_detail_id}
    repositories = set(session.scalars(select(Repository.id).where(Repository.id.in_(found))))
    details &= set(session.scalars(select(FileDetail.id).where(FileDetail.id.in_(details))))
    return {
        id_: (file_detail_id if file_detail_id in details else None, verdict, lag)
        for id_, (file_detail_id, verdict, lag) in found.items()
        if id_ in repositories
    }


def _kept_repositories(session: Session, host_category_id: int) -> dict[int, RepositoryRow]:
    """What is kept already: most of it is the same after each crawl and needs no row written."""
    state = RepositoryMirrorState
    query = select(state.repository_id, state.file_detail_id, state.verdict, state.lag_seconds)
    rows = session.execute(query.where(state.host_category_id == host_category_id))
    return {id_: (file_detail_id, verdict, lag) for id_, file_detail_id, verdict, lag in rows}


def _upsert(session: Session, table: type[Base], key: list[str], rows: list[dict[str, Any]]) -> None:
    """Insert rows, or update those that are there."""
    if rows:
        statement = _upsert_statement(session.get_bind().dialect.name, table, tuple(key), tuple(rows[0]))
        # Not by the session, which would look for objects to make of hundreds of rows.
        session.connection().execute(statement, rows)


@cache
def _upsert_statement(dialect: str, table: type[Base], key: tuple[str, ...], columns: tuple[str, ...]) -> Insert:
    """Both databases can do that in one statement, each by its dialect."""
    statement = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    changed = {name: statement.excluded[name] for name in columns if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)
