"""What a run comes to: counts, what is not well, and who was slow; for people, for programs, and for the run's row."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mm_crawler.report import Outcome, Verdict

SLOWEST = 5
Row = Mapping[str, Any]  # of one host and category, as the table shows it


def figures(rows: Sequence[Row], outcome: str, seconds: float) -> dict[str, Any]:
    """A run in numbers, as JSON holds them."""
    hosts: dict[str, list[Row]] = {}
    for row in rows:
        hosts.setdefault(row["host"], []).append(row)
    slowest = sorted(hosts.items(), key=lambda item: -_seconds(item[1]))[:SLOWEST]
    return {
        "outcome": outcome,
        "seconds": round(seconds, 1),
        "hosts": len(hosts),
        "requests": sum(row["requests"] for row in rows),
        "outcomes": dict(Counter(row["outcome"] for row in rows)),
        "health": dict(Counter(row["health"] for row in rows if row["health"])),
        "directories": {verdict.value: sum(row[verdict.value] for row in rows) for verdict in Verdict},
        "slowest": [
            {"host": host, "seconds": round(_seconds(of), 1), "requests": sum(row["requests"] for row in of)}
            for host, of in slowest
        ],
    }


def _seconds(rows: Sequence[Row]) -> float:
    return float(sum(row["seconds"] for row in rows))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The same in words."""
    asked = f"{found['hosts']} mirrors in {found['seconds']:.0f} s with {found['requests']:,} requests"
    yield f"{found['outcome']}: {asked}"
    yield f"  how asking ended: {_counted(found['outcomes'], [each.value for each in Outcome])}"
    yield f"  health: {_counted(found['health'], found['health'])}"
    yield f"  directories: {_counted(found['directories'], [each.value for each in Verdict])}"
    slow = ", ".join(f"{each['host']} {each['seconds']} s" for each in found["slowest"])
    yield f"  slowest: {slow}"


def _counted(counts: Mapping[str, int], order: Sequence[str] | Mapping[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in order if counts.get(name)) or "none"


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Put the figures into a file in one step, for whoever collects them. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(found, stream, indent=2)
            os.fchmod(stream.fileno(), 0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
