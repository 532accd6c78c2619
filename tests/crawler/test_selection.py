"""Which hosts a crawl is about: by id, part, place, privacy, and what operators may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from mm_crawler import inputs, location
from mm_crawler.cli import main
from mm_crawler.location import Place
from mm_crawler.report import Mirror, MirrorCategory, MirrorUrl
from mm_crawler.selection import EVERYTHING, Fraction, Selection
from mm_lib.cli.main import main as admin
from mm_lib.database import transaction
from mm_lib.model.base import State
from mm_lib.model.geography import EmbargoedCountry
from mm_lib.model.hosts import Host
from mm_lib.model.state import CrawlResult, CrawlRun
from mm_lib.services import maintenance, probes
from mm_lib.services.doctor import Probes
from mm_lib.services.errors import NotFound
from tests.crawler.builders import World

URL = "http://{}.example/fedora".format


def names(session: Session, selection: Selection) -> list[str]:
    return [mirror.name for mirror in inputs.read(session, selection).mirrors]


@pytest.mark.parametrize(
    ("text", "taken"),
    [("1:3", [1, 2, 3]), ("2:3", [4, 5, 6]), ("3:3", [7, 8, 9, 10]), ("1:1", list(range(1, 11))), ("11:12", [])],
)
def test_case_40_a_fraction_is_a_slice_of_the_sorted_ids_and_the_last_takes_the_rest(
    text: str, taken: list[int]
) -> None:
    assert list(Fraction.parse(text).take(range(1, 11))) == taken


@pytest.mark.parametrize("text", ["", "2", "0:3", "4:3", "a:b", "1:", "-1:3", "1:2:3"])
def test_what_is_no_fraction_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 2:3"):
        Fraction.parse(text)


def test_case_40_hosts_are_chosen_by_ids_and_fractions(session: Session) -> None:
    world = World(session)
    ids = [world.host(f"m{number}", URL(f"m{number}")).id for number in range(1, 11)]
    assert names(session, replace(EVERYTHING, fraction=Fraction(2, 3))) == ["m4", "m5", "m6"]
    assert names(session, replace(EVERYTHING, fraction=Fraction(3, 3))) == ["m7", "m8", "m9", "m10"]
    assert names(session, replace(EVERYTHING, first_id=ids[7])) == ["m8", "m9", "m10"]
    assert names(session, replace(EVERYTHING, first_id=ids[1], last_id=ids[3])) == ["m2", "m3", "m4"]
    carried = frozenset({session.get_one(Host, ids[4]).categories[0].id})
    assert names(session, replace(EVERYTHING, host_categories=carried)) == ["m5"]


def test_private_hosts_are_crawled_when_asked_for_and_when_their_owners_let_us(session: Session) -> None:
    world = World(session)
    world.host("public", URL("public"))
    world.host("secret", URL("secret")).private = True
    open_ = world.host("open", URL("open"))
    open_.private = open_.crawl_private = True
    session.flush()
    assert names(session, EVERYTHING) == ["public"]
    assert names(session, replace(EVERYTHING, include_private=True)) == ["public", "open"]


@pytest.mark.parametrize(
    ("changes", "asked", "reason"),
    [
        ({}, {"hosts": ("nobody",)}, "There is no host nobody"),
        ({"private": True}, {}, "it is private; its owner does not let us crawl it"),
        ({"private": True, "crawl_private": True}, {}, "it is private; --include-private asks it"),
        ({"country": "CU"}, {}, "it stands in CU, which is embargoed"),
        ({"state": State.ADMIN_DISABLED}, {"include_disabled": True}, "an administrator switched it off (moved)"),
        ({"state": State.OWNER_DISABLED}, {}, "it is owner-disabled (moved); --include-disabled asks it"),
        ({}, {"categories": ("EPEL",)}, "it has none that it has a URL for"),
    ],
)
def test_whoever_names_a_host_that_is_not_crawled_is_told_why(
    session: Session, changes: Mapping[str, Any], asked: Mapping[str, Any], reason: str
) -> None:
    world = World(session)
    world.other_category("EPEL")
    session.add(EmbargoedCountry(country="CU"))
    host = world.host("mirror", URL("mirror"))
    for name, value in {**changes, "state_reason": "moved", "state_by": "alice"}.items():
        setattr(host, name, value)
    session.flush()
    with pytest.raises(NotFound) as refused:
        inputs.read(session, Selection(**{"hosts": ("mirror",), **asked}))
    assert reason in str(refused.value)


def test_a_host_under_maintenance_is_left_alone_until_it_ends(session: Session) -> None:
    """Its owner was promised that nobody takes for a failure what fails meanwhile."""
    world, now = World(session), datetime.now(UTC)
    host = world.host("mirror", URL("mirror"))
    begun, over = now - timedelta(hours=2), now + timedelta(hours=1)
    window = maintenance.announce(session, host, begun, over, reason="", by="ann", now=now)
    with pytest.raises(NotFound, match="mirror is not crawled: it is under maintenance until"):
        inputs.read(session, Selection(hosts=("mirror",)))
    window.ends_at = now - timedelta(hours=1)
    session.flush()
    assert names(session, EVERYTHING) == ["mirror"]


def test_a_host_of_a_site_that_takes_no_part_is_not_crawled_and_the_site_is_named(session: Session) -> None:
    world = World(session)
    world.host("mirror", URL("mirror"))
    world.site.state, world.site.state_reason, world.site.state_by = State.OWNER_DISABLED, "moved", "alice"
    session.flush()
    with pytest.raises(NotFound, match=r"its site Example Site is owner-disabled \(moved\)"):
        inputs.read(session, Selection(hosts=("mirror",)))


def test_an_auto_disabled_host_is_asked_when_disabled_ones_are_included(session: Session) -> None:
    world = World(session)
    for state in (State.OWNER_DISABLED, State.ADMIN_DISABLED, State.AUTO_DISABLED):
        host = world.host(state.value, URL(state.value))
        host.state, host.state_reason, host.state_by = state, "test", "test"
    session.flush()
    assert names(session, replace(EVERYTHING, include_disabled=True)) == ["owner-disabled", "auto-disabled"]


# ---------------------------------------------------------------- places

WORLD = {"a.example": {"192.0.2.1": "DE", "192.0.2.2": "DE", "2001:db8::1": "US"}, "b.example": {"192.0.2.9": "CU"}}


def fake_probes() -> Probes:
    countries = {address: country for found in WORLD.values() for address, country in found.items()}
    return Probes(
        resolve=lambda name: sorted(WORLD.get(name, {})),
        country=lambda address: countries.get(address, ""),
        asn=lambda _: None,
        certificate=lambda name, port: pytest.fail("no certificate is asked for"),
    )


def mirror(id_: int, name: str, country: str | None = None) -> Mirror:
    return Mirror(id_, name, "site", (MirrorCategory(1, 1, (MirrorUrl(f"http://{name}/f", False),)),), country=country)


def test_a_mirror_stands_where_most_of_its_addresses_do_else_where_its_owner_says() -> None:
    found = location.locate([mirror(1, "a.example", "FR"), mirror(2, "c.example", "FR"), mirror(3, "d")], fake_probes())
    assert [found[id_].country for id_ in (1, 2, 3)] == ["DE", "FR", ""]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (("EU",), ["DE"]),
        (("^EU",), ["US", ""]),
        (("EU", "NA"), ["DE", "US"]),
        (("--",), [""]),
        (("^EU", "^--"), ["US"]),
    ],
)
def test_continents_are_named_or_left_out(wanted: tuple[str, ...], kept: list[str]) -> None:
    continents = {"DE": "EU", "US": "NA"}
    assert [code for code in ("DE", "US", "") if location.is_wanted(Place({}, code), wanted, continents)] == kept


def test_a_mirror_is_refused_when_all_of_its_addresses_are_in_embargoed_countries() -> None:
    embargoed = frozenset({"CU", "US"})
    assert "192.0.2.9 (CU)" in location.refusal(Place({"192.0.2.9": "CU"}, "CU"), embargoed)
    assert location.refusal(Place(WORLD["a.example"], "DE"), embargoed) == ""
    assert location.refusal(Place({}, "CU"), embargoed) == ""
    assert location.refusal(Place({"192.0.2.7": ""}, ""), embargoed) == ""


# ---------------------------------------------------------------- the command


def crawl(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["mirrors", *arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fraction", "1:2", "--startid", "3"], "--fraction cannot be used with --startid or --stopid"),
        (["--fraction", "3:2"], "'3:2' is not a part of a whole"),
        (["--canary", "--due"], "--tier, --canary, --due and --requested exclude each other"),
        (["--tier", "full", "--canary"], "exclude each other"),
        (["--tier", "half"], "'half' is not one of"),
        (["--continent", "XX"], "XX is no continent; there are AF AN AS EU NA OC SA --"),
        (["--verbose"], "name it with --host"),
    ],
)
def test_wrong_usage_is_refused_with_a_message(arguments: list[str], message: str) -> None:
    assert message in " ".join(crawl(*arguments, code=2).output.split())


@pytest.fixture
def world(session: Session, monkeypatch: pytest.MonkeyPatch, database_url: str) -> World:
    monkeypatch.setenv("MM_DATABASE__URL", database_url)
    monkeypatch.setenv("MM_CRAWLER__TRIES", "1")
    monkeypatch.setattr(probes, "make", lambda *_: fake_probes())
    with transaction(session):
        return World(session)


def test_an_owner_lets_a_private_host_be_crawled(world: World, session: Session) -> None:
    with transaction(session):
        world.host("secret", "http://127.0.0.1:1/fedora").private = True
    assert "There is nothing to ask" in crawl("--include-private").output
    assert CliRunner().invoke(admin, ["host", "set", "secret", "--crawl-private"]).exit_code == 0
    assert "There is nothing to ask" in crawl().output
    assert "secret" in crawl("--include-private").stdout


def test_a_mirror_on_another_continent_is_left_alone(world: World, session: Session) -> None:
    with transaction(session):
        world.host("a", "http://a.example/fedora")
    assert "There is nothing to ask" in crawl("--continent", "NA").output
    assert session.query(CrawlRun).count() == 0


def test_case_37_a_mirror_with_embargoed_addresses_is_switched_off_unasked_and_that_is_told_once(
    world: World, session: Session
) -> None:
    with transaction(session):
        session.add(EmbargoedCountry(country="CU"))
        host = world.host("b", "http://b.example/fedora")
    told = crawl("--host", "b", "--verbose").stdout
    session.expire_all()
    assert host.state is State.AUTO_DISABLED
    assert "192.0.2.9 (CU)" in host.state_reason
    assert told.count("its addresses are in countries that we may not serve from") == 2  # why not asked, what follows
    assert session.query(CrawlResult).count() == 0
    for tier in ("full", "incremental"):
        crawl("--include-disabled", "--tier", tier)
        session.expire_all()
        assert host.state is State.AUTO_DISABLED
