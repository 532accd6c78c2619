"""Public data for programs: what it says, that it says nothing private, and that its readers understand it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema_rs import Draft202012Validator, meta
from lxml import etree
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_frontend.data import documents
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.base import State
from mm_lib.model.content import Category, Directory, Repository, Version
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.state import (
    CrawlResult,
    CrawlRun,
    CrawlTier,
    Health,
    HealthChange,
    RepositoryMirrorState,
    RunKind,
)
from mm_lib.services import audit, hosts, outbox
from mm_lib.services.outbox import Kind
from mm_lib.settings import DatabaseSettings
from tests import factories
from tests.conftest import TEMPLATE
from tests.frontend import world
from tests.frontend.world import counting_queries
from tests.postgres import Postgres

CHECKED = factories.NOW + timedelta(hours=2)
PUBLIC_URL = "https://mirrors.example.org/mm"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The registry of the reference's tests, with what crawls found; made once, for the tests only look."""
    path = tmp_path_factory.mktemp("data") / "registry.sqlite"
    url = f"sqlite:///{path}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(server.create(TEMPLATE))
    else:
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
    made = make_engine(DatabaseSettings(url=url))
    with make_sessions(made)() as session:
        world.build(session)
        with transaction(session):
            fill(session)
    yield made
    made.dispose()


def fill(session: Session) -> None:
    """us.example.org is current for 26 and two hours behind for 27; others were seen by their directories only."""
    linux = session.scalars(select(Category).where(Category.name == "Fedora Linux")).one()
    releases = session.scalars(select(Directory).where(Directory.path == f"{linux.topdir}/releases")).one()
    repositories = {row.version.name: row for row in session.scalars(select(Repository).join(Version))}
    for name in ("26", "27"):
        repositories[name].directory = releases
    factories.file_detail(session, releases, 1, name="Fedora-27.iso")
    us = carried(session, "us.example.org")
    us.host.latitude, us.host.longitude, us.host.has_ipv6 = 40.5, -75.25, True
    session.add_all(
        [
            RepositoryMirrorState(
                host_category_id=us.id,
                repository_id=repositories["26"].id,
                verdict="ok",
                lag_seconds=0,
                checked_at=CHECKED,
            ),
            RepositoryMirrorState(
                host_category_id=us.id,
                repository_id=repositories["27"].id,
                verdict="alternate",
                lag_seconds=7200,
                checked_at=CHECKED,
            ),
        ]
    )
    run = CrawlRun(kind=RunKind.MIRRORS, started_at=CHECKED)
    session.add(run)
    session.flush()
    now = datetime.now(UTC)
    for outcome, seconds in (("asked", 10.0), ("asked", 30.0), ("unreachable", 20.0), ("asked", 20.0)):
        session.add(
            CrawlResult(
                run_id=run.id,
                host_category_id=us.id,
                tier=CrawlTier.FULL,
                started_at=now - timedelta(hours=1),
                seconds=seconds,
                requests=100,
                outcome=outcome,
            )
        )
    changes(session, us)


def changes(session: Session, us: HostCategory) -> None:
    """A public mirror comes and goes in every way that there is; private ones do, too."""
    secret = "because of https://secret.example.org/ <b>"
    for of in (us, carried(session, "nl.example.org"), carried(session, "hr.example.org")):
        session.add(HealthChange(host_category_id=of.id, at=CHECKED, health=Health.QUARANTINED, reason=secret))
        outbox.emit(
            session, Kind.DISABLED, {}, site_id=of.host.site_id, host_id=of.host_id, at=CHECKED + timedelta(hours=1)
        )
    codecs = session.scalars(select(HostCategory).join(Category).where(Category.name == "Fedora Codecs")).first()
    assert codecs
    session.add(HealthChange(host_category_id=codecs.id, at=CHECKED, health=Health.SUSPECT, reason=secret))
    audit.sign(session, audit.Actor("ada"))
    hosts.set_state(session, us.host, State.OWNER_DISABLED, secret, "ada")
    session.flush()
    hosts.set_state(session, us.host, State.ACTIVE, "", "ada")
    session.flush()


def carried(session: Session, name: str) -> HostCategory:
    query = select(HostCategory).join(Host).join(Category).where(Host.name == name, Category.name == "Fedora Linux")
    return session.scalars(query).one()


@pytest.fixture(scope="module")
def app(engine: Engine) -> Flask:
    return create_app(world.settings(cache_seconds=60, public_url=PUBLIC_URL), engine)


@pytest.fixture(scope="module")
def fresh(engine: Engine) -> FlaskClient:
    """Of an application that keeps nothing."""
    return create_app(world.settings(cache_seconds=0), engine).test_client()


@pytest.fixture(scope="module")
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def mirrors(client: FlaskClient, question: str = "") -> dict[str, Any]:
    return {mirror["name"]: mirror for mirror in client.get(f"/mirrors.json{question}").get_json()["mirrors"]}


def linux(mirror: dict[str, Any]) -> dict[str, Any]:
    return next(category for category in mirror["categories"] if category["name"] == "Fedora Linux")


def schema(client: FlaskClient, name: str) -> Draft202012Validator:
    served = client.get(f"/schemas/{name}.json")
    assert served.content_type == "application/schema+json"
    assert served.get_json() == json.loads(Path(f"docs/schemas/{name}.schema.json").read_text())
    meta.validate(served.get_json())
    return Draft202012Validator(served.get_json(), validate_formats=True)


@pytest.mark.parametrize("name", ["mirrors", "status"])
def test_documents_follow_their_published_schema(client: FlaskClient, name: str) -> None:
    schema(client, name).validate(client.get(f"/{name}.json").get_json())


@pytest.mark.parametrize("name", ["mirrors", "status"])
def test_schemas_refuse_members_of_a_wrong_kind(client: FlaskClient, name: str) -> None:
    text = client.get(f"/{name}.json").get_data(as_text=True)
    assert not schema(client, name).is_valid(json.loads(text.replace('"https', '"gopher')))
    assert not schema(client, name).is_valid(json.loads(text.replace('"version"', '"revision"')))


def test_mirrors_are_those_of_the_public_pages(client: FlaskClient) -> None:
    found = mirrors(client)
    assert len(found) == 26
    assert {"us.example.org", "fr.example.org"} <= found.keys()


@pytest.mark.parametrize("path", ["/mirrors.json", "/status.json", "/urls.txt", "/servers.txt", "/feed.atom"])
def test_nothing_private_is_told(client: FlaskClient, path: str) -> None:
    text = client.get(path).get_data(as_text=True)
    assert "us.example.org" in text
    for private in ("secret", "nl.example.org", "hr.example.org", "codecs", "Codecs", "disabled.example.org"):
        assert private not in text


def test_a_mirror_has_its_place_protocols_and_state(client: FlaskClient) -> None:
    found = mirrors(client)["us.example.org"]
    assert (found["country"], found["latitude"], found["longitude"], found["ipv6"]) == ("US", 40.5, -75.25, True)
    assert found["page"] == f"{PUBLIC_URL}/mirror/{found['id']}"
    assert linux(found)["urls"] == ["https://us.example.org/linux/"]
    assert linux(found)["protocols"] == ["https"]


def test_state_is_told_per_version_and_arch(client: FlaskClient) -> None:
    states = {(each["version"], each["arch"]): each for each in linux(mirrors(client)["us.example.org"])["versions"]}
    assert states.keys() == {("26", "x86_64"), ("27", "x86_64")}
    assert (states["26", "x86_64"]["state"], states["26", "x86_64"]["delay_seconds"]) == ("current", 0)
    behind = states["27", "x86_64"]
    assert (behind["state"], behind["delay_seconds"], behind["current"]) == ("behind", 7200, 0)
    assert (behind["checked_at"], behind["last_sync"]) == ("2026-11-20T14:00:00Z", "2026-11-20T12:00:00Z")


def test_a_category_is_as_late_as_the_latest_of_its_repositories(client: FlaskClient) -> None:
    found = linux(mirrors(client)["us.example.org"])
    assert (found["delay_seconds"], found["last_sync"]) == (7200, "2026-11-20T12:00:00Z")


def test_without_crawls_of_repositories_their_directories_say_whether_they_are_current(client: FlaskClient) -> None:
    found = linux(mirrors(client)["fr.example.org"])
    assert {each["state"] for each in found["versions"]} == {"current"}
    assert found["checked_at"] == found["last_sync"] == "2026-11-20T12:00:00Z"


def test_masters_are_current_at_any_moment(client: FlaskClient) -> None:
    document = client.get("/mirrors.json").get_json()
    us = next(mirror for mirror in document["mirrors"] if mirror["name"] == "us.example.org")
    epel = next(category for category in us["categories"] if category["name"] == "Fedora EPEL")
    assert epel["always_up_to_date"]
    assert (epel["last_sync"], epel["delay_seconds"]) == (document["as_of"], 0)


def test_a_part_can_be_asked_for(client: FlaskClient) -> None:
    assert mirrors(client, "?category=Fedora+EPEL").keys() == {"us.example.org"}
    assert mirrors(client, "?country=fr").keys() == {"fr.example.org"}
    assert not mirrors(client, "?protocol=rsync")
    both = client.get("/urls.txt?category=Fedora+EPEL,Fedora+Linux&country=US").get_data(as_text=True)
    assert both == "https://us.example.org/epel/\nhttps://us.example.org/linux/\n"


@pytest.mark.parametrize("question", ["category=Fedora+Codecs", "category=Nothing", "protocol=gopher", "country=UK"])
def test_a_name_that_is_not_known_is_refused_instead_of_matching_nothing(client: FlaskClient, question: str) -> None:
    answer = client.get(f"/urls.txt?{question}", headers={"Accept": "application/json"})
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_a_firewall_gets_every_address_and_every_server_once(client: FlaskClient) -> None:
    urls = client.get("/urls.txt").get_data(as_text=True).splitlines()
    assert urls == sorted(set(urls))
    assert len(urls) == 27
    assert all(url.endswith("/") for url in urls)
    servers = client.get("/servers.txt?protocol=https").get_data(as_text=True).splitlines()
    assert servers == ["fr.example.org", "us.example.org"]


def test_answers_may_be_kept_and_asked_for_again(client: FlaskClient) -> None:
    for path in ("/mirrors.json", "/status.json", "/urls.txt", "/servers.txt", "/feed.atom"):
        first = client.get(path)
        assert first.headers["Cache-Control"] == "public, max-age=60"
        assert first.headers["Access-Control-Allow-Origin"] == "*"
        assert "Cookie" not in first.headers.get("Vary", "")
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


def test_documents_stay_the_same_while_nothing_happens(fresh: FlaskClient) -> None:
    paths = ("/mirrors.json", "/status.json", "/feed.atom")
    once, later = ([fresh.get(path).data for path in paths] for _ in range(2))
    assert once == later


def test_the_database_is_asked_once_for_many_readers(client: FlaskClient, fresh: FlaskClient, engine: Engine) -> None:
    with counting_queries(engine) as first:
        fresh.get("/mirrors.json")
    assert len(first) < 20
    client.get("/mirrors.json")
    with counting_queries(engine) as others:
        for _ in range(5):
            client.get("/mirrors.json")
            client.get("/urls.txt")
    assert not others


# -- Arch Linux's tools, by what they read of the document


def reflector(
    status: dict[str, Any], *, completion: float = 1.0, age: float = 0, delay: float | None = None
) -> list[str]:
    """The URLs that reflector chooses, best score first: what it reads, and how, is all that this does."""
    time.strptime(status["last_check"], "%Y-%m-%dT%H:%M:%SZ")
    chosen = []
    for mirror in status["urls"]:
        if not mirror["last_sync"]:
            continue
        synced = datetime.strptime(mirror["last_sync"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert mirror["country"].upper() or not mirror["country_code"].upper()
        assert all(isinstance(mirror[name], bool) for name in ("isos", "ipv4", "ipv6", "active"))
        if mirror["completion_pct"] < completion or (age and synced + timedelta(hours=age) < CHECKED):
            continue
        if delay is not None and mirror["delay"] > delay * 3600:
            continue
        assert isinstance(mirror["score"], float)
        chosen.append(mirror)
    return [mirror["url"] for mirror in sorted(chosen, key=lambda mirror: mirror["score"])]


def rate_mirrors(status: dict[str, Any], completion: float, most: int) -> list[str]:
    """The URLs that rate-mirrors measures: typed as its structure is."""
    found = []
    for mirror in status["urls"]:
        assert isinstance(mirror["protocol"], str)
        assert isinstance(mirror["country_code"], str)
        assert mirror["score"] is None or isinstance(mirror["score"], float)
        share, delay = mirror["completion_pct"], mirror["delay"]
        assert share is None or isinstance(share, float)
        assert delay is None or isinstance(delay, int)
        if share is not None and delay is not None and share >= completion and delay <= most:
            found.append(mirror["url"])
    return found


def test_reflector_finds_the_mirrors_that_are_current(client: FlaskClient) -> None:
    status = client.get("/status.json?category=Fedora+Linux").get_json()
    us = "https://us.example.org/linux/"
    assert us not in reflector(status)  # one of its four crawls was not answered
    assert us in reflector(status, completion=0.75)
    assert us not in reflector(status, completion=0.75, delay=1.0)
    assert us in reflector(status, completion=0.75, delay=2.0)
    assert us not in reflector(status, completion=0.75, age=1.0)
    assert "https://fr.example.org/linux/" in reflector(status, delay=0.0)


def test_reflector_takes_the_best_score_first(client: FlaskClient) -> None:
    ranked = reflector(client.get("/status.json?category=Fedora+Linux").get_json(), completion=0.5)
    assert ranked[-1] == "https://us.example.org/linux/"


def test_rate_mirrors_leaves_out_those_that_are_late(client: FlaskClient) -> None:
    status = client.get("/status.json?category=Fedora+Linux").get_json()
    assert len(rate_mirrors(status, 1.0, 86400)) == 25
    assert len(rate_mirrors(status, 0.5, 86400)) == 26
    assert len(rate_mirrors(status, 0.5, 3600)) == 25


def test_figures_of_checks_are_as_arch_linux_counts_them(client: FlaskClient) -> None:
    status = client.get("/status.json?category=Fedora+Linux").get_json()
    us = next(mirror for mirror in status["urls"] if mirror["url"].startswith("https://us."))
    assert us["completion_pct"] == 0.75
    assert us["duration_avg"] == pytest.approx(0.2)
    assert us["duration_stddev"] == pytest.approx(0.0707, abs=0.0001)
    assert us["score"] == pytest.approx((2 + 0.2 + 0.0707) / 0.75, abs=0.001)
    assert (us["country"], us["country_code"], us["isos"], us["ipv6"]) == ("United States", "US", True, True)
    assert (status["cutoff"], status["num_checks"], status["version"]) == (86400, 4, 3)


# -- feeds

ATOM = "{http://www.w3.org/2005/Atom}"


def feed(client: FlaskClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.content_type == "application/atom+xml; charset=utf-8"
    return etree.fromstring(answer.data)


def us_site(client: FlaskClient, engine: Engine) -> int:
    with make_sessions(engine)() as session:
        return carried(session, "us.example.org").host.site_id


@pytest.mark.parametrize("which", ["all", "site"])
def test_feeds_have_what_rfc_4287_requires(client: FlaskClient, engine: Engine, which: str) -> None:
    path = "/feed.atom" if which == "all" else f"/site/{us_site(client, engine)}/feed.atom"
    root = feed(client, path)
    assert root.tag == f"{ATOM}feed"
    entries = root.findall(f"{ATOM}entry")
    assert len(entries) == 4
    for element in (root, *entries):
        for required in ("id", "title", "updated"):
            found = element.findall(f"{ATOM}{required}")
            assert len(found) == 1 and found[0].text
        assert re.match(r"(https?://|urn:uuid:)", element.findtext(f"{ATOM}id"))
        datetime.fromisoformat(element.findtext(f"{ATOM}updated"))
    assert root.findtext(f"{ATOM}author/{ATOM}name")
    assert [link.get("href") for link in root.findall(f"{ATOM}link[@rel='self']")] == [PUBLIC_URL + path]
    assert all(entry.findall(f"{ATOM}link[@rel='alternate']") for entry in entries)
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == len(entries)
    times = [entry.findtext(f"{ATOM}updated") for entry in entries]
    assert times == sorted(times, reverse=True)
    assert root.findtext(f"{ATOM}updated") == times[0]


def test_feeds_tell_every_way_in_which_a_mirror_comes_and_goes(client: FlaskClient) -> None:
    titles = {entry.findtext(f"{ATOM}title") for entry in feed(client, "/feed.atom").findall(f"{ATOM}entry")}
    assert titles == {
        "us.example.org (Fedora Linux) is not served, for it could not be reached",
        "us.example.org was switched off, for it could not be reached for long",
        "us.example.org was switched off by its owner",
        "us.example.org was switched on",
    }


def test_ids_of_entries_do_not_change_with_names(fresh: FlaskClient, engine: Engine) -> None:
    def ids() -> list[str]:
        return [entry.findtext(f"{ATOM}id") for entry in feed(fresh, "/feed.atom").findall(f"{ATOM}entry")]

    before = ids()
    with make_sessions(engine)() as session:
        host = carried(session, "us.example.org").host
        host.name = "renamed.example.org"
        session.flush()
        session.commit()
        assert ids() == before
        host.name = "us.example.org"
        session.commit()


def test_only_public_sites_have_a_feed(client: FlaskClient, engine: Engine) -> None:
    with make_sessions(engine)() as session:
        private = carried(session, "hr.example.org").host.site_id
    assert client.get(f"/site/{private}/feed.atom").status_code == 404
    assert client.get("/site/999999/feed.atom").status_code == 404


def test_a_site_that_has_private_mirrors_alone_is_not_named(client: FlaskClient, engine: Engine) -> None:
    with make_sessions(engine)() as session:
        host = factories.host(session, "inside.example.com", private=True)
        session.commit()
        site = host.site_id
    assert client.get(f"/site/{site}/feed.atom").status_code == 404


def test_arguments_that_say_nothing_make_no_new_document(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    client, made = create_app(world.settings(cache_seconds=60), engine).test_client(), []
    monkeypatch.setattr(documents, "urls", lambda _snapshot: made.append(1) or [])
    for question in ("?", "?x=1", "?x=2&protocol=", "?category="):
        assert client.get(f"/urls.txt{question}").status_code == 200
    assert len(made) == 1


def test_a_feed_without_changes_is_a_feed(client: FlaskClient, engine: Engine) -> None:
    with make_sessions(engine)() as session:
        quiet = carried(session, "fr.example.org").host.site_id
    root = feed(client, f"/site/{quiet}/feed.atom")
    assert root.findtext(f"{ATOM}updated")
    assert not root.findall(f"{ATOM}entry")


def test_readers_of_feeds_find_the_feed_from_the_list_of_mirrors(client: FlaskClient) -> None:
    page = etree.HTML(client.get("/mirrors").data)
    assert page.xpath("//link[@type='application/atom+xml']/@href") == ["/feed.atom"]
