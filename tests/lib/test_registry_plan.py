"""Files of the registry against the registry: plans, what is refused, and that applying them makes it so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jsonschema_rs
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.database import freeze, make_engine, make_sessions
from mm_lib.model.accounts import AuditEvent, User
from mm_lib.model.base import State
from mm_lib.model.content import Category, Directory, Product
from mm_lib.model.hosts import Host, Location
from mm_lib.model.sites import Site
from mm_lib.model.state import HostCategoryState, StateSource
from mm_lib.registry import rendering, schema
from mm_lib.registry.carry_out import Powers, Refused
from mm_lib.registry.current import read_sites
from mm_lib.registry.documents import SiteFile, for_files, plain
from mm_lib.registry.planning import ChangedMeanwhile, Plan, Wish, carry_out_plan, make_plan, restore, save
from mm_lib.registry.reading import read_site
from mm_lib.registry.yaml_text import parse
from mm_lib.services import audit
from mm_lib.services.errors import InvalidValue
from mm_lib.services.host_details import Limits
from mm_lib.settings import DatabaseSettings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
POWERS = Powers("tester", NOW)
FULL = """\
name: Example University
org_url: https://www.example.edu
private: true
all_sites_can_pull: true
downstream_comments: Ask first.
disabled: {reason: moving, by: owner}
upstreams: [Upstream]
members: {alice: owner, bob: viewer}
hosts:
- name: m.example.edu
  country: DE
  bandwidth_mbps: 10000
  max_connections: 4
  private: true
  asn_clients: false
  coordinates: {latitude: 49.5, longitude: 11.25}
  has_ipv4: true
  has_ipv6: false
  comment: Fast.
  robot_email: robots@example.edu
  disabled: {reason: broken}
  categories:
  - category: Debian
    always_up_to_date: true
    urls: [https://m.example.edu/debian, rsync://m.example.edu/debian]
    private_urls: [rsync://m.example.edu/internal]
  - category: Fedora
  netblocks: [10.0.0.0/8, {netblock: home.example.edu, name: Dormitory}]
  own_asns: [64500]
  peer_asns: [{asn: 64501, name: Friends}]
  extra_countries: [AT, CH]
  allowed_countries: [DE]
  acl_addresses: [192.0.2.1, pull.example.edu]
  locations: [cloud-eu]
  maintenance: [{starts_at: 2026-12-01T00:00:00Z, ends_at: 2026-12-02T00:00:00Z, reason: New disks}]
  reserved_directories: [{category: Debian, path: debian/secret}]
- name: n.example.edu
"""
UPSTREAM = SiteFile(name="Upstream")


def site(text: str) -> SiteFile:
    """The site of a valid text."""
    loaded, problems = read_site(text, "f")
    assert loaded, problems
    return loaded.site


def wish(*sites: SiteFile, complete: bool = False, delete: bool = False) -> Wish:
    return Wish(sites, complete, delete)


@pytest.fixture
def world(sqlite_template: Path, tmp_path: Path) -> Iterator[Session]:
    """Everything that FULL refers to."""
    shutil.copy(sqlite_template, tmp_path / "test.sqlite")
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{tmp_path / 'test.sqlite'}"))
    with make_sessions(engine)() as session:
        yield filled(session)
    engine.dispose()


@pytest.fixture
def both(session: Session) -> Session:
    """The same, on SQLite and on PostgreSQL."""
    return filled(session)


def filled(session: Session) -> Session:
    """A session on a database with everything that FULL refers to."""
    audit.sign(session, audit.Actor("tester"))
    product = Product(name="P")
    debian = Category(product=product, name="Debian", topdir="debian")
    session.add_all([debian, Category(product=product, name="Fedora"), Location(name="cloud-eu")])
    session.add(Directory(category=debian, path="debian/secret", mtime=0))
    session.add_all([User(name=name, email=f"{name}@example.edu") for name in ("alice", "bob")])
    session.commit()
    return session


def applied(session: Session, wanted: Wish) -> Plan:
    """Carry a wish out, and look with fresh eyes."""
    done = carry_out_plan(session, wanted, POWERS, None)
    session.commit()
    session.expunge_all()
    return done


def planned(session: Session, wanted: Wish, powers: Powers = POWERS) -> Plan:
    """A plan, made as the command makes it."""
    session.rollback()
    freeze(session)
    plan = make_plan(session, wanted, powers)
    session.rollback()
    return plan


def text(plan: Plan) -> str:
    return "\n".join(rendering.lines(plan, lambda step: f"f:{step.path}"))


def test_everything_that_a_file_says_is_in_the_registry_and_comes_back(both: Session) -> None:
    applied(both, wish(site(FULL), UPSTREAM))
    found = read_sites(both, NOW)
    assert plain(found["Example University"]) == plain(site(FULL))
    assert planned(both, wish(UPSTREAM, site(FULL), complete=True, delete=True)).steps == []


def test_everything_that_a_file_does_not_say_any_more_goes_with_delete_only_and_is_recorded(both: Session) -> None:
    applied(both, wish(UPSTREAM, site(FULL)))
    poor = site("name: Example University\nmembers: {alice: owner}\nhosts: [{name: m.example.edu, country: FR}]\n")
    kept = applied(both, wish(poor))
    assert {step.kind for step in kept.left} == {
        "acl address", "allowed country", "asn", "category", "extra country", "host", "location", "maintenance",
        "member", "netblock", "reserved directory", "upstream",
    }  # fmt: skip
    before = both.scalar(select(func.count(AuditEvent.id)))
    done = applied(both, wish(UPSTREAM, poor, complete=True, delete=True))
    expected = {**plain(poor), "hosts": [{"name": "m.example.edu", "country": "FR"}]}
    found = plain(read_sites(both, NOW)["Example University"])
    found["hosts"][0] = {key: found["hosts"][0][key] for key in ("name", "country")}
    assert found == expected
    recorded = both.scalars(select(AuditEvent.action).where(AuditEvent.id > before)).all()
    assert len(recorded) == len(done.steps)


def test_a_plan_is_a_readable_diff(world: Session) -> None:
    applied(world, wish(site("name: A\nhosts: [{name: h.org, country: DE, netblocks: [8.8.8.0/24]}]\n")))
    wanted = site(
        "name: A\norg_url: https://a.org\nhosts:\n"
        "- {name: h.org, country: FR, netblocks: [9.9.9.0/24], categories: [{category: Debian, urls: [https://h.org/d]}]}\n"
    )
    assert text(planned(world, wish(wanted, delete=True))) == "\n".join(
        [
            "~ site A",
            '    ~ org_url: "" -> "https://a.org"',
            "  ~ host h.org",
            '      ~ country: "DE" -> "FR"',
            "    - netblock 8.8.8.0/24",
            "    + category Debian",
            "    + URL https://h.org/d in Debian",
            "    + netblock 9.9.9.0/24",
            "3 to add, 2 to change, 1 to delete.",
        ]
    )


def test_what_the_registry_refuses_is_told_with_the_reason_and_nothing_is_done(world: Session) -> None:
    applied(
        world,
        wish(site("name: A\nhosts: [{name: h.org, categories: [{category: Debian, urls: [https://h.org/d]}]}]\n")),
    )
    wanted = site(
        "name: B\nmembers: {nobody: admin}\nhosts:\n"
        "- {name: h.org, locations: [Mars], categories: [{category: Debian, urls: [https://h.org/d]}, {category: X}]}\n"
    )
    plan = planned(world, wish(wanted))
    assert [(one.step.kind, one.reason.partition(";")[0]) for one in plan.refused] == [
        ("member", "there is no user 'nobody'"),
        ("url", "https://h.org/d belongs to h.org (Debian) already"),
        ("category", "There is no category 'X'. `mm-admin category list` shows them."),
        ("location", "There is no location group 'Mars'. `mm-admin location list` shows them."),
    ]
    assert "4 would be refused, so that nothing would be done." in text(plan)
    with pytest.raises(Refused, match="nobody"):
        carry_out_plan(world, wish(wanted), POWERS, None)
    world.rollback()
    assert list(read_sites(world, NOW)) == ["A"]


def test_limits_that_owners_have_are_kept_when_asked_for(world: Session) -> None:
    wanted = site("name: A\nhosts: [{name: h, netblocks: [8.0.0.0/8]}]\n")
    [refusal] = planned(world, wish(wanted), Powers("tester", NOW, Limits(), local=False)).refused
    assert "must not be larger than /16" in refusal.reason


def test_sites_without_a_file_go_with_a_complete_wish_that_deletes(world: Session) -> None:
    applied(world, wish(SiteFile(name="A"), SiteFile(name="B")))
    assert [step.site for step in planned(world, wish(SiteFile(name="A"), complete=True)).left] == ["B"]
    world.rollback()
    applied(world, wish(SiteFile(name="A"), complete=True, delete=True))
    assert list(read_sites(world, NOW)) == ["A"]


def test_was_renames_instead_of_making_another_one(world: Session) -> None:
    applied(world, wish(site("name: A\nhosts: [{name: h, country: DE, netblocks: [8.8.8.0/24]}]\n")))
    id_ = world.scalars(select(Host.id)).one()
    applied(world, wish(site("name: B\nwas: A\nhosts: [{name: i, was: h, country: DE}]\n"), delete=True))
    assert world.execute(select(Host.id, Host.name, Site.name).join(Site)).all() == [(id_, "i", "B")]
    assert plain(read_sites(world, NOW)["B"]) == {"name": "B", "hosts": [{"name": "i", "country": "DE"}]}


def test_going_private_forgets_what_was_up_to_date(world: Session) -> None:
    text = "name: A\nhosts: [{name: h, private: %s, categories: [{category: Debian}]}]\n"
    applied(world, wish(site(text % "false")))
    carried = world.scalars(select(Host)).one().categories[0].id
    world.add(
        HostCategoryState(
            host_category_id=carried,
            up_to_date=b"",
            directories_up_to_date=1,
            directories_total=1,
            established_at=NOW,
            source=StateSource.CRAWL,
        )
    )
    world.commit()
    applied(world, wish(site(text % "true")))
    assert world.scalars(select(HostCategoryState)).all() == []


def test_what_the_crawler_switched_off_is_nobodys_difference(world: Session) -> None:
    wanted = site("name: A\nhosts: [{name: h}]\n")
    applied(world, wish(wanted))
    host = world.scalars(select(Host)).one()
    host.state, host.state_reason, host.state_by = State.AUTO_DISABLED, "dead", "crawler"
    world.commit()
    assert planned(world, wish(wanted, complete=True, delete=True)).steps == []


def test_what_the_crawler_found_out_is_compared_only_where_a_file_says_it(world: Session) -> None:
    applied(world, wish(site("name: A\nhosts: [{name: h}]\n")))
    world.scalars(select(Host)).one().has_ipv6 = True
    world.commit()
    assert planned(world, wish(site("name: A\nhosts: [{name: h}]\n"))).steps == []
    assert planned(world, wish(site("name: A\nhosts: [{name: h, has_ipv6: true}]\n"))).steps == []
    assert len(planned(world, wish(site("name: A\nhosts: [{name: h, has_ipv6: false}]\n"))).steps) == 1
    assert "has_ipv6" not in str(plain(for_files(read_sites(world, NOW)["A"])))


def test_the_published_schema_takes_what_we_take_and_not_what_we_refuse() -> None:
    published = jsonschema_rs.validator_for(json.loads(schema.text()))
    assert published.is_valid(parse(FULL, "f").value)
    for wrong in ("name: 1", "name: A\nx: 1", "name: A\nhosts: [{name: h, country: germany}]"):
        assert not published.is_valid(parse(wrong, "f").value)


# -- saved plans


def test_a_saved_plan_is_refused_when_its_sites_changed_since(world: Session) -> None:
    applied(world, wish(SiteFile(name="A"), SiteFile(name="B")))
    plan = planned(world, wish(site("name: A\nprivate: true\n")))
    wanted, expected = restore(save(plan))
    applied(world, wish(site("name: B\norg_url: https://b.org\n")))  # is not its business
    applied(world, wish(site("name: A\norg_url: https://a.org\n")))
    with pytest.raises(ChangedMeanwhile):
        carry_out_plan(world, wanted, POWERS, expected)


def test_a_saved_plan_is_carried_out_as_it_was_made(world: Session) -> None:
    plan = planned(world, wish(UPSTREAM, site(FULL)))
    wanted, expected = restore(save(plan))
    carry_out_plan(world, wanted, POWERS, expected)
    assert plain(read_sites(world, NOW)["Example University"]) == plain(site(FULL))


@pytest.mark.parametrize("saved", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "sites": [{}]}', "[" * 100_000])
def test_what_is_no_plan_is_refused(saved: str) -> None:
    with pytest.raises(InvalidValue, match="plan"):
        restore(saved)
