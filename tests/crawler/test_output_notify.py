"""What sites are told of crawls: one message per outage, however many crawls and categories notice it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pyroaring import BitMap
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler import policy, record
from mm_crawler.crawling import make_rules
from mm_crawler.output import notify
from mm_crawler.output.notify import Flapping
from mm_crawler.report import CategoryPlan, CategoryReport, CategoryTask, Evidence, HostReport, Outcome, Verdict
from mm_lib.model.base import State
from mm_lib.model.outbox import Event
from mm_lib.services.outbox import Kind
from mm_lib.settings import CrawlerSettings
from tests.crawler.builders import NOW, World, category

EVIDENCE = Evidence("https://m.example/fedora/", "an answer that is no error", "503")
NEVER = Flapping(1000, 24.0)
GOOD, GONE, SILENT = Outcome.ASKED, Outcome.UNREACHABLE, Outcome.UNANSWERED


class Bench:
    """A host with two categories, and crawls of both that end as we say, an hour apart."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.world = World(session)
        self.host = self.world.host("mirror", "https://m.example/fedora")
        second = self.world.carry(
            self.host, "https://m.example/epel", category=self.world.other_category("Fedora EPEL")
        )
        self.categories = [self.host.categories[0].id, second.id]
        everything = CategoryPlan(category(), (), (), BitMap([1, 2]))
        self.tasks = {id_: CategoryTask(id_, (), everything) for id_ in self.categories}
        self.run = record.open_run(session, {}, NOW)
        self.now = NOW
        self.flapping = NEVER
        self.fail_hosts_after = 100

    def crawl(self, *outcomes: Outcome | None, refused: str = "") -> Kind | None:
        """One crawl; None: this category is not part of it."""
        self.now += timedelta(hours=1)
        pairs = zip(self.categories, outcomes, strict=False)
        reports = tuple(self._report(id_, outcome) for id_, outcome in pairs if outcome)
        report = HostReport(self.host.id, "mirror", "Example Site", self.now, 3.0, reports, refused)
        past = record.read_past(self.session, self.host.id)
        assert past is not None
        rules = make_rules(CrawlerSettings(fail_hosts_after=self.fail_hosts_after))
        decision = policy.decide(self.tasks, report, past, rules)
        record.store(self.session, self.run, report, decision)
        said = notify.announce(self.session, report, decision, past, self.flapping)
        self.session.flush()
        self.session.expire_all()
        return said

    def _report(self, id_: int, outcome: Outcome) -> CategoryReport:
        good = {Verdict.OK: BitMap([1, 2])} if outcome is GOOD else {}
        examples = (("redirect", EVIDENCE._replace(found="another host")), ("base", EVIDENCE))
        reason = "" if outcome is GOOD else "503 for https://m.example/fedora/"
        return CategoryReport(id_, outcome, reason, self.now, 2.0, 7, "", 2, good, examples)

    def events(self) -> list[Event]:
        return list(self.session.scalars(select(Event).order_by(Event.id)))


@pytest.fixture
def bench(session: Session) -> Bench:
    return Bench(session)


def test_one_outage_is_one_message_with_all_its_categories(bench: Bench) -> None:
    assert [bench.crawl(GONE, GONE) for _ in range(3)] == [Kind.FAILING, None, None]
    (event,) = bench.events()
    assert [each["name"] for each in event.payload["categories"]] == ["Fedora Linux", "Fedora EPEL"]


def test_a_category_that_fails_later_belongs_to_the_same_outage(bench: Bench) -> None:
    assert [bench.crawl(GONE, GOOD), bench.crawl(GONE, GONE)] == [Kind.FAILING, None]


def test_categories_that_are_crawled_by_different_jobs_make_one_message(bench: Bench) -> None:
    assert [bench.crawl(GONE, None), bench.crawl(None, GONE)] == [Kind.FAILING, None]
    assert [bench.crawl(GOOD, None), bench.crawl(None, GOOD)] == [None, Kind.RECOVERED]


def test_a_host_has_recovered_when_nothing_of_it_is_left_out_any_more(bench: Bench) -> None:
    bench.crawl(GONE, GONE)
    assert [bench.crawl(GOOD, GONE), bench.crawl(GOOD, GOOD)] == [None, Kind.RECOVERED]


def test_one_crawl_without_a_clear_answer_is_told_to_nobody(bench: Bench) -> None:
    assert [bench.crawl(SILENT, GOOD), bench.crawl(GOOD, GOOD)] == [None, None]


def test_a_message_says_why_with_the_address_that_failed(bench: Bench) -> None:
    bench.crawl(GONE, GOOD)
    (event,) = bench.events()
    assert event.payload["reason"].startswith("Fedora Linux could not be reached, once")
    (told,) = event.payload["categories"]
    assert (told["url"], told["found"]) == ("https://m.example/fedora/", "503")
    assert (event.host_id, event.site_id) == (bench.host.id, bench.host.site_id)


def test_a_host_that_is_switched_off_makes_exactly_one_message(bench: Bench) -> None:
    """Cases 36 and 37 of the reference."""
    bench.fail_hosts_after = 4
    told = [bench.crawl(GONE, GONE) for _ in range(6)]
    assert told == [Kind.FAILING, None, None, Kind.DISABLED, None, None]
    assert "after 4 failed crawls in a row" in bench.events()[1].payload["reason"]


def test_a_host_that_we_switched_off_and_on_again_is_told_both(bench: Bench) -> None:
    bench.fail_hosts_after = 2
    told = [bench.crawl(outcome, outcome) for outcome in (GONE, GONE, GOOD)]
    assert told == [Kind.FAILING, Kind.DISABLED, Kind.REENABLED]


@pytest.mark.parametrize("state", [State.OWNER_DISABLED, State.ADMIN_DISABLED])
def test_of_a_host_that_people_switched_off_nothing_is_told(bench: Bench, state: State) -> None:
    bench.host.state, bench.host.state_reason, bench.host.state_by = state, "holidays", "ann"
    assert [bench.crawl(GONE, GONE), bench.crawl(GOOD, GOOD)] == [None, None]


def test_a_host_that_we_may_not_deal_with_is_told_why(bench: Bench) -> None:
    assert bench.crawl(refused="it stands where an embargo forbids it") is Kind.DISABLED
    assert "embargo" in bench.events()[0].payload["reason"]


def test_a_host_that_comes_and_goes_has_further_changes_held_for_a_digest(bench: Bench) -> None:
    bench.flapping = Flapping(3, 24.0)
    for _ in range(3):
        bench.crawl(GONE, GOOD)
        bench.crawl(GOOD, GOOD)
    assert [event.held for event in bench.events()] == [False, False, False, True, True, True]
    bench.now += timedelta(hours=30)
    bench.crawl(GONE, GOOD)
    assert not bench.events()[-1].held


def test_that_a_host_was_switched_off_never_waits_for_a_digest(bench: Bench) -> None:
    bench.flapping, bench.fail_hosts_after = Flapping(1, 24.0), 2
    bench.crawl(GONE, GONE)
    bench.crawl(GONE, GONE)
    assert [(event.kind, event.held) for event in bench.events()] == [(Kind.FAILING, False), (Kind.DISABLED, False)]
