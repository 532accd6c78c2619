"""mm_crawler.spreading: when each version of a repository's metadata had reached the mirrors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler import spreading
from mm_crawler.spreading import Share, share
from mm_lib.model.statistics import (
    AccessDimension,
    AccessStatistic,
    PropagationStatistic,
    PropagationVersion,
    StatisticLevel,
)
from tests.crawler.builders import TOPDIR, World

START = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Spreading:
    """A repository of ten mirrors that all have the old version; a new one comes an hour after the first measuring."""

    def __init__(self, session: Session) -> None:
        self.session, world = session, World(session)
        repodata = world.directory(f"{TOPDIR}/x86_64/repodata")
        self.repository = world.repository("updates-44", world.directory(f"{TOPDIR}/x86_64"))
        self.repodata = {self.repository.id: repodata.id}
        self.hosts = [world.host(f"m{number}", f"http://m{number}") for number in range(10)]
        self.old, self.new = (world.detail(repodata, content, at) for content, at in ((b"old", 1_000), (b"new", 2_000)))
        self.old.first_seen_at, self.new.first_seen_at = START - 24 * HOUR, START + HOUR
        self.measure(0, 0)

    def measure(self, hours: float, reached: int) -> list[PropagationVersion]:
        """So many hours after the first time, when so many mirrors had the new version."""
        versions = {host.id: (self.new if n < reached else self.old).id for n, host in enumerate(self.hosts)}
        now = START + hours * HOUR
        rows = spreading.keep(self.session, {self.repository.id: versions}, self.repodata, now)
        none = dict.fromkeys(("same_day", "one_day", "two_days", "older", "unknown"), 0)
        self.session.add(PropagationStatistic(repository_id=self.repository.id, at=now, **none))
        self.session.flush()
        return rows

    def row(self) -> PropagationVersion:
        return self.session.scalars(select(PropagationVersion)).one()


@pytest.fixture
def spread(session: Session) -> Spreading:
    return Spreading(session)


def test_the_first_measurement_that_finds_a_share_reached_counts(spread: Spreading) -> None:
    for hours, reached in ((2, 4), (3, 5), (4, 8), (5, 9), (6, 7), (9, 10)):
        spread.measure(hours, reached)
    row = spread.row()
    assert (row.mirrors_50, row.mirrors_80, row.mirrors_90, row.mirrors_95) == (7_200, 10_800, 14_400, 28_800)
    assert (row.published_at, row.measured_at) == (START + HOUR, START + 9 * HOUR)
    assert (row.mirrors, row.mirrors_reached, row.requests_reached) == (10, 10, 1.0)


def test_a_version_older_than_the_first_measurement_has_no_history(spread: Spreading) -> None:
    """Nobody knows when it arrived where."""
    spread.measure(2, 10)
    assert spread.row().timestamp == spread.new.timestamp


def test_mirrors_weigh_what_they_are_asked_for(spread: Spreading) -> None:
    for number, requests in enumerate((800, 150, 50)):
        spread.session.add(
            AccessStatistic(
                level=StatisticLevel.DAY,
                dimension=AccessDimension.HOST,
                start=date(2026, 10, 30),
                name=f"m{number}",
                requests=requests,
                clients=0,
            )
        )
    spread.session.flush()
    spread.measure(2, 1)
    spread.measure(3, 2)
    row = spread.row()
    assert (row.requests_80, row.requests_90, row.requests_95) == (3_600, 7_200, 7_200)
    assert row.mirrors_50 is None


def test_without_counted_requests_the_bandwidth_is_the_weight(spread: Spreading) -> None:
    spread.hosts[0].bandwidth_mbps = 9 * 100
    spread.session.flush()
    spread.measure(2, 1)
    assert spread.row().requests_reached == 0.5


def test_a_mirror_with_a_newer_version_has_the_older_ones_too() -> None:
    assert share(2_000, {1: 3_000, 2: 2_000, 3: 1_000, 4: -1}, {1: 1.0, 2: 1.0, 3: 2.0}) == Share(4, 2, 0.5)


def test_nobody_knows_the_share_of_requests_of_mirrors_without_any() -> None:
    assert share(1, {7: 1}, {8: 5.0}) == Share(1, 1, None)


def test_the_newest_version_is_late_when_too_few_mirrors_have_it_in_time(spread: Spreading) -> None:
    rows = spread.measure(26, 7)
    assert spreading.late(rows, 80, 24, START + 26 * HOUR) == [spread.row()]
    assert spreading.late(rows, 70, 24, START + 26 * HOUR) == []
    assert spreading.late(rows, 80, 26, START + 26 * HOUR) == []


def test_old_measurements_and_versions_are_forgotten(spread: Spreading) -> None:
    spread.measure(2, 1)
    spreading.forget(spread.session, START + HOUR, START)
    assert spread.session.scalars(select(PropagationStatistic.at)).all() == [START + 2 * HOUR]
    assert spread.row()
    spreading.forget(spread.session, START, START + 2 * HOUR)
    assert spread.session.scalars(select(PropagationVersion)).all() == []
