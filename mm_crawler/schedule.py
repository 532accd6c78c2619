"""When a host is asked next for a category, and in which tier. Pure: the time is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from mm_crawler.report import Memory, Tier, Turn

ASKING = (Tier.FULL, Tier.INCREMENTAL, Tier.METADATA)  # tiers that look at directories, largest first
LARGEST_FIRST = (*ASKING, Tier.CANARY)
LOOKS_PER_SYNC = 4  # so often a mirror is looked at between two of its own fetches
LEARNING = 0.3  # weight of the latest gap in the learned period


class Bounds(NamedTuple):
    """Seconds between two crawls."""

    least: float
    most: float

    def keep(self, seconds: float) -> float:
        """The nearest allowed interval."""
        return min(max(seconds, self.least), self.most)


class Pace(NamedTuple):
    """How often mirrors are asked, as the settings say."""

    bounds: Mapping[Tier, Bounds]
    retry: float  # seconds between crawls of a mirror that cannot be reached


def learned(tier: Tier, memory: Memory, pace: Pace, now: datetime) -> float:
    """Seconds between crawls that fit the mirror's own period; one that stopped fetching is asked less and less."""
    if memory.synced_at is None:
        return pace.bounds[tier].least
    period = max(memory.sync_seconds or 0.0, (now - memory.synced_at).total_seconds())
    return pace.bounds[tier].keep(period / LOOKS_PER_SYNC)


def learn(memory: Memory, now: datetime) -> tuple[datetime, float | None]:
    """When it fetched and how often it does, after something new was seen."""
    if memory.synced_at is None:
        return now, memory.sync_seconds
    gap = (now - memory.synced_at).total_seconds()
    known = memory.sync_seconds
    return now, gap if known is None else (1 - LEARNING) * known + LEARNING * gap


def due(
    memory: Memory | None, changed_at: datetime | None, pace: Pace, now: datetime, *, failing: bool
) -> tuple[Tier, ...]:
    """The tiers that are due, largest first. `changed_at` is the master's latest change of the category.

    A change on the master is asked for as soon as the mirror can be expected to have it. While a mirror fails, that
    waits.
    """
    if memory is None or Tier.FULL not in memory.turns:
        return (Tier.FULL,)
    news = None if failing else changed_at
    return tuple(tier for tier in LARGEST_FIRST if _due_at(tier, memory, news, pace, now) <= now)


def _due_at(tier: Tier, memory: Memory, changed_at: datetime | None, pace: Pace, now: datetime) -> datetime:
    turn = memory.turns.get(tier)
    if turn is None:
        return now
    if tier not in (Tier.INCREMENTAL, Tier.METADATA) or turn.asked_at is None or changed_at is None:
        return turn.next_due_at
    if turn.changes_until is not None and changed_at <= turn.changes_until:
        return turn.next_due_at
    return min(turn.next_due_at, turn.asked_at + timedelta(seconds=learned(tier, memory, pace, now)))


def after_success(
    tier: Tier, memory: Memory, until: datetime | None, pace: Pace, now: datetime, *, synced: bool
) -> dict[Tier, Turn]:
    """The turns after a crawl that found something out. A tier stands for the smaller ones, too.

    When something new was seen, the interval is what was learned; else it doubles. `memory` has learned already.
    """
    turns = dict(memory.turns)
    for each in LARGEST_FIRST[LARGEST_FIRST.index(tier) :]:
        interval = _next_interval(each, memory, pace, now, synced=synced)
        before = memory.changes_until(each)
        turns[each] = Turn(now, until or before, interval, now + timedelta(seconds=interval))
    return turns


def _next_interval(tier: Tier, memory: Memory, pace: Pace, now: datetime, *, synced: bool) -> float:
    if tier not in memory.turns:
        return pace.bounds[tier].least
    if synced:
        return learned(tier, memory, pace, now)
    return pace.bounds[tier].keep(2 * memory.turns[tier].interval)


def after_canary(memory: Memory, pace: Pace, now: datetime, *, returned: bool) -> dict[Tier, Turn]:
    """The turns after a canary that lives. A mirror that had left is looked at properly at once."""
    turns = {**memory.turns, Tier.CANARY: _wait(memory, Tier.CANARY, pace.bounds[Tier.CANARY].least, now)}
    if returned and Tier.INCREMENTAL in turns:
        turns[Tier.INCREMENTAL] = turns[Tier.INCREMENTAL]._replace(next_due_at=now)
    return turns


def after_failure(memory: Memory, pace: Pace, now: datetime) -> dict[Tier, Turn]:
    """The turns after a mirror could not be reached: the canary looks after it, the others wait."""
    turns = {tier: _wait(memory, tier, pace.retry, now) for tier in ASKING}
    return turns | {Tier.CANARY: _wait(memory, Tier.CANARY, pace.bounds[Tier.CANARY].least, now)}


def after_silence(memory: Memory, pace: Pace, now: datetime, failures: int) -> dict[Tier, Turn]:
    """The turns after a mirror that is there said nothing to judge it by: twice as long a wait after each time."""
    wait = min(pace.retry, pace.bounds[Tier.INCREMENTAL].least * 2.0**failures)
    turns = after_failure(memory, pace, now)
    return turns | {Tier.INCREMENTAL: _wait(memory, Tier.INCREMENTAL, wait, now)}


def _wait(memory: Memory, tier: Tier, seconds: float, now: datetime) -> Turn:
    known = memory.turns.get(tier)
    next_due_at = now + timedelta(seconds=seconds)
    if known is None:
        return Turn(None, None, seconds, next_due_at)
    return known._replace(next_due_at=next_due_at)
