"""What follows from a crawl: which directories a mirror is known to carry, how healthy it is, and why.

A mirror is judged per category. What could not be found out stays as it was.
"""

from __future__ import annotations

from typing import NamedTuple

from mm_crawler.report import (
    CategoryDecision,
    CategoryPast,
    CategoryReport,
    HostDecision,
    HostPast,
    HostReport,
    Outcome,
    Verdict,
)
from mm_lib.model.base import State
from mm_lib.model.state import Health


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


def decide(report: HostReport, past: HostPast, fail_hosts_after: int) -> HostDecision:
    """What becomes of the host and each of its categories. Categories that are gone by now are left out."""
    decisions = tuple(
        _decide_category(category, past.categories[category.host_category_id], fail_hosts_after)
        for category in report.categories
        if category.host_category_id in past.categories
    )
    return HostDecision(report.host_id, decisions, _disable_reason(decisions, past, fail_hosts_after))


def _decide_category(report: CategoryReport, past: CategoryPast, fail_hosts_after: int) -> CategoryDecision:
    rule = _RULES[report.outcome]
    failures = past.failures + 1 if rule.failure else 0 if rule.counts else past.failures
    health = rule.health or past.health
    if health is Health.SUSPECT and (past.health is Health.QUARANTINED or failures >= fail_hosts_after):
        health = Health.QUARANTINED  # silence does not bring a mirror back, and is not put up with for ever
    established = report.outcome is Outcome.ASKED
    good = report.directories(Verdict.OK) | report.directories(Verdict.ALTERNATE)
    kept = past.up_to_date & report.directories(Verdict.UNKNOWN)
    return CategoryDecision(
        host_category_id=report.host_category_id,
        up_to_date=good | kept if established else past.up_to_date,
        established=established,
        tried=rule.counts,
        health=health,
        health_changed=health is not past.health,
        failures=failures,
        reason=_reason(report, failures),
    )


def _reason(report: CategoryReport, failures: int) -> str:
    """Why, in words for the mirror's owner."""
    match report.outcome:
        case Outcome.UNREACHABLE:
            return f"could not be reached, {_times(failures)} in a row: {report.reason}"
        case Outcome.UNANSWERED:
            return f"could not be judged, {_times(failures)} in a row: {report.reason}"
        case Outcome.NOT_ASKED | Outcome.ERROR:
            return f"not crawled: {report.reason}"
        case Outcome.ASKED:
            good = len(report.directories(Verdict.OK)) + len(report.directories(Verdict.ALTERNATE))
            summary = f"{good} of {report.total} directories are up to date"
            return f"{summary}; not all were asked: {report.reason}" if report.reason else summary


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _disable_reason(decisions: tuple[CategoryDecision, ...], past: HostPast, fail_hosts_after: int) -> str:
    """Why to switch the host off: every category that it has failed often enough, and this crawl is one of those times.

    Only an active host is switched off: who was switched off by its owner, an administrator or us stays as they are.
    """
    if past.state is not State.ACTIVE or not any(decision.tried and decision.failures for decision in decisions):
        return ""
    failures = {
        id_: 0 if category.always_up_to_date else category.failures for id_, category in past.categories.items()
    }
    failures.update({decision.host_category_id: decision.failures for decision in decisions})
    if min(failures.values()) < fail_hosts_after:
        return ""
    last = next(decision.reason for decision in decisions if decision.tried and decision.failures)
    return f"switched off after {min(failures.values())} failed crawls in a row. The last one: {last}"
