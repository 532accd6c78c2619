"""Metadata that was refused: what was recorded of its directories before the scan stays as it is."""

from __future__ import annotations

from collections.abc import Mapping

from mm_crawler.master.diff import Changes
from mm_crawler.master.important import Findings
from mm_crawler.master.scanned import upwards


def hold_back(changes: Changes, findings: Findings, ids: Mapping[str, int]) -> None:
    """Take out of the changes what a refusal touches: the directory itself and, for an APT suite, all below it.

    Mirrors that still have the old, good state then count as up to date, and the next scan looks again.
    """
    if not findings.refused:
        return

    def held(path: str) -> bool:
        return path in findings.refused or any(part in findings.refused for part in upwards(path))

    held_ids = {id_ for path, id_ in ids.items() if held(path)}
    changes.changed = [state for state in changes.changed if not held(state.path)]
    changes.gone_files = [(id_, name) for id_, name in changes.gone_files if id_ not in held_ids]
    # The metadata of a repository lies below it, the index of an APT suite below the suite's Release file.
    changes.candidates = {
        path for path in changes.candidates if not held(path) and f"{path}/repodata".lstrip("/") not in findings.refused
    }
