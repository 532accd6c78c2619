"""A whole MirrorManager2 database into ours, in the caller's transaction: all of it or nothing."""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.orm import Session

from mm_lib.importers.mirrormanager2 import carried, content, hosts, people, rest
from mm_lib.importers.mirrormanager2.carried import Progress
from mm_lib.importers.mirrormanager2.source import Source
from mm_lib.importers.mirrormanager2.writer import Writer
from mm_lib.importers.report import Outcome, Report
from mm_lib.model.accounts import AuditEvent


def run(source: Source, session: Session, actor: str, progress: Progress) -> Report:
    """Take everything. What is there already is brought up to date; nothing is taken away."""
    report = Report()
    writer = Writer(session, report)
    progress("content", 0)
    taken = content.take(source, writer)
    progress("people", 0)
    users = people.take_users(source, writer)
    sites = people.take_sites(source, writer, users)
    progress("hosts", 0)
    ours = hosts.take(source, writer, sites)
    hosts.take_details(source, writer, ours)
    hosts.take_reserved(source, writer, ours, taken.anywhere)
    carried.take(source, writer, ours, taken, progress)
    progress("statistics", 0)
    rest.take_geography(source, writer)
    rest.take_statistics(source, writer, taken.repositories)
    rest.tell_what_is_left(source, writer)
    _record(writer, actor)
    return report


def _record(writer: Writer, actor: str) -> None:
    """One event for the whole import: it may be tens of thousands of rows."""
    after = {outcome.value: writer.report.total(outcome) for outcome in Outcome}
    event = {
        "actor": actor,
        "action": "import mirrormanager2",
        "object_type": "registry",
        "object_name": "MirrorManager2",
        "after": after,
    }
    writer.connection.execute(insert(AuditEvent), [event])
