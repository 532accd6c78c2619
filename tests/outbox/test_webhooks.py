"""Webhooks, on a real HTTP server."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm_lib.database import transaction
from mm_lib.model.outbox import DeliveryState
from mm_lib.outbox.webhook import sign
from mm_lib.services import outbox, webhooks
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound
from mm_lib.services.outbox import Kind
from tests import factories
from tests.outbox.conftest import World
from tests.outbox.receivers import WebhookReceiver
from tests.postgres import free_port


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """What is posted does not depend on the database."""
    (tmp_path / "test.sqlite").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of its libraries."""
    secret, id_ = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, id_, 1614265330, b'{"test": 2432232314}') == expected


def test_an_event_is_posted_with_a_signature_that_the_receiver_can_check(world: World) -> None:
    with WebhookReceiver() as receiver:
        webhook = world.webhook(receiver.url)
        event = world.happens()
        assert world.deliver() == {"delivered": 1}
    (post,) = receiver.posts
    assert post.is_signed_with(webhook.secret)
    assert post.path == "/hook?token=theirs"
    assert post.headers["webhook-id"] == f"event_{event}"
    assert (post.json["type"], post.json["data"]["host"]["name"]) == ("crawler.host.failing", "mirror.example.org")


def test_a_signature_is_bad_for_another_secret_or_another_body(world: World) -> None:
    with WebhookReceiver() as receiver:
        webhook = world.webhook(receiver.url)
        world.happens()
        world.deliver()
    (post,) = receiver.posts
    assert not post.is_signed_with("whsec_" + "A" * 44)
    post.body += b" "
    assert not post.is_signed_with(webhook.secret)


def test_a_receiver_that_fails_first_and_then_works_gets_the_event_once_more(world: World) -> None:
    with WebhookReceiver(500, 503, 302) as receiver:
        world.webhook(receiver.url)
        world.happens()
        assert [world.deliver() for _ in range(2)] == [{"waiting": 1}, {}]
        world.later(minutes=2)
        assert world.deliver() == {"waiting": 1}
        world.later(minutes=1)
        assert world.deliver() == {}  # the second pause is longer
        world.later(minutes=2)
        assert world.deliver() == {"waiting": 1}  # a redirect is no 2xx, and is not followed
        world.later(minutes=6)
        assert world.deliver() == {"delivered": 1}
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
    assert len(receiver.posts) == 4


def test_what_never_works_is_given_up_and_can_be_retried(world: World) -> None:
    world.set("outbox", tries=2)
    with WebhookReceiver(500, 500) as receiver:
        world.webhook(receiver.url)
        world.happens()
        world.deliver()
        world.later(hours=1)
        assert world.deliver() == {"dead": 1}
        (row,) = outbox.list_deliveries(world.session, [DeliveryState.DEAD], 10)
        assert (row["kind"], row["attempts"], row["about"]) == ("crawler.host.failing", 2, "mirror.example.org")
        assert "answered 500" in row["last_error"]
        world.later(days=30)
        assert world.deliver() == {}
        with transaction(world.session):
            assert outbox.retry(world.session, [row["id"]], world.now) == 1
        assert world.deliver() == {"delivered": 1}


def test_only_what_is_dead_can_be_retried(world: World) -> None:
    with pytest.raises(NotFound, match="Not among the dead deliveries: 7"):
        outbox.retry(world.session, [7], world.now)


def test_secrets_in_a_webhooks_address_are_not_kept_with_errors(world: World) -> None:
    with WebhookReceiver(500) as receiver:
        world.webhook(receiver.url)
        world.happens()
        world.deliver()
    assert "theirs" not in world.deliveries()[0].last_error


def test_a_receiver_that_says_gone_is_given_up(world: World) -> None:
    with WebhookReceiver(410) as receiver:
        world.webhook(receiver.url)
        world.happens()
        assert world.deliver() == {"dead": 1}


def test_one_that_is_down_delays_only_itself(world: World) -> None:
    with WebhookReceiver() as receiver:
        world.webhook(f"http://127.0.0.1:{free_port()}/down")
        world.webhook(receiver.url)
        world.happens()
        world.happens()
        assert world.deliver() == {"waiting": 1, "delivered": 2}


def test_a_sites_webhook_hears_of_its_site_only_and_never_from_before_it_was_made(world: World) -> None:
    with transaction(world.session):
        other = factories.host(world.session, "other.example.org").site
    with WebhookReceiver() as receiver:
        world.set("outbox", private_webhooks=True)
        world.later(days=-1)
        world.happens()
        world.later(days=1)
        world.webhook(receiver.url, site=other.name)
        world.happens()
        assert world.deliver() == {}
        world.happens(site_id=other.id)
        assert world.deliver() == {"delivered": 1}


def test_a_sites_webhook_may_not_lead_into_our_own_network(world: World) -> None:
    with WebhookReceiver() as receiver:
        world.webhook(receiver.url, site=world.site.name)
        world.happens()
        assert world.deliver() == {"dead": 1}
        assert receiver.posts == []
    assert "not a public address" in world.deliveries()[0].last_error


def test_a_webhook_hears_only_the_kinds_that_it_wants(world: World) -> None:
    with WebhookReceiver() as receiver:
        world.webhook(receiver.url, kinds=("crawler.host.disabled",))
        world.happens(Kind.FAILING)
        world.happens(Kind.DISABLED)
        assert world.deliver() == {"delivered": 1}
    assert receiver.posts[0].json["type"] == "crawler.host.disabled"


def test_a_webhook_that_was_removed_or_switched_off_gets_nothing_that_waited(world: World) -> None:
    with WebhookReceiver(500, 500) as receiver:
        removed, off = world.webhook(receiver.url), world.webhook(receiver.url + "2")
        world.happens()
        world.deliver()
        with transaction(world.session):
            world.session.delete(removed)
            off.enabled = False
        world.later(hours=1)
        assert world.deliver() == {"dead": 2}
        assert len(receiver.posts) == 2


def test_a_webhook_is_refused_that_exists_or_cannot_be(world: World) -> None:
    world.webhook("https://example.org/hook")
    for url, error in (("https://example.org/hook", AlreadyExists), ("ftp://example.org/", InvalidValue)):
        with pytest.raises(error):
            webhooks.add_webhook(world.session, url)
    with pytest.raises(InvalidValue, match=r"no 'host\.eaten'"):
        webhooks.add_webhook(world.session, "https://example.org/", kinds=["host.eaten"])
