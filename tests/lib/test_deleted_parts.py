"""What was taken away from a host or site comes back once within 30 days, by the rules for making it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_lib.database import make_sessions, transaction
from mm_lib.model.accounts import AuditEvent, User
from mm_lib.model.hosts import AsnKind, CountryKind, Host, HostCategory, HostCategoryUrl, Maintenance
from mm_lib.model.sites import MemberRole, SiteMember
from mm_lib.services import audit, deleted_parts, deletion, host_details, hosts, maintenance, membership
from mm_lib.services.deleted_parts import Part, Person
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound, ServiceError
from mm_lib.services.host_details import Limits
from tests import factories as make

NOW = datetime.now(UTC)
URL = "https://m.example.org/linux"
ADMIN = Person("anne", True, True, Limits(), lambda _name: [], False, NOW)
MEMBER = ADMIN._replace(unlimited=False, owner=False)


@dataclass
class World:
    """A session that anne works with, and a host of which something can be taken away."""

    session: Session
    host: Host
    carried: HostCategory

    def listed(self, now: datetime = NOW) -> list[Part]:
        self.session.flush()
        return deleted_parts.page(self.session, now, [self.host.site_id], 1, 50).parts

    def take(self, *rows: object) -> list[AuditEvent]:
        """Remove them; the events, in the same order."""
        for row in rows:
            host_details.remove(self.session, row)  # type: ignore[arg-type]
        self.session.expire_all()
        return [self.event(part) for part in reversed(self.listed()[: len(rows)])]

    def event(self, part: Part) -> AuditEvent:
        return deleted_parts.find(self.session, part.id, NOW)[0]

    def back(self, event: AuditEvent, by: Person = ADMIN) -> None:
        """As the pages do it: what is refused leaves nothing behind."""
        with self.session.begin_nested():
            deleted_parts.bring_back(self.session, event, by)


@pytest.fixture
def world(session: Session) -> World:
    host = make.host(session, "m.example.org")
    carried = make.carries(session, host, make.category(session), url=URL)
    session.add_all([User(name="anne"), User(name="bert")])
    session.flush()
    audit.sign(session, audit.Actor("anne"))
    return World(session, host, carried)


def test_everything_that_belongs_to_a_host_comes_back_as_it_was(world: World) -> None:
    session, host = world.session, world.host
    window = (NOW + timedelta(days=1), NOW + timedelta(days=2))
    rows = [
        host_details.save_netblock(session, host, None, "203.0.113.0/24", "Lab", limits=None, resolve=lambda _: []),
        hosts.add_asn(session, host, 64500, AsnKind.PEER, "Neighbour"),
        hosts.add_country(session, host, "FR", CountryKind.ALLOWED),
        host_details.add_acl_address(session, host, "192.0.2.7"),
        maintenance.announce(session, host, *window, reason="disks", by="anne", now=NOW),
        world.carried.urls[0],
    ]
    taken = world.take(*rows)
    assert [part.name for part in reversed(world.listed())][:5] == [
        "203.0.113.0/24", "64500", "FR", "192.0.2.7", f"{window[0]:%Y-%m-%d %H:%M}",
    ]  # fmt: skip
    for event in taken:
        world.back(event)
    session.expire_all()
    assert [(row.netblock, row.name, row.family) for row in host.netblocks] == [("203.0.113.0/24", "Lab", 4)]
    assert [(row.asn, row.kind, row.name) for row in host.asns] == [(64500, AsnKind.PEER, "Neighbour")]
    assert [(row.country, row.kind) for row in host.countries] == [("FR", CountryKind.ALLOWED)]
    assert [row.address for row in host_details.list_acl_addresses(session, host)] == ["192.0.2.7"]
    [again] = maintenance.list_windows(session, host, NOW)
    assert (again.starts_at, again.ends_at, again.reason) == (*window, "disks")
    assert [row.url for row in world.carried.urls] == [URL]
    assert world.listed() == []


def test_a_category_comes_back_with_its_urls_and_is_one_entry(world: World) -> None:
    host_details.save_url(world.session, world.carried, None, "rsync://m.example.org/linux", private=True)
    world.session.expire_all()  # nobody looked at the URLs before
    [event] = world.take(world.carried)
    [part] = world.listed()
    assert (part.kind, part.name, part.urls, part.host) == ("host_category", "Fedora Linux", 2, "m.example.org")
    world.back(event)
    [carried] = world.session.scalars(select(HostCategory))
    assert {row.url: row.private for row in carried.urls} == {URL: False, "rsync://m.example.org/linux": True}


def test_what_came_back_cannot_come_back_again_and_that_it_did_is_an_event(world: World) -> None:
    [event] = world.take(host_details.add_acl_address(world.session, world.host, "192.0.2.7"))
    world.back(event)
    with pytest.raises(NotFound, match="nothing of that number"):
        world.back(event)
    [told] = world.session.scalars(select(AuditEvent).where(AuditEvent.action.startswith("bring back")))
    assert (told.action, told.object_name, told.site_id) == (
        "bring back host_acl_address",
        "192.0.2.7",
        world.host.site_id,
    )


def test_what_was_taken_away_again_can_come_back_again(world: World) -> None:
    address = host_details.add_acl_address(world.session, world.host, "192.0.2.7")
    [first] = world.take(address)
    world.back(first)
    [second] = world.take(host_details.list_acl_addresses(world.session, world.host)[0])
    assert second.id != first.id
    world.back(second)
    assert len(host_details.list_acl_addresses(world.session, world.host)) == 1


def test_of_two_people_at_the_same_moment_one_brings_it_back(world: World, engine: Engine) -> None:
    """A maintenance window: nothing about it is unique, so nothing else would refuse the second."""
    session, window = world.session, (NOW + timedelta(days=1), NOW + timedelta(days=2))
    with transaction(session):
        [event] = world.take(maintenance.announce(session, world.host, *window, reason="", by="anne", now=NOW))
    together = Barrier(2)

    def bring_back(name: str) -> str:
        with make_sessions(engine)() as own:
            audit.sign(own, audit.Actor(name))
            seen = deleted_parts.find(own, event.id, NOW)[0]
            together.wait(timeout=10)
            try:
                with transaction(own):
                    deleted_parts.bring_back(own, seen, ADMIN)
            except NotFound:
                return "refused"
            return "back"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(bring_back, ("anne", "bert"))) == ["back", "refused"]
    assert len(session.scalars(select(Maintenance)).all()) == 1


def test_after_30_days_and_without_its_host_nothing_comes_back(world: World) -> None:
    [event] = world.take(world.carried)
    assert len(world.listed(NOW + timedelta(days=29))) == 1
    assert world.listed(NOW + timedelta(days=31)) == []
    with pytest.raises(NotFound):
        deleted_parts.find(world.session, event.id, NOW + timedelta(days=31))
    deletion.delete_host(world.session, world.host, "anne", NOW)
    with pytest.raises(NotFound):
        world.back(event)


def refusal(world: World, event: AuditEvent, by: Person = MEMBER) -> tuple[type, str]:
    with pytest.raises(ServiceError) as caught:
        world.back(event, by)
    assert event.id in {part.id for part in world.listed()}, "it can still come back later"
    return caught.type, str(caught.value)


def test_the_rules_for_making_something_count_again(world: World) -> None:
    session, host = world.session, world.host
    wide = host_details.save_netblock(session, host, None, "198.0.0.0/8", "", limits=None, resolve=lambda _: [])
    private = host_details.save_url(session, world.carried, None, "https://m.example.org/p", private=True)
    inside = host_details.save_url(session, world.carried, None, "http://10.1.2.3/p", private=False, local=True)
    asn = hosts.add_asn(session, host, 64500)
    wide_gone, private_gone, inside_gone, asn_gone = world.take(wide, private, inside, asn)
    assert refusal(world, wide_gone)[0] is InvalidValue
    assert refusal(world, private_gone) == (
        NotAllowed,
        "https://m.example.org/p was private; only an administrator can make private URLs.",
    )
    assert "not on the Internet" in refusal(world, inside_gone)[1]
    assert refusal(world, asn_gone) == (NotAllowed, "Peers are entered by administrators.")
    for event in (wide_gone, private_gone, inside_gone, asn_gone):
        world.back(event, ADMIN)
    assert world.listed() == []


def test_what_only_administrators_give_a_host_only_they_bring_back(world: World) -> None:
    world.carried.always_up_to_date = True
    [event] = world.take(world.carried)
    assert refusal(world, event)[0] is NotAllowed
    with world.session.begin_nested():
        for category in world.session.scalars(select(make.Category)):
            category.admin_only = True
    assert refusal(world, event) == (InvalidValue, "category: is not one that you can choose")
    world.back(event, ADMIN)
    assert world.session.scalars(select(HostCategory.always_up_to_date)).all() == [True]


def test_a_url_that_somebody_has_by_now_stays_theirs_and_of_private_mirrors_is_not_told(world: World) -> None:
    [event] = world.take(world.carried.urls[0])
    other = make.host(world.session, "secret.example.net", private=True)
    make.carries(world.session, other, world.carried.category, url=URL)
    kind, said = refusal(world, event)
    assert kind is AlreadyExists
    assert "secret" not in said and "a mirror of another site" in said
    assert len(world.session.scalars(select(HostCategoryUrl)).all()) == 1


def test_a_url_waits_for_its_category(world: World) -> None:
    [url], [category] = world.take(world.carried.urls[0]), world.take(world.carried)
    assert "bring back the category first" in refusal(world, url)[1]
    world.back(category)
    world.back(url)
    assert world.session.scalars(select(HostCategoryUrl.url)).all() == [URL]


def test_the_hosts_own_autonomous_system_is_a_field_and_not_among_them(world: World) -> None:
    host_details.set_own_asn(world.session, world.host, 64500)
    host_details.set_own_asn(world.session, world.host, None)
    assert world.listed() == []


def test_members_come_back_and_owners_by_owners(world: World) -> None:
    session, site = world.session, world.host.site
    for name in ("anne", "bert"):
        membership.add(session, site, name, MemberRole.OWNER, by_owner=True)
    bert = next(row for row in membership.members(session, site) if row.user.name == "bert")
    membership.remove(session, bert, by_owner=True)
    [part] = world.listed()
    assert (part.kind, part.name, part.host, part.by_owners) == ("site_member", "bert", "", True)
    assert refusal(world, world.event(part))[0] is NotAllowed
    world.back(world.event(part), MEMBER._replace(owner=True))
    roles = session.scalars(select(SiteMember.role).where(SiteMember.site_id == site.id)).all()
    assert roles == [MemberRole.OWNER, MemberRole.OWNER]


def test_addresses_and_countries_change_in_place_and_stay_unique(world: World) -> None:
    session, host = world.session, world.host
    first = host_details.add_acl_address(session, host, "192.0.2.7")
    host_details.add_acl_address(session, host, "192.0.2.8")
    host_details.change_acl_address(session, host, first, "192.0.2.9/32")
    host_details.change_acl_address(session, host, first, "192.0.2.9")
    with pytest.raises(AlreadyExists):
        host_details.change_acl_address(session, host, first, "192.0.2.8")
    assert [row.address for row in host_details.list_acl_addresses(session, host)] == ["192.0.2.8", "192.0.2.9"]
    france = hosts.add_country(session, host, "FR", CountryKind.ALLOWED)
    hosts.add_country(session, host, "BE", CountryKind.ALLOWED)
    hosts.change_country(session, host, france, "fr", CountryKind.EXTRA)
    with pytest.raises(AlreadyExists):
        hosts.change_country(session, host, france, "be", CountryKind.ALLOWED)
    with pytest.raises(InvalidValue):
        hosts.change_country(session, host, france, "XX", CountryKind.ALLOWED)
    assert (france.country, france.kind) == ("FR", CountryKind.EXTRA)
