"""What the crawler remembers of host-categories, as rows and as values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from pyroaring import BitMap
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler.report import Memory, Tier, Turn
from mm_lib.model.state import CrawlSchedule, HostCategoryCrawl

_BATCH = 500  # below SQLite's limit of parameters


def read_memories(session: Session, host_category_ids: Sequence[int]) -> dict[int, Memory]:
    """What the crawler remembers of these host-categories."""
    turns: dict[int, dict[Tier, Turn]] = defaultdict(dict)
    kept: dict[int, HostCategoryCrawl] = {}
    for part in _batches(host_category_ids):
        of_schedule = CrawlSchedule.host_category_id.in_(part)
        for row in session.scalars(select(CrawlSchedule).where(of_schedule)):
            turns[row.host_category_id][row.tier] = Turn(
                row.asked_at, row.changes_until, row.interval_seconds, row.next_due_at
            )
        of_crawl = HostCategoryCrawl.host_category_id.in_(part)
        kept.update((row.host_category_id, row) for row in session.scalars(select(HostCategoryCrawl).where(of_crawl)))
    return {id_: _memory(row, turns.get(id_, {})) for id_, row in kept.items()}


def _batches(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while part := list(islice(rest, _BATCH)):
        yield part


def _memory(row: HostCategoryCrawl, turns: Mapping[Tier, Turn]) -> Memory:
    return Memory(
        BitMap.deserialize(row.ask_again),
        BitMap.deserialize(row.sampled),
        BitMap.deserialize(row.unknown),
        row.unknown_since,
        row.unknown_tries,
        row.synced_at,
        row.sync_seconds,
        turns,
    )
