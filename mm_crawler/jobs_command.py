"""mm-crawler enqueue, worker and jobs: crawls on several machines.

procrastinate takes a while to load, so only these commands do it, and not before they run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from mm_crawler import crawling
from mm_crawler.mirrors import selection_options
from mm_crawler.report import Tier
from mm_crawler.selection import Selection
from mm_lib.cli.common import Program, example, json_option, show
from mm_lib.services import crawl_queue

STATES = ("waiting", "running", "failed", "done")
COLUMNS = ("id", "state", "host", "category", "tier", "tries", "queued_at", "seconds", "worker")
JSON_COLUMNS = (*COLUMNS, "priority", "not_before", "started_at", "finished_at", "heartbeat")


@click.command()
@click.option("--tier", "named", type=click.Choice([tier.value for tier in reversed(Tier)]), help="Default: full.")
@click.option("--due", is_flag=True, help="What is due now for each host and category, by its schedule.")
@selection_options
@click.pass_obj
@example("mm-crawler enqueue --due")
def enqueue(program: Program, named: str | None, due: bool, **selected: Any) -> None:
    """Put a job per host and category into the queue; workers on any machine do them. Needs PostgreSQL.

    Jobs that are waiting or running already are not put there twice, so it can be run as often as you like.
    """
    from mm_crawler import jobs

    if named and due:
        raise click.UsageError("--tier and --due exclude each other.")
    jobs.require_queue(program.engine)
    tier = None if due else Tier(named or Tier.FULL)
    choose = crawling.choose(tier, program.settings.crawler, datetime.now(UTC))
    with program.reading() as session:
        orders = jobs.plan_orders(session, Selection(**selected), tier, choose)
        number = jobs.enqueue(session, program.settings.database, orders)
    there = f"; {len(orders) - number:,} were there already" if number < len(orders) else ""
    click.echo(f"Put {number:,} jobs into the queue{there}.")


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 100), metavar="N", help="Jobs at once. Default: crawler.worker_jobs."
)
@click.option("--drain", "--once", "drain", is_flag=True, help="End when no job can be started.")
@click.pass_obj
@example("mm-crawler worker --concurrency 8")
def worker(program: Program, concurrency: int | None, drain: bool) -> None:
    """Do the jobs in the queue, until SIGTERM. Run as many as you like, on any number of machines. Needs PostgreSQL.

    On SIGTERM no new job is started; after crawler.worker_grace seconds what still runs is put back into the queue.
    """
    from mm_crawler import jobs
    from mm_crawler.worker import Worker

    jobs.require_queue(program.engine)
    try:
        Worker(program, concurrency or program.settings.crawler.worker_jobs).run(drain=drain)
    except jobs.Crashed as error:
        raise click.ClickException(str(error)) from None


@click.command("jobs")
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES),
    multiple=True,
    help="Only these; can be repeated. Default: all but done.",
)
@click.option("--retry", "retried", type=int, metavar="ID", help="Put a job that failed back into the queue.")
@click.option("--prune", type=click.FloatRange(0), metavar="DAYS", help="Forget jobs that ended longer ago.")
@json_option
@click.pass_obj
@example("mm-crawler jobs --state failed")
def show_jobs(
    program: Program, states: tuple[str, ...], retried: int | None, prune: float | None, as_json: bool
) -> None:
    """Show the jobs in the queue: running ones first, then as they will start. Needs PostgreSQL."""
    from mm_crawler import jobs

    jobs.require_queue(program.engine)
    if retried is not None:
        with program.transaction() as session:
            crawl_queue.retry(session, retried)
        click.echo(f"Job {retried} is waiting again.")
    elif prune is not None:
        with program.transaction() as session:
            number = crawl_queue.prune(session, prune)
        click.echo(f"Forgot {number:,} jobs.")
    else:
        with program.reading() as session:
            found = crawl_queue.list_jobs(session, states or [state for state in STATES if state != "done"])
        show(found, JSON_COLUMNS if as_json else COLUMNS, as_json)
