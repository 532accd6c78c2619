"""Checks of mirrors that somebody asked for ("check now"): rows that any crawler serves, on every database.

waiting -> running -> done or failed. Whoever takes a row has it for as long as its lease; a row whose lease ran out is
taken again, so that nothing is lost with a crawler that was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Select, delete, or_, select, update
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Category
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.state import Job, JobState
from mm_lib.services import maintenance
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound, TooOften

KIND = "check"
AGAIN_AFTER = timedelta(minutes=10)  # a mirror is checked no more often on request
MAX_WAITING = 50  # of one person; more would keep everybody else waiting
OPEN = (JobState.WAITING, JobState.RUNNING)


class Check(NamedTuple):
    """A check that was asked for, and how far it is."""

    id: int
    host_category_id: int
    host: str
    category: str
    state: JobState
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: str


def request_check(
    session: Session,
    host: Host,
    categories: Sequence[str] = (),
    requested_by: str = "",
    *,
    now: datetime | None = None,
    again_after: timedelta = AGAIN_AFTER,
) -> list[Check]:
    """Ask for a check of a host for these categories (all); those that are waiting or running already are not doubled.

    Raises NotFound for a category that it does not carry, NotAllowed when it is not to be crawled, InvalidValue when
    there is nothing to ask, TooOften when it was checked a moment ago or when this person waits for very many.
    """
    now = now or datetime.now(UTC)
    _refuse_unless_crawled(host)
    if window := maintenance.current(session, host, now):
        raise NotAllowed(f"{host.name} is under maintenance until {window.ends_at:%Y-%m-%d %H:%M} UTC and not crawled.")
    # Locked, so that two clicks at the same time see each other.
    session.execute(select(Host.id).where(Host.id == host.id).with_for_update())
    latest = {check.host_category_id: check for check in reversed(list_checks(session, host))}
    wanted = _wanted(host, categories)
    fresh = [each for each in wanted if each.id not in latest or latest[each.id].state not in OPEN]
    _refuse_too_often(session, [latest[each.id] for each in fresh if each.id in latest], requested_by, now, again_after)
    session.add_all(
        Job(kind=KIND, host_category_id=each.id, requested_by=requested_by, created_at=now, arguments={})
        for each in fresh
    )
    session.flush()
    ids = {each.id for each in wanted}
    asked = [check for check in list_checks(session, host) if check.host_category_id in ids and check.state in OPEN]
    return sorted(asked, key=lambda check: check.category)


def list_checks(session: Session, host: Host | None = None, limit: int = 100) -> list[Check]:
    """Checks of a host (of all), the latest first."""
    query = _query().order_by(Job.id.desc()).limit(limit)
    return _checks(session, query if host is None else query.where(Host.id == host.id))


def hand_over(session: Session, now: datetime, lease: timedelta, limit: int = 100) -> list[Check]:
    """Checks that nobody sees to, the oldest first; they are the caller's to see to until the lease ends."""
    query = (
        _query()
        .where(Job.state.in_(OPEN), or_(Job.lease_until.is_(None), Job.lease_until <= now))
        .order_by(Job.id)
        .limit(limit)
    )
    found = _checks(session, query.with_for_update(of=Job, skip_locked=True))
    session.execute(update(Job).where(Job.id.in_([check.id for check in found])).values(lease_until=now + lease))
    return found


def begin(session: Session, id_: int, now: datetime, lease: timedelta) -> bool:
    """Note that a check runs; False: it has ended already, or was deleted."""
    job = session.scalar(select(Job).where(Job.id == id_).with_for_update())
    if job is None or job.state not in OPEN:
        return False
    job.state, job.started_at, job.lease_until = JobState.RUNNING, now, now + lease
    return True


def put_back(session: Session, id_: int) -> None:
    """Let somebody else do it."""
    _set(session, id_, state=JobState.WAITING, started_at=None, lease_until=None)


def finish(session: Session, id_: int, now: datetime, result: str) -> None:
    """Note that it was done and what came of it."""
    _set(session, id_, state=JobState.DONE, finished_at=now, lease_until=None, result={"text": result})


def give_up(session: Session, id_: int, now: datetime, reason: str) -> None:
    """Note that it could not be done."""
    _set(session, id_, state=JobState.FAILED, finished_at=now, lease_until=None, result={"text": reason})


def prune(session: Session, before: datetime) -> None:
    """Forget checks that ended before then."""
    session.execute(delete(Job).where(Job.kind == KIND, Job.finished_at < before))


def _refuse_unless_crawled(host: Host) -> None:
    if host.site.state is not State.ACTIVE:
        raise NotAllowed(f"{host.name} is not crawled: its site is {host.site.state.value} ({host.site.state_reason}).")
    if host.state is State.ADMIN_DISABLED:
        raise NotAllowed(f"{host.name} is not crawled: an administrator switched it off ({host.state_reason}).")
    if (host.private or host.site.private) and not host.crawl_private:
        raise NotAllowed(f"{host.name} is private and not crawled, unless its owner allows it.")


def _wanted(host: Host, categories: Sequence[str]) -> list[HostCategory]:
    carried = {each.category.name: each for each in host.categories}
    unknown = sorted(set(categories) - set(carried))
    if unknown:
        raise NotFound(f"{host.name} does not carry {', '.join(unknown)}.")
    wanted = [
        each
        for name, each in sorted(carried.items())
        if (not categories or name in categories) and each.urls and not each.always_up_to_date
    ]
    if not wanted:
        raise InvalidValue("categories", f"{host.name} has no URL for them, or they are always up to date.")
    return wanted


def _refuse_too_often(
    session: Session, before: Sequence[Check], requested_by: str, now: datetime, again_after: timedelta
) -> None:
    for check in before:
        ready_at = (check.finished_at or now) + again_after
        if ready_at > now:
            minutes = -(-(ready_at - now).total_seconds() // 60)
            raise TooOften(
                f"{check.host} was checked for {check.category} a moment ago ({check.result}). "
                f"Ask again in {minutes:.0f} minutes.",
                ready_at,
            )
    mine = select(Job.id).where(Job.kind == KIND, Job.state.in_(OPEN), Job.requested_by == requested_by)
    if requested_by and len(session.scalars(mine.limit(MAX_WAITING)).all()) >= MAX_WAITING:
        raise TooOften(f"{MAX_WAITING} checks that you asked for are waiting. Ask again when they are done.", None)


def _query() -> Select[Job, str, str]:
    return (
        select(Job, Host.name, Category.name)
        .join(HostCategory, HostCategory.id == Job.host_category_id)
        .join(Host, Host.id == HostCategory.host_id)
        .join(Category, Category.id == HostCategory.category_id)
        .where(Job.kind == KIND)
    )


def _checks(session: Session, query: Select[Job, str, str]) -> list[Check]:
    return [
        Check(
            job.id,
            job.host_category_id or 0,
            host,
            category,
            job.state,
            job.requested_by,
            job.created_at,
            job.started_at,
            job.finished_at,
            str((job.result or {}).get("text", "")),
        )
        for job, host, category in session.execute(query.execution_options(populate_existing=True))
    ]


def _set(session: Session, id_: int, **values: object) -> bool:
    """Change a check that has not ended; False: it has."""
    query = update(Job).where(Job.id == id_, Job.state.in_(OPEN)).values(**values)
    return bool(session.scalars(query.returning(Job.id)).all())


def cancel(session: Session, id_: int, now: datetime, by: str) -> None:
    """Do not do a check that waits, or was lost. Raises NotFound when it has ended."""
    if not _set(
        session, id_, state=JobState.FAILED, finished_at=now, lease_until=None, result={"text": f"cancelled by {by}"}
    ):
        raise NotFound(f"No check {id_} waits or runs.")


def again(session: Session, id_: int, now: datetime) -> None:
    """Do a check that failed once more. Raises NotFound for one that has not, or that is asked for anew already."""
    job = session.scalar(select(Job).where(Job.id == id_, Job.kind == KIND).with_for_update())
    if job is None or job.state is not JobState.FAILED:
        raise NotFound(f"No check {id_} has failed.")
    same = select(Job.id).where(Job.host_category_id == job.host_category_id, Job.kind == KIND, Job.state.in_(OPEN))
    if session.scalars(same.limit(1)).first():
        raise NotFound("The same was asked for again already.")
    job.state, job.created_at, job.started_at, job.finished_at = JobState.WAITING, now, None, None
    job.lease_until, job.result = None, None
    session.flush()
