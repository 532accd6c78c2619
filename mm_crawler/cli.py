"""mm-crawler: scan the master, crawl the mirrors."""

from __future__ import annotations

from pathlib import Path

import click

from mm_crawler.jobs_command import enqueue, show_jobs, worker
from mm_crawler.master.command import master
from mm_crawler.master.update_file import update_file
from mm_crawler.mirrors import mirrors
from mm_crawler.propagation import propagation
from mm_lib.cli.common import Group, Program, config_option


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@config_option
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Find out what mirrors should carry (master) and what they do carry (mirrors)."""
    ctx.obj = Program(config)


main.add_command(master)
main.add_command(mirrors)
main.add_command(propagation)
main.add_command(enqueue)
main.add_command(worker)
main.add_command(show_jobs)
main.add_command(update_file)
