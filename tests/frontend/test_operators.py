"""What operators do with sites, members and hosts: the reference's black-box cases, and what it got wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, NullPool, create_engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_frontend.operators.details import RESOLVER
from mm_frontend.settings import crawler
from mm_lib.database import make_sessions, prepare, transaction
from mm_lib.model.accounts import AuditEvent, User
from mm_lib.model.base import State
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl, HostNetblock, Maintenance
from mm_lib.model.sites import MemberRole, Site, SiteInvitation, SiteMember
from mm_lib.model.state import HostCategoryState, RepositoryMirrorState, StateSource
from mm_lib.services import hosts, membership, probes
from mm_lib.services.doctor import Probes
from tests import factories as make
from tests.frontend import operators_world
from tests.frontend.operators_world import NOW, PEOPLE, Registry, signed_in
from tests.frontend.world import SETTINGS, counting_queries, headline, text, token

HOST = {"name": "m.example.org", "country": "DE", "bandwidth_mbps": "1000", "max_connections": "1", "asn_clients": "y"}
SITE = {"name": "Example University", "org_url": "https://www.example.edu"}


@dataclass
class Stage:
    """One application for all tests here; each begins with the same database, in which everybody is signed in."""

    app: Flask
    engine: Engine
    path: Path
    registry: Registry
    people: dict[str, FlaskClient] = field(default_factory=dict)

    def begin(self) -> None:
        """Everything as it was."""
        for ending in ("-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        shutil.copy(self.path.with_suffix(".built"), self.path)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Stage]:
    """SQLite alone: services are tried on both databases in tests/lib."""
    path = tmp_path_factory.mktemp("operators") / "operators.sqlite"
    shutil.copy(sqlite_template, path)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)  # a kept connection would keep the old file
    prepare(engine)
    with make_sessions(engine)() as session:
        registry = operators_world.build(session)
    app = create_app(SETTINGS, engine)
    app.config[RESOLVER] = lambda name: ["192.0.2.1"] if name == "good.example.org" else []
    guards.limiter.enabled = False
    made = Stage(app, engine, path, registry, {name: signed_in(app, name) for name in PEOPLE})
    shutil.copy(path, path.with_suffix(".built"))
    yield made
    guards.limiter.enabled = True
    engine.dispose()


@pytest.fixture
def engine(stage: Stage) -> Engine:
    stage.begin()
    return stage.engine


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine)() as session:
        yield session


@pytest.fixture
def registry(session: Session, stage: Stage) -> Registry:
    return stage.registry.again(session)


@pytest.fixture
def people(stage: Stage, engine: Engine) -> dict[str, FlaskClient]:
    return stage.people


@pytest.fixture
def owner(people: dict[str, FlaskClient]) -> FlaskClient:
    return people["owner"]


def send(client: FlaskClient, path: str, **fields: Any) -> TestResponse:
    """Send a form with its token."""
    return client.post(path, data={"csrf_token": token(client, "/site/new"), **fields})


def errors(answer: TestResponse) -> list[str]:
    return re.findall(r'class="field-error"[^>]*>([^<]*)<', answer.get_data(as_text=True))


def fresh(session: Session, row: Any) -> Any:
    session.rollback()
    session.refresh(row)
    return row


# -- sites


def test_whoever_makes_a_site_owns_it_and_finds_it_among_the_own(
    people: dict[str, FlaskClient], session: Session
) -> None:
    client = people["stranger"]
    answer = send(client, "/site/new", name="New Mirrors", org_url="https://new.example.org/")
    site = session.scalars(select(Site).where(Site.name == "New Mirrors")).one()
    assert answer.location == f"/site/{site.id}"
    assert (site.org_url, site.created_by, site.state) == ("https://new.example.org", "stranger", State.ACTIVE)
    assert session.scalars(select(SiteMember.role).where(SiteMember.site_id == site.id)).all() == [MemberRole.OWNER]
    assert "New Mirrors" in text(client.get("/site/mine"))


def test_the_weekly_report_is_off_until_the_form_asks_for_it(
    owner: FlaskClient, registry: Registry, session: Session
) -> None:
    assert registry.site.weekly_report is False
    send(owner, f"/site/{registry.site.id}", **SITE, weekly_report="y")
    assert fresh(session, registry.site).weekly_report is True
    send(owner, f"/site/{registry.site.id}", **SITE)
    assert fresh(session, registry.site).weekly_report is False


def test_without_its_token_no_form_changes_anything(owner: FlaskClient, session: Session, registry: Registry) -> None:
    for path in ("/site/new", f"/site/{registry.site.id}", f"/host/{registry.host.id}/drop"):
        assert owner.post(path, data={**SITE, "name": "Stolen"}).status_code == 400
    assert session.scalars(select(Site.name).where(Site.name == "Stolen")).all() == []
    assert fresh(session, registry.host).deleted_at is None


def test_a_site_needs_name_and_address_and_a_name_of_its_own(owner: FlaskClient, registry: Registry) -> None:
    page = f"/site/{registry.site.id}"
    answer = send(owner, page, name="Only a name")
    assert (answer.status_code, errors(answer)) == (422, ["Enter a web address."])
    taken = send(owner, page, **SITE | {"name": "OTHER university"})
    assert "There is a site 'Other University' already." in text(taken)
    assert send(owner, page, **SITE | {"name": "Renamed"}).location == page
    assert headline(owner.get(page)) == "Renamed"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://a.example.org", "https://u:p@a.example.org", "x"])
def test_an_address_that_would_be_no_good_link_is_refused(owner: FlaskClient, registry: Registry, url: str) -> None:
    answer = send(owner, f"/site/{registry.site.id}", **SITE | {"org_url": url})
    assert answer.status_code == 422
    assert errors(answer)


def test_between_public_and_private_what_a_host_has_is_forgotten(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    carried = registry.ids["carried_id"]
    for path, form in ((f"/site/{registry.site.id}", SITE), (f"/host/{registry.host.id}", HOST)):
        for private in ({"private": "y"}, {}):
            with transaction(session):
                session.add(
                    HostCategoryState(
                        host_category_id=carried,
                        up_to_date=b"",
                        directories_up_to_date=1,
                        directories_total=1,
                        established_at=NOW,
                        source=StateSource.CRAWL,
                    )
                )
            assert send(owner, path, **form, **private).status_code == 302
            session.rollback()
            assert session.scalars(select(HostCategoryState)).all() == []


def test_all_sites_are_for_those_who_read_all(people: dict[str, FlaskClient]) -> None:
    client = people["stranger"]
    assert client.get("/admin/all_sites").location == "/"
    assert "is for administrators" in text(client.get("/"))
    assert "Example University" in text(people["auditor"].get("/admin/all_sites"))


# -- members


def test_all_sites_are_searched_by_their_names_and_their_hosts_and_paged(
    people: dict[str, FlaskClient], session: Session, registry: Registry
) -> None:
    with transaction(session):
        for number in range(25):
            make.host(session, f"many{number:02}.example.org")
    auditor = people["auditor"]
    assert "27 sites" in text(auditor.get("/admin/all_sites")) and "1 of 2" in text(auditor.get("/admin/all_sites"))
    last = text(auditor.get("/admin/all_sites?page=99"))
    assert "2 of 2" in last and "many24.example.org" in last
    for asked, found in (("university", 2), ("M.example.NET", 1), ("100%", 0), ("many2", 5)):
        answer = text(auditor.get("/admin/all_sites", query_string={"q": asked}))
        assert f"{found} site" in answer, asked


def test_repositories_of_a_host_that_are_behind_come_first(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    """Some on the host's own page, all of them on one of their own."""
    carried = session.get_one(HostCategory, registry.ids["carried_id"])
    with transaction(session):
        for number in range(15):
            of = make.repository(session, make.directory(session, carried.category, f"r{number}"), f"repo-{number:02}")
            row = {"host_category_id": carried.id, "repository_id": of.id, "checked_at": NOW}
            verdict = {"verdict": "stale", "lag_seconds": 7200} if number == 14 else {"verdict": "ok", "lag_seconds": 0}
            session.add(RepositoryMirrorState(**row, **verdict))
    page = text(owner.get(f"/host/{registry.host.id}"))
    assert "15 repositories, 14 up to date" in page and "repo-14 x86_64 stale 2.0 h" in page
    assert "repo-00" in page and "repo-13" not in page
    whole = text(owner.get(f"/host/{registry.host.id}/repositories"))
    assert whole.index("repo-14") < whole.index("repo-00") < whole.index("repo-13")


def test_a_user_is_made_a_member_once(owner: FlaskClient, registry: Registry) -> None:
    path = f"/site/{registry.site.id}/admin/new"
    assert send(owner, path, who="Stranger", role="admin").status_code == 302
    assert "stranger" in text(owner.get(f"/site/{registry.site.id}"))
    assert "is a member of Example University already" in text(send(owner, path, who="stranger", role="admin"))
    assert "there is no user" in text(send(owner, path, who="nobody-at-all", role="admin"))


def test_the_last_owner_stays_and_admins_do_not_touch_owners(
    people: dict[str, FlaskClient], owner: FlaskClient, session: Session, registry: Registry
) -> None:
    member = session.scalars(
        select(SiteMember).where(SiteMember.site_id == registry.site.id, SiteMember.role == MemberRole.OWNER)
    ).one()
    path = f"/site/{registry.site.id}/admin/{member.id}/delete"
    assert "last owner" in text(send(owner, path))
    assert "last owner" in text(send(owner, f"/site/{registry.site.id}/leave"))
    assert "Only an owner" in text(send(people["admin"], path))
    promotion = send(people["admin"], f"/site/{registry.site.id}/admin/new", who="stranger", role="owner")
    assert "Only an owner" in text(promotion)


def test_a_site_is_handed_over_and_left(owner: FlaskClient, session: Session, registry: Registry) -> None:
    site, heir = registry.site.id, registry.ids["member_id"]
    assert send(owner, f"/site/{site}/transfer", to=str(heir)).status_code == 302
    session.rollback()
    assert session.get_one(SiteMember, heir).role is MemberRole.OWNER
    assert owner.get(f"/site/{site}/drop").status_code == 403
    assert send(owner, f"/site/{site}/leave").location == "/site/mine"
    assert owner.get(f"/site/{site}").status_code == 404


def test_an_invitation_lets_whoever_has_the_link_in_once(
    people: dict[str, FlaskClient], owner: FlaskClient, registry: Registry
) -> None:
    answer = send(owner, f"/site/{registry.site.id}/admin/new", who="new@example.com", role="viewer")
    found = re.search(r"http://localhost(/invitation/\S+?)<", answer.get_data(as_text=True))
    assert found
    assert answer.headers["Cache-Control"] == "no-store"
    stranger = people["stranger"]
    assert "Join Example University?" in text(stranger.get(found[1]))
    assert send(stranger, found[1]).location == f"/site/{registry.site.id}"
    assert stranger.get(f"/site/{registry.site.id}").status_code == 200
    assert stranger.get(found[1]).status_code == 404
    assert people["anonymous"].get(found[1]).location.startswith("/login?next=/invitation/")


def test_invitations_expire_and_are_kept_as_hashes(
    people: dict[str, FlaskClient], session: Session, registry: Registry
) -> None:
    path = f"/invitation/{registry.token}"
    row = session.get_one(SiteInvitation, registry.ids["invitation_id"])
    assert registry.token not in (row.token_hash, row.email)
    stranger = people["stranger"]
    assert stranger.get(path).status_code == 200
    with transaction(session):
        row.expires_at = NOW - timedelta(seconds=1)
    assert stranger.get(path).status_code == 404


def test_asking_to_join_tells_nothing_and_members_decide(
    people: dict[str, FlaskClient], owner: FlaskClient, registry: Registry
) -> None:
    stranger = people["stranger"]
    for name in ("Example University", "No Such Place"):
        send(stranger, "/site/join", site=name, message="It's me")
        assert "if there is a site of that name" in text(stranger.get("/site/mine"))
    assert "It's me" in text(owner.get(f"/site/{registry.site.id}"))
    answered = send(owner, f"/site/{registry.site.id}/join/{registry.ids['request_id']}/decline")
    assert answered.location == f"/site/{registry.site.id}"
    assert "was not let in" in text(owner.get(answered.location))


def test_an_invitation_that_is_used_at_the_same_moment_says_so(
    people: dict[str, FlaskClient], session: Session, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = membership.accept

    def after_another(database: Session, invitation: SiteInvitation, *rest: Any) -> SiteMember:
        with transaction(session):
            session.delete(session.get_one(SiteInvitation, invitation.id))
        return accept(database, invitation, *rest)

    monkeypatch.setattr(membership, "accept", after_another)
    answer = send(people["stranger"], f"/invitation/{registry.token}")
    assert (answer.status_code, "used or withdrawn at the same moment" in text(answer)) == (422, True)


def test_only_members_are_told_that_they_stay(
    people: dict[str, FlaskClient], owner: FlaskClient, registry: Registry
) -> None:
    path = f"/site/{registry.site.id}/transfer"
    assert "You stay as an admin" in text(owner.get(path))
    assert "You stay" not in text(people["super"].get(path))


@pytest.mark.parametrize(("path", "field"), [("/site/join", "site"), ("/site/{site_id}/admin/new", "who")])
def test_names_with_control_characters_name_nobody(
    owner: FlaskClient, registry: Registry, path: str, field: str
) -> None:
    answer = send(owner, path.format(**registry.ids), **{field: "a\0b"}, role="viewer")
    assert answer.status_code in (302, 422)


# -- hosts


def test_a_host_is_made_with_everything_and_once(owner: FlaskClient, session: Session, registry: Registry) -> None:
    path = f"/host/{registry.site.id}/new"
    form = HOST | {
        "name": "new.example.org",
        "asn": "64500",
        "latitude": "52.5",
        "longitude": "13.4",
        "has_ipv6": "yes",
    }
    answer = send(owner, path, **form, comment="Hello", robot_email="robot@example.org")
    host = session.scalars(select(Host).where(Host.name == "new.example.org")).one()
    assert answer.location == f"/host/{host.id}"
    assert (host.country, host.bandwidth_mbps, host.latitude, host.has_ipv6) == ("DE", 1000, 52.5, True)
    assert (host.comment, host.robot_email, [row.asn for row in host.asns]) == ("Hello", "robot@example.org", [64500])
    assert "has a host 'new.example.org' already" in text(send(owner, path, **form))
    assert send(owner, "/host/999/new", **form).status_code == 404


def test_a_host_needs_country_bandwidth_and_connections(owner: FlaskClient, registry: Registry) -> None:
    answer = send(owner, f"/host/{registry.host.id}", name="renamed.example.org")
    assert errors(answer) == [
        "Enter the country where it stands.",
        "Enter the bandwidth in Mbit/s.",
        "Enter a number of connections.",
    ]
    assert send(owner, f"/host/{registry.host.id}", **HOST | {"name": "renamed.example.org"}).status_code == 302
    assert headline(owner.get(f"/host/{registry.host.id}")) == "renamed.example.org"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("country", "XX"),
        ("country", "fr"),
        ("bandwidth_mbps", "12.7"),
        ("bandwidth_mbps", "1e3"),
        ("bandwidth_mbps", "nan"),
        ("bandwidth_mbps", "-5"),
        ("bandwidth_mbps", "0"),
        ("bandwidth_mbps", "99999999999999999999"),
        ("max_connections", "0"),
        ("asn", "5.5"),
        ("asn", "4294967296"),
        ("latitude", "91"),
        ("longitude", "13"),
        ("robot_email", "nobody"),
        ("name", "a\x00b"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(
    owner: FlaskClient, registry: Registry, field: str, value: str
) -> None:
    answer = send(owner, f"/host/{registry.host.id}", **HOST | {field: value})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.get_data(as_text=True)


def test_fields_that_are_not_the_owners_to_set_are_not_read(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    below = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}"
    send(owner, f"{below}/url/new", url="https://m.example.org/second", private="y")
    send(owner, f"/host/{registry.host.id}", **HOST, state="active", always_up_to_date="y", site_id="2")
    session.rollback()
    assert not session.scalars(select(HostCategoryUrl.private).where(HostCategoryUrl.url.endswith("/second"))).one()
    assert fresh(session, registry.host).site_id == registry.site.id
    assert owner.get(below).status_code == 403


def test_owners_switch_off_and_on_with_a_reason_but_not_what_an_administrator_switched_off(
    people: dict[str, FlaskClient], owner: FlaskClient, session: Session, registry: Registry
) -> None:
    path = f"/host/{registry.host.id}/state"
    assert errors(send(owner, path, wanted="off")) == ["Enter a reason."]
    send(owner, path, wanted="off", reason="moving")
    host = fresh(session, registry.host)
    assert (host.state, host.state_reason, host.state_by) == (State.OWNER_DISABLED, "moving", "owner")
    send(owner, path, wanted="on", reason="moved")
    assert fresh(session, host).state is State.ACTIVE
    send(people["super"], path, wanted="off", reason="serves nonsense")
    answer = text(send(owner, path, wanted="on", reason="please"))
    assert "An administrator switched m.example.org off (serves nonsense)" in answer


@pytest.mark.parametrize("kind", ["host", "site"])
def test_a_switch_does_what_its_page_said_and_tells_when_that_is_so_already(
    people: dict[str, FlaskClient], owner: FlaskClient, session: Session, registry: Registry, kind: str
) -> None:
    thing: Host | Site = getattr(registry, kind)
    path = f"/{kind}/{thing.id}/state"
    assert '<input id="wanted" name="wanted" type="hidden" value="off">' in owner.get(path).text
    assert "the form does not say on or off" in text(send(owner, path, reason="moving"))
    assert send(owner, path, wanted="off", reason="moving").status_code == 302
    again = send(people["admin"], path, wanted="off", reason="me too")
    assert (again.status_code, "is switched off already" in text(again)) == (422, True)
    assert 'value="off"' in again.text
    assert send(people["super"], path, wanted="off", reason="serves nonsense").status_code == 302
    assert send(owner, path, wanted="off", reason="then on again").status_code == 422
    assert fresh(session, thing).state is State.ADMIN_DISABLED
    assert '<input id="wanted" name="wanted" type="hidden" value="on">' in owner.get(path).text


def test_a_host_that_the_crawler_switched_off_is_back_with_a_reason(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    with transaction(session):
        hosts.set_state(session, registry.host, State.AUTO_DISABLED, "not reached for long", "crawler")
    page = owner.get(f"/host/{registry.host.id}")
    assert "switched off by the crawler" in text(page)
    assert "not reached for long" in text(page)
    send(owner, f"/host/{registry.host.id}/state", wanted="on", reason="new cable")
    assert fresh(session, registry.host).state is State.ACTIVE


# -- what belongs to a host


@pytest.mark.parametrize(
    ("netblock", "said"),
    [
        ("9.9.0.0/16", None),
        ("9.9.9.9/255.255.255.0", None),
        ("good.example.org", None),
        ("bad.example.org", "has no address"),
        ("not a host!", "neither a network"),
        ("300.1.1.1/24", "neither a network"),
        ("8.0.0.0/8", "must not be larger than /16"),
        ("2a00::/16", "must not be larger than /32"),
        ("10.1.0.0/16", "not used on the Internet"),
        ("203.0.1.0/24", "already"),
        ("203.0.3.128/25", "belongs to m.example.net already"),
    ],
)
def test_a_network_is_checked_and_says_who_has_it(
    owner: FlaskClient, registry: Registry, netblock: str, said: str | None
) -> None:
    answer = send(owner, f"/host/{registry.host.id}/netblock/new", netblock=netblock)
    assert answer.status_code == (422 if said else 302)
    if said:
        assert said in text(answer)


def test_administrators_are_not_held_to_the_limits_of_networks(
    people: dict[str, FlaskClient], registry: Registry
) -> None:
    client = people["super"]
    for netblock in ("8.0.0.0/8", "10.0.0.0/8", "203.0.3.0/24"):
        assert send(client, f"/host/{registry.host.id}/netblock/new", netblock=netblock).status_code == 302


def test_a_network_is_changed_and_removed(owner: FlaskClient, session: Session, registry: Registry) -> None:
    path = f"/host/{registry.host.id}/host_netblock/{registry.ids['netblock_id']}"
    assert send(owner, path, netblock="9.9.9.0/24", name="campus").status_code == 302
    row = fresh(session, session.get_one(HostNetblock, registry.ids["netblock_id"]))
    assert (row.netblock, row.name) == ("9.9.9.0/24", "campus")
    assert "Remove the network 9.9.9.0/24?" in text(owner.get(f"{path}/delete"))
    assert send(owner, f"{path}/delete").location == f"/host/{registry.host.id}"
    assert owner.get(path).status_code == 404


def test_countries_are_real_and_entered_once(owner: FlaskClient, registry: Registry) -> None:
    path = f"/host/{registry.host.id}/country/new"
    assert "is not a country code" in text(send(owner, path, country="UK", kind="allowed"))
    assert send(owner, path, country="us", kind="allowed").status_code == 302
    assert "has US as allowed country already" in text(send(owner, path, country="US", kind="allowed"))


def test_categories_of_administrators_are_not_offered_and_not_taken(
    people: dict[str, FlaskClient], owner: FlaskClient, session: Session, registry: Registry
) -> None:
    path = f"/host/{registry.host.id}/category/new"
    codecs = re.search(r'value="(\d+)">Codecs', people["super"].get(path).get_data(as_text=True))
    assert codecs
    assert "Codecs" not in text(owner.get(path))
    assert send(owner, path, category_id=codecs[1]).status_code == 422
    assert send(owner, path, category_id="nonsense").status_code == 422
    assert send(people["super"], path, category_id=codecs[1], always_up_to_date="y").status_code == 302
    session.rollback()
    added = session.scalars(select(HostCategory).where(HostCategory.category_id == int(codecs[1]))).one()
    assert added.always_up_to_date


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (" HTTPS://M.example.org:443/Pub/ ", None),
        ("rsync://[2a00:1::1]/pub", None),
        ("gopher://m.example.org", "must begin with one of"),
        ("https://m.example.net/linux/", "belongs to m.example.net (Fedora Linux) already"),
        ("https://m.example.org/linux", "belongs to m.example.org (Fedora Linux) already"),
    ],
)
def test_urls_are_normal_and_unique_and_say_who_has_them(
    owner: FlaskClient, session: Session, registry: Registry, url: str, said: str | None
) -> None:
    below = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}"
    answer = send(owner, f"{below}/url/new", url=url)
    assert answer.status_code == (422 if said else 302)
    if said:
        assert said in text(answer)
    else:
        wanted = url.strip().rstrip("/").replace("HTTPS://M.example.org:443", "https://m.example.org")
        assert wanted in session.scalars(select(HostCategoryUrl.url)).all()


def test_a_url_whose_name_has_no_address_or_stands_elsewhere_gets_a_hint(
    owner: FlaskClient, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}/url/new"
    made = probes.make

    def in_france(*arguments: Any, **named: Any) -> Probes:
        return replace(made(*arguments, **named), country=lambda address: "FR" if address == "192.0.2.1" else "")

    monkeypatch.setattr(probes, "make", in_france)
    assert send(owner, path, url="https://good.example.org/pub").status_code == 302
    page = text(owner.get(f"/host/{registry.host.id}"))
    assert "Please look again: m.example.org has no address." in page
    assert "Please look again: registered in DE, its addresses are in FR." in page


def test_who_has_a_url_is_not_told_of_what_others_keep_private(
    people: dict[str, FlaskClient], session: Session, registry: Registry
) -> None:
    path = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}/url/new"
    other = session.get_one(Host, registry.others["host_id"])
    with transaction(session):
        other.private = True
    taken = "https://m.example.net/linux"
    refused = text(send(people["owner"], path, url=taken))
    assert "belongs to a mirror of another site already" in refused and other.name not in refused.replace(taken, "")
    assert "belongs to m.example.net (Fedora Linux) already" in text(send(people["super"], path, url=taken))


def test_owners_take_no_url_from_a_host_that_an_administrator_switched_off(
    people: dict[str, FlaskClient], session: Session, registry: Registry
) -> None:
    """On another host of theirs it would be on."""
    below = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}"
    url = f"{below}/url/{registry.ids['url_id']}"
    with transaction(session):
        hosts.set_state(session, session.get_one(Host, registry.host.id), State.ADMIN_DISABLED, "abuse", "ada")
    for path, form in (
        (url, {"url": "https://m2.example.org/"}),
        (f"{url}/delete", {}),
        (f"{below}/delete", {}),
    ):
        refused = send(people["owner"], path, **form)
        assert (refused.status_code, "ask them to change that" in text(refused)) == (422, True)
    assert send(people["super"], f"{url}/delete").status_code == 302


def test_owners_name_no_machines_of_our_own_network_unless_the_settings_let_them(
    people: dict[str, FlaskClient], stage: Stage, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}/url/new"
    refused = send(people["owner"], path, url="http://169.254.169.254/latest")
    assert (refused.status_code, "is not on the Internet" in text(refused)) == (422, True)
    assert send(people["super"], path, url="http://10.0.0.1/pub").status_code == 302
    with stage.app.app_context():
        asked = crawler().model_copy(update={"private_mirrors": True})
    monkeypatch.setattr("mm_frontend.operators.details.crawler", lambda: asked)
    assert send(people["owner"], path, url="http://10.0.0.2/pub").status_code == 302


def test_a_url_is_changed_and_what_was_found_out_about_the_old_one_forgotten(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    path = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}/url/{registry.ids['url_id']}"
    with transaction(session):
        session.get_one(HostCategoryUrl, registry.ids["url_id"]).problem = "404"
    assert send(owner, path, url="https://m.example.org/moved").status_code == 302
    row = fresh(session, session.get_one(HostCategoryUrl, registry.ids["url_id"]))
    assert (row.url, row.problem) == ("https://m.example.org/moved", "")


def test_maintenance_is_announced_shown_and_called_off(owner: FlaskClient, registry: Registry) -> None:
    path = f"/host/{registry.host.id}/maintenance"
    window = {"starts_at": "2026-01-01T10:00", "ends_at": "2026-01-01T09:00"}
    assert "later than the start" in text(send(owner, f"{path}/new", **window))
    assert "in the future" in text(send(owner, f"{path}/new", **window | {"ends_at": "2026-01-02T09:00"}))
    until = f"{NOW + timedelta(days=1):%Y-%m-%dT%H:%M}"
    assert send(owner, f"{path}/new", starts_at="2026-01-01T10:00", ends_at=until, reason="disks").status_code == 422
    start = f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M}"
    assert send(owner, f"{path}/new", starts_at=start, ends_at=until, reason="disks").status_code == 302
    assert "Maintenance until" in text(owner.get(f"/host/{registry.host.id}"))
    assert send(owner, f"{path}/{registry.ids['maintenance_id']}/delete").status_code == 302


# -- deletion


def test_deletion_asks_says_what_goes_with_it_and_is_undone(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    page = text(owner.get(f"/site/{registry.site.id}/drop"))
    assert "Remove the site Example University?" in page
    assert "hosts: 1" in page
    assert "URLs: 1" in page
    assert send(owner, f"/site/{registry.site.id}/drop").location == "/deleted"
    assert owner.get(f"/site/{registry.site.id}").status_code == 404
    assert owner.get(f"/host/{registry.host.id}").status_code == 404
    assert "Example University" in text(owner.get("/deleted"))
    assert send(owner, f"/deleted/site/{registry.site.id}/restore").location == f"/site/{registry.site.id}"
    assert owner.get(f"/host/{registry.host.id}").status_code == 200


def restore_links(page: str) -> list[str]:
    return re.findall(r'action="(/deleted/part/\d+/restore)"', page)


def test_what_is_removed_from_a_host_is_listed_and_comes_back_once(
    people: dict[str, FlaskClient], owner: FlaskClient, session: Session, registry: Registry
) -> None:
    carried = f"/host/{registry.host.id}/category/{registry.ids['carried_id']}"
    assert send(owner, f"{carried}/delete").status_code == 302
    page = owner.get("/deleted").get_data(as_text=True)
    link = restore_links(page)[0]
    assert "the category Fedora Linux" in page
    assert "with 1 URL" in page
    assert owner.post(link).status_code == 400, "without its token nothing changes"
    assert send(owner, link).location == f"/host/{registry.host.id}"
    assert "https://m.example.org/linux" in text(owner.get(f"/host/{registry.host.id}"))
    assert link not in restore_links(owner.get("/deleted").get_data(as_text=True))
    assert send(owner, link).status_code == 404
    assert "bring back host category" in text(people["viewer"].get(f"/site/{registry.site.id}/events"))


def test_why_something_does_not_come_back_is_said_in_words(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    with transaction(session):
        wide = hosts.add_netblock(session, registry.host, "198.0.0.0/8")
    assert send(owner, f"/host/{registry.host.id}/host_netblock/{wide.id}/delete").status_code == 302
    link = restore_links(owner.get("/deleted").get_data(as_text=True))[0]
    assert send(owner, link).location == "/deleted"
    page = text(owner.get("/deleted"))
    assert "must not be larger than /16" in page
    assert link in owner.get("/deleted").get_data(as_text=True)


def test_peers_and_owners_are_offered_to_those_who_make_them(
    people: dict[str, FlaskClient], owner: FlaskClient, session: Session, registry: Registry
) -> None:
    send(people["super"], f"/host/{registry.host.id}/host_asn/{registry.ids['asn_id']}/delete")
    listed = {name: people[name].get("/deleted").get_data(as_text=True) for name in ("viewer", "owner", "super")}
    assert all("AS64500" in page for page in listed.values())
    newest = max(restore_links(listed["super"]), key=lambda link: int(link.split("/")[3]))
    assert newest not in listed["owner"] and restore_links(listed["viewer"]) == []
    refused = send(owner, newest)
    assert (refused.status_code, refused.location) == (302, "/deleted")
    assert "Peers are entered by administrators." in text(owner.get("/deleted"))
    assert "AS64500" not in text(people["stranger"].get("/deleted"))
    assert send(people["super"], newest).location == f"/host/{registry.host.id}"


def test_addresses_and_countries_of_a_host_are_changed(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    host, ids = f"/host/{registry.host.id}", registry.ids
    address, country = f"{host}/host_acl_ip/{ids['acl_id']}", f"{host}/host_country/{ids['country_id']}"
    page = owner.get(host).get_data(as_text=True)
    assert f'href="{address}"' in page and f'href="{country}"' in page
    assert 'value="192.0.2.7"' in owner.get(address).get_data(as_text=True)
    form = owner.get(country).get_data(as_text=True)
    assert 'value="FR"' in form and re.search(r'<option selected value="allowed"', form)
    assert send(owner, address, address="192.0.2.0/33").status_code == 422
    assert send(owner, address, address="rsync.example.org").location == host
    assert send(owner, country, country="xx", kind="extra").status_code == 422
    assert send(owner, country, country="be", kind="extra").location == host
    page = text(owner.get(host))
    assert "rsync.example.org" in page and "192.0.2.7" not in page
    assert "(BE): it counts as a mirror of this country, too" in page


# -- who changed what


def test_changes_are_recorded_with_who_from_where_before_and_after(
    people: dict[str, FlaskClient], owner: FlaskClient, session: Session, registry: Registry
) -> None:
    send(owner, f"/host/{registry.host.id}", **HOST | {"bandwidth_mbps": "2500"})
    event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert event is not None
    assert (event.actor, event.address, event.action) == ("owner", "127.0.0.1", "change host")
    assert (event.before, event.after) == ({"bandwidth_mbps": 1000}, {"bandwidth_mbps": 2500})
    for client in (owner, people["viewer"]):
        assert "2500" in text(client.get(f"/site/{registry.site.id}/events"))
    assert "2500" in text(people["auditor"].get("/events?actor=OWNER&action=host&since=2026-01-01"))
    assert "2500" not in text(people["auditor"].get("/events?actor=viewer"))


def test_changes_are_exported_as_csv_and_json(owner: FlaskClient, registry: Registry) -> None:
    send(owner, f"/host/{registry.host.id}", **HOST | {"comment": "=1+1"})
    page = f"/site/{registry.site.id}/events"
    rows = owner.get(f"{page}?format=csv")
    assert rows.mimetype == "text/csv"
    assert rows.get_data(as_text=True).splitlines()[0].startswith("id,at,actor,address,site,action")
    events = owner.get(f"{page}?format=json").get_json()
    assert events[0]["after"] == {"comment": "=1+1"}


@pytest.mark.parametrize("name", ["actor", "action", "text"])
def test_events_are_not_looked_for_by_control_characters(
    people: dict[str, FlaskClient], owner: FlaskClient, registry: Registry, name: str
) -> None:
    assert people["auditor"].get("/events", query_string={name: "a\0b"}).status_code == 400
    assert owner.get(f"/site/{registry.site.id}/events", query_string={name: "a\0b"}).status_code == 400


# -- how it is doing


def test_a_check_is_queued_once_and_shows_how_far_it_is(owner: FlaskClient, registry: Registry) -> None:
    path = f"/host/{registry.host.id}/check"
    assert send(owner, path).location == f"/host/{registry.host.id}/checks"
    page = owner.get(f"/host/{registry.host.id}/checks?follow=1")
    assert "waiting" in text(page)
    assert page.headers["Refresh"] == "5"
    send(owner, path)
    assert owner.get(f"/host/{registry.host.id}/checks").get_data(as_text=True).count(">waiting<") == 1


def test_badges_are_for_everybody_of_public_hosts_alone(
    people: dict[str, FlaskClient], session: Session, registry: Registry
) -> None:
    client = people["anonymous"]
    picture, data = (
        client.get(f"/host/{registry.host.id}/badge.svg"),
        client.get(f"/host/{registry.host.id}/badge.json"),
    )
    assert picture.mimetype == "image/svg+xml"
    assert picture.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert data.get_json() == {"schemaVersion": 1, "label": "mirror", "message": "0 % in sync", "color": "#a1242b"}
    with transaction(session):
        session.get_one(Host, registry.host.id).private = True
    assert client.get(f"/host/{registry.host.id}/badge.svg").status_code == 404


def test_what_it_is_asked_names_the_crawler_and_the_addresses(owner: FlaskClient, registry: Registry) -> None:
    page = text(owner.get(f"/host/{registry.host.id}/asked"))
    assert "mirrormanager-crawler" in page
    assert "https://m.example.org/linux" in page


def test_the_page_says_when_and_why_a_host_is_asked_for_nothing(
    owner: FlaskClient, session: Session, registry: Registry
) -> None:
    def asked() -> str:
        return text(owner.get(f"/host/{registry.host.id}/asked"))

    assert "It begins with the cheapest way" in asked()
    host = session.get_one(Host, registry.host.id)
    with transaction(session):
        host.site.private = True
    assert "Nothing: the site is private, and reports what it has." in asked()
    with transaction(session):
        host.crawl_private = True
    assert "It begins with the cheapest way" in asked()
    with transaction(session):
        session.get_one(Maintenance, registry.ids["maintenance_id"]).starts_at = NOW - timedelta(days=1)
    assert "Nothing: it is under maintenance until" in asked()
    with transaction(session):
        hosts.set_state(session, host, State.ADMIN_DISABLED, "serves nonsense", "super")
    assert "Nothing: an administrator switched the host off (serves nonsense)." in asked()
    with transaction(session):
        hosts.set_state(session, host.site, State.OWNER_DISABLED, "moving", "owner")
    assert "Nothing: the site Example University is switched off (moving)." in asked()


def test_what_one_may_not_do_is_not_offered(
    people: dict[str, FlaskClient], session: Session, registry: Registry
) -> None:
    with transaction(session):
        viewer = session.scalars(select(User).where(User.name == "viewer")).one()
        empty = Site(name="Empty Site")
        session.add(empty)
        session.flush()
        session.add(SiteMember(site_id=empty.id, user_id=viewer.id, role=MemberRole.VIEWER))
    for name, path, offered in (
        ("viewer", "/site/mine", False),
        ("auditor", "/admin/all_sites", False),
        ("super", "/admin/all_sites", True),
    ):
        page = text(people[name].get(path))
        assert ("Empty Site" in page, "Add a host to Empty Site" in page) == (True, offered), name
    for name, offered in (("viewer", 0), ("auditor", 0), ("admin", 2), ("owner", 3), ("super", 6)):
        page = text(people[name].get("/deleted"))
        assert "gone.m.example.org" in page
        assert page.count("Bring back") == offered, name


def test_the_page_of_logs_says_who_sees_them(owner: FlaskClient, registry: Registry) -> None:
    page = text(owner.get(f"/host/{registry.host.id}/logs"))
    assert "only the site's members, auditors and administrators see it" in page


def test_pages_of_a_host_need_few_queries(
    owner: FlaskClient, engine: Engine, session: Session, registry: Registry
) -> None:
    with transaction(session):
        for number in range(30):
            category = make.category(session, f"Category {number}", f"top{number}")
            make.carries(session, session.get_one(Host, registry.host.id), category)
    for path in (f"/host/{registry.host.id}", f"/site/{registry.site.id}", "/site/mine"):
        with counting_queries(engine) as statements:
            assert owner.get(path).status_code == 200
        assert len(statements) < 30, path
