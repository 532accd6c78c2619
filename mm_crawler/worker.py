"""mm-crawler worker's inside: takes crawl jobs from the queue and does them, until it is told to end.

Beside the jobs it looks after what others left: jobs of workers that were killed are put back, requested checks are put
into the queue, and old jobs are forgotten. Every worker does that, so none is special.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Job, Status
from sqlalchemy import text

from mm_crawler import crawling, jobs
from mm_crawler.alone import Stop
from mm_crawler.crawling import CrawlSummary, Options, Silent
from mm_crawler.jobs import Crashed, HostBusy, Interrupted, Retry, Work
from mm_crawler.report import HostDecision, HostReport, Tier
from mm_crawler.requested import NOTHING
from mm_lib import locks
from mm_lib.cli.common import Program
from mm_lib.model.hosts import HostCategory
from mm_lib.services import crawl_queue
from mm_lib.services import jobs as checks

HAND_OVER_SECONDS = 5.0  # between looks for requested checks
PRUNE_SECONDS = 3600.0
DRAIN_SECONDS = 0.2  # between looks whether anything can be started
_RECOVERY = "recovery of jobs"  # two workers must not put one job back twice
# As procrastinate chooses: a job waits for those of the same host that run or come before it.
_STARTABLE = text(
    "SELECT count(*) FROM job_queue.procrastinate_jobs job WHERE status = 'todo' AND queue_name = 'crawl'"
    " AND coalesce(scheduled_at, now()) <= now() AND NOT EXISTS (SELECT 1 FROM job_queue.procrastinate_jobs other"
    " WHERE other.lock = job.lock AND (other.status = 'doing' OR (other.status = 'todo'"
    " AND (other.priority > job.priority OR (other.priority = job.priority AND other.id < job.id)))))"
)

logger = logging.getLogger(__name__)


class _Told(Silent):
    """Logs what became of each host."""

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """A line per category."""
        for category in decision.categories if decision else ():
            logger.info("%s: %s: %s (%.1f s)", report.name, category.health, category.reason, report.seconds)


class Worker:
    """Does jobs, some at once."""

    def __init__(self, program: Program, concurrency: int) -> None:
        self._program = program
        self._settings = program.settings.crawler
        self._concurrency = concurrency
        self._threads = ThreadPoolExecutor(concurrency, "crawl")
        self._lease = timedelta(seconds=self._settings.host_timeout + self._settings.worker_stalled)
        self._stopping = False
        self._crawls: set[Stop] = set()
        # One connection listens, and one for each of what runs beside the jobs.
        connector = PsycopgConnector(**jobs.connection_arguments(program.settings.database), max_size=4)
        self._app: App = jobs.make_app(connector)
        self._app.task(name=jobs.TASK, queue=jobs.QUEUE, pass_context=True, retry=Retry())(self._do)

    def run(self, *, drain: bool) -> None:
        """Until a signal ends it, or, to drain the queue, until no job can be started."""
        asyncio.run(self._run(drain=drain))

    async def _run(self, *, drain: bool) -> None:
        async with self._app.open_async():
            await self._recover()
            await self._hand_over()
            working = asyncio.create_task(self._drain() if drain else self._work())
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._stop, working)
            beside = [
                asyncio.create_task(_every(self._settings.worker_stalled / 3, self._recover)),
                asyncio.create_task(_every(HAND_OVER_SECONDS, self._hand_over)),
                asyncio.create_task(_every(PRUNE_SECONDS, self._prune)),
            ]
            try:
                await working
            except asyncio.CancelledError:
                logger.info("stopped by a signal")
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                self._threads.shutdown()
        if not (drain or self._stopping):
            raise Crashed("The worker lost its database; the log says why.")

    def _stop(self, working: asyncio.Task[None]) -> None:
        """No new job from now on; those that run have a while left."""
        self._stopping = True
        working.cancel()
        asyncio.get_running_loop().call_later(self._settings.worker_grace, self._end_crawls)

    def _end_crawls(self) -> None:
        for stop in self._crawls:
            stop.now()

    async def _work(self, *, wait: bool = True) -> None:
        await self._app.run_worker_async(
            queues=[jobs.QUEUE],
            concurrency=self._concurrency,
            wait=wait,
            update_heartbeat_interval=self._settings.worker_heartbeat,
            stalled_worker_timeout=self._settings.worker_stalled,
            install_signal_handlers=False,
        )

    async def _drain(self) -> None:
        await self._work(wait=False)
        while await asyncio.to_thread(self._count_startable):
            await asyncio.sleep(DRAIN_SECONDS)
            await self._work(wait=False)

    def _count_startable(self) -> int:
        """Jobs that wait for nothing: one of a host waits for the one before it."""
        with self._program.reading() as session:
            return session.scalar(_STARTABLE) or 0

    # ------------------------------------------------------------ one job

    async def _do(self, context: JobContext, /, **arguments: Any) -> None:
        """One job. The crawl runs in a thread."""
        stop = Stop()
        self._crawls.add(stop)
        try:
            crawl = partial(self._crawl, context.job, Work(**arguments), stop)
            await asyncio.get_running_loop().run_in_executor(self._threads, crawl)
        finally:
            self._crawls.discard(stop)

    def _crawl(self, job: Job, work: Work, stop: Stop) -> None:
        """Raises Interrupted, HostBusy, Crashed, or what the crawl raised: then the job is tried again."""
        check_id = work.check_id
        if check_id is not None and not self._begin(check_id):
            return
        tier = None if work.tier == jobs.DUE else Tier(work.tier)
        try:
            summary = crawling.crawl(self._program, work.selection, tier, Options(stop=stop), _Told())
            _judge(summary)
        except (Interrupted, HostBusy):
            with self._program.transaction() as session:
                jobs.count_no_try(session, job.id)
            raise
        except Exception as error:
            logger.exception("job %s crashed, try %d of %d", job.id, job.attempts + 1, jobs.TRIES)
            if check_id is not None and jobs.is_last_try(job):
                with self._program.transaction() as session:
                    checks.give_up(session, check_id, datetime.now(UTC), str(error))
            raise
        if check_id is not None:
            with self._program.transaction() as session:
                checks.finish(session, check_id, datetime.now(UTC), result_of(summary))

    def _begin(self, check_id: int) -> bool:
        with self._program.transaction() as session:
            return checks.begin(session, check_id, datetime.now(UTC), self._lease)

    # ------------------------------------------------------------ beside the jobs

    async def _recover(self) -> None:
        """Put back the jobs of workers that have not been heard of for too long."""
        with locks.opened(self._program.settings.database) as held:
            if await asyncio.to_thread(held.take, _RECOVERY):
                return
            stalled = await self._app.job_manager.get_stalled_jobs(
                queue=jobs.QUEUE, seconds_since_heartbeat=self._settings.worker_stalled
            )
            for job in stalled:
                if jobs.is_last_try(job):
                    logger.error("job %s ended its worker %d times; it is not tried again", job.id, jobs.TRIES)
                    await self._app.job_manager.finish_job(job, Status.FAILED, delete_job=False)
                else:
                    logger.warning("the worker of job %s is gone; the job is put back", job.id)
                    await self._app.job_manager.retry_job(job)

    async def _hand_over(self) -> None:
        """Put requested checks into the queue."""
        for order in await asyncio.to_thread(self._requested):
            try:
                await self._app.configure_task(jobs.TASK, **order.settings).defer_async()
            except AlreadyEnqueued:
                logger.debug("%s is waiting in the queue", order.work.key)

    def _requested(self) -> list[jobs.Order]:
        with self._program.transaction() as session:
            found = checks.hand_over(session, datetime.now(UTC), self._lease)
            return [
                jobs.order_for(check, session.get_one(HostCategory, check.host_category_id).host_id) for check in found
            ]

    async def _prune(self) -> None:
        await asyncio.to_thread(self._forget)

    def _forget(self) -> None:
        days = self._settings.keep_jobs_days
        with self._program.transaction() as session:
            crawl_queue.prune(session, days)
            checks.prune(session, datetime.now(UTC) - timedelta(days=days))


def _judge(summary: CrawlSummary) -> None:
    if summary.stopped:
        raise Interrupted
    if summary.busy:
        raise HostBusy
    if summary.problem:
        raise Crashed(summary.problem)


def result_of(summary: CrawlSummary) -> str:
    """In one line."""
    return "; ".join(str(row["result"]) for row in summary.rows) or NOTHING


async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    """Again and again; what fails is said and tried again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await do()
        except Exception:
            logger.exception("a look after the queue failed; the next one is in %.0f s", seconds)
