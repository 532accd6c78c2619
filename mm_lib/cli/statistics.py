"""mm-admin statistics: who asks for what, from the redirector's access logs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from mm_lib.cli.common import Failure, Group, Program, example, json_option, show, wait_option
from mm_lib.locks import held

LOCK = "statistics"
MANY_MALFORMED = 0.01  # of the new lines of a log; more are told where cron mails it


@click.group(cls=Group)
def statistics() -> None:
    """Who asks for what, and from where: counted from the redirector's access logs."""


@statistics.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, path_type=Path), metavar="FILE..."
)
@wait_option
@json_option
@click.pass_obj
@example("mm-admin statistics ingest /var/log/mirrormanager/")
def ingest(program: Program, files: tuple[Path, ...], wait: float, as_json: bool) -> None:
    """Count the requests in access logs: files, directories of them, or "-" for standard input.

    Logs may be plain or compressed with gzip, xz or zstd. What was counted before is not counted again, though the
    file was rotated, renamed or compressed since, or has grown. Lines that cannot be read are counted and told; when
    they are more than 1 % of a log's new lines, as a warning. No address of a client is kept. Exit code 1: a file could
    not be read; the others were.
    """
    from mm_lib.statistics.ingest import Ingest  # numpy takes a while to load
    from mm_lib.statistics.reading import logs

    with held(program.settings.database, LOCK, wait=wait):
        run = Ingest(program.transaction, program.settings.statistics, program.settings.geo.asn_database)
        with run.counters:
            found = [run.read(log) for log in logs(files)]
    rows = [asdict(read) | {"days": [day.isoformat() for day in read.days]} for read in found]
    show(rows, ("name", "lines", "requests", "others", "malformed", "known_bytes", "days", "problem"), as_json)
    for read in found:
        if read.malformed > MANY_MALFORMED * read.lines:
            message = f"warning: {read.name}: {read.malformed} of {read.lines} new lines cannot be read"
            click.echo(message, err=True)
    if any(read.problem for read in found):
        raise Failure("Not every log could be read.", 1)


@statistics.command()
@wait_option
@json_option
@click.pass_obj
@example("mm-admin statistics expire")
def expire(program: Program, wait: float, as_json: bool) -> None:
    """Close days for which no lines come in any more, and delete figures that were kept for long enough."""
    from mm_lib.statistics.record import expire as let_go

    with held(program.settings.database, LOCK, wait=wait), program.transaction() as session:
        done = let_go(session, program.settings.statistics, datetime.now(UTC))
    rows = [{"what": "days closed", "number": done.closed_days}]
    rows += [{"what": f"figures by {level} deleted", "number": number} for level, number in done.figures.items()]
    rows.append({"what": "logs forgotten", "number": done.logs})
    show(rows, ("what", "number"), as_json)
