"""When a mirror is asked next, and in which tier."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mm_crawler import schedule
from mm_crawler.crawling import make_rules
from mm_crawler.report import Memory, Tier, Turn
from mm_lib.settings import CrawlerSettings
from tests.crawler.builders import NOW

PACE = make_rules(CrawlerSettings()).pace
MINUTE, HOUR = 60.0, 3600.0


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def after(tier: Tier, memory: Memory | None = None, minutes: float = 0, synced: bool = False) -> Memory:
    """What is remembered after a crawl."""
    before = memory or Memory()
    turns = schedule.after_success(tier, before, at(minutes), PACE, at(minutes), synced=synced)
    return Memory(turns=turns, synced_at=before.synced_at, sync_seconds=before.sync_seconds)


def due(memory: Memory | None, minutes: float, changed: float = 0, failing: bool = False) -> tuple[Tier, ...]:
    return schedule.due(memory, at(changed), PACE, at(minutes), failing=failing)


def test_a_mirror_that_was_never_asked_is_asked_for_everything() -> None:
    assert due(None, 0) == (Tier.FULL,)


def test_a_full_crawl_stands_for_all_smaller_ones() -> None:
    memory = after(Tier.FULL)
    assert due(memory, 1) == ()
    assert due(memory, 10) == (Tier.METADATA,)
    assert due(memory, 60) == (Tier.INCREMENTAL, Tier.METADATA, Tier.CANARY)
    assert due(memory, 24 * 60) == (Tier.FULL, Tier.INCREMENTAL, Tier.METADATA, Tier.CANARY)


def test_intervals_double_while_nothing_new_is_seen_up_to_a_limit() -> None:
    memory, seen = after(Tier.INCREMENTAL), []
    for _ in range(5):
        memory = after(Tier.INCREMENTAL, memory)
        seen.append(memory.turns[Tier.INCREMENTAL].interval / HOUR)
    assert seen == [2, 4, 8, 8, 8]


def test_a_change_on_the_master_is_asked_for_without_waiting_for_a_long_interval() -> None:
    memory = after(Tier.FULL)
    for _ in range(4):
        memory = after(Tier.METADATA, memory)
    assert memory.turns[Tier.METADATA].interval == 120 * MINUTE
    assert Tier.METADATA not in due(memory, 11)
    assert Tier.METADATA in due(memory, 11, changed=1)
    assert Tier.METADATA not in due(memory, 9, changed=1)


def test_the_interval_follows_how_often_the_mirror_fetches() -> None:
    memory = Memory(synced_at=at(0), sync_seconds=4 * HOUR)
    assert schedule.learned(Tier.METADATA, memory, PACE, at(1)) == HOUR
    assert schedule.learned(Tier.INCREMENTAL, memory, PACE, at(1)) == HOUR
    memory = Memory(synced_at=at(0), sync_seconds=20 * HOUR)
    assert schedule.learned(Tier.METADATA, memory, PACE, at(1)) == 2 * HOUR  # the most
    assert schedule.learned(Tier.INCREMENTAL, memory, PACE, at(1)) == 5 * HOUR


def test_a_mirror_that_stopped_fetching_is_asked_less_and_less() -> None:
    memory = Memory(synced_at=at(0), sync_seconds=HOUR)
    seen = [schedule.learned(Tier.INCREMENTAL, memory, PACE, at(60 * hours)) / HOUR for hours in (1, 8, 16, 400)]
    assert seen == [1, 2, 4, 8]


def test_the_period_is_learned_from_the_gaps_between_fetches() -> None:
    assert schedule.learn(Memory(), at(0)) == (at(0), None)
    assert schedule.learn(Memory(synced_at=at(0)), at(60)) == (at(60), HOUR)
    _, seconds = schedule.learn(Memory(synced_at=at(0), sync_seconds=HOUR), at(120))
    assert seconds == pytest.approx(1.3 * HOUR)


def test_a_mirror_that_cannot_be_reached_is_left_to_the_canary_for_long() -> None:
    before = after(Tier.FULL)
    memory = Memory(turns=schedule.after_failure(before, PACE, at(60)))
    assert due(memory, 74, changed=50, failing=True) == ()
    assert due(memory, 75, failing=True) == (Tier.CANARY,)
    assert due(memory, 60 + 12 * 60, failing=True)[0] is Tier.FULL
    assert memory.changes_until(Tier.FULL) == at(0)


def test_a_mirror_that_was_never_reached_is_left_to_the_canary_too() -> None:
    memory = Memory(turns=schedule.after_failure(Memory(), PACE, at(0)))
    assert due(memory, 15, failing=True) == (Tier.CANARY,)
    returned = Memory(turns=schedule.after_canary(memory, PACE, at(15), returned=True))
    assert due(returned, 15, failing=True) == (Tier.INCREMENTAL,)


def test_a_smaller_crawl_does_not_put_off_a_larger_one() -> None:
    memory = after(Tier.METADATA, after(Tier.FULL), minutes=30)
    assert memory.turns[Tier.FULL] == Turn(at(0), at(0), 24 * HOUR, at(24 * 60))
    assert memory.changes_until(Tier.INCREMENTAL) == at(0)
    assert memory.changes_until(Tier.METADATA) == at(30)


def test_a_mirror_that_said_nothing_is_asked_again_after_waits_that_double() -> None:
    hours = []
    for failures in range(5):
        turns = schedule.after_silence(after(Tier.FULL), PACE, at(0), failures)
        hours.append((turns[Tier.INCREMENTAL].next_due_at - at(0)) / timedelta(hours=1))
        assert turns[Tier.FULL].next_due_at == at(12 * 60)
    assert hours == [1, 2, 4, 8, 12]
