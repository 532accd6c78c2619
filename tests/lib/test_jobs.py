"""Checks that somebody asked for: asked once, not too often, served once, and never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.hosts import Host
from mm_lib.model.state import Job, JobState
from mm_lib.services import jobs, maintenance
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound, TooOften
from mm_lib.services.jobs import Check
from tests.crawler.builders import World

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(hours=1)


@pytest.fixture
def host(session: Session) -> Host:
    """A host with two categories."""
    world = World(session)
    host = world.host("mirror", "https://mirror.example.org/fedora")
    world.carry(host, "https://mirror.example.org/epel", category=world.other_category("Fedora EPEL"))
    session.expire_all()
    return host


def ask(session: Session, host: Host, *categories: str, at: datetime = NOW, by: str = "ann") -> list[Check]:
    return jobs.request_check(session, host, categories, by, now=at)


def test_a_check_is_asked_for_per_category_and_is_waiting(session: Session, host: Host) -> None:
    asked = ask(session, host)
    assert [(check.category, check.state, check.requested_by, check.requested_at) for check in asked] == [
        ("Fedora EPEL", JobState.WAITING, "ann", NOW),
        ("Fedora Linux", JobState.WAITING, "ann", NOW),
    ]


def test_asking_again_while_it_waits_or_runs_gives_the_same_check(session: Session, host: Host) -> None:
    (first,) = ask(session, host, "Fedora EPEL")
    jobs.begin(session, first.id, NOW, LEASE)
    assert [check.id for check in ask(session, host, "Fedora EPEL", by="bob")] == [first.id]


def test_a_check_is_refused_for_a_while_after_the_last_one(session: Session, host: Host) -> None:
    (first,) = ask(session, host, "Fedora EPEL")
    jobs.begin(session, first.id, NOW, LEASE)
    jobs.finish(session, first.id, NOW, "all is well")
    with pytest.raises(TooOften, match=r"all is well.*in 6 minutes") as refused:
        ask(session, host, at=NOW + timedelta(minutes=4, seconds=30))
    assert refused.value.ready_at == NOW + jobs.AGAIN_AFTER
    assert len(ask(session, host, at=NOW + jobs.AGAIN_AFTER)) == 2


def test_nobody_waits_for_more_checks_than_the_limit(
    session: Session, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_WAITING", 1)
    ask(session, host, "Fedora EPEL")
    with pytest.raises(TooOften, match="that you asked for are waiting"):
        ask(session, host, "Fedora Linux")
    assert ask(session, host, "Fedora Linux", by="bob")


def test_what_cannot_be_checked_is_refused_with_the_reason(session: Session, host: Host) -> None:
    with pytest.raises(NotFound, match="mirror does not carry Debian"):
        ask(session, host, "Debian")
    host.categories[0].always_up_to_date = True
    with pytest.raises(InvalidValue, match="always up to date"):
        ask(session, host, "Fedora Linux")
    host.private = True
    with pytest.raises(NotAllowed, match="private"):
        ask(session, host)
    host.crawl_private = True
    assert ask(session, host)
    host.state, host.state_reason, host.state_by = State.ADMIN_DISABLED, "spam", "root"
    with pytest.raises(NotAllowed, match="spam"):
        ask(session, host)


def test_a_check_is_handed_over_once_until_its_lease_ends(session: Session, host: Host) -> None:
    ask(session, host)
    assert len(jobs.hand_over(session, NOW, LEASE)) == 2
    assert jobs.hand_over(session, NOW + LEASE / 2, LEASE) == []
    assert len(jobs.hand_over(session, NOW + LEASE, LEASE)) == 2


def test_a_running_check_whose_crawler_was_killed_is_handed_over_again(session: Session, host: Host) -> None:
    (check,) = ask(session, host, "Fedora EPEL")
    jobs.hand_over(session, NOW, LEASE)
    assert jobs.begin(session, check.id, NOW, LEASE)
    assert [each.id for each in jobs.hand_over(session, NOW + LEASE, LEASE)] == [check.id]


def test_a_check_that_has_ended_is_not_begun_again(session: Session, host: Host) -> None:
    done, failed = ask(session, host)
    jobs.finish(session, done.id, NOW, "found")
    jobs.give_up(session, failed.id, NOW, "crashed")
    assert not jobs.begin(session, done.id, NOW, LEASE)
    assert not jobs.begin(session, failed.id, NOW, LEASE)
    states = {check.id: (check.state, check.result) for check in jobs.list_checks(session, host)}
    assert states == {done.id: (JobState.DONE, "found"), failed.id: (JobState.FAILED, "crashed")}


def test_a_check_that_is_put_back_is_handed_over_at_once(session: Session, host: Host) -> None:
    (check,) = ask(session, host, "Fedora EPEL")
    jobs.hand_over(session, NOW, LEASE)
    jobs.put_back(session, check.id)
    assert [each.id for each in jobs.hand_over(session, NOW, LEASE)] == [check.id]


def test_old_checks_are_forgotten_and_open_ones_kept(session: Session, host: Host) -> None:
    old, waiting = ask(session, host)
    jobs.finish(session, old.id, NOW, "")
    jobs.prune(session, NOW + timedelta(seconds=1))
    assert [check.id for check in jobs.list_checks(session)] == [waiting.id]
    assert session.get(Job, old.id) is None


def test_a_host_under_maintenance_is_not_checked(session: Session, host: Host) -> None:
    until = NOW + timedelta(hours=2)
    maintenance.announce(session, host, NOW - timedelta(hours=1), until, reason="disks", by="ann", now=NOW)
    with pytest.raises(NotAllowed, match="under maintenance until 2026-03-01 14:00 UTC"):
        ask(session, host)
    assert ask(session, host, at=until)
