"""What follows from a report."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pyroaring import BitMap

from mm_crawler.crawling import make_rules
from mm_crawler.policy import Rules, decide
from mm_crawler.report import (
    Because,
    CategoryDecision,
    CategoryPast,
    CategoryPlan,
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
from mm_lib.model.base import State
from mm_lib.model.state import Health
from mm_lib.settings import CrawlerSettings
from tests.crawler.builders import NOW, category

HOUR = 3600.0
RULES = make_rules(CrawlerSettings())


def report(
    *outcomes: Outcome, verdicts: dict[Verdict, list[int]] | None = None, why: str = "why", hours: float = 0
) -> HostReport:
    """A report on host-categories 1, 2, ..., so many hours after the first."""
    found = {verdict: BitMap(ids) for verdict, ids in (verdicts or {}).items()}
    started = NOW + timedelta(hours=hours)
    return HostReport(
        1,
        "mirror",
        "site",
        started,
        1.0,
        tuple(
            CategoryReport(id_, outcome, why, started, total=9, verdicts=found if outcome is Outcome.ASKED else {})
            for id_, outcome in enumerate(outcomes, 1)
        ),
    )


def past(*categories: CategoryPast, state: State = State.ACTIVE) -> HostPast:
    return HostPast(state, dict(enumerate(categories, 1)))


def known(*ids: int, health: Health = Health.ACTIVE, failures: int = 0, always: bool = False) -> CategoryPast:
    return CategoryPast(BitMap(ids), health, failures, always)


def decide_(
    found: HostReport, before: HostPast, tier: Tier = Tier.FULL, because: Because | None = None, rules: Rules = RULES
) -> HostDecision:
    plan = CategoryPlan(category(), (), ())
    tasks = {id_: CategoryTask(id_, (), plan, tier, because) for id_ in range(1, 9)}
    return decide(tasks, found, before, rules)


class Mirror:
    """A host with one category, crawled again and again."""

    def __init__(self, *up_to_date: int, health: Health = Health.ACTIVE, rules: Rules = RULES) -> None:
        self.known = CategoryPast(BitMap(up_to_date), health, total=9, health_since=NOW)
        self.rules = rules

    def crawl(
        self,
        outcome: Outcome = Outcome.ASKED,
        hours: float = 0,
        tier: Tier = Tier.FULL,
        because: Because | None = None,
        why: str = "",
        **verdicts: list[int],
    ) -> CategoryDecision:
        found = report(outcome, verdicts={Verdict(name): ids for name, ids in verdicts.items()}, hours=hours, why=why)
        (decided,) = decide_(found, past(self.known), tier, because, self.rules).categories
        self.known = CategoryPast(
            decided.up_to_date,
            decided.health,
            decided.failures,
            False,
            decided.total,
            NOW + timedelta(hours=hours, seconds=1) if decided.health_changed else self.known.health_since,
            decided.failing_since,
            decided.successes,
            decided.memory or self.known.memory,
        )
        return decided

    @property
    def memory(self) -> Memory:
        return self.known.memory


def test_case_35_good_directories_come_in_bad_ones_go_and_unknown_ones_stay_as_they_were() -> None:
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


def test_case_36_an_unreachable_category_is_quarantined_at_once_and_keeps_its_bitmap() -> None:
    """Case 36, better: it leaves the next cache, not the one after four failures."""
    decision = decide_(report(Outcome.UNREACHABLE), past(known(1, 2))).categories[0]
    assert (decision.health, decision.health_changed, decision.failures) == (Health.QUARANTINED, True, 1)
    assert (decision.established, decision.up_to_date) == (False, BitMap([1, 2]))
    assert decision.reason == "could not be reached, once in a row: why"


def test_one_unreachable_category_says_nothing_about_the_other() -> None:
    first, second = decide_(report(Outcome.UNREACHABLE, Outcome.ASKED), past(known(), known(failures=2))).categories
    assert (first.health, first.failures) == (Health.QUARANTINED, 1)
    assert (second.health, second.failures) == (Health.ACTIVE, 0)


def test_success_brings_a_quarantined_category_back_on_probation() -> None:
    before = past(known(1, health=Health.QUARANTINED, failures=3))
    decision = decide_(report(Outcome.ASKED, verdicts={Verdict.OK: [1]}, why=""), before).categories[0]
    assert (decision.health, decision.health_changed, decision.failures) == (Health.PROBATION, True, 0)
    assert decision.reason.endswith("directories are up to date; on probation after an outage, good crawl 1 of 3")


def test_probation_ends_after_enough_good_crawls_and_enough_time() -> None:
    mirror = Mirror(health=Health.QUARANTINED)
    seen = [mirror.crawl(hours=hours, ok=[1]).health for hours in (0, 1, 2, 5, 7)]
    assert seen == [Health.PROBATION] * 4 + [Health.ACTIVE]
    mirror = Mirror(health=Health.QUARANTINED)
    assert [mirror.crawl(hours=hours, ok=[1]).health for hours in (0, 50)] == [Health.PROBATION] * 2


@pytest.mark.parametrize("outcome", [Outcome.UNREACHABLE, Outcome.UNANSWERED])
def test_on_probation_one_failure_sends_a_mirror_back(outcome: Outcome) -> None:
    mirror = Mirror(health=Health.PROBATION)
    assert mirror.crawl(outcome).health is Health.QUARANTINED
    assert mirror.crawl(ok=[1]).successes == 1


def test_a_canary_that_lives_proves_nothing_but_brings_the_next_crawl_forward() -> None:
    mirror = Mirror(1, 2)
    mirror.crawl(ok=[1, 2])
    mirror.crawl(Outcome.UNREACHABLE, hours=1)
    assert mirror.memory.turns[Tier.INCREMENTAL].next_due_at == NOW + timedelta(hours=13, seconds=0)
    decision = mirror.crawl(tier=Tier.CANARY, hours=2)
    assert (decision.health, decision.failures, decision.established) == (Health.QUARANTINED, 1, False)
    assert mirror.memory.turns[Tier.INCREMENTAL].next_due_at == NOW + timedelta(hours=2)


def test_case_38_a_canary_that_finds_nobody_quarantines_and_counts_no_failure() -> None:
    """The reference marks all directories as not up to date; ours leave the cache and keep their bits."""
    mirror = Mirror(1, 2)
    decision = mirror.crawl(Outcome.UNREACHABLE, tier=Tier.CANARY, why="refused")
    assert (decision.health, decision.failures, decision.up_to_date) == (Health.QUARANTINED, 0, BitMap([1, 2]))
    assert decision.reason == "could not be reached by a canary crawl: refused"


def test_case_38_a_mirror_too_slow_for_any_verdict_counts_a_failure_and_keeps_its_bits() -> None:
    decision = Mirror(1, 2).crawl(Outcome.UNANSWERED)
    assert (decision.health, decision.failures, decision.up_to_date) == (Health.SUSPECT, 1, BitMap([1, 2]))


@pytest.mark.parametrize("tier", [Tier.METADATA, Tier.INCREMENTAL])
def test_case_35_what_a_smaller_tier_did_not_ask_stays_as_it_was(tier: Tier) -> None:
    decision = Mirror(1, 2, 3).crawl(tier=tier, ok=[4], missing=[2, 5])
    assert (decision.up_to_date, decision.total) == (BitMap([1, 3, 4]), 9)
    assert decision.reason == "1 of 9 directories that were asked are up to date, 3 of 9 in all"


def test_case_35_what_a_partial_mirror_never_had_is_not_asked_again() -> None:
    mirror = Mirror()
    mirror.crawl(ok=[1], missing=[2, 3, 4])
    assert mirror.memory.ask_again == BitMap()


def test_what_is_late_lost_or_new_on_the_master_is_asked_again_until_a_full_crawl_misses_it() -> None:
    mirror = Mirror(1, 2)
    because = Because(changed=BitMap([3]), again=BitMap(), sample=BitMap([4, 5]))
    mirror.crawl(tier=Tier.INCREMENTAL, because=because, ok=[1], missing=[2, 3, 4], stale=[5])
    assert mirror.memory.ask_again == BitMap([2, 3, 5])
    again = because._replace(changed=BitMap(), again=BitMap([2, 3, 5]))
    mirror.crawl(tier=Tier.INCREMENTAL, because=again, ok=[5], missing=[2, 3])
    assert mirror.memory.ask_again == BitMap([2, 3])
    mirror.crawl(because=again._replace(again=BitMap([2, 3])), ok=[1, 5], missing=[2, 3, 4])
    assert mirror.memory.ask_again == BitMap()


def test_an_older_version_counts_as_good_and_is_asked_again() -> None:
    mirror = Mirror(1)
    assert mirror.crawl(tier=Tier.METADATA, alternate=[1]).up_to_date == BitMap([1])
    assert mirror.memory.ask_again == BitMap([1])


def test_samples_are_remembered_until_everything_was_asked_once() -> None:
    mirror = Mirror()
    because = Because(BitMap([1]), BitMap([2]), BitMap([3]))
    mirror.crawl(tier=Tier.INCREMENTAL, because=because, ok=[1, 2, 3])
    assert mirror.memory.sampled == BitMap([1, 2, 3])
    mirror.crawl(tier=Tier.INCREMENTAL, because=because._replace(cycle_ends=True), ok=[1, 2, 3])
    assert mirror.memory.sampled == BitMap()


def test_unknown_turns_into_not_up_to_date_only_after_so_many_tries() -> None:
    mirror = Mirror(1, 2, 3)
    bits = [mirror.crawl(hours=hour, ok=[1], unknown=[2, 3]).up_to_date for hour in range(4)]
    assert bits == [BitMap([1, 2, 3])] * 3 + [BitMap([1])]
    assert mirror.memory.unknown == BitMap()
    assert mirror.memory.ask_again == BitMap([2, 3])


def test_unknown_turns_into_not_up_to_date_after_so_many_hours() -> None:
    mirror = Mirror(1, 2)
    assert mirror.crawl(ok=[1], unknown=[2], why="cut short").up_to_date == BitMap([1, 2])
    assert mirror.crawl(hours=47, ok=[1], unknown=[2], why="cut short").up_to_date == BitMap([1, 2])
    decision = mirror.crawl(hours=48, ok=[1], unknown=[2], why="cut short")
    assert (decision.up_to_date, decision.given_up) == (BitMap([1]), 1)
    assert "1 without an answer for too long do not count as up to date any more" in decision.reason


def test_one_answer_lets_a_directory_begin_anew() -> None:
    mirror = Mirror(1, 2)
    for hour in range(3):
        mirror.crawl(hours=hour, ok=[1], unknown=[2])
    mirror.crawl(hours=3, ok=[1, 2])
    assert mirror.crawl(hours=4, ok=[1], unknown=[2]).up_to_date == BitMap([1, 2])
    assert mirror.memory.unknown_tries == 1


@pytest.mark.parametrize("tier", [Tier.METADATA, Tier.FULL])
def test_neither_small_crawls_nor_those_that_were_cut_short_count_as_tries(tier: Tier) -> None:
    mirror = Mirror(1, 2)
    for hour in range(6):
        decision = mirror.crawl(hours=hour, tier=tier, why="time" if tier is Tier.FULL else "", ok=[1], unknown=[2])
        assert decision.up_to_date == BitMap([1, 2])


def test_directories_that_become_unknown_later_are_believed_no_shorter() -> None:
    mirror = Mirror(1, 2, 3)
    for hour in range(3):
        mirror.crawl(hours=hour, ok=[1, 3], unknown=[2])
    assert mirror.crawl(hours=3, ok=[1], unknown=[2, 3]).up_to_date == BitMap([1, 3])
    assert [mirror.crawl(hours=hour, ok=[1], unknown=[2, 3]).up_to_date for hour in (4, 5, 6, 7)] == [
        *[BitMap([1, 3])] * 3,
        BitMap([1]),
    ]


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
        "switched off after 4 failed crawls in a row since 2026-03-01 00:00 UTC. "
        "The last one: could not be reached, 4 times in a row: why"
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


@pytest.mark.parametrize("tier", [Tier.CANARY, Tier.METADATA])
def test_small_crawls_switch_no_host_off(tier: Tier) -> None:
    assert decide_(report(Outcome.UNREACHABLE), past(known(failures=9)), tier).disable_reason == ""


def test_a_host_that_we_switched_off_is_switched_on_when_it_answers_again() -> None:
    found = report(Outcome.UNREACHABLE, Outcome.ASKED, verdicts={Verdict.OK: [1]}, why="")
    decision = decide_(found, past(known(), known(health=Health.QUARANTINED), state=State.AUTO_DISABLED))
    assert decision.enable_reason.startswith("it answers again: 1 of 9 directories are up to date")
    assert decision.disable_reason == ""


@pytest.mark.parametrize("state", [State.ACTIVE, State.OWNER_DISABLED, State.ADMIN_DISABLED])
def test_what_people_switched_off_is_never_switched_on_by_us(state: State) -> None:
    assert decide_(report(Outcome.ASKED), past(known(), state=state)).enable_reason == ""


def test_a_canary_switches_no_host_on() -> None:
    assert decide_(report(Outcome.ASKED), past(known(), state=State.AUTO_DISABLED), Tier.CANARY).enable_reason == ""


def test_case_37_a_host_that_we_may_not_deal_with_is_switched_off_with_the_details() -> None:
    refused = HostReport(1, "mirror", "site", NOW, 0.0, (), "it stands in CU, which is embargoed")
    assert decide_(refused, past(known())).disable_reason == "it stands in CU, which is embargoed"
    assert decide_(refused, past(known(), state=State.AUTO_DISABLED)).disable_reason == ""


def test_a_category_that_was_removed_meanwhile_is_left_out() -> None:
    assert decide_(report(Outcome.ASKED, Outcome.ASKED), past(known())).categories[0].host_category_id == 1
    assert len(decide_(report(Outcome.ASKED, Outcome.ASKED), past(known())).categories) == 1
