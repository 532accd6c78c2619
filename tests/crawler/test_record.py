"""What is kept of a host's crawl."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pyroaring import BitMap
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from mm_crawler import policy, record
from mm_crawler.crawling import make_rules
from mm_crawler.report import (
    AddressReport,
    CategoryPlan,
    CategoryReport,
    CategoryTask,
    DirectoryVerdict,
    Evidence,
    HostReport,
    Memory,
    Outcome,
    Tier,
    Turn,
    Verdict,
)
from mm_lib.model.base import State
from mm_lib.model.content import Directory, FileDetail, Repository
from mm_lib.model.hosts import Host, HostCategoryUrl
from mm_lib.model.state import (
    CrawlResult,
    CrawlRun,
    Health,
    HealthChange,
    HostCategoryHealth,
    HostCategoryState,
    RepositoryMirrorState,
    StateSource,
)
from mm_lib.settings import CrawlerSettings
from tests.crawler.builders import NEW, NOW, TOPDIR, World, category

EVIDENCE = Evidence("http://m.example/f", "200, 4 bytes", "404")


class Bench:
    """A host with one category, and crawls of it that end as we say."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.world = World(session)
        self.host: Host = self.world.host("mirror", "http://m.example/fedora")
        self.carried = self.host.categories[0]
        self.repodata: Directory = self.world.directory(f"{TOPDIR}/repodata")
        self.detail: FileDetail = self.world.detail(self.repodata, NEW, 1)
        self.repository: Repository = self.world.repository("fedora-44", self.repodata)
        self.run = record.open_run(session, {"hosts": []}, NOW)
        everything = CategoryPlan(category(), (), (), BitMap(range(1, 11)))
        self.tasks = {self.carried.id: CategoryTask(self.carried.id, (), everything)}

    def report(self, outcome: Outcome, *ok: int, verdict: Verdict = Verdict.OK, day: int = 0) -> HostReport:
        started = NOW + timedelta(days=day)
        said = DirectoryVerdict(self.repodata.id, verdict, EVIDENCE, self.detail.id, 0)
        category = CategoryReport(
            self.carried.id,
            outcome,
            "" if outcome is Outcome.ASKED else "refused",
            started,
            2.0,
            7,
            "http://m.example/fedora",
            10,
            {Verdict.OK: BitMap(ok), Verdict.MISSING: BitMap([8, 9])} if outcome is Outcome.ASKED else {},
            (("missing", EVIDENCE),),
            {self.repository.id: said} if outcome is Outcome.ASKED else {},
        )
        return HostReport(self.host.id, "mirror", "Example Site", started, 3.0, (category,))

    def keep(self, report: HostReport, fail_hosts_after: int = 4) -> None:
        past = record.read_past(self.session, report.host_id)
        assert past is not None
        rules = make_rules(CrawlerSettings(fail_hosts_after=fail_hosts_after))
        record.store(self.session, self.run, report, policy.decide(self.tasks, report, past, rules))
        self.session.flush()
        self.session.expire_all()

    def health(self) -> HostCategoryHealth:
        return self.session.get_one(HostCategoryHealth, self.carried.id)

    def state(self) -> HostCategoryState:
        return self.session.get_one(HostCategoryState, self.carried.id)

    def changes(self) -> list[tuple[Health, str]]:
        rows = self.session.scalars(select(HealthChange).order_by(HealthChange.id))
        return [(row.health, row.reason) for row in rows]


@pytest.fixture
def bench(session: Session) -> Bench:
    return Bench(session)


def test_the_directories_up_to_date_are_one_bitmap(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.ASKED, 1, 2, 3))
    state = bench.state()
    assert BitMap.deserialize(state.up_to_date) == BitMap([1, 2, 3])
    assert (state.directories_up_to_date, state.directories_total, state.source) == (3, 10, StateSource.CRAWL)
    assert state.established_at == NOW + timedelta(seconds=2)
    bench.keep(bench.report(Outcome.ASKED, 2, 4))
    assert BitMap.deserialize(bench.state().up_to_date) == BitMap([2, 4])


def test_the_result_says_how_it_ended_with_counts_and_evidence(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.ASKED, 1, 2, 3))
    result = bench.session.scalars(select(CrawlResult)).one()
    assert (result.outcome, result.requests, result.seconds) == ("asked", 7, 2.0)
    assert result.reason == "3 of 10 directories are up to date"
    assert result.counts == {"ok": 3, "alternate": 0, "stale": 0, "missing": 2, "unreadable": 0, "unknown": 0}
    assert result.evidence == [["missing", *EVIDENCE]]


def test_the_host_remembers_when_and_how_long_it_was_crawled(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.ASKED, 1))
    assert (bench.host.last_crawled_at, bench.host.last_crawl_seconds) == (NOW + timedelta(seconds=3), 3.0)


def test_a_host_that_was_not_asked_does_not_look_crawled(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.NOT_ASKED))
    assert bench.host.last_crawled_at is None
    assert bench.session.get(HostCategoryHealth, bench.carried.id) is None
    assert bench.session.scalars(select(CrawlResult)).one().outcome == "not asked"


def test_an_unreachable_mirror_keeps_its_bitmap_and_leaves_a_trace_in_its_history(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.ASKED, 1, 2))
    bench.keep(bench.report(Outcome.UNREACHABLE, day=1))
    bench.keep(bench.report(Outcome.UNREACHABLE, day=2))
    health = bench.health()
    assert (health.health, health.failures, health.since) == (
        Health.QUARANTINED,
        2,
        NOW + timedelta(days=1, seconds=2),
    )
    assert (health.last_ok_at, health.last_tried_at) == (NOW + timedelta(seconds=2), NOW + timedelta(days=2, seconds=2))
    assert BitMap.deserialize(bench.state().up_to_date) == BitMap([1, 2])
    bench.keep(bench.report(Outcome.ASKED, 1, day=3))
    assert (bench.health().health, bench.health().failures) == (Health.PROBATION, 0)
    probation = "1 of 10 directories are up to date; on probation after an outage, good crawl 1 of 3"
    assert bench.changes() == [
        (Health.QUARANTINED, "could not be reached, once in a row: refused"),
        (Health.PROBATION, probation),
    ]


def test_a_host_that_fails_too_often_is_switched_off_with_reason_time_and_author(bench: Bench) -> None:
    """Case 36."""
    for day in range(3):
        bench.keep(bench.report(Outcome.UNREACHABLE, day=day), fail_hosts_after=3)
        assert bench.host.state is (State.ACTIVE if day < 2 else State.AUTO_DISABLED)
    assert bench.host.state_reason.startswith(
        "switched off after 3 failed crawls in a row since 2026-03-01 00:00 UTC. "
    )
    assert (bench.host.state_by, bench.host.state_since) == ("mm-crawler", NOW + timedelta(days=2, seconds=3))


def test_a_success_does_not_switch_on_what_its_owner_switched_off_meanwhile(bench: Bench) -> None:
    bench.host.state, bench.host.state_reason, bench.host.state_by = State.OWNER_DISABLED, "moving house", "alice"
    bench.session.flush()
    bench.keep(bench.report(Outcome.ASKED, 1))
    assert (bench.host.state, bench.host.state_reason) == (State.OWNER_DISABLED, "moving house")


def test_which_metadata_the_mirror_has_is_kept_per_repository(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.ASKED, 1))
    bench.keep(bench.report(Outcome.ASKED, 1, verdict=Verdict.ALTERNATE, day=1))
    bench.keep(bench.report(Outcome.ASKED, 1, verdict=Verdict.UNKNOWN, day=2))
    row = bench.session.scalars(select(RepositoryMirrorState)).one()
    assert (row.repository_id, row.file_detail_id, row.verdict) == (bench.repository.id, bench.detail.id, "alternate")
    assert (row.lag_seconds, row.checked_at) == (0, NOW + timedelta(days=1, seconds=2))


def test_what_a_scan_removed_meanwhile_is_no_obstacle(bench: Bench) -> None:
    report = bench.report(Outcome.ASKED, 1)
    bench.session.delete(bench.detail)
    bench.session.flush()
    bench.keep(report)
    assert bench.session.scalars(select(RepositoryMirrorState)).one().file_detail_id is None
    bench.session.delete(bench.repository)
    bench.session.flush()
    bench.keep(report)
    assert bench.session.scalar(select(func.count()).select_from(RepositoryMirrorState)) == 0


def test_a_category_or_host_that_was_removed_meanwhile_is_no_obstacle(bench: Bench) -> None:
    report = bench.report(Outcome.ASKED, 1)
    bench.session.delete(bench.carried)
    bench.session.flush()
    bench.keep(report)
    assert bench.session.scalars(select(CrawlResult)).all() == []
    assert record.read_past(bench.session, 999_999) is None


def test_an_address_that_leads_nowhere_is_marked_until_it_does_again(bench: Bench) -> None:
    def keep(problem: str, ends_at: int, day: int) -> HostCategoryUrl:
        address = AddressReport("http://m.example/fedora", problem, True, False, ends_at)
        report = bench.report(Outcome.ASKED, 1, day=day)
        bench.keep(replace(report, categories=(replace(report.categories[0], addresses=(address,)),)))
        return bench.carried.urls[0]

    ends_at = int(NOW.timestamp()) + 1000
    url = keep("", ends_at, day=0)
    assert (url.problem, url.tried_at, url.certificate_ends_at) == (
        "",
        NOW + timedelta(seconds=3),
        NOW + timedelta(seconds=1000),
    )
    assert (bench.host.has_ipv4, bench.host.has_ipv6) == (True, False)
    assert keep("404", 0, day=1).problem == "404"
    assert bench.carried.urls[0].certificate_ends_at == NOW + timedelta(seconds=1000)  # nothing newer is known
    assert keep("", 0, day=2).problem == ""


def test_a_run_is_kept_from_its_start_to_its_end(bench: Bench) -> None:
    run = bench.session.get_one(CrawlRun, bench.run)
    assert (run.arguments, run.finished_at, run.outcome) == ({"hosts": []}, None, "")
    record.close_run(bench.session, bench.run, "done", {"hosts": 1}, NOW)
    assert (run.finished_at, run.outcome, run.counts) == (NOW, "done", {"hosts": 1})


def test_text_that_a_stranger_sent_can_be_kept(bench: Bench) -> None:
    report = bench.report(Outcome.UNREACHABLE)
    hostile = replace(report.categories[0], evidence=(("base", Evidence("u", "e", "?" * 300 + "é\u2028")),))
    bench.keep(replace(report, categories=(hostile,)))
    assert bench.session.scalars(select(CrawlResult)).one().evidence[0][3].endswith("é\u2028")


def test_what_the_crawler_has_to_remember_comes_back_as_it_was(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.ASKED, 1, 2))
    past = record.read_past(bench.session, bench.host.id)
    assert past is not None
    known = past.categories[bench.carried.id]
    turns = {tier: Turn(NOW, NOW, 60.0, NOW + timedelta(minutes=1)) for tier in Tier}
    memory = Memory(BitMap([1]), BitMap([2, 3]), BitMap([4]), NOW, 2, NOW, 3600.0, turns)
    report = bench.report(Outcome.ASKED, 1, 2)
    decision = policy.decide(bench.tasks, report, past, make_rules(CrawlerSettings()))
    (category,) = decision.categories
    record.store(bench.session, bench.run, report, replace(decision, categories=(replace(category, memory=memory),)))
    bench.session.flush()
    bench.session.expire_all()
    again = record.read_past(bench.session, bench.host.id)
    assert again is not None
    assert again.categories[bench.carried.id] == replace(known, memory=memory)


def test_the_tier_of_a_crawl_is_kept_and_only_a_full_one_says_how_long_a_host_takes(bench: Bench) -> None:
    bench.tasks = {id_: task._replace(tier=Tier.CANARY) for id_, task in bench.tasks.items()}
    bench.keep(bench.report(Outcome.ASKED))
    assert bench.session.scalars(select(CrawlResult.tier)).all() == [Tier.CANARY]
    assert bench.host.last_crawled_at == NOW + timedelta(seconds=3)
    assert bench.host.last_crawl_seconds is None
    assert bench.session.get(HostCategoryState, bench.carried.id) is None


def test_a_canary_does_not_hide_what_the_last_crawl_said(bench: Bench) -> None:
    bench.keep(bench.report(Outcome.UNANSWERED))
    bench.tasks = {id_: task._replace(tier=Tier.CANARY) for id_, task in bench.tasks.items()}
    bench.keep(bench.report(Outcome.ASKED, day=1))
    assert bench.health().reason == "could not be judged, once in a row: refused"
    assert bench.health().last_tried_at == NOW + timedelta(days=1, seconds=2)


def test_storing_a_result_takes_as_many_statements_for_20_000_directories_as_for_two(bench: Bench) -> None:
    """How long it takes is measured by tests/bench/bench_crawler.py."""
    statements: list[str] = []
    engine = bench.session.get_bind()

    def note(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        statements.append(statement)

    counts = []
    for day, last in enumerate((5, 40_001, 5, 40_001)):
        ids = range(1, last, 2)
        bench.tasks = {
            bench.carried.id: CategoryTask(bench.carried.id, (), CategoryPlan(category(), (), (), BitMap(ids)))
        }
        statements.clear()
        event.listen(engine, "before_cursor_execute", note)
        bench.keep(bench.report(Outcome.ASKED, *ids, day=day))
        bench.session.commit()
        event.remove(engine, "before_cursor_execute", note)
        counts.append(len(statements))
    assert len(set(counts[1:])) == 1  # the first one makes the rows
    assert counts[1] < 25


def test_a_category_without_a_url_neither_shields_a_host_nor_speaks_for_it(bench: Bench) -> None:
    bench.world.carry(bench.host, category=bench.world.other_category("Never asked"))
    bench.session.flush()
    for day in range(4):
        bench.keep(bench.report(Outcome.UNREACHABLE, day=day))
    bench.session.expire_all()
    assert bench.host.state is State.AUTO_DISABLED
