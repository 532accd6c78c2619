"""Crawls as jobs in PostgreSQL, by procrastinate: one per host and category, done by workers on any number of machines.

A job runs the same crawl as `mm-crawler mirrors`. What keeps them apart: the queue starts no second job of a host, and
the crawl itself holds a lock of the host, which `mm-crawler mirrors` respects, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import Any, NamedTuple

from procrastinate import App, BaseRetryStrategy, RetryDecision, SyncPsycopgConnector
from procrastinate.connector import BaseConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Job
from sqlalchemy import Engine, make_url, text
from sqlalchemy.orm import Session

from mm_crawler import inputs
from mm_crawler.report import Tier
from mm_crawler.selection import Selection
from mm_lib.services import queue
from mm_lib.services.errors import InvalidValue
from mm_lib.services.jobs import Check
from mm_lib.settings import DatabaseSettings

QUEUE = TASK = "crawl"
DUE = "due"  # the tier of a job that does what is due when it starts
ON_REQUEST = 40  # somebody waits for it
PRIORITY = {Tier.CANARY: 30, Tier.METADATA: 20, Tier.INCREMENTAL: 10, Tier.FULL: 0}
TRIES = 5
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0  # seconds before a job that crashed is tried again
BUSY_PAUSE = 30.0  # seconds before a host is tried again that another program was asking


class Interrupted(Exception):
    """The worker has to end; another one does the job."""


class HostBusy(Exception):
    """Another program asks this host right now."""


class Crashed(Exception):
    """The crawl failed, not the mirror."""


class Retry(BaseRetryStrategy):
    """A job that crashed is tried again, later and later. A mirror that fails is no crash, but a result."""

    def __init__(self) -> None:
        self._rng = SystemRandom()

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """When to try again; None: no more."""
        if isinstance(exception, HostBusy):
            return _after(BUSY_PAUSE)
        if isinstance(exception, Interrupted):
            return _after(0)
        if is_last_try(job):
            return None
        return _after(min(FIRST_PAUSE * 2**job.attempts, LONGEST_PAUSE) * self._rng.uniform(0.8, 1.2))


def _after(seconds: float) -> RetryDecision:
    return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=seconds))


def count_no_try(session: Session, id_: int | None) -> None:
    """A job that only had to wait is put back, and procrastinate counts that as a try: take it back beforehand."""
    session.execute(text("UPDATE job_queue.procrastinate_jobs SET attempts = attempts - 1 WHERE id = :id"), {"id": id_})


def is_last_try(job: Job) -> bool:
    """After this one it counts as failed."""
    return job.attempts + 1 >= TRIES


def require_queue(engine: Engine) -> None:
    """Raises InvalidValue where the database has no queue, and says what to do."""
    if not queue.supported(engine):
        raise InvalidValue(
            "database.url",
            "jobs for several machines need PostgreSQL. With SQLite, `mm-crawler mirrors` does all in one process.",
        )
    with engine.connect() as connection:
        problem = queue.problem(connection)
    if problem:
        raise InvalidValue("database.url", problem)


def connection_arguments(settings: DatabaseSettings) -> dict[str, Any]:
    """How procrastinate reaches its tables."""
    url = make_url(settings.url).set(drivername="postgresql").render_as_string(hide_password=False)
    return {"conninfo": url, "kwargs": {"options": f"-c search_path={queue.SCHEMA}"}, "min_size": 1}


def make_app(connector: BaseConnector) -> App:
    """procrastinate's side of the queue."""
    # What matters is told by our own lines and by `mm-crawler jobs`.
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    return App(connector=connector)


class Work(NamedTuple):
    """What a job is about: plain values, as they are kept as JSON."""

    host_category_id: int
    tier: str
    options: Mapping[str, Any]
    check_id: int | None = None  # of the request that it serves

    @property
    def selection(self) -> Selection:
        """What is crawled."""
        return Selection(
            host_categories=frozenset({self.host_category_id}),
            include_private=bool(self.options.get("include_private")),
            include_disabled=bool(self.options.get("include_disabled")),
            continents=tuple(self.options.get("continents", ())),
        )

    @property
    def key(self) -> str:
        """What is never twice in the queue."""
        return f"check {self.check_id}" if self.check_id else f"{self.tier} {self.host_category_id}"


class Order(NamedTuple):
    """A job that is to be put into the queue."""

    host_id: int
    priority: int
    work: Work

    @property
    def settings(self) -> dict[str, Any]:
        """As procrastinate wants it: two jobs with one lock never run at once."""
        return {
            "queue": QUEUE,
            "lock": f"host {self.host_id}",
            "queueing_lock": self.work.key,
            "priority": self.priority,
            "task_kwargs": self.work._asdict(),
        }


def plan_orders(session: Session, selection: Selection, tier: Tier | None, choose: inputs.Choose) -> list[Order]:
    """A job per host and category of the selection. Without tier: for those for which one is due."""
    options = _options(selection)
    return [
        Order(row.host_id, PRIORITY[tiers[0]], Work(row.host_category_id, tier or DUE, options))
        for row, tiers in inputs.chosen(session, selection, choose)
    ]


def order_for(check: Check, host_id: int) -> Order:
    """The job that serves a request, before all others. Its owner may ask about a host that is switched off."""
    options = _options(Selection(include_private=True, include_disabled=True))
    return Order(host_id, ON_REQUEST, Work(check.host_category_id, Tier.INCREMENTAL, options, check.id))


def _options(selection: Selection) -> dict[str, Any]:
    names = ("include_private", "include_disabled", "continents")
    return {name: value for name, value in asdict(selection).items() if name in names and value}


def enqueue(session: Session, settings: DatabaseSettings, orders: Sequence[Order]) -> int:
    """Put jobs into the queue, except those that are there already, waiting or running; returns how many."""
    query = "SELECT queueing_lock FROM job_queue.procrastinate_jobs WHERE status IN ('todo', 'doing')"
    there = set(session.scalars(text(query)))
    app = make_app(SyncPsycopgConnector(**connection_arguments(settings)))
    with app.open():
        return sum(_enqueue_one(app, order) for order in orders if order.work.key not in there)


def _enqueue_one(app: App, order: Order) -> bool:
    try:
        app.configure_task(TASK, **order.settings).defer()
    except AlreadyEnqueued:  # by somebody else, a moment ago
        return False
    return True
