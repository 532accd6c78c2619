"""Deleted sites and hosts are out of every answer, crawl and page, and come back whole within 30 days."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler import inputs
from mm_lib.database import transaction
from mm_lib.model.base import State
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.outbox import Event
from mm_lib.model.sites import Site
from mm_lib.publish import rows
from mm_lib.services import access, audit, deletion, hosts, sites
from mm_lib.services.errors import AlreadyExists, NotAllowed, NotFound
from tests import factories as make

NOW = make.NOW


@pytest.fixture
def host(session: Session) -> Host:
    """A host with a category and its URL."""
    category = make.category(session)
    host = make.host(session, "m.example.org")
    make.carries(session, host, category, [make.directory(session, category, "a")], url="https://m.example.org/linux")
    return host


def test_a_deleted_host_is_in_no_query_unless_it_is_looked_for(session: Session, host: Host) -> None:
    deletion.delete_host(session, host, "anne", NOW)
    session.expunge_all()
    assert session.scalars(select(Host)).all() == []
    assert session.execute(select(HostCategory.id).join(Host)).all() == []
    assert session.get(Host, host.id) is None
    assert len(session.scalars(select(HostCategory)).all()) == 1


def test_a_deleted_host_is_neither_in_the_cache_nor_crawled(session: Session, host: Host) -> None:
    assert len(rows.read(session).carried) == len(inputs.read(session).mirrors) == 1
    deletion.delete_host(session, host, "anne", NOW)
    found = rows.read(session)
    assert (found.hosts, found.carried, inputs.read(session).mirrors) == ([], [], ())


def test_a_deleted_site_takes_its_hosts_along_and_brings_back_only_those(session: Session, host: Host) -> None:
    site = host.site
    other = hosts.add_host(session, site.name, "gone-before.example.org")
    deletion.delete_host(session, other, "anne", NOW - timedelta(days=1))
    assert deletion.what_goes_with_site(session, site)["hosts"] == 1
    deletion.delete_site(session, site, "bert", NOW)
    assert rows.read(session).hosts == []
    deletion.restore_site(session, deletion.find_deleted_site(session, site.id, NOW + timedelta(days=29)))
    session.flush()
    assert [row.name for row in rows.read(session).hosts] == ["m.example.org"]


def test_what_is_deleted_is_counted_before(session: Session, host: Host) -> None:
    hosts.add_netblock(session, host, "192.0.2.0/24")
    counted = deletion.what_goes_with_host(session, host)
    assert (counted["URLs"], counted["categories"], counted["netblocks"]) == (1, 1, 1)


def test_names_and_urls_of_deleted_things_are_free(session: Session, host: Host) -> None:
    deletion.delete_host(session, host, "anne", NOW)
    again = hosts.add_host(session, host.site.name, "m.example.org")
    hosts.add_url(session, again, "Fedora Linux", "https://m.example.org/linux/")
    assert [url.url for url in session.scalars(select(HostCategoryUrl))] == ["https://m.example.org/linux"]
    with pytest.raises(AlreadyExists, match="another host"):
        deletion.restore_host(session, deletion.find_deleted_host(session, host.id, NOW))


def test_a_site_is_not_brought_back_beside_one_of_its_name(session: Session, host: Host) -> None:
    deletion.delete_site(session, host.site, "anne", NOW)
    sites.add_site(session, host.site.name.upper())
    with pytest.raises(AlreadyExists, match="Rename that one first"):
        deletion.restore_site(session, host.site)


def test_after_30_days_nothing_is_brought_back_and_purge_ends_it(session: Session, host: Host) -> None:
    site = host.site
    deletion.delete_site(session, site, "anne", NOW)
    late = NOW + timedelta(days=31)
    with pytest.raises(NotFound):
        deletion.find_deleted_site(session, site.id, late)
    assert deletion.purge(session, NOW + timedelta(days=29)) == {"sites": 0, "hosts": 0}
    assert deletion.purge(session, late) == {"sites": 1, "hosts": 1}
    session.expunge_all()
    assert session.scalars(select(HostCategoryUrl)).all() == []


def test_what_can_be_brought_back_is_listed_with_who_deleted_it(session: Session, host: Host) -> None:
    deletion.delete_host(session, host, "anne", NOW)
    [listed] = deletion.list_deleted(session, NOW)
    assert (listed.name, listed.deleted_by, listed.until) == ("m.example.org", "anne", NOW + timedelta(days=30))
    assert deletion.list_deleted(session, NOW, []) == []


@pytest.mark.parametrize("of_site", [True, False])
def test_what_an_administrator_switched_off_only_administrators_delete(
    session: Session, host: Host, of_site: bool
) -> None:
    """Else a switched-off mirror would be on again once it is deleted and made anew."""
    hosts.set_state(session, host.site if of_site else host, State.ADMIN_DISABLED, "serves nonsense", "super")
    with pytest.raises(NotAllowed, match=r"serves nonsense"):
        deletion.delete_site(session, host.site, "anne", NOW)
    if not of_site:
        with pytest.raises(NotAllowed, match=r"ask them"):
            deletion.delete_host(session, host, "anne", NOW)
    deletion.delete_site(session, host.site, "super", NOW, unlimited=True)
    assert host.deleted_by == "super"


def test_sites_are_told_apart_by_more_than_capitals(session: Session, host: Host) -> None:
    with pytest.raises(AlreadyExists, match="Site of m"):
        sites.add_site(session, "site  OF m.example.org")
    sites.set_fields(session, host.site, name="SITE of m.example.org")
    assert session.scalars(select(Site.name)).all() == ["SITE of m.example.org"]


def test_ids_are_found_below_their_parents_only(session: Session, host: Host) -> None:
    other = make.host(session, "other.example.org")
    block = hosts.add_netblock(session, other, "192.0.2.0/24")
    assert access.reach(session, {"host_id": other.id, "netblock_id": block.id}).rows["netblock_id"] is block
    for ids in ({"host_id": host.id, "netblock_id": block.id}, {"host_id": 2**40}, {"site_id": 999}):
        with pytest.raises(NotFound):
            access.reach(session, ids)


def test_others_are_told_of_deletions_and_returns_and_not_of_each_host_of_a_site(session: Session, host: Host) -> None:
    audit.sign(session, audit.Actor("anne"))
    with transaction(session):
        deletion.delete_site(session, host.site, "anne", NOW)
    with transaction(session):
        deletion.restore_site(session, deletion.find_deleted_site(session, host.site_id, NOW))
    with transaction(session):
        deletion.delete_host(session, host, "anne", NOW)
    told = session.scalars(select(Event.kind).order_by(Event.id)).all()
    assert [kind for kind in told if kind != "site.added"] == ["site.deleted", "host.added", "host.deleted"]
