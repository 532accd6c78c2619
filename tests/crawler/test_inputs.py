"""What is read from the database before a crawl."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from mm_crawler import inputs
from mm_crawler.report import MirrorUrl, SampleFile
from mm_crawler.selection import Selection
from mm_lib.model.base import State
from mm_lib.services.errors import NotFound
from tests.crawler.builders import NEW, OLD, TOPDIR, World


def test_directories_come_with_their_samples_and_known_versions_newest_first(session: Session) -> None:
    world = World(session)
    repodata = world.directory(f"{TOPDIR}/os/repodata", "primary.xml.gz")
    world.directory(f"{TOPDIR}/closed", readable=False)
    old, new = world.detail(repodata, OLD, 1000), world.detail(repodata, NEW, 2000)
    world.host("mirror", "http://m.example/fedora")
    (category,) = inputs.read(session).categories.values()
    closed, read = category.directories
    assert (closed.readable, closed.empty) == (False, True)
    assert (read.id, read.path, read.sample) == (repodata.id, repodata.path, (SampleFile("primary.xml.gz", 4, 0),))
    ((name, versions),) = read.important
    assert name == "repomd.xml"
    seen = int(new.first_seen_at.timestamp())
    assert [(version.file_detail_id, version.superseded_at) for version in versions] == [(new.id, None), (old.id, seen)]


def test_a_repository_is_decided_by_the_repodata_below_its_directory_or_by_its_own(session: Session) -> None:
    world = World(session)
    os, repodata = world.directory(f"{TOPDIR}/os"), world.directory(f"{TOPDIR}/os/repodata")
    flat, plain = world.directory(f"{TOPDIR}/flat"), world.directory(f"{TOPDIR}/plain")
    for each in (repodata, flat):
        world.detail(each, NEW, 1)
    nested, own, _ = (world.repository(name, each) for name, each in (("nested", os), ("own", flat), ("none", plain)))
    world.host("mirror", "http://m.example/fedora")
    (category,) = inputs.read(session).categories.values()
    assert category.repodata == {nested.id: repodata.id, own.id: flat.id}


def test_a_host_comes_with_its_public_and_private_urls(session: Session) -> None:
    world = World(session)
    host = world.host("mirror", "rsync://m.example/fedora", "http://m.example/fedora")
    host.categories[0].urls[1].private = True
    session.flush()
    (mirror,) = inputs.read(session).mirrors
    assert (mirror.name, mirror.site) == ("mirror", "Example Site")
    (carried,) = mirror.categories
    assert carried.urls == (
        MirrorUrl("rsync://m.example/fedora", False),
        MirrorUrl("http://m.example/fedora", True),
    )


def test_case_39_and_40_only_active_public_hosts_with_something_to_find_out_are_crawled(session: Session) -> None:
    """Cases 39 and 40."""
    world = World(session)
    url = "http://{}.example/fedora".format
    world.host("good", url("good"))
    world.host("private", url("private")).private = True
    for state in (State.OWNER_DISABLED, State.ADMIN_DISABLED, State.AUTO_DISABLED):
        host = world.host(state.value, url(state.value))
        host.state, host.state_reason, host.state_by = state, "test", "test"
    world.host("no-url")
    world.host("always", url("always"), always=True)
    session.flush()
    assert [mirror.name for mirror in inputs.read(session).mirrors] == ["good"]


@pytest.mark.parametrize(
    ("state", "private"), [(State.OWNER_DISABLED, False), (State.WAITING, False), (State.ACTIVE, True)]
)
def test_hosts_of_a_site_that_takes_no_part_are_not_crawled(session: Session, state: State, private: bool) -> None:
    world = World(session)
    world.host("mirror", "http://m.example/fedora")
    world.site.state, world.site.private = state, private
    world.site.state_reason = world.site.state_by = "test"
    session.flush()
    assert inputs.read(session).mirrors == ()


def test_categories_and_hosts_can_be_chosen_by_name(session: Session) -> None:
    world = World(session)
    epel = world.other_category("EPEL")
    both = world.host("both", "http://both.example/fedora")
    world.carry(both, "http://both.example/epel", category=epel)
    world.host("fedora-only", "http://f.example/fedora")
    read = inputs.read(session, Selection(categories=("EPEL",)))
    assert [(mirror.name, len(mirror.categories)) for mirror in read.mirrors] == [("both", 1)]
    assert [category.name for category in read.categories.values()] == ["EPEL"]
    assert [mirror.name for mirror in inputs.read(session, Selection(hosts=("fedora-only",))).mirrors] == [
        "fedora-only"
    ]


def test_a_name_that_is_not_there_is_refused_with_a_message(session: Session) -> None:
    World(session).host("mirror", "http://m.example/fedora")
    with pytest.raises(NotFound, match=r"no category Ubuntu\. There are: Fedora Linux"):
        inputs.read(session, Selection(categories=("Ubuntu",)))
    with pytest.raises(NotFound, match="There is no host nobody; `mm-admin host list` shows all"):
        inputs.read(session, Selection(hosts=("nobody", "mirror")))
