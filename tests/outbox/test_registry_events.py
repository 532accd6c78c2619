"""Every change of a host or site is an event, written with it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.base import State
from mm_lib.model.hosts import Host
from mm_lib.model.outbox import Event
from mm_lib.model.sites import Site, SiteMember
from mm_lib.services import audit, deletion, hosts, sites, webhooks
from mm_lib.services.audit import Actor
from tests import factories
from tests.outbox.conftest import World


def told(world: World) -> list[tuple[str, str, str]]:
    """Kind, name and agent of each event."""
    return [
        (event.kind, (event.payload.get("host") or event.payload["site"])["name"], event.payload["agent"])
        for event in world.events()
    ]


def signed(world: World) -> Session:
    audit.sign(world.session, Actor("ann"))
    return world.session


def test_a_new_site_and_host_are_told_once_each(world: World) -> None:
    with transaction(signed(world)) as session:
        sites.add_site(session, "New Site")
        host = hosts.add_host(session, "New Site", "new.example.org", country="DE")
        host.comment = "changed in the same transaction"
    assert told(world) == [("site.added", "New Site", "ann"), ("host.added", "new.example.org", "ann")]
    assert world.events()[1].payload["host"]["country"] == "DE"


def test_several_changes_of_a_host_are_one_event_with_what_is_true_at_the_end(world: World) -> None:
    with transaction(signed(world)) as session:
        host = session.get_one(Host, world.host.id)
        host.bandwidth_mbps = 500
        session.flush()
        host.bandwidth_mbps = 1000
        hosts.add_netblock(session, host, "192.0.2.0/24")
    assert told(world) == [("host.updated", "mirror.example.org", "ann")]
    assert world.events()[0].payload["host"]["bandwidth"] == 1000


def test_a_url_and_its_removal_are_changes_of_their_host(world: World) -> None:
    with transaction(world.session):
        carried = factories.carries(world.session, world.host, factories.category(world.session))
    with transaction(signed(world)) as session:
        session.delete(carried.urls[0])
    assert told(world) == [("host.updated", "mirror.example.org", "ann")]


def test_a_member_is_a_change_of_its_site(world: World) -> None:
    with transaction(signed(world)) as session:
        session.delete(session.query(SiteMember).filter_by(site_id=world.site.id).first())
    assert [kind for kind, _, _ in told(world)] == ["site.updated"]


def test_a_host_that_is_deleted_for_now_and_brought_back_is_told_so(world: World) -> None:
    with transaction(signed(world)) as session:
        deletion.delete_host(session, session.get_one(Host, world.host.id), "ann", world.now)
    with transaction(signed(world)) as session:
        deletion.restore_host(session, deletion.find_deleted_host(session, world.host.id, world.now))
    assert [kind for kind, _, _ in told(world)] == ["host.deleted", "host.added"]


def test_a_site_that_is_deleted_for_now_is_one_event_with_all_its_hosts(world: World) -> None:
    with transaction(signed(world)) as session:
        deletion.delete_site(session, session.get_one(Site, world.site.id), "ann", world.now)
    assert [kind for kind, _, _ in told(world)] == ["site.deleted"]


def test_a_deleted_host_is_described_as_it_was(world: World) -> None:
    with transaction(signed(world)) as session:
        session.delete(session.get_one(Host, world.host.id))
    (event,) = world.events()
    assert (event.kind, event.payload["host"]["name"], event.host_id) == ("host.deleted", "mirror.example.org", None)


def test_a_deleted_site_is_one_event_with_all_its_hosts(world: World) -> None:
    with transaction(signed(world)) as session:
        session.delete(session.get_one(Site, world.site.id))
    assert [kind for kind, _, _ in told(world)] == ["site.deleted"]


def test_what_is_rolled_back_was_never_told(world: World) -> None:
    session = signed(world)
    session.get_one(Host, world.host.id).comment = "never mind"
    session.flush()
    session.rollback()
    with transaction(session):
        pass
    assert world.events() == []


def test_a_savepoint_that_is_rolled_back_takes_only_its_own_changes_along(world: World) -> None:
    with transaction(signed(world)) as session:
        session.get_one(Host, world.host.id).comment = "stays"
        point = session.begin_nested()
        session.get_one(Site, world.site.id).name = "never mind"
        session.flush()
        point.rollback()
    assert told(world) == [("host.updated", "mirror.example.org", "ann")]


def test_what_a_savepoint_keeps_is_told(world: World) -> None:
    with transaction(signed(world)) as session, session.begin_nested():
        session.get_one(Host, world.host.id).comment = "stays"
    assert told(world) == [("host.updated", "mirror.example.org", "ann")]


def test_nothing_changed_is_nothing_told(world: World) -> None:
    with transaction(signed(world)) as session:
        host = session.get_one(Host, world.host.id)
        host.comment = str(host.comment)
        webhooks.add_webhook(session, "https://example.org/", site=world.site.name)
    assert world.events() == []


def test_what_programs_find_out_is_not_told_as_a_change(world: World) -> None:
    with transaction(world.session):
        world.host.state, world.host.state_reason = State.AUTO_DISABLED, "fails"
    assert world.session.query(Event).count() == 0
