"""Who delivers what, and what is kept of it; on both databases."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import select

from mm_lib.database import transaction
from mm_lib.model.outbox import Channel, Delivery, DeliveryState, Event
from mm_lib.outbox import queue, spreading
from mm_lib.outbox.deliver import deliver
from mm_lib.services import outbox
from mm_lib.services.outbox import Kind
from mm_lib.settings import OutboxSettings
from tests.outbox.conftest import World
from tests.outbox.receivers import WebhookReceiver


def test_an_event_is_part_of_the_transaction_of_its_change(world: World) -> None:
    outbox.emit(world.session, Kind.HOST_ADDED, {})
    assert len(world.events()) == 1
    world.session.rollback()
    assert world.events() == []


def test_a_second_event_with_the_same_key_is_not_written(world: World) -> None:
    assert world.happens(dedupe_key="once") is not None
    assert world.happens(dedupe_key="once") is None
    assert len(world.events()) == 1


def test_deliveries_are_made_once(world: World) -> None:
    with WebhookReceiver() as receiver:
        world.webhook(receiver.url)
        world.happens()
        assert [world.deliver(), world.deliver()] == [{"delivered": 1}, {}]
        assert len(receiver.posts) == 1


def test_two_deliverers_at_once_deliver_everything_once(world: World) -> None:
    events = 20
    with WebhookReceiver() as receiver:
        world.webhook(receiver.url)
        for _ in range(events):
            world.happens()
        counts: Counter[str] = Counter()
        together = threading.Barrier(2)

        def one() -> None:
            together.wait()
            counts.update(deliver(world.transactions, world.settings))

        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    told = Counter(post.headers["webhook-id"] for post in receiver.posts)
    assert (counts, len(told), set(told.values())) == ({"delivered": events}, events, {1})


def claimed(world: World) -> queue.Claim | None:
    with world.transactions() as session:
        return queue.claim(session, world.now, world.settings.outbox, world.settings.frontend)


def waiting(world: World) -> None:
    """One delivery that waits."""
    world.webhook("http://127.0.0.1:9/")
    world.happens()
    with world.transactions() as session:
        spreading.spread(session, world.settings, world.now)


def test_what_one_has_claimed_no_other_gets_until_the_lease_ends(world: World) -> None:
    waiting(world)
    first = claimed(world)
    assert first is not None
    assert claimed(world) is None
    world.later(seconds=world.settings.outbox.lease + 1)
    again = claimed(world)
    assert again is not None
    assert (again.delivery_id, again.attempt) == (first.delivery_id, 2)


def test_one_who_comes_late_changes_nothing_any_more(world: World) -> None:
    waiting(world)
    late = claimed(world)
    world.later(hours=1)
    second = claimed(world)
    assert late is not None and second is not None
    with world.transactions() as session:
        settings = {"settings": world.settings.outbox, "rng": Random(1)}
        assert queue.settle(session, late, queue.Ends("no", final=True), world.now, **settings) is None
        assert queue.settle(session, second, None, world.now, **settings) is DeliveryState.DELIVERED


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_claims_at_the_same_moment_get_two_deliveries(world: World) -> None:
    """Neither waits for the other. (SQLite has one writer at a time.)"""
    waiting(world)
    world.happens()
    with world.transactions() as session:
        spreading.spread(session, world.settings, world.now)
    with world.sessions() as one, world.sessions() as other:
        first, second = (
            queue.claim(each, world.now, world.settings.outbox, world.settings.frontend) for each in (one, other)
        )
    assert first is not None and second is not None
    assert first.delivery_id != second.delivery_id


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 60), (2, 120), (5, 960), (30, 21600), (500, 21600)])
def test_pauses_double_up_to_a_limit_and_are_spread(attempt: int, seconds: float) -> None:
    pauses = {queue.pause(attempt, OutboxSettings(), Random(seed)) for seed in range(50)}
    assert all(seconds * 0.75 <= pause <= seconds * 1.25 for pause in pauses)
    assert len(pauses) > 40


def test_a_channel_that_is_not_set_up_any_more_is_no_crash(world: World) -> None:
    waiting(world)
    with transaction(world.session):
        world.session.scalars(select(Delivery)).one().channel = Channel.MAIL
    assert world.deliver() == {"waiting": 1}
    assert "not set up any more" in world.deliveries()[0].last_error


def test_an_event_that_cannot_be_told_stops_no_other(world: World) -> None:
    world.set("mail", server="127.0.0.1", port=9, security="none", sender="mirrors@example.net")
    world.happens(Kind.DISABLED)
    with transaction(world.session):
        world.session.scalars(select(Event)).one().payload = {"categories": [{}]}
    assert world.deliver()["dead"] >= 1
    assert "KeyError" in world.deliveries()[0].last_error


def test_events_are_forgotten_when_they_are_old_and_nobody_waits_for_them(world: World) -> None:
    with WebhookReceiver(410) as receiver:
        world.webhook(receiver.url)
        dead, done = world.happens(), world.happens()
        world.deliver()
        world.later(days=world.settings.outbox.keep_days + 1)
        world.deliver()
    assert [event.id for event in world.events()] == [dead]
    assert done not in {each.event_id for each in world.deliveries()}


def test_deliveries_are_counted_by_state(world: World) -> None:
    waiting(world)
    world.happens()
    expected = {"waiting": 1, "delivered": 0, "dead": 0, "events waiting": 1}
    assert outbox.count_deliveries(world.session) == expected


# -- digests


def held(world: World, *kinds: Kind) -> None:
    for kind in kinds:
        world.happens(kind, held=True)


def digests(world: World) -> list[Event]:
    return [event for event in world.events() if event.kind == Kind.FLAPPING]


def test_changes_that_were_held_back_are_told_in_one_digest_a_day(world: World) -> None:
    held(world, Kind.FAILING, Kind.RECOVERED)
    world.deliver()
    world.later(hours=3)
    held(world, Kind.FAILING)
    world.deliver()
    (digest,) = digests(world)
    assert [change["change"] for change in digest.payload["changes"]] == ["failing", "recovered"]
    world.later(hours=22)
    world.deliver()
    assert [len(each.payload["changes"]) for each in digests(world)] == [2, 1]


def test_what_waits_for_a_digest_is_posted_but_not_mailed(world: World) -> None:
    world.set("mail", server="127.0.0.1", port=9, security="none", sender="mirrors@example.net")
    with WebhookReceiver() as receiver:
        world.webhook(receiver.url, kinds=("crawler.host.failing",))
        with world.transactions() as session:
            outbox.emit(session, Kind.FLAPPING, {}, host_id=world.host.id, site_id=world.site.id, at=world.now)
        world.deliver()
        held(world, Kind.FAILING)
        assert world.deliver()["delivered"] == 1
    kinds = [row.event.kind for row in world.deliveries() if row.channel is Channel.MAIL]
    assert set(kinds) == {Kind.FLAPPING}


def test_two_deliverers_make_one_digest(world: World) -> None:
    held(world, Kind.FAILING)
    with world.transactions() as session:
        assert spreading.make_digests(session, world.settings, world.now) == 1
    with world.transactions() as session:
        assert spreading.make_digests(session, world.settings, world.now) == 0


def test_what_was_held_back_of_a_host_that_is_gone_is_let_go(world: World) -> None:
    held(world, Kind.FAILING)
    with transaction(world.session):
        world.session.delete(world.host)
    world.later(minutes=1)
    world.deliver()
    assert [(event.held, event.kind) for event in world.events()] == [(False, Kind.FAILING)]


# -- what changes in the registry


def test_a_changed_host_is_told_with_its_site_and_who_did_it(world: World) -> None:
    with transaction(world.session):
        outbox.host_changed(world.session, Kind.HOST_UPDATED, world.host, "ann")
        outbox.site_changed(world.session, Kind.SITE_UPDATED, world.site, "ann")
    host, site = world.events()
    assert host.payload["host"] == {
        "id": world.host.id,
        "name": "mirror.example.org",
        "country": "DE",
        "bandwidth": 100,
        "asn": None,
    }
    assert (host.payload["agent"], site.payload["site"]["admins"]) == ("ann", ["ann", "bob"])


def test_an_event_outlives_its_host_and_site(world: World) -> None:
    with transaction(world.session):
        outbox.host_changed(world.session, Kind.HOST_DELETED, world.host, "ann")
        outbox.site_changed(world.session, Kind.SITE_DELETED, world.site, "ann")
        world.session.delete(world.site)
    names = [event.payload["site"]["name"] for event in world.events()]
    assert names == ["Site of mirror.example.org"] * 2
    assert all(event.at > world.now - timedelta(minutes=5) for event in world.events())
