"""What follows from a crawl: which directories a mirror is known to carry, how healthy it is, when it is asked next.

A mirror is judged per category. What was not asked, and what could not be found out, stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from pyroaring import BitMap

from mm_crawler import schedule
from mm_crawler.report import (
    Because,
    CategoryDecision,
    CategoryPast,
    CategoryReport,
    CategoryTask,
    HostDecision,
    HostPast,
    HostReport,
    Memory,
    Outcome,
    Tier,
    Verdict,
)
from mm_crawler.schedule import Pace
from mm_lib.model.base import State
from mm_lib.model.state import Health

COUNTED = (Tier.INCREMENTAL, Tier.FULL)  # a canary sings every few minutes: its silence switches no host off
BAD = (Verdict.STALE, Verdict.MISSING, Verdict.UNREADABLE)
ASK_AGAIN = (Verdict.ALTERNATE, Verdict.STALE, Verdict.UNREADABLE, Verdict.UNKNOWN)
NOTHING = Because(BitMap(), BitMap(), BitMap())


class Rules(NamedTuple):
    """How patient we are, as the settings say."""

    fail_hosts_after: int  # crawls in a row
    probation_crawls: int  # good ones in a row
    probation_seconds: float
    unknown_after_tries: int
    unknown_after_seconds: float
    pace: Pace


class _Rule(NamedTuple):
    """What an outcome does: whether it counts, whether it is a failure, and the health that it leads to."""

    counts: bool
    failure: bool
    health: Health | None  # None: as it was


_RULES = {
    Outcome.ASKED: _Rule(counts=True, failure=False, health=Health.ACTIVE),
    Outcome.UNANSWERED: _Rule(counts=True, failure=True, health=Health.SUSPECT),
    Outcome.UNREACHABLE: _Rule(counts=True, failure=True, health=Health.QUARANTINED),
    Outcome.NOT_ASKED: _Rule(counts=False, failure=False, health=None),
    Outcome.ERROR: _Rule(counts=False, failure=False, health=None),
}


def decide(tasks: Mapping[int, CategoryTask], report: HostReport, past: HostPast, rules: Rules) -> HostDecision:
    """What becomes of the host and each of its categories. Categories that are gone by now are left out.

    `tasks` are what was asked, by host category.
    """
    decisions = tuple(
        _decide_category(tasks[each.host_category_id], each, past.categories[each.host_category_id], rules)
        for each in report.categories
        if each.host_category_id in past.categories
    )
    active = past.state is State.ACTIVE
    return HostDecision(
        report.host_id,
        decisions,
        (report.refused or _disable_reason(decisions, past, rules)) if active else "",
        _enable_reason(decisions, past),
    )


def _decide_category(task: CategoryTask, report: CategoryReport, past: CategoryPast, rules: Rules) -> CategoryDecision:
    rule, at = _RULES[report.outcome], report.started_at + timedelta(seconds=report.seconds)
    canary, counted = task.tier is Tier.CANARY, task.tier in COUNTED
    failures = past.failures + counted if rule.failure else 0 if rule.counts and not canary else past.failures
    health, successes = (
        _health(rule, past, failures, rules, at) if rule.failure or not canary else (past.health, past.successes)
    )
    established = report.outcome is Outcome.ASKED and not canary
    memory, given_up = _remember(task, report, past, rules, at) if rule.counts else (None, BitMap())
    up_to_date = _up_to_date(task, report, past) - given_up if established else past.up_to_date
    decision = CategoryDecision(
        host_category_id=report.host_category_id,
        up_to_date=up_to_date,
        established=established,
        tried=rule.counts,
        health=health,
        health_changed=health is not past.health,
        failures=failures,
        reason="",
        tier=task.tier,
        total=_total(task, report, past),
        given_up=len(given_up),
        failing_since=(past.failing_since or at) if failures else None,
        successes=successes,
        memory=memory,
    )
    return replace(decision, reason=_reason(report, decision, past, rules))


def _total(task: CategoryTask, report: CategoryReport, past: CategoryPast) -> int:
    """How many directories a full crawl can judge."""
    if task.plan.universe is not None:
        return len(task.plan.universe)
    return report.total if past.total is None else past.total


# ---------------------------------------------------------------- health


def _health(rule: _Rule, past: CategoryPast, failures: int, rules: Rules, at: datetime) -> tuple[Health, int]:
    """The health, and how many good crawls there were since it is on probation."""
    match rule.health:
        case None:
            return past.health, past.successes
        case Health.SUSPECT:
            # Silence does not bring a mirror back, and is not put up with for ever.
            distrusted = past.health in (Health.QUARANTINED, Health.PROBATION)
            gone = distrusted or failures >= rules.fail_hosts_after
            return (Health.QUARANTINED if gone else Health.SUSPECT), 0
        case Health.QUARANTINED:
            return Health.QUARANTINED, 0
    if past.health not in (Health.QUARANTINED, Health.PROBATION):
        return Health.ACTIVE, 0
    successes = past.successes + 1
    since = past.health_since if past.health is Health.PROBATION and past.health_since else at
    served = successes >= rules.probation_crawls and (at - since).total_seconds() >= rules.probation_seconds
    return (Health.ACTIVE, 0) if served else (Health.PROBATION, successes)


# ---------------------------------------------------------------- directories


def _up_to_date(task: CategoryTask, report: CategoryReport, past: CategoryPast) -> BitMap:
    """What got no answer keeps its bit, and so does what a smaller crawl did not ask, as far as it still exists."""
    good = _with(report, Verdict.OK, Verdict.ALTERNATE)
    if task.tier is Tier.FULL:
        return good | (past.up_to_date & report.directories(Verdict.UNKNOWN))
    known = past.up_to_date if task.plan.universe is None else past.up_to_date & task.plan.universe
    return (known - _with(report, *BAD)) | good


def _with(report: CategoryReport, *verdicts: Verdict) -> BitMap:
    return BitMap().union(*(report.directories(verdict) for verdict in verdicts))


def _remember(
    task: CategoryTask, report: CategoryReport, past: CategoryPast, rules: Rules, at: datetime
) -> tuple[Memory, BitMap]:
    """What to know before the next crawl, and the directories that were without an answer for too long."""
    memory, pace = past.memory, rules.pace
    if report.outcome is Outcome.UNREACHABLE:
        return replace(memory, turns=schedule.after_failure(memory, pace, at)), BitMap()
    if report.outcome is Outcome.UNANSWERED:
        return replace(memory, turns=schedule.after_silence(memory, pace, at, past.failures)), BitMap()
    if task.tier is Tier.CANARY:
        returned = past.health is Health.QUARANTINED
        return replace(memory, turns=schedule.after_canary(memory, pace, at, returned=returned)), BitMap()
    because = task.because or NOTHING
    memory, given_up = _count_unknown(task.tier, report, past, rules, at)
    memory = replace(
        memory, ask_again=_ask_again(task, report, past, because), sampled=_sampled(task.tier, memory, because)
    )
    synced = report.directories(Verdict.OK).intersect(because.changed | because.again)
    if synced:
        synced_at, seconds = schedule.learn(memory, at)
        memory = replace(memory, synced_at=synced_at, sync_seconds=seconds)
    until = task.plan.category.changes_until
    turns = schedule.after_success(task.tier, memory, until, pace, at, synced=synced)
    return replace(memory, turns=turns), given_up


def _ask_again(task: CategoryTask, report: CategoryReport, past: CategoryPast, because: Because) -> BitMap:
    """What is not as on the master. What is missing counts while it is new or was there: a mirror may be partial.

    A full crawl ends the waiting for what is still missing then.
    """
    awaited = because.changed | past.up_to_date
    if task.tier is not Tier.FULL:
        awaited |= because.again
    found = _with(report, *ASK_AGAIN) | (report.directories(Verdict.MISSING) & awaited)
    waiting = (past.memory.ask_again - _with(report, *Verdict)) | found
    return waiting if task.plan.universe is None else waiting & task.plan.universe


def _sampled(tier: Tier, memory: Memory, because: Because) -> BitMap:
    """What was asked for since this cycle of samples began."""
    if tier is Tier.METADATA:
        return memory.sampled
    return BitMap() if because.cycle_ends else memory.sampled | because.changed | because.again | because.sample


def _count_unknown(
    tier: Tier, report: CategoryReport, past: CategoryPast, rules: Rules, at: datetime
) -> tuple[Memory, BitMap]:
    """Directories keep their bits while they are without an answer, up to so many crawls or so long.

    Only one group is followed at a time, so that it needs one bitmap and one time: what becomes unknown later waits for
    the group before it, and is believed a little longer. A crawl that was cut short is no try: it may not have asked.
    """
    memory, unknown = past.memory, report.directories(Verdict.UNKNOWN)
    tries = int(tier in COUNTED and not report.reason)
    group, since = memory.unknown - _with(report, *(set(Verdict) - {Verdict.UNKNOWN})), memory.unknown_since
    if group and since:
        tries = memory.unknown_tries + (tries if group.intersect(unknown) else 0)
    else:
        group, since = unknown & past.up_to_date, at
    too_long = tries >= rules.unknown_after_tries or (at - since).total_seconds() >= rules.unknown_after_seconds
    given_up = group & unknown if too_long else BitMap()
    group -= given_up
    return replace(
        memory, unknown=group, unknown_since=since if group else None, unknown_tries=tries if group else 0
    ), given_up


# ---------------------------------------------------------------- in words


def _reason(report: CategoryReport, decision: CategoryDecision, past: CategoryPast, rules: Rules) -> str:
    """Why, in words for the mirror's owner."""
    match report.outcome:
        case Outcome.UNREACHABLE:
            return f"could not be reached{_times(decision)}: {report.reason}"
        case Outcome.UNANSWERED:
            return f"could not be judged{_times(decision)}: {report.reason}"
        case Outcome.NOT_ASKED | Outcome.ERROR:
            return f"not crawled: {report.reason}"
    if decision.tier is Tier.CANARY:
        return "it answers" if past.health is not Health.QUARANTINED else "it answers; the next crawl decides"
    parts = [_found(report, decision)]
    if report.reason:
        parts.append(f"not all were asked: {report.reason}")
    if decision.given_up:
        parts.append(f"{decision.given_up} without an answer for too long do not count as up to date any more")
    if decision.health is Health.PROBATION:
        parts.append(f"on probation after an outage, good crawl {decision.successes} of {rules.probation_crawls}")
    return "; ".join(parts)


def _found(report: CategoryReport, decision: CategoryDecision) -> str:
    good = len(report.directories(Verdict.OK)) + len(report.directories(Verdict.ALTERNATE))
    if decision.tier is Tier.FULL:
        return f"{good} of {report.total} directories are up to date"
    return (
        f"{good} of {report.total} directories that were asked are up to date, "
        f"{len(decision.up_to_date)} of {decision.total} in all"
    )


def _times(decision: CategoryDecision) -> str:
    if decision.tier not in COUNTED:
        return f" by a {decision.tier} crawl"
    return ", once in a row" if decision.failures == 1 else f", {decision.failures} times in a row"


def _disable_reason(decisions: tuple[CategoryDecision, ...], past: HostPast, rules: Rules) -> str:
    """Why to switch the host off: every category that it has failed often enough, this crawl being one of the times."""
    failed = [each for each in decisions if each.tried and each.failures and each.tier in COUNTED]
    if not failed:
        return ""
    failures = {
        id_: 0 if category.always_up_to_date else category.failures for id_, category in past.categories.items()
    }
    failures.update({decision.host_category_id: decision.failures for decision in decisions})
    if min(failures.values()) < rules.fail_hosts_after:
        return ""
    since = max(each.failing_since for each in failed if each.failing_since)
    return (
        f"switched off after {min(failures.values())} failed crawls in a row since {since:%Y-%m-%d %H:%M} UTC. "
        f"The last one: {failed[0].reason}"
    )


def _enable_reason(decisions: tuple[CategoryDecision, ...], past: HostPast) -> str:
    """Why to switch the host on again, which only follows on our own switching it off."""
    if past.state is not State.AUTO_DISABLED:
        return ""
    return next((f"it answers again: {each.reason}" for each in decisions if each.established), "")
