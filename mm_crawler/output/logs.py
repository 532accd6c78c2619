"""A log per mirror and run, as text and as JSON lines, written while the crawl goes on, in a ring per mirror and tier.

Lines reach the disk at most FLUSH_AFTER seconds after they were noted, whole ones only and each in one write, so what
a killed crawler leaves can be read. No file stays open: hundreds of mirrors are asked at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mm_crawler.explain import Explainer
from mm_crawler.notes import NO_NOTES, Notes
from mm_crawler.report import CategoryReport, HostDecision, HostReport, HostTask, Tier
from mm_lib.services import crawl_logs
from mm_lib.services.crawl_logs import LINES, TEXT

FLUSH_AFTER = 1.0  # seconds
_BUFFER = 200  # notes that are kept in memory at most
_SHORTENED = 2000  # characters of one value
_ORDER = tuple(Tier)  # from the canary to the full crawl
_NOT_ASKED = "none"  # what stands for the tier of a mirror that was not asked

_encode = json.JSONEncoder(default=str).encode  # made once: a crawl notes thousands of lines a second

logger = logging.getLogger(__name__)


class Limits(NamedTuple):
    """How much is kept."""

    logs: int  # of a mirror and tier
    bytes: int  # of each of a log's two files; how the crawl ended is written in any case


class RunLogs:
    """The logs of one run. Without a directory none are written."""

    def __init__(self, directory: Path | None, limits: Limits, run_id: int, started_at: datetime) -> None:
        self._directory = directory
        self._limits = limits
        self._run_id = run_id
        self._started_at = started_at
        self._open: dict[int, HostLog] = {}
        self._complained = False

    def name(self, host_id: int) -> str:
        """The name of the mirror's log; empty when there is none."""
        log = self._open.get(host_id)
        return log.name if log else ""

    def begin(self, tasks: Sequence[HostTask]) -> None:
        """Nothing is written of mirrors that nobody got round to ask."""

    def notes(self, task: HostTask) -> Notes:
        """The mirror's log, opened."""
        tiers = {category.tier for category in task.categories}
        tier = max(tiers, key=_ORDER.index).value if tiers else _NOT_ASKED
        log = self._start(task.host_id, task.name, task.site, tier)
        if log is None:
            return NO_NOTES
        log.explainer.begin([task])
        return log

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """Write how it ended."""
        log = self._open.pop(report.host_id, None) or self._start(report.host_id, report.name, report.site, _NOT_ASKED)
        if log is not None:
            self._open.pop(report.host_id, None)
            log.end(report, decision)

    def _start(self, host_id: int, host: str, site: str, tier: str) -> HostLog | None:
        if self._directory is None:
            return None
        name = crawl_logs.make_name(self._started_at, self._run_id, tier)
        try:
            folder = make_folder(self._directory, host_id, host)
            prune(folder, tier, self._limits.logs, keep=name)
            log = HostLog(folder / name, self._limits.bytes)
        except OSError as error:
            if not self._complained:  # it will be the same for all of them
                logger.warning("no log of %s is written (crawler.log_directory): %s", host, error)
            self._complained = True
            return None
        log.note("begin", host=host, host_id=host_id, site=site, run=self._run_id, tier=tier)
        self._open[host_id] = log
        return log


class HostLog:
    """One log while it is written. Implements Notes: it never raises, and a disk that is full costs the log only."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.name = path.name
        self.explainer = Explainer(self._say)
        self._text = _File(path.with_name(path.name + TEXT), max_bytes)
        self._lines = _File(path.with_name(path.name + LINES), max_bytes)
        self._waiting = 0
        self._second, self._stamp = 0, ""
        self._timer: asyncio.TimerHandle | None = None

    def note(self, event: str, **fields: object) -> None:
        """Take it down in both files."""
        self._write(event, fields)
        if self._text.full:
            self._text.left_out += 1
            return
        told = ", ".join(f"{name} {value}" for name, value in fields.items() if value != "")
        self._say(f"{event}: {told}")

    def end(self, report: HostReport, decision: HostDecision | None) -> None:
        """What was found and what follows; the last line says that the log is whole."""
        self._text.reserve()
        self._lines.reserve()
        for file in (self._text, self._lines):
            if file.left_out:
                self._write("left out", {"lines": file.left_out, "file": file.path.name})
                self._say(f"{file.left_out} lines were left out of {file.path.name}: crawler.log_max_bytes")
        self.explainer.tell(report, decision)
        for category in report.categories:
            for kind, evidence in category.evidence:
                self._write("evidence", {"kind": kind, **evidence._asdict()})
            self._write("category", _found(category, decision))
        self._say(f"done in {report.seconds:.1f} s" if decision else "done, but not kept")
        self._write("end", {"seconds": round(report.seconds, 3), "kept": decision is not None})
        self.flush()

    def flush(self) -> None:
        """Bring all lines to the disk."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = 0
        self._text.flush()
        self._lines.flush()

    def _say(self, line: str) -> None:
        """A line for people."""
        second = int(time.time())
        if second != self._second:
            self._second, self._stamp = second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"
        self._put(self._text, f"{self._stamp} {_printable(line)}")

    def _write(self, event: str, fields: dict[str, object]) -> None:
        """A line for programs."""
        if self._lines.full:
            self._lines.left_out += 1
        else:
            entry = {"at": round(time.time(), 3), "event": event, **fields}
            self._put(self._lines, _encode(entry))

    def _put(self, file: _File, line: str) -> None:
        file.add(line)
        self._waiting += 1
        if self._waiting >= _BUFFER:
            self.flush()
        elif self._timer is None:
            self._flush_later()

    def _flush_later(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)
        except RuntimeError:  # there is no loop: nobody would call us
            self.flush()


class _File:
    """Appends whole lines, up to a limit; what comes after reserve() is written in any case."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.left_out = 0
        self._room = max_bytes
        self._buffer: list[str] = []
        path.touch()
        self._room -= path.stat().st_size  # a second job of the same run goes on with the log

    @property
    def full(self) -> bool:
        """No further line is taken."""
        return self._room <= 0

    def reserve(self) -> None:
        """From now on everything is taken."""
        self._room = 1 << 62

    def add(self, line: str) -> None:
        """Take a line, or count it."""
        if self.full:
            self.left_out += 1
            return
        self._buffer.append(line)
        self._room -= len(line) + 1

    def flush(self) -> None:
        """Write what was taken; if that cannot be done, the log ends here."""
        if not self._buffer:
            return
        data = "".join(f"{line}\n" for line in self._buffer).encode("utf-8", "backslashreplace")
        self._buffer.clear()
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(handle, data)
            finally:
                os.close(handle)
        except OSError as error:
            logger.warning("%s cannot be written: %s", self.path, error)


def make_folder(directory: Path, host_id: int, host: str) -> Path:
    """The mirror's folder, made if need be, and renamed when the mirror was. Raises OSError."""
    wanted = directory / crawl_logs.folder_name(host_id, host)
    found = crawl_logs.find_folder(directory, host_id)
    if found is None:
        wanted.mkdir(parents=True, exist_ok=True)
    elif found != wanted:
        found.rename(wanted)
    return wanted


def prune(folder: Path, tier: str, logs: int, keep: str) -> None:
    """Remove the oldest logs of a tier, so that with the one that is about to be written there are so many."""
    names = {path.stem for path in folder.glob(f"*-{tier}{LINES}")} | {
        path.stem for path in folder.glob(f"*-{tier}{TEXT}")
    }
    for name in sorted(names - {keep}, reverse=True)[logs - 1 :]:
        for ending in (TEXT, LINES):
            (folder / f"{name}{ending}").unlink(missing_ok=True)


def _found(report: CategoryReport, decision: HostDecision | None) -> dict[str, object]:
    decided = {each.host_category_id: each for each in decision.categories} if decision else {}
    found: dict[str, Any] = {
        "host_category": report.host_category_id,
        "outcome": report.outcome.value,
        "reason": report.reason,
        "url": report.base_url,
        "requests": report.requests,
        "seconds": round(report.seconds, 3),
        **report.counts,
    }
    follows = decided.get(report.host_category_id)
    return found | ({"health": follows.health.value, "result": follows.reason} if follows else {})


def _printable(line: str) -> str:
    """On one line, whatever a mirror put into its answer."""
    shown = line[:_SHORTENED]
    if shown.isprintable():
        return shown
    return "".join(character if character.isprintable() else "?" for character in shown)
