"""Logs of crawls, one per mirror and run: where they lie, which there are, and what they say. mm-crawler writes them.

Each log is two files: NAME.log for people and NAME.jsonl for programs, in a folder per mirror whose name begins with
the host's id. They hold all addresses that were asked, private ones as well: show them only to those who speak for the
site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from mm_lib.services.errors import NotFound

TEXT, LINES = ".log", ".jsonl"
_NAME = re.compile(r"(\d{8}T\d{6}Z)-(\d+)-([a-z]+)")
_STAMP = "%Y%m%dT%H%M%SZ"
_UNSAFE = re.compile(r"[^a-z0-9.-]+")
_LAST_LINE = 4096  # the end of a log fits in so much
_LONGEST_LABEL = 80


class CrawlLog(NamedTuple):
    """One log."""

    name: str
    started_at: datetime
    run_id: int
    tier: str
    bytes: int
    finished: bool  # False: the crawl goes on, or was killed


def make_name(started_at: datetime, run_id: int, tier: str) -> str:
    """The name of a run's logs; later ones sort later."""
    return f"{started_at.astimezone(UTC):{_STAMP}}-{run_id}-{tier}"


def folder_name(host_id: int, host: str) -> str:
    """The id, by which the folder is found, and a name that people recognise."""
    label = _UNSAFE.sub("-", host.lower()).strip(".-")[:_LONGEST_LABEL]
    return f"{host_id}-{label or 'host'}"


def find_folder(directory: Path, host_id: int) -> Path | None:
    """The mirror's folder, whatever it was called when it was made; None when there is none."""
    return next(iter(sorted(directory.glob(f"{host_id}-*"))), None)


def list_logs(directory: Path | None, host_id: int) -> list[CrawlLog]:
    """A mirror's logs, the newest first."""
    folder = find_folder(directory, host_id) if directory else None
    if folder is None:
        return []
    found = [_look(path) for path in folder.glob(f"*{LINES}")]
    return sorted((log for log in found if log), reverse=True)


def _look(path: Path) -> CrawlLog | None:
    match = _NAME.fullmatch(path.stem)
    if not match:
        return None
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _LAST_LINE))
            last = stream.read()
    except FileNotFoundError:  # it was the oldest, and a newer one took its place
        return None
    started_at = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    return CrawlLog(path.stem, started_at, int(match[2]), match[3], size, b'"event": "end"' in last)


def read_text(directory: Path | None, host_id: int, name: str) -> str:
    """A log for people. Raises NotFound."""
    return _read(directory, host_id, name, TEXT).decode("utf-8", "replace")


def read_lines(directory: Path | None, host_id: int, name: str) -> list[dict[str, Any]]:
    """A log for programs. A last line that was cut off when the crawler was killed is left out. Raises NotFound."""
    return list(_entries(_read(directory, host_id, name, LINES)))


def _entries(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _read(directory: Path | None, host_id: int, name: str, ending: str) -> bytes:
    folder = find_folder(directory, host_id) if directory and _NAME.fullmatch(name) else None
    try:
        if folder is not None:
            return (folder / f"{name}{ending}").read_bytes()
    except FileNotFoundError:
        pass
    raise NotFound("There is no such log: only the newest of each mirror are kept (crawler.log_keep).")
