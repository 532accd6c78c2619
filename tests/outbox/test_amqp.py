"""AMQP: pika against as much of a broker as a publisher needs; the bodies against the schemas of the reference."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from mm_lib.database import transaction
from mm_lib.outbox.amqp import AmqpSender
from mm_lib.services import outbox
from mm_lib.services.outbox import Kind
from mm_lib.settings import AmqpSettings, SettingsError
from tests.outbox.conftest import World
from tests.outbox.receivers import Broker, Published
from tests.postgres import free_port


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """What is published does not depend on the database."""
    (tmp_path / "test.sqlite").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


def published(world: World, kind: Kind) -> dict[str, Published]:
    """What reaches the broker, by topic."""
    with Broker() as broker:
        world.set("amqp", url=broker.url, topic_prefix="org.fedoraproject.prod")
        world.set("frontend", public_url="https://mirrors.example.net")
        with transaction(world.session):
            if kind in (Kind.HOST_ADDED, Kind.HOST_UPDATED, Kind.HOST_DELETED):
                outbox.host_changed(world.session, kind, world.host, "ann")
            else:
                outbox.site_changed(world.session, kind, world.site, "ann")
        world.deliver()
    assert broker.credentials == "\0mm\0secret"
    return {message.topic: message for message in broker.messages}


def body(message: Published) -> Any:
    return json.loads(message.body)


def test_a_host_is_told_in_both_versions(world: World) -> None:
    found = published(world, Kind.HOST_UPDATED)
    prefix = "org.fedoraproject.prod.mirrormanager.host.updated"
    assert set(found) == {prefix, f"{prefix}.v2"}
    ids = {"site_id": world.site.id, "host_id": world.host.id}
    assert body(found[prefix]) == {**ids, "bandwidth": 100, "asn": None}
    assert body(found[f"{prefix}.v2"]) == {
        "agent": "ann",
        "host": {
            "id": world.host.id,
            "name": "mirror.example.org",
            "country": "DE",
            "bandwidth": 100,
            "url": f"https://mirrors.example.net/host/{world.host.id}",
        },
        "site": {"id": world.site.id, "name": "Site of mirror.example.org", "admins": ["ann", "bob"]},
    }


def test_a_site_that_is_gone_is_told_in_both_versions(world: World) -> None:
    found = published(world, Kind.SITE_DELETED)
    prefix = "org.fedoraproject.prod.mirrormanager.site.deleted"
    assert body(found[prefix]) == {"site_id": world.site.id, "site_name": world.site.name, "org_url": None}
    assert set(body(found[f"{prefix}.v2"])) == {"agent", "site"}


def test_a_host_that_was_switched_off_is_told_as_the_reference_does(world: World) -> None:
    with Broker() as broker:
        world.set("amqp", url=broker.url)
        world.set("frontend", public_url="https://mirrors.example.net")
        world.happens(Kind.DISABLED)
        assert world.deliver() == {"delivered": 1}
    (message,) = broker.messages
    told = body(message)
    assert (message.exchange, message.topic) == ("amq.topic", "mirrormanager.crawler.host.disabled.v1")
    assert set(told) == {"host", "site", "crawled_at", "logs_url", "reason"}
    assert told["logs_url"] == f"https://mirrors.example.net/host/{world.host.id}/logs"


def test_a_message_has_the_properties_that_fedora_messaging_reads(world: World) -> None:
    properties = published(world, Kind.HOST_ADDED)["org.fedoraproject.prod.mirrormanager.host.added.v2"].properties
    assert (properties.content_type, properties.content_encoding) == ("application/json", "utf-8")
    assert properties.delivery_mode == 2  # survives a restart of the broker
    headers = properties.headers
    assert headers["fedora_messaging_schema"] == "mirrormanager.host.added.v2"
    assert headers["fedora_messaging_severity"] == 20
    assert {name for name in headers if name.startswith("fedora_messaging_user_")} == {
        "fedora_messaging_user_ann",
        "fedora_messaging_user_bob",
    }


def test_a_broker_that_is_down_is_asked_once_per_round_and_gets_everything_later(world: World) -> None:
    world.set("amqp", url=f"amqp://127.0.0.1:{free_port()}/")
    world.happens()
    world.happens()
    assert world.deliver() == {"waiting": 1}
    world.later(hours=1)
    with Broker() as broker:
        world.set("amqp", url=broker.url)
        assert world.deliver() == {"delivered": 2}
        ids = [message.properties.message_id for message in broker.messages]
    assert len(set(ids)) == 2


def test_without_pika_the_settings_are_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import_ = builtins.__import__

    def without_pika(name: str, *arguments: Any) -> Any:
        if name == "pika":
            raise ImportError(name)
        return import_(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_pika)
    with pytest.raises(SettingsError, match=r"mirrormanager\[amqp\]"):
        AmqpSender(AmqpSettings(url="amqp://localhost/"), 1.0)
