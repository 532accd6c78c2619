"""What each tier asks a mirror for, and what that leaves in the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyroaring import BitMap
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mm_crawler.cli import main
from mm_crawler.plan import Planner
from mm_crawler.report import CategoryTask, MasterCategory, Memory, MirrorCategory, MirrorUrl, Tier, Turn
from mm_lib.cli.main import main as admin
from mm_lib.database import transaction
from mm_lib.model.base import State
from mm_lib.model.content import Directory
from mm_lib.model.hosts import Host
from mm_lib.model.state import (
    CrawlResult,
    CrawlSchedule,
    Health,
    HealthChange,
    HostCategoryCrawl,
    HostCategoryHealth,
    HostCategoryState,
)
from tests.crawler.builders import NEW, NOW, OLD, TOPDIR, World, category, directory, repomd
from tests.servers import Nginx

# ---------------------------------------------------------------- the plan

TREE = category(
    directory(1, f"{TOPDIR}/os"),
    directory(2, f"{TOPDIR}/os/repodata", important=(repomd(1),)),
    *(directory(id_, f"{TOPDIR}/d{id_}", "f") for id_ in range(3, 101)),
)
LONG_AGO = NOW - timedelta(days=1)


def memory(until: datetime | None = LONG_AGO, **known: Any) -> Memory:
    turns = {tier: Turn(until, until, 60.0, NOW) for tier in Tier}
    return Memory(**{name: BitMap(ids) for name, ids in known.items()}, turns=turns)


def plan(tier: Tier, known: Memory | None, changes: dict[int, datetime] | None = None) -> CategoryTask | None:
    tree = MasterCategory(
        1,
        "Fedora Linux",
        TOPDIR,
        TREE.directories,
        changes={id_: at.timestamp() for id_, at in (changes or {}).items()},
        changes_until=NOW,
    )
    carried = MirrorCategory(1, 1, (MirrorUrl("http://m", False),), (tier,), known)
    return Planner(tree, Random(1), 24).task(carried)


def asked(task: CategoryTask | None) -> set[int]:
    assert task is not None
    return {each.id for each in task.plan.asked}


def test_a_canary_asks_for_no_directory() -> None:
    assert asked(plan(Tier.CANARY, None)) == set()


def test_metadata_of_a_mirror_that_is_not_known_is_asked_for_as_a_whole() -> None:
    task = plan(Tier.METADATA, None)
    assert asked(task) == {2}
    assert task is not None and [each.id for each in task.plan.implied] == [1]


def test_nothing_is_asked_when_no_metadata_changed() -> None:
    assert plan(Tier.METADATA, memory()) is None
    assert plan(Tier.METADATA, memory(), {3: NOW, 2: LONG_AGO}) is None


def test_metadata_that_changed_or_was_late_is_asked_for() -> None:
    assert asked(plan(Tier.METADATA, memory(), {2: NOW})) == {2}
    assert asked(plan(Tier.METADATA, memory(ask_again=[2, 3]))) == {2}


def test_an_incremental_crawl_asks_for_changes_for_what_was_late_and_for_a_part_of_the_rest() -> None:
    task = plan(Tier.INCREMENTAL, memory(ask_again=[5, 6, 999]), {2: NOW, 3: NOW, 4: LONG_AGO})
    assert task is not None and task.because is not None
    assert (task.because.changed, task.because.again) == (BitMap([2, 3]), BitMap([5, 6]))
    assert len(task.because.sample) == 5  # 99 directories with files in 24 parts
    assert asked(task) == set(task.because.changed | task.because.again | task.because.sample)


def test_samples_rotate_so_that_everything_is_asked_for_once_in_so_many_crawls() -> None:
    seen, rounds = BitMap(), 0
    while True:
        task = plan(Tier.INCREMENTAL, memory(sampled=list(seen)))
        assert task is not None and task.because is not None
        assert not seen & task.because.sample
        seen, rounds = seen | task.because.sample, rounds + 1
        if task.because.cycle_ends:
            break
    assert (len(seen), rounds) == (99, 20)


def test_an_incremental_crawl_of_a_mirror_that_is_not_known_is_a_full_one() -> None:
    task = plan(Tier.INCREMENTAL, None)
    assert task is not None and (task.tier, len(task.plan.asked)) == (Tier.FULL, 99)


def test_a_directory_without_files_is_judged_only_when_all_that_speak_for_it_are_asked() -> None:
    tree = category(directory(1, f"{TOPDIR}/a"), *(directory(id_, f"{TOPDIR}/a/{id_}", "f") for id_ in (2, 3)))
    planner = Planner(tree, Random(1), 24)
    assert planner.part(BitMap([2])).implied == ()
    assert [each.id for each in planner.part(BitMap([2, 3])).implied] == [1]


# ---------------------------------------------------------------- the command


class Setup:
    """A mirror with a repository and two directories, which all can change."""

    def __init__(self, session: Session, root: Path) -> None:
        self.session = session
        self.root = root
        with transaction(session):
            self.world = World(session)
            self.repodata = self.world.directory(f"{TOPDIR}/repodata")
            self.world.detail(self.repodata, OLD, 1)
            self.a, self.b = (self.world.directory(f"{TOPDIR}/{name}", "f") for name in "ab")
        self.put("repodata/repomd.xml", OLD)
        for name in "ab":
            self.put(f"{name}/f", b"good")

    def put(self, name: str, content: bytes) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(content)

    def host(self, url: str, **changes: Any) -> Host:
        with transaction(self.session):
            host = self.world.host("mirror", url)
            for name, value in changes.items():
                setattr(host, name, value)
        self.id = host.categories[0].id
        return host

    @property
    def seen(self) -> Host:
        """The host as it is in the database now."""
        self.session.expire_all()
        return self.session.scalars(select(Host)).one()

    def new_version(self) -> None:
        with transaction(self.session):
            self.world.detail(self.repodata, NEW, 2).first_seen_at = datetime.now(UTC)

    def change(self, changed: Directory) -> None:
        with transaction(self.session):
            changed.changed_at = datetime.now(UTC)

    def overdue(self) -> None:
        """As if a week had passed since the last crawl."""
        with transaction(self.session):
            self.session.execute(update(CrawlSchedule).values(next_due_at=NOW, asked_at=NOW))

    @property
    def up_to_date(self) -> set[int]:
        self.session.expire_all()
        return set(BitMap.deserialize(self.session.get_one(HostCategoryState, self.id).up_to_date))

    @property
    def health(self) -> HostCategoryHealth:
        self.session.expire_all()
        return self.session.get_one(HostCategoryHealth, self.id)


def crawl(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["mirrors", *arguments])
    assert result.exit_code == code, result.output
    return result


def only_row(*arguments: str) -> dict[str, Any]:
    (row,) = json.loads(crawl("--json", *arguments).stdout)
    assert isinstance(row, dict)
    return row


@pytest.fixture
def setup(session: Session, monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> Setup:
    monkeypatch.setenv("MM_DATABASE__URL", database_url)
    monkeypatch.setenv("MM_CRAWLER__TRIES", "1")
    monkeypatch.setenv("MM_CRAWLER__SAMPLE_PARTS", "3")
    return Setup(session, tmp_path / "mirror")


@pytest.fixture
def nginx(setup: Setup) -> Iterator[Nginx]:
    with Nginx({"mirror": setup.root}) as server:
        yield server


def test_case_41_metadata_is_asked_for_only_when_it_changed_and_leaves_everything_else_alone(
    setup: Setup, nginx: Nginx
) -> None:
    """Case 41: neither its duration nor other directories are touched."""
    setup.host(nginx.urls["mirror"])
    crawl("--tier", "full")
    seconds, before = setup.seen.last_crawl_seconds, len(nginx.requests("mirror"))
    setup.put("a/f", b"changed")
    assert "nothing changed" in crawl("--tier", "metadata").output
    assert len(nginx.requests("mirror")) == before
    setup.new_version()
    assert only_row("--tier", "metadata")["alternate"] == 1
    setup.put("repodata/repomd.xml", NEW)
    assert only_row("--tier", "metadata")["ok"] == 1
    assert "nothing changed" in crawl("--tier", "metadata").output
    assert setup.up_to_date == {setup.repodata.id, setup.a.id, setup.b.id}
    assert setup.session.get_one(HostCategoryState, setup.id).directories_total == 3
    assert setup.seen.last_crawl_seconds == seconds
    assert setup.session.get_one(HostCategoryCrawl, setup.id).synced_at is not None


def test_an_incremental_crawl_finds_what_changed_and_what_was_late(setup: Setup, nginx: Nginx) -> None:
    setup.host(nginx.urls["mirror"])
    crawl()
    setup.put("a/f", b"changed")
    setup.change(setup.a)
    assert only_row("--tier", "incremental")["stale"] == 1
    assert setup.up_to_date == {setup.repodata.id, setup.b.id}
    setup.put("a/f", b"good")
    assert only_row("--tier", "incremental")["stale"] == 0
    assert setup.up_to_date == {setup.repodata.id, setup.a.id, setup.b.id}


def test_case_38_a_canary_takes_a_dead_mirror_out_of_the_next_cache_and_nothing_else(
    setup: Setup, nginx: Nginx
) -> None:
    setup.host(nginx.urls["mirror"])
    crawl()
    seconds = setup.seen.last_crawl_seconds
    setup.root.rename(setup.root.with_name("gone"))
    assert only_row("--canary")["health"] == "quarantined"
    assert (setup.health.health, setup.health.failures) == (Health.QUARANTINED, 0)
    assert setup.up_to_date == {setup.repodata.id, setup.a.id, setup.b.id}
    setup.root.with_name("gone").rename(setup.root)
    assert only_row("--tier", "canary")["health"] == "quarantined"
    assert only_row("--due")["health"] == "probation"
    assert setup.seen.last_crawl_seconds == seconds


def test_what_is_due_is_asked_for_and_nothing_else(setup: Setup, nginx: Nginx) -> None:
    setup.host(nginx.urls["mirror"])
    crawl("--due")
    assert crawl("--due").output == ""
    setup.overdue()
    crawl("--due", "--json")
    tiers = setup.session.scalars(select(CrawlResult.tier).order_by(CrawlResult.id)).all()
    assert tiers == [Tier.FULL, Tier.FULL]


def test_case_36_the_fourth_full_failure_switches_a_host_off_and_a_return_switches_it_on(
    setup: Setup, nginx: Nginx
) -> None:
    setup.host(f"{nginx.urls['mirror']}/elsewhere")
    for number in (1, 2, 3):
        crawl()
        assert (setup.health.failures, setup.seen.state) == (number, State.ACTIVE)
    crawl()
    assert setup.seen.state is State.AUTO_DISABLED
    assert "after 4 failed crawls in a row" in setup.seen.state_reason
    assert "it is auto-disabled" in crawl("--host", "mirror", code=1).output
    setup.put("elsewhere/repodata/repomd.xml", OLD)
    crawl("--include-disabled")
    assert setup.seen.state is State.ACTIVE
    assert (setup.health.failures, setup.health.health) == (0, Health.PROBATION)
    assert setup.seen.state_reason.startswith("it answers again: 1 of 3 directories are up to date")
    changes = setup.session.scalars(select(HealthChange.health).order_by(HealthChange.id)).all()
    assert changes == [Health.QUARANTINED, Health.PROBATION]


def test_a_host_that_an_administrator_switches_on_again_has_all_its_tries_before_it(setup: Setup, nginx: Nginx) -> None:
    setup.host(f"{nginx.urls['mirror']}/elsewhere")
    for _ in range(4):
        crawl()
    assert setup.seen.state is State.AUTO_DISABLED
    assert CliRunner().invoke(admin, ["host", "enable", "mirror"]).exit_code == 0
    crawl()
    assert (setup.health.failures, setup.seen.state) == (1, State.ACTIVE)


@pytest.mark.parametrize("state", [State.OWNER_DISABLED, State.ADMIN_DISABLED])
def test_case_43_what_people_switched_off_stays_off(setup: Setup, nginx: Nginx, state: State) -> None:
    host = setup.host(nginx.urls["mirror"], state=state, state_reason="moving house", state_by="alice")
    crawl("--include-disabled")
    setup.session.expire_all()
    assert (host.state, host.state_reason) == (state, "moving house")
    assert (host.last_crawled_at is None) is (state is State.ADMIN_DISABLED)


def test_verbose_explains_every_decision_about_a_host(setup: Setup, nginx: Nginx) -> None:
    setup.host(nginx.urls["mirror"])
    with transaction(setup.session):
        epel = setup.world.other_category("EPEL")
        setup.world.carry(setup.session.scalars(select(Host)).one(), category=epel, always=True)
    crawl()
    setup.change(setup.a)
    setup.put("a/f", b"changed")
    told = crawl("--tier", "incremental", "--host", "mirror", "--verbose").stdout
    for line in (
        "mirror: EPEL: not asked: it is always up to date",
        "mirror: Fedora Linux: 1 of them because they changed on the master since it was last asked",
        f"mirror: Fedora Linux: by these addresses, the first that answers: {nginx.urls['mirror']}",
        f"stale: {nginx.urls['mirror']}/a/f: expected 200, 4 bytes; found 200, 7 bytes",
        "mirror: Fedora Linux: 2 of 3 directories count as up to date",
        "mirror: Fedora Linux: 1 directories are asked again by the next incremental crawl",
        "mirror: Fedora Linux: next full crawl due at ",
    ):
        assert line in told
    assert "--verbose is about one host" in crawl("--verbose", code=2).output
