"""One log after the other into the statistics, each wholly or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.statistics import AccessLogRead
from mm_lib.settings import StatisticsSettings
from mm_lib.statistics import reading, record
from mm_lib.statistics.counting import Counters
from mm_lib.statistics.reading import Log, Progress
from mm_lib.statistics.tally import SALT_BYTES, Salts, Tally

KILLED = "a process that counted it was killed; there may be too little memory for statistics.processes"
PART = "is only the beginning of a log that was counted before; nothing of it is counted"
MANY_FIGURES = 40_000  # are written before more are counted; about 100 MB

Transaction = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True, slots=True)
class Read:
    """What came of one log."""

    name: str
    lines: int = 0  # new ones
    requests: int = 0  # of them
    others: int = 0  # about something else than a repository
    malformed: int = 0
    known_bytes: int = 0  # that were counted before
    days: tuple[date, ...] = ()
    problem: str = ""


class Ingest:
    """A run. Nobody else may run at the same time."""

    def __init__(
        self, transaction: Transaction, settings: StatisticsSettings, asn_database: Path | None = None
    ) -> None:
        self._transaction = transaction
        self._settings = settings
        with transaction() as session:
            self._salts = Salts(record.known_salts(session), secrets.token_bytes(SALT_BYTES))
        embargoed = frozenset(settings.embargoed_countries)
        self.counters = Counters(self._salts, embargoed, settings.processes, asn_database)

    def read(self, log: Log) -> Read:
        """Count what is new in a log. What cannot be read is told and leaves nothing behind."""
        try:
            with self._transaction() as session:
                return self._read(session, log)
        except reading.UNREADABLE as error:
            return Read(log.name, problem=f"cannot be read: {error}")
        except BrokenProcessPool:
            return Read(log.name, problem=KILLED)

    def _read(self, session: Session, log: Log) -> Read:
        with log.open() as stream:  # once: the next time another log may be called so
            head = reading.head(stream)
            if head is None:
                return Read(log.name)
            known = self._known(session, head)
            stream.seek(0)
            beginning = reading.beginning(stream)
            stream.seek(0)
            place = reading.find(stream, known)
            same = [row.length for row in known.values() if beginning and row.beginning == beginning]
            if _is_part(stream, place, same):
                return Read(log.name, problem=PART)
            tally, days = Tally(), set[date]()
            stream.seek(place.length)
            progress = Progress(place.length, place.digest.copy())
            for counted in self.counters.count(reading.portions(stream, progress)):
                tally.add(counted)
                if len(tally) > MANY_FIGURES:
                    days |= self._write(session, tally)
            days |= self._write(session, tally)
        row = known.get((place.length, place.digest.hexdigest()))
        if tally.lines:
            record.publish(session, days, self._settings.minimum_requests)
            if row is None:
                row = AccessLogRead(head=head, lines=0, malformed=0)
                session.add(row)
            row.beginning = beginning
        if row is not None:  # also when nothing is new: as long as a log lies there, it must not be forgotten
            _remember(row, progress, log, tally)
        requests = tally.lines - tally.malformed - tally.others
        return Read(log.name, tally.lines, requests, tally.others, tally.malformed, place.length, tuple(sorted(days)))

    def _known(self, session: Session, head: int) -> dict[tuple[int, str], AccessLogRead]:
        rows = session.scalars(select(AccessLogRead).where(AccessLogRead.head == head))
        return {(row.length, row.digest): row for row in rows}

    def _write(self, session: Session, tally: Tally) -> set[date]:
        """Bring what was counted so far to the database."""
        figures = tally.take()
        days = {day for day, _, _ in figures}
        record.add(session, figures, {day: self._salts.of(day) for day in days}, datetime.now(UTC))
        return days


def _is_part(stream: IO[bytes], place: Progress, lengths: Sequence[int]) -> bool:
    """Whether this is the beginning of a log that was read further: cut off, or just being copied here once more."""
    longest = max(lengths, default=0)
    return place.length < longest and not reading.reaches(stream, longest)


def _remember(row: AccessLogRead, progress: Progress, log: Log, tally: Tally) -> None:
    """How far the log was read, so that this is never counted again."""
    row.length, row.digest = progress.length, progress.digest.hexdigest()
    row.name, row.read_at = log.name, datetime.now(UTC)
    row.lines += tally.lines
    row.malformed += tally.malformed
