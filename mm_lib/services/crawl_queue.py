"""What is in the job queue: list the jobs, start one that failed again, take one out, forget old ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from mm_lib.services import queue
from mm_lib.services.errors import InvalidValue, NotFound

# procrastinate's words and ours
STATES = {"todo": "waiting", "doing": "running", "succeeded": "done", "failed": "failed", "cancelled": "cancelled"}
MAX_LISTED = 100_000

_LIST = """
SELECT job.id, status::text AS state, host.name AS host, category.name AS category, args->>'tier' AS tier, priority,
       attempts AS tries, scheduled_at AS not_before, job.worker_id AS worker,
       min(event.at) FILTER (WHERE event.type = 'deferred') AS queued_at,
       max(event.at) FILTER (WHERE event.type = 'started') AS started_at,
       max(event.at) FILTER (WHERE event.type IN ('succeeded', 'failed', 'cancelled', 'aborted')) AS finished_at,
       worker.last_heartbeat AS heartbeat
  FROM job_queue.procrastinate_jobs job
  LEFT JOIN job_queue.procrastinate_events event ON event.job_id = job.id
  LEFT JOIN job_queue.procrastinate_workers worker ON worker.id = job.worker_id
  LEFT JOIN host_category ON host_category.id = (args->>'host_category_id')::int
  LEFT JOIN host ON host.id = host_category.host_id
  LEFT JOIN category ON category.id = host_category.category_id
 WHERE queue_name = 'crawl' AND status::text = ANY(:states)
 GROUP BY job.id, host.name, category.name, worker.last_heartbeat
 ORDER BY CASE status WHEN 'doing' THEN 0 WHEN 'todo' THEN 1 ELSE 2 END, priority DESC, job.id
 LIMIT :most
"""


def list_jobs(session: Session, states: Iterable[str], most: int = MAX_LISTED) -> list[dict[str, Any]]:
    """The jobs in these states: running ones first, then as they will start."""
    wanted = set(states)
    kept = [theirs for theirs, ours in STATES.items() if ours in wanted]
    found = [dict(row._mapping) for row in session.execute(text(_LIST), {"states": kept, "most": most})]
    return [{**row, "state": STATES[row["state"]], "seconds": _seconds(row)} for row in found]


def _seconds(row: Mapping[str, Any]) -> float | None:
    """How long it has been running, or ran."""
    if row["started_at"] is None or row["state"] == "todo":
        return None
    ran: timedelta = (row["finished_at"] or datetime.now(UTC)) - row["started_at"]
    return round(ran.total_seconds(), 1)


def retry(session: Session, id_: int) -> None:
    """Put a job that failed back into the queue, to be started now. Raises NotFound, InvalidValue."""
    query = text("SELECT status::text FROM job_queue.procrastinate_jobs WHERE id = :id FOR UPDATE")
    status = session.scalar(query, {"id": id_})
    if status is None:
        raise NotFound(f"There is no job {id_}; `mm-crawler jobs` shows all.")
    if STATES.get(status) != "failed":
        raise InvalidValue("retry", f"job {id_} has not failed, it is {STATES.get(status, status)}.")
    with _among_its_tables(session):
        session.execute(text("SELECT procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)"), {"id": id_})
        session.execute(text("UPDATE procrastinate_jobs SET attempts = 0 WHERE id = :id"), {"id": id_})


def cancel(session: Session, id_: int) -> None:
    """Take a job out of the queue that has not begun. Raises NotFound, also when it has begun or ended."""
    with _among_its_tables(session):
        taken = session.scalar(text("SELECT procrastinate_cancel_job_v1(:id, false, false)"), {"id": id_})
    if taken is None:
        raise NotFound(f"No job {id_} waits. It may have begun, or ended.")


def count_jobs(session: Session) -> dict[str, int]:
    """How many are in each state."""
    query = text("SELECT status::text, count(*) FROM job_queue.procrastinate_jobs WHERE queue_name='crawl' GROUP BY 1")
    found: dict[str, int] = dict(session.execute(query).all())
    return {ours: found.get(theirs, 0) for theirs, ours in STATES.items()}


def prune(session: Session, days: float) -> int:
    """Forget jobs that ended longer ago; returns how many."""
    query = text(
        "DELETE FROM procrastinate_jobs WHERE queue_name = 'crawl' AND status NOT IN ('todo', 'doing')"
        " AND (SELECT max(at) FROM procrastinate_events WHERE job_id = procrastinate_jobs.id)"
        " < now() - make_interval(secs => :seconds) RETURNING id"
    )
    with _among_its_tables(session):
        return len(session.execute(query, {"seconds": days * 86400}).all())


@contextmanager
def _among_its_tables(session: Session) -> Iterator[None]:
    """procrastinate's functions and triggers name its tables without their schema."""
    session.execute(text(f"SET LOCAL search_path TO {queue.SCHEMA}"))
    yield
    session.execute(text("SET LOCAL search_path TO DEFAULT"))
