"""What follows from a report."""

from __future__ import annotations

import pytest
from pyroaring import BitMap

from mm_crawler.policy import decide
from mm_crawler.report import CategoryPast, CategoryReport, HostDecision, HostPast, HostReport, Outcome, Verdict
from mm_lib.model.base import State
from mm_lib.model.state import Health
from tests.crawler.builders import NOW

FAIL_AFTER = 4


def report(*outcomes: Outcome, verdicts: dict[Verdict, list[int]] | None = None, why: str = "why") -> HostReport:
    """A report on host-categories 1, 2, ..."""
    found = {verdict: BitMap(ids) for verdict, ids in (verdicts or {}).items()}
    return HostReport(
        1,
        "mirror",
        "site",
        NOW,
        1.0,
        tuple(
            CategoryReport(id_, outcome, why, NOW, total=9, verdicts=found if outcome is Outcome.ASKED else {})
            for id_, outcome in enumerate(outcomes, 1)
        ),
    )


def past(*categories: CategoryPast, state: State = State.ACTIVE) -> HostPast:
    return HostPast(state, dict(enumerate(categories, 1)))


def known(*ids: int, health: Health = Health.ACTIVE, failures: int = 0, always: bool = False) -> CategoryPast:
    return CategoryPast(BitMap(ids), health, failures, always)


def decide_(found: HostReport, before: HostPast) -> HostDecision:
    return decide(found, before, FAIL_AFTER)


def test_good_directories_come_in_bad_ones_go_and_unknown_ones_stay_as_they_were() -> None:
    """Case 35."""
    verdicts = {
        Verdict.OK: [1, 2],
        Verdict.ALTERNATE: [3],
        Verdict.STALE: [4],
        Verdict.MISSING: [5],
        Verdict.UNREADABLE: [6],
        Verdict.UNKNOWN: [7, 8],
    }
    decision = decide_(report(Outcome.ASKED, verdicts=verdicts, why=""), past(known(1, 4, 5, 6, 7, 99))).categories[0]
    assert decision.up_to_date == BitMap([1, 2, 3, 7])
    assert (decision.established, decision.health, decision.failures) == (True, Health.ACTIVE, 0)
    assert decision.reason == "3 of 9 directories are up to date"


def test_a_crawl_that_was_cut_short_says_so() -> None:
    decision = decide_(report(Outcome.ASKED, verdicts={Verdict.OK: [1]}, why="time ran out"), past(known())).categories[
        0
    ]
    assert decision.reason == "1 of 9 directories are up to date; not all were asked: time ran out"


def test_an_unreachable_category_is_quarantined_at_once_and_keeps_its_bitmap() -> None:
    """Case 36, better: it leaves the next cache, not the one after four failures."""
    decision = decide_(report(Outcome.UNREACHABLE), past(known(1, 2))).categories[0]
    assert (decision.health, decision.health_changed, decision.failures) == (Health.QUARANTINED, True, 1)
    assert (decision.established, decision.up_to_date) == (False, BitMap([1, 2]))
    assert decision.reason == "could not be reached, once in a row: why"


def test_one_unreachable_category_says_nothing_about_the_other() -> None:
    first, second = decide_(report(Outcome.UNREACHABLE, Outcome.ASKED), past(known(), known(failures=2))).categories
    assert (first.health, first.failures) == (Health.QUARANTINED, 1)
    assert (second.health, second.failures) == (Health.ACTIVE, 0)


def test_success_brings_a_quarantined_category_back() -> None:
    before = past(known(1, health=Health.QUARANTINED, failures=3))
    decision = decide_(report(Outcome.ASKED, verdicts={Verdict.OK: [1]}), before).categories[0]
    assert (decision.health, decision.health_changed, decision.failures) == (Health.ACTIVE, True, 0)


def test_a_mirror_that_answers_nothing_is_suspect_but_served_on() -> None:
    decision = decide_(report(Outcome.UNANSWERED), past(known(1))).categories[0]
    assert (decision.health, decision.failures, decision.up_to_date) == (Health.SUSPECT, 1, BitMap([1]))


def test_a_mirror_that_answers_nothing_for_long_is_quarantined() -> None:
    decision = decide_(report(Outcome.UNANSWERED), past(known(health=Health.SUSPECT, failures=3))).categories[0]
    assert decision.health is Health.QUARANTINED


def test_silence_does_not_bring_a_quarantined_mirror_back() -> None:
    decision = decide_(report(Outcome.UNANSWERED), past(known(health=Health.QUARANTINED, failures=1))).categories[0]
    assert (decision.health, decision.health_changed) == (Health.QUARANTINED, False)


@pytest.mark.parametrize("outcome", [Outcome.NOT_ASKED, Outcome.ERROR])
def test_what_is_not_the_mirrors_fault_changes_nothing(outcome: Outcome) -> None:
    decision = decide_(report(outcome), past(known(1, health=Health.SUSPECT, failures=2))).categories[0]
    assert (decision.tried, decision.established, decision.health_changed) == (False, False, False)
    assert (decision.health, decision.failures, decision.up_to_date) == (Health.SUSPECT, 2, BitMap([1]))


def test_a_host_is_switched_off_after_so_many_failures_of_all_its_categories_with_a_reason() -> None:
    decision = decide_(report(Outcome.UNREACHABLE, Outcome.UNREACHABLE), past(known(failures=3), known(failures=7)))
    assert decision.disable_reason == (
        "switched off after 4 failed crawls in a row. The last one: could not be reached, 4 times in a row: why"
    )


@pytest.mark.parametrize(
    "other", [known(failures=0), known(failures=3), known(failures=9, always=True)], ids=["good", "nearly", "always"]
)
def test_a_host_stays_on_while_one_of_its_categories_has_not_failed_often_enough(other: CategoryPast) -> None:
    """Also one that this crawl did not ask."""
    assert decide_(report(Outcome.UNREACHABLE), past(known(failures=8), other)).disable_reason == ""


def test_a_crawl_that_did_not_fail_switches_no_host_off() -> None:
    assert decide_(report(Outcome.NOT_ASKED), past(known(failures=9))).disable_reason == ""


@pytest.mark.parametrize("state", [State.OWNER_DISABLED, State.ADMIN_DISABLED, State.AUTO_DISABLED])
def test_who_is_switched_off_already_keeps_the_reason_that_is_there(state: State) -> None:
    assert decide_(report(Outcome.UNREACHABLE), past(known(failures=9), state=state)).disable_reason == ""


def test_a_category_that_was_removed_meanwhile_is_left_out() -> None:
    assert decide_(report(Outcome.ASKED, Outcome.ASKED), past(known())).categories[0].host_category_id == 1
    assert len(decide_(report(Outcome.ASKED, Outcome.ASKED), past(known())).categories) == 1
