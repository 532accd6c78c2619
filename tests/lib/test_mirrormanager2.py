"""A MirrorManager2 database is taken whole: every table, dirty rows, twice without a change, and never half."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from argon2 import PasswordHasher, profiles
from pyroaring import BitMap
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.importers.mirrormanager2.rest import LEFT_COLUMNS, LEFT_TABLES
from mm_lib.importers.mirrormanager2.run import run
from mm_lib.importers.mirrormanager2.source import NotMirrorManager, opened
from mm_lib.importers.report import Outcome, Report
from mm_lib.model.accounts import AuditEvent, Group, GroupMember, User
from mm_lib.model.base import Base, State
from mm_lib.model.content import Category, Directory, FileDetail, Product, Repository, RepositoryRedirect, Version
from mm_lib.model.geography import CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    DirectoryHost,
    Host,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostLocation,
    HostNetblock,
    Location,
)
from mm_lib.model.sites import MemberRole, Site, SiteMember, SiteUpstream
from mm_lib.model.state import HostCategoryHealth, HostCategoryState, StateSource
from mm_lib.model.statistics import AccessDimension, AccessStatistic, PropagationStatistic, StatisticLevel
from mm_lib.model.tables import metadata
from mm_lib.publish.build import build
from mm_lib.publish.rows import read
from mm_lib.services import site_passwords
from mm_lib.settings import DatabaseSettings
from tests.conftest import TEMPLATE
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses
from tests.mirrormanager2 import TABLES, add, create, create_sqlite
from tests.postgres import Postgres

PASSWORD = "a password in clear"
SEEN = datetime(2026, 11, 1, 12, 0)  # noqa: DTZ001  as MirrorManager2 keeps it
EVIL = b"cos\nsystem\n(S'touch /tmp/was-executed'\ntR."
MODELS: tuple[type[Base], ...] = tuple(mapper.class_ for mapper in Base.registry.mappers)


class World(NamedTuple):
    """An import that was made."""

    source: str
    target: str
    report: Report


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    server: Postgres = request.getfixturevalue("postgres")
    source = server.url(server.create())
    connection = create(source)
    fill(connection)
    connection.close()
    if request.param == "postgresql":
        target = server.url(server.create(TEMPLATE))
    else:
        path = tmp_path_factory.mktemp("moving") / "target.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        target = f"sqlite:///{path}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_passwords, "_hasher", lambda: PasswordHasher.from_parameters(profiles.CHEAPEST))
        yield World(source, target, move(source, target))


def move(source: str, target: str, *, keep: bool = True) -> Report:
    engine = make_engine(DatabaseSettings(url=target))
    with opened(source) as opened_source, make_sessions(engine)() as session:
        report = run(opened_source, session, "ada", lambda _what, _number: None)
        if keep:
            session.commit()
    engine.dispose()
    return report


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    engine = make_engine(DatabaseSettings(url=world.target))
    with make_sessions(engine)() as session:
        yield session
    engine.dispose()


def fill(connection: Any) -> None:
    """Two good sites, and one row of every kind of dirt."""
    fill_content(connection)
    add(
        connection, "site",
        {"name": "University", "password": PASSWORD, "org_url": "www.example.edu", "private": False,
         "admin_active": True, "user_active": True, "created_at": SEEN, "created_by": "Ada",
         "all_sites_can_pull_from_me": True, "downstream_comments": "mind the\ngap", "email_on_drop": True},
        {"name": "Provider", "password": "short", "admin_active": False, "user_active": True, "private": True},
        {"name": "university", "org_url": "javascript:alert(1)", "admin_active": True, "user_active": False},
    )  # fmt: skip
    add(
        connection, "site_admin",
        {"username": "Ada", "site_id": 1}, {"username": "ada", "site_id": 1}, {"username": "bob", "site_id": 2},
        {"username": "no such name!", "site_id": 1}, {"username": "bob", "site_id": 99},
    )  # fmt: skip
    add(
        connection, "site_to_site",
        {"upstream_site_id": 1, "downstream_site_id": 2, "username": "shared", "password": "x"},
        {"upstream_site_id": 1, "downstream_site_id": 99},
    )  # fmt: skip
    fill_hosts(connection)
    fill_carried(connection)
    fill_rest(connection)


def fill_content(connection: Any) -> None:
    add(connection, "product", {"name": "Fedora", "publiclist": True}, {"name": "EPEL", "publiclist": False})
    add(connection, "product", {"name": ""}, {"name": " EPEL "})
    add(
        connection, "version",
        {"product_id": 1, "name": "44", "codename": "Elm", "display": True, "display_name": "F44", "sortorder": 7},
        {"product_id": 1, "name": "development", "is_test": True, "display": False, "ordered_mirrorlist": True},
        {"product_id": 99, "name": "9"},
    )  # fmt: skip
    add(
        connection,
        "arch",
        {"name": "x86_64", "publiclist": True, "primary_arch": True},
        {"name": "source", "publiclist": False},
    )
    files = json.dumps([{"name": "b.iso", "size": 10, "timestamp": 1700000000}, {"name": "a", "size": "5"}]).encode()
    add(
        connection, "directory",
        {"name": "pub/linux", "ctime": 5, "readable": True},
        {"name": "pub/linux/releases", "ctime": 6, "readable": True, "files": files},
        {"name": "pub/linux/old", "ctime": 7, "readable": False,
         "files": pickle.dumps({"x.rpm": {"size": "3", "stat": 1234567}}, protocol=0)},
        {"name": "pub/linux/evil", "ctime": 8, "files": EVIL},
        {"name": "pub/linux/lost", "ctime": 9},
        {"name": "elsewhere", "ctime": 1},
        {"name": "/pub/linux/releases/", "ctime": 1},
        {"name": "pub/epel", "ctime": 2},
    )  # fmt: skip
    add(
        connection, "category",
        {"product_id": 1, "name": "Fedora Linux", "publiclist": True, "topdir_id": 1, "canonicalhost": "http://master"},
        {"product_id": 2, "name": "Fedora EPEL", "admin_only": True, "topdir_id": 8, "geo_dns_domain": "geo.example"},
        {"product_id": 99, "name": "Nobody's", "topdir_id": 1},
    )  # fmt: skip
    pairs = [(1, 1), (1, 2), (1, 3), (1, 4), (1, 7), (2, 8), (2, 2), (99, 1)]
    add(connection, "category_directory", *({"category_id": c, "directory_id": d} for c, d in pairs))
    base = {"category_id": 1, "version_id": 1, "arch_id": 1}
    add(
        connection, "repository",
        {"name": "pub/linux/releases", "prefix": "fedora-44", "directory_id": 2, "disabled": False, **base},
        {"name": "gone", "prefix": "fedora-43", "directory_id": None, "disabled": False, **base},
        {"name": "pub/linux/old", "prefix": None, "directory_id": 3, "disabled": True, **base},
        {"name": "nothing", "prefix": None, "directory_id": None, **base},
        {"name": "twice", "prefix": "fedora-44", "directory_id": 3, **base},
        {"name": "no arch", "prefix": "x", "directory_id": 3, **base, "arch_id": None},
    )  # fmt: skip
    add(
        connection, "repository_redirect",
        {"from_repo": "rawhide-alias", "to_repo": "fedora-45"}, {"from_repo": "a", "to_repo": "a"},
    )  # fmt: skip
    good = {"directory_id": 2, "filename": "repomd.xml", "timestamp": 1700000000, "size": 100}
    add(
        connection, "file_detail",
        {**good, "md5": "a" * 32, "sha256": "B" * 64},
        {**good, "md5": "a" * 32, "sha256": "B" * 64, "timestamp": 1700000005},
        {**good, "sha1": "c" * 40, "md5": "xyz", "timestamp": 1600000000},
        {**good, "timestamp": 1},
        {**good, "directory_id": 99, "md5": "a" * 32},
        {**good, "filename": "x" * 256, "md5": "a" * 32},
    )  # fmt: skip


def fill_hosts(connection: Any) -> None:
    add(
        connection, "host",
        {"name": "m.example.edu", "site_id": 1, "country": "de", "bandwidth_int": 1000, "admin_active": True,
         "user_active": True, "private": False, "asn": 64500, "asn_clients": True, "max_connections": 5,
         "latitude": 50.5, "longitude": 7.25, "last_crawled": SEEN, "last_crawl_duration": 60, "crawl_failures": 2,
         "robot_email": "robot@example.edu", "comment": "fast", "config": pickle.dumps({"a": 1}), "internet2": True,
         "push_ssh_host": "x", "push_ssh_private_key": "k", "push_ssh_command": "c", "last_crawls": EVIL},
        {"name": "off.example.edu", "site_id": 1, "country": "UK", "bandwidth_int": 0, "admin_active": True,
         "user_active": False, "disable_reason": "Crawler disabled it", "latitude": 1000.0, "longitude": 0.0,
         "asn": 0, "max_connections": -1, "robot_email": "nobody", "internet2_clients": True},
        {"name": "private.example.net", "site_id": 2, "country": "Atlantis", "private": True, "admin_active": False,
         "bandwidth_int": 10**12, "max_connections": 10**12, "crawl_failures": 10**12,
         "last_checked_in": SEEN, "user_active": True},
        {"name": "orphan", "site_id": 99},
    )  # fmt: skip
    add(connection, "country", {"code": "AT"}, {"code": "XX"})
    add(connection, "location", {"name": "ec2-eu"}, {"name": "ec2-eu"}, {"name": " "})
    add(
        connection,
        "host_acl_ip",
        {"host_id": 1, "ip": "192.0.2.7"},
        {"host_id": 1, "ip": ""},
        {"host_id": 4, "ip": "x"},
    )
    add(
        connection, "host_country_allowed",
        {"host_id": 1, "country": "DE"}, {"host_id": 1, "country": "de"}, {"host_id": 1, "country": "Nowhere"},
    )  # fmt: skip
    add(
        connection, "host_netblock",
        {"host_id": 1, "netblock": "10.1.2.3/255.255.0.0", "name": "campus"}, {"host_id": 1, "netblock": "10.1.0.0/16"},
        {"host_id": 1, "netblock": "nat.example.edu"}, {"host_id": 1, "netblock": "300.1.1.1", "name": "bad"},
    )  # fmt: skip
    add(
        connection, "host_peer_asn",
        {"host_id": 1, "asn": 64501, "name": "peer"}, {"host_id": 1, "asn": 64500, "name": "own"},
        {"host_id": 1, "asn": -1, "name": "bad"},
    )  # fmt: skip
    add(connection, "host_country", {"host_id": 1, "country_id": 1}, {"host_id": 1, "country_id": 2})
    pairs = [(1, 1), (1, 2), (1, 9)]
    add(connection, "host_location", *({"host_id": host, "location_id": location} for host, location in pairs))
    add(connection, "host_stats", {"host_id": 1, "type": "x", "data": EVIL})


def fill_carried(connection: Any) -> None:
    add(
        connection, "host_category",
        {"host_id": 1, "category_id": 1, "always_up2date": False}, {"host_id": 2, "category_id": 1},
        {"host_id": 3, "category_id": 1, "always_up2date": True}, {"host_id": 1, "category_id": 2},
        {"host_id": 4, "category_id": 1}, {"host_id": 1, "category_id": 1},
    )  # fmt: skip
    add(
        connection, "host_category_url",
        {"host_category_id": 1, "url": "HTTPS://m.example.edu:443/linux/", "private": False},
        {"host_category_id": 1, "url": "rsync://m.example.edu/linux", "private": True},
        {"host_category_id": 2, "url": "https://m.example.edu/linux"},
        {"host_category_id": 2, "url": "gopher://off.example.edu/"},
        {"host_category_id": 99, "url": "http://lost.example.org"},
    )  # fmt: skip
    add(
        connection, "host_category_dir",
        {"host_category_id": 1, "path": "", "up2date": True, "directory_id": 1},
        {"host_category_id": 1, "path": "/releases", "up2date": True, "directory_id": 2},
        {"host_category_id": 1, "path": "releases", "up2date": True, "directory_id": 2},
        {"host_category_id": 1, "path": "old", "up2date": True, "directory_id": None},
        {"host_category_id": 1, "path": "evil", "up2date": False, "directory_id": 4},
        {"host_category_id": 1, "path": "vanished", "up2date": True, "directory_id": None},
        {"host_category_id": 1, "path": "other", "up2date": True, "directory_id": 8},
        {"host_category_id": 4, "path": "", "up2date": True, "directory_id": 8},
        {"host_category_id": 5, "path": "", "up2date": True, "directory_id": 1},
    )  # fmt: skip
    pairs = [(2, 1), (99, 1)]
    add(connection, "directory_exclusive_host", *({"directory_id": d, "host_id": h} for d, h in pairs))
    add(connection, "file_group", {"name": "group"})
    add(connection, "file_detail_file_group", {"file_detail_id": 1, "file_group_id": 1})


def fill_rest(connection: Any) -> None:
    add(
        connection, "country_continent_redirect",
        {"country": "IL", "continent": "EU"}, {"country": "AM", "continent": "Atlantis"},
    )  # fmt: skip
    add(
        connection, "netblock_country",
        {"netblock": "198.51.100.7/24", "country": "JP"}, {"netblock": "x", "country": "JP"},
    )  # fmt: skip
    add(connection, "embargoed_country", {"country_code": "kp"}, {"country_code": "KP"})
    add(connection, "access_stat_category", {"name": "countries"}, {"name": "archs"}, {"name": "moods"})
    stats = [(1, date(2026, 11, 3), "DE", 7), (1, date(2026, 11, 3), "FR", 3), (1, date(2026, 11, 9), "DE", 5)]
    stats += [(2, date(2026, 11, 3), "x86_64", 10), (3, date(2026, 11, 3), "good", 1)]
    add(
        connection, "access_stat",
        *({"category_id": kind, "date": on, "name": name, "percent": 1, "requests": n} for kind, on, name, n in stats),
    )  # fmt: skip
    counts = {"same_day": 5, "one_day": 4, "two_day": 3, "older": 2, "no_info": 1}
    add(
        connection, "propagation_stat",
        {"repository_id": 1, "datetime": SEEN, **counts}, {"repository_id": 99, "datetime": SEEN, **counts},
    )  # fmt: skip
    add(
        connection, "mm_user",
        {"user_name": "carol", "email_address": "carol@example.org", "display_name": "Carol C.",
         "password": "h", "token": "t"},
        {"user_name": "bob", "email_address": "not an address"},
    )  # fmt: skip
    add(connection, "mm_group", {"group_name": "sysadmin", "display_name": "Admins"}, {"group_name": ""})
    add(connection, "mm_user_group", {"user_id": 1, "group_id": 1}, {"user_id": 9, "group_id": 1})
    add(connection, "mm_user_visit", {"user_id": 1, "visit_key": "k"})


# -- every table


def rows(session: Session, *columns: Any) -> set[Any]:
    return {tuple(row) for row in session.execute(select(*columns))}


def test_every_row_of_every_table_has_an_outcome(world: World) -> None:
    """backend.md 1.1 has 38 tables; one without a word in the report would have been dropped silently."""
    assert len(TABLES) == 38
    said = {kind.partition(".")[0].partition(" ")[0] for kind in world.report.counts}
    by_another_name = {"country", "access_stat_category", "mm_user", "user"}  # looked up, or told of as users
    assert set(TABLES) - said <= by_another_name


def test_products_versions_arches_and_categories_are_taken(session: Session) -> None:
    assert rows(session, Product.name, Product.public) == {("Fedora", True), ("EPEL", False)}
    columns = (
        Version.name,
        Version.codename,
        Version.display_name,
        Version.display,
        Version.is_test,
        Version.sort_order,
    )
    assert rows(session, *columns) == {("44", "Elm", "F44", True, False, 7), ("development", "", "", False, True, 0)}
    columns = (Category.name, Category.topdir, Category.public, Category.admin_only, Category.canonical_host)
    assert rows(session, *columns) == {
        ("Fedora Linux", "pub/linux", True, False, "http://master"),
        ("Fedora EPEL", "pub/epel", True, True, ""),
    }


def directories(session: Session, category: str) -> dict[str, Directory]:
    found = session.scalars(select(Directory).join(Category).where(Category.name == category))
    return {row.path: row for row in found}


def test_directories_are_in_every_category_that_has_them(session: Session) -> None:
    linux = directories(session, "Fedora Linux")
    assert set(linux) == {f"pub/linux{end}" for end in ("", "/releases", "/old", "/evil", "/lost")}
    assert set(directories(session, "Fedora EPEL")) == {"pub/epel", "pub/linux/releases"}
    assert (linux["pub/linux/old"].readable, linux["pub/linux/old"].mtime) == (False, 7)


def test_lists_of_files_are_read_as_json_and_as_old_pickles_without_executing_anything(session: Session) -> None:
    linux = directories(session, "Fedora Linux")
    assert linux["pub/linux/releases"].sample == [["a", 5, 0], ["b.iso", 10, 1700000000]]
    assert linux["pub/linux/old"].sample == [["x.rpm", 3, 1234567]]
    assert linux["pub/linux/evil"].sample == []
    assert not Path("/tmp/was-executed").exists()


def test_repositories_redirects_and_files_are_taken(session: Session) -> None:
    columns = (Repository.prefix, Directory.path, Repository.enabled)
    found = {tuple(row) for row in session.execute(select(*columns).outerjoin(Repository.directory))}
    assert found == {
        ("fedora-44", "pub/linux/releases", True),
        ("fedora-43", None, False),
        (None, "pub/linux/old", False),
    }
    assert rows(session, RepositoryRedirect.from_prefix, RepositoryRedirect.to_prefix) == {
        ("rawhide-alias", "fedora-45")
    }
    columns = (FileDetail.filename, FileDetail.timestamp, FileDetail.md5, FileDetail.sha1, FileDetail.sha256)
    assert rows(session, *columns) == {
        ("repomd.xml", 1700000005, "a" * 32, None, "b" * 64),
        ("repomd.xml", 1600000000, None, "c" * 40, None),
    }
    assert {row.content_id for row in session.scalars(select(FileDetail))} == {f"sha256:{'b' * 64}", f"sha1:{'c' * 40}"}


def test_people_and_groups_are_taken(session: Session) -> None:
    assert rows(session, User.name, User.email, User.display_name) == {
        ("ada", "", ""), ("bob", "", ""), ("carol", "carol@example.org", "Carol C."),
    }  # fmt: skip
    member = (
        select(Group.name, User.name)
        .join(GroupMember, GroupMember.group_id == Group.id)
        .join(User, User.id == GroupMember.user_id)
    )
    assert {tuple(row) for row in session.execute(member)} == {("sysadmin", "carol")}


def test_sites_and_who_speaks_for_them_are_taken(session: Session) -> None:
    assert rows(session, Site.name, Site.org_url, Site.private, Site.state, Site.all_sites_can_pull) == {
        ("University", "http://www.example.edu", False, State.ACTIVE, True),
        ("Provider", "", True, State.ADMIN_DISABLED, False),
        ("university (3)", "", False, State.OWNER_DISABLED, False),
    }
    members = select(Site.name, User.name, SiteMember.role).join(SiteMember.site).join(SiteMember.user)
    assert {tuple(row) for row in session.execute(members)} == {
        ("University", "ada", MemberRole.OWNER), ("Provider", "bob", MemberRole.OWNER),
    }  # fmt: skip
    university = session.scalars(select(Site).where(Site.name == "University")).one()
    assert (university.created_by, university.created_at) == ("Ada", SEEN.replace(tzinfo=UTC))
    assert university.downstream_comments == "mind the\ngap"
    assert rows(session, SiteUpstream.upstream_id) == {(university.id,)}


def test_report_mirror_goes_on_to_check_in_with_its_password(session: Session) -> None:
    site = session.scalars(select(Site).where(Site.name == "University")).one()
    assert site_passwords.matches(session, site, PASSWORD, datetime.now(UTC))


def host(session: Session, name: str) -> Host:
    return session.scalars(select(Host).where(Host.name == name)).one()


def test_hosts_are_taken_with_all_that_they_are(session: Session) -> None:
    good = host(session, "m.example.edu")
    assert (good.country, good.bandwidth_mbps, good.max_connections, good.comment) == ("DE", 1000, 5, "fast")
    assert (good.latitude, good.longitude, good.robot_email) == (50.5, 7.25, "robot@example.edu")
    assert (good.last_crawled_at, good.last_crawl_seconds) == (SEEN.replace(tzinfo=UTC), 60.0)
    assert (good.state, good.private, good.asn_clients) == (State.ACTIVE, False, True)
    off = host(session, "off.example.edu")
    assert (off.state, off.state_reason) == (State.AUTO_DISABLED, "Crawler disabled it")
    assert (off.country, off.bandwidth_mbps, off.max_connections, off.latitude) == ("GB", 100, 1, None)
    private = host(session, "private.example.net")
    assert (private.private, private.state, private.country) == (True, State.ADMIN_DISABLED, None)
    assert private.last_checked_in_at == SEEN.replace(tzinfo=UTC)


def test_what_belongs_to_hosts_is_taken(session: Session) -> None:
    assert rows(session, HostAclAddress.address) == {("192.0.2.7",)}
    assert rows(session, HostNetblock.netblock, HostNetblock.name) == {
        ("10.1.0.0/16", "campus"),
        ("nat.example.edu", ""),
    }
    assert rows(session, HostAsn.asn, HostAsn.kind, HostAsn.name) == {
        (64500, AsnKind.OWN, ""), (64501, AsnKind.PEER, "peer"),
    }  # fmt: skip
    assert rows(session, HostCountry.country, HostCountry.kind) == {
        ("DE", CountryKind.ALLOWED), ("AT", CountryKind.EXTRA),
    }  # fmt: skip
    group = (
        select(Location.name, Host.name)
        .join(HostLocation, HostLocation.location_id == Location.id)
        .join(Host, Host.id == HostLocation.host_id)
    )
    assert {tuple(row) for row in session.execute(group)} == {("ec2-eu", "m.example.edu")}
    reserved = (
        select(Directory.path, Host.name)
        .join(DirectoryHost, DirectoryHost.directory_id == Directory.id)
        .join(Host, Host.id == DirectoryHost.host_id)
    )
    assert {tuple(row) for row in session.execute(reserved)} == {("pub/linux/releases", "m.example.edu")}


def carried(session: Session, name: str, category: str) -> HostCategory:
    query = select(HostCategory).join(Host).join(Category).where(Host.name == name, Category.name == category)
    return session.scalars(query).one()


def test_categories_and_urls_of_hosts_are_taken(session: Session) -> None:
    query = select(Host.name, Category.name, HostCategory.always_up_to_date).join(HostCategory.host).join(Category)
    assert {tuple(row) for row in session.execute(query)} == {
        ("m.example.edu", "Fedora Linux", False), ("m.example.edu", "Fedora EPEL", False),
        ("off.example.edu", "Fedora Linux", False), ("private.example.net", "Fedora Linux", True),
    }  # fmt: skip
    assert rows(session, HostCategoryUrl.url, HostCategoryUrl.private) == {
        ("https://m.example.edu/linux", False), ("rsync://m.example.edu/linux", True),
    }  # fmt: skip
    health = session.get_one(HostCategoryHealth, carried(session, "m.example.edu", "Fedora Linux").id)
    assert health.failures == 2


def test_state_rows_become_bitmaps(session: Session) -> None:
    state = session.get_one(HostCategoryState, carried(session, "m.example.edu", "Fedora Linux").id)
    linux = directories(session, "Fedora Linux")
    has = {path for path, row in linux.items() if row.id in BitMap.deserialize(state.up_to_date)}
    assert has == {"pub/linux", "pub/linux/releases", "pub/linux/old"}
    assert (state.directories_up_to_date, state.directories_total) == (3, 4)  # one is not readable
    assert (state.established_at, state.source) == (SEEN.replace(tzinfo=UTC), StateSource.IMPORT)
    epel = session.get_one(HostCategoryState, carried(session, "m.example.edu", "Fedora EPEL").id)
    assert len(BitMap.deserialize(epel.up_to_date)) == 1


def test_state_rows_are_all_accounted_for(world: World) -> None:
    counts = world.report.counts["host_category_dir"]
    assert (counts[Outcome.TAKEN], counts[Outcome.REPAIRED], counts[Outcome.REFUSED]) == (4, 1, 3)
    assert world.report.counts["host_category_dir (not up to date)"][Outcome.TAKEN] == 1


def test_geography_is_taken(session: Session) -> None:
    assert rows(session, CountryContinent.country, CountryContinent.continent) == {("IL", "EU")}
    assert rows(session, NetblockCountry.netblock, NetblockCountry.country) == {("198.51.100.0/24", "JP")}
    assert rows(session, EmbargoedCountry.country) == {("KP",)}


def test_statistics_are_taken_with_their_sums(session: Session) -> None:
    figure = AccessStatistic
    query = select(figure.level, figure.start, figure.requests).where(
        figure.dimension == AccessDimension.COUNTRY, figure.name == "DE"
    )
    assert {tuple(row) for row in session.execute(query)} == {
        (StatisticLevel.DAY, date(2026, 11, 3), 7), (StatisticLevel.DAY, date(2026, 11, 9), 5),
        (StatisticLevel.WEEK, date(2026, 11, 2), 7), (StatisticLevel.WEEK, date(2026, 11, 9), 5),
        (StatisticLevel.MONTH, date(2026, 11, 1), 12), (StatisticLevel.YEAR, date(2026, 1, 1), 12),
    }  # fmt: skip
    whole = select(func.sum(figure.requests)).where(figure.dimension == AccessDimension.ALL, figure.level == "year")
    assert session.scalar(whole) == 15
    columns = (PropagationStatistic.same_day, PropagationStatistic.two_days, PropagationStatistic.unknown)
    assert rows(session, *columns) == {(5, 3, 1)}


# -- dirt, repetition, dry runs


REFUSED = [
    ("product", "has no name"),
    ("product", "another has its name"),
    ("file_detail", "more than 255 characters"),
    ("version", "its product is not there"),
    ("category", "its product is not there"),
    ("category_directory", "its category is not there"),
    ("directory", "belongs to no category, and lies below none"),
    ("directory", "is there twice"),
    ("repository", "has neither a prefix nor a directory"),
    ("repository", "is there twice"),
    ("repository", "has no arch"),
    ("repository_redirect", "leads to a"),
    ("file_detail", "has no hash"),
    ("file_detail", "its directory is not there"),
    ("user", "must be 2 to 64 characters"),
    ("mm_user.password", "hashed with a secret"),
    ("mm_user.email_address", ""),
    ("mm_group", "has no name"),
    ("mm_user_group", "its user or group is not there"),
    ("site.password", "give the site a new one"),
    ("site.org_url", "javascript:alert(1)"),
    ("site_admin", "is there twice"),
    ("site_admin", "the user could not be taken"),
    ("site_admin", "its site is not there"),
    ("site_to_site", "one of its sites is not there"),
    ("site_to_site.username", "own accounts"),
    ("host", "its site is not there"),
    ("host.latitude", "no place on Earth"),
    ("host.robot_email", "nobody"),
    ("host.asn", "0 is no AS number"),
    ("country", "no country is known as 'Atlantis'"),
    ("host_acl_ip", "is empty"),
    ("host_acl_ip", "its host is not there"),
    ("host_country_allowed", "is there twice"),
    ("host_netblock", "is there twice"),
    ("host_netblock", "300.1.1.1"),
    ("host_peer_asn", "-1 is no AS number"),
    ("host_peer_asn", "is there twice"),
    ("host_location", "its location is not there"),
    ("directory_exclusive_host", "its directory or host is not there"),
    ("host_category", "its host or category is not there"),
    ("host_category", "is there twice"),
    ("host_category_url", "is there twice"),
    ("host_category_url", "must begin with"),
    ("host_category_url", "nobody carries it"),
    ("host_category_dir", "no such directory in the category"),
    ("host_category_dir", "nobody carries it"),
    ("country_continent_redirect", "ATLANTIS is no continent"),
    ("netblock_country", "is not a network"),
    ("embargoed_country", "is there twice"),
    ("access_stat", "moods is none of"),
    ("propagation_stat", "its repository is not there"),
]
REPAIRED = [
    ("directory", "had slashes around its name"),
    ("directory", "belonged to no category"),
    ("directory.files", "holds the instruction GLOBAL"),
    ("repository", "has no directory; switched off"),
    ("file_detail", "is there twice"),
    ("file_detail", "one of its hashes is none"),
    ("user", "is ada here"),
    ("site", "its number was added"),
    ("site.org_url", "has no scheme"),
    ("host.bandwidth_int", "was 0"),
    ("host.max_connections", "was -1"),
    ("host.max_connections", "was 1000000000000"),
    ("host.bandwidth_int", "was 1000000000000"),
    ("country", "GB"),
    ("host_netblock", "is 10.1.0.0/16"),
    ("host_category_url", "is https://m.example.edu/linux"),
    ("host_category_dir", "two spellings"),
    ("netblock_country", "is 198.51.100.0/24"),
]


def notes(report: Report, outcome: Outcome, kind: str) -> str:
    return "\n".join(note.reason for note in report.notes if (note.outcome, note.kind) == (outcome, kind))


@pytest.mark.parametrize(("kind", "reason"), REFUSED)
def test_what_was_refused_is_told_with_its_reason(world: World, kind: str, reason: str) -> None:
    said = notes(world.report, Outcome.REFUSED, kind)
    assert said and reason in said


@pytest.mark.parametrize(("kind", "reason"), REPAIRED)
def test_what_was_repaired_is_told_with_how(world: World, kind: str, reason: str) -> None:
    assert reason in notes(world.report, Outcome.REPAIRED, kind)


@pytest.mark.parametrize(
    "kind", [*LEFT_TABLES, *(".".join(place) for place in LEFT_COLUMNS if place[1] != "email_on_add")]
)
def test_what_has_no_place_here_is_told(world: World, kind: str) -> None:
    assert notes(world.report, Outcome.REFUSED, kind)


def snapshot(target: str) -> dict[str, list[Any]]:
    engine = make_engine(DatabaseSettings(url=target))
    with engine.connect() as connection:
        found = {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in metadata.sorted_tables
            if table is not AuditEvent.__table__
        }
    engine.dispose()
    return found


def test_a_second_import_changes_nothing(world: World) -> None:
    before = snapshot(world.target)
    report = move(world.source, world.target)
    assert snapshot(world.target) == before
    assert report.total(Outcome.CHANGED) == 0
    assert {kind for kind, counts in report.counts.items() if counts[Outcome.TAKEN]} <= {
        "category_directory", "host_category_dir", "host_category_dir (not up to date)",
    }  # fmt: skip  # what is only looked at


def test_a_dry_run_says_the_same_and_changes_nothing(world: World, postgres: Postgres) -> None:
    target = postgres.url(postgres.create(TEMPLATE))
    before = snapshot(target)
    assert move(world.source, target, keep=False).as_json() == world.report.as_json()
    assert snapshot(target) == before


def test_what_changed_in_the_source_is_changed_here(world: World, session: Session) -> None:
    connection = psycopg2.connect(world.source)
    connection.autocommit = True
    cursor = connection.cursor()
    try:
        cursor.execute("UPDATE host SET bandwidth_int = 2000 WHERE id = 1")
        cursor.execute("UPDATE host_category_dir SET up2date = false WHERE host_category_id = 1 AND path = 'old'")
        report = move(world.source, world.target)
        assert host(session, "m.example.edu").bandwidth_mbps == 2000
        state = session.get_one(HostCategoryState, carried(session, "m.example.edu", "Fedora Linux").id)
        assert state.directories_up_to_date == 2
        assert report.total(Outcome.CHANGED) == 2
    finally:
        cursor.execute("UPDATE host SET bandwidth_int = 1000 WHERE id = 1")
        cursor.execute("UPDATE host_category_dir SET up2date = true WHERE host_category_id = 1 AND path = 'old'")
        connection.close()
        move(world.source, world.target)


def test_what_was_seen_here_since_stays_and_a_new_password_goes_on_to_work(world: World, session: Session) -> None:
    later, now = SEEN.replace(tzinfo=UTC) + timedelta(days=1), datetime.now(UTC)
    with transaction(session):
        seen = host(session, "m.example.edu")
        seen.last_crawled_at, seen.last_crawl_seconds = later, 7.0
        ours = site_passwords.change(session, seen.site, now)
    try:
        move(world.source, world.target)
        session.expire_all()
        seen = host(session, "m.example.edu")
        assert (seen.last_crawled_at, seen.last_crawl_seconds) == (later, 7.0)
        assert site_passwords.matches(session, seen.site, ours, now)
        assert len(site_passwords.current(session, seen.site, now)) == 2
    finally:
        session.rollback()
        with transaction(session):
            seen.last_crawled_at = None
            site_passwords.withdraw(session, seen.site)
        move(world.source, world.target)


def test_an_import_is_one_event(session: Session) -> None:
    found = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).first()
    assert found and (found.actor, found.action) == ("ada", "import mirrormanager2")


def test_a_cache_can_be_built_of_what_was_imported(session: Session) -> None:
    cache = build(read(session), 1, 1, lambda _name: []).cache
    assert [one.name for one in cache.hosts] == ["m.example.edu"]
    position, path = cache.repositories["fedora-44", "x86_64"]
    assert cache.masks[cache.categories[position].directories[path]] == 1


def test_another_database_is_refused(postgres: Postgres) -> None:
    with pytest.raises(NotMirrorManager, match="no MirrorManager2 database"), opened(postgres.url(postgres.create())):
        pass


def test_a_database_in_a_file_is_taken_too(tmp_path: Path, sqlite_template: Path) -> None:
    create_sqlite(tmp_path / "mm2.sqlite")
    shutil.copy(sqlite_template, tmp_path / "mm.sqlite")
    target = f"sqlite:///{tmp_path / 'mm.sqlite'}"
    report = move(f"sqlite:///{tmp_path / 'mm2.sqlite'}", target)
    assert report.total(Outcome.REFUSED) == 0
    engine = make_engine(DatabaseSettings(url=target))
    with make_sessions(engine)() as session:
        taken = host(session, "h")
        assert (taken.state, taken.last_crawled_at) == (
            State.OWNER_DISABLED,
            datetime(2026, 11, 1, 12, 0, 0, 500_000, UTC),
        )
        assert session.scalars(select(HostCategoryState)).one().directories_up_to_date == 1
    engine.dispose()


def test_a_wrong_address_is_told_in_words(tmp_path: Path) -> None:
    admin = Admin(tmp_path, "sqlite:///mm.sqlite")
    assert "--dsn is not the URL of a database" in admin.refused("import", "mirrormanager2", "--dsn", "nonsense")


def test_mm_admin_imports_reports_and_says_what_to_do_next(world: World, tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "mm.sqlite")
    admin = Admin(tmp_path, "sqlite:///mm.sqlite")
    told = admin.ok("import", "mirrormanager2", "--dsn", world.source, "--dry-run")
    assert "Dry run: nothing was changed." in told
    assert "host_category_dir" in told
    assert admin.rows("site", "list") == []
    assert "mm-admin cache build" in admin.ok("import", "mirrormanager2", "--dsn", world.source)
    assert {site["name"] for site in admin.rows("site", "list")} == {"University", "Provider", "university (3)"}
