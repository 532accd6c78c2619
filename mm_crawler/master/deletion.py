"""Which directories that are gone from the master are forgotten, and when so many are gone that nothing is believed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mm_crawler.master.diff import Changes
from mm_crawler.master.scanned import parent


class TooManyVanished(Exception):
    """The master looks as if it were half there; the message says what to do."""


@dataclass(frozen=True)
class DeletionPolicy:
    """What a scan may forget."""

    max_share: float  # of the known directories that may be gone at once, and be forgotten at once
    delete: bool = False  # forget what is gone
    force: bool = False  # however much that is


def decide(changes: Changes, known: Collection[str], kept_before: int, policy: DeletionPolicy) -> dict[str, int]:
    """The directories to forget: path -> id, always with all that is below them.

    `kept_before` directories were gone at the last scan already and were kept. Raises TooManyVanished.
    """
    if not policy.force:
        _refuse_half_a_master(changes, kept_before, policy.max_share)
    if not policy.delete or not changes.vanished:
        return {}
    doomed = _whole_subtrees(changes.vanished, known)
    if not policy.force and len(doomed) > policy.max_share * changes.known:
        raise TooManyVanished(_refusal(len(doomed), changes.known, policy.max_share))
    return doomed


def _refuse_half_a_master(changes: Changes, kept_before: int, max_share: float) -> None:
    gone = len(changes.vanished)
    if gone and changes.top_is_empty:
        raise TooManyVanished(f"the top directory is empty, but {gone} directories are known. {_OVERRIDE}")
    if gone - kept_before > max_share * changes.known:
        raise TooManyVanished(_refusal(gone - kept_before, changes.known, max_share))


_OVERRIDE = "Nothing was recorded. If this is right, run again with --force."


def _refusal(count: int, known: int, max_share: float) -> str:
    share = f"{count} of {known} known directories are gone ({count / known:.0%})"
    return f"{share}, more than the {max_share:.0%} that may go at once. {_OVERRIDE}"


def _whole_subtrees(vanished: Mapping[str, int], known: Collection[str]) -> dict[str, int]:
    """Those below which nothing stays: something excluded or hidden keeps what is above it."""
    needed: set[str] = set()
    for path in known:
        if path not in vanished:
            while path and (path := parent(path)) not in needed:
                needed.add(path)
    return {path: id_ for path, id_ in vanished.items() if path not in needed}
