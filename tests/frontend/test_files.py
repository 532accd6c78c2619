"""What programs fetch: rsyncFilter, JSON and text twins, robots.txt, security.txt; and how long answers may be kept."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_frontend.public.kept import Kept, Pages
from mm_frontend.public.rsync_filter import read_filter_request, rules
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.hosts import Host
from mm_lib.model.state import HostCategoryState
from mm_lib.settings import BrandSettings, DatabaseSettings, Settings, SettingsError, load
from tests import factories
from tests.frontend.world import SETTINGS, build, counting_queries, links, settings, sign_in

TOP = "pub/fedora/linux"


@pytest.fixture(scope="module")
def seen(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A browser on a registry that is made once: the tests that use it only look."""
    path = tmp_path_factory.mktemp("files") / "registry.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    made = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(made)() as session:
        build(session)
    yield create_app(settings(cache_seconds=60), made).test_client()
    made.dispose()


def branded(**values: Any) -> Settings:
    return SETTINGS.model_copy(update={"brand": BrandSettings.model_validate(values)})


# --- rsyncFilter


@pytest.fixture
def changed(session: Session) -> None:
    """The master's tree: of two directories that changed, one lies below the other's neighbour."""
    category = factories.category(session)
    epel = factories.category(session, "Fedora EPEL", "pub/epel")
    secret = factories.category(session, "Secret", "secret")
    secret.public = False
    for of, below, mtime in (
        (category, "releases/44", 200),
        (category, "old", 50),
        (epel, "9", 200),
        (secret, "x", 200),
    ):
        factories.directory(session, of, below).mtime = mtime
    session.commit()


@pytest.mark.usefixtures("changed")
@pytest.mark.parametrize("path", ["/rsyncFilter", "/rsyncFilter/"])
def test_the_filter_includes_what_changed_with_its_parents_and_excludes_all_else(
    client: FlaskClient, path: str
) -> None:
    answer = client.get(f"{path}?categories=fedora LINUX&since=100&stripprefix=pub/fedora")
    assert answer.mimetype == "text/plain"
    assert answer.text.splitlines() == [
        "+ linux/",
        "+ linux/releases/",
        "+ linux/releases/44/",
        "+ linux/releases/44/*",
        "- *",
    ]


@pytest.mark.usefixtures("changed")
def test_the_filter_leaves_out_trees_that_are_not_below_the_prefix(client: FlaskClient) -> None:
    answer = client.get("/rsyncFilter?categories=Fedora Linux,Fedora EPEL&since=100&stripprefix=/pub/epel/")
    assert answer.text.splitlines() == ["+ 9/", "+ 9/*", "- *"]


@pytest.mark.usefixtures("changed")
def test_the_filter_names_nothing_of_categories_that_are_not_public(client: FlaskClient) -> None:
    assert client.get("/rsyncFilter?categories=Secret&since=0&stripprefix=").text == "- *\n"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", "categories is missing"),
        ("categories=Fedora Linux&stripprefix=pub", "since is missing"),
        ("categories=Fedora Linux&since=0", "stripprefix is missing"),
        ("categories=,&since=0&stripprefix=pub", "categories names no category"),
        ("categories=Fedora Linux&since=yesterday&stripprefix=pub", "since is no time"),
        ("categories=Fedora Linux&since=1.5&stripprefix=pub", "since is no time"),
        (f"categories=Fedora Linux&since={'9' * 40}&stripprefix=pub", "since is no time"),
        ("categories=Fedora Linux&since=²&stripprefix=pub", "since is no time"),
    ],
)
def test_a_mistake_transfers_nothing_and_is_named_in_a_comment(seen: FlaskClient, query: str, problem: str) -> None:
    answer = seen.get(f"/rsyncFilter?{query}")
    comment, rule = answer.text.splitlines()
    assert answer.status_code == 200
    assert comment.startswith(f"# {problem}")
    assert rule == "- *"


def test_a_directory_that_is_the_prefix_becomes_the_root_of_the_transfer() -> None:
    assert rules(["pub/fedora"], "pub/fedora") == ["+ /", "+ /*", "- *"]


def test_rsync_fetches_with_the_rules_what_changed_and_nothing_else(tmp_path: Path) -> None:
    master, mirror = tmp_path / "master", tmp_path / "mirror"
    changed = ["linux/new", "linux/new/deep[1]", "linux/a"]
    for name in (*changed, "linux/old", "linux/a/same", "other/new"):
        (master / name).mkdir(parents=True, exist_ok=True)
        (master / name / "file").write_text(name)
    (tmp_path / "rules").write_text("".join(f"{rule}\n" for rule in rules([f"pub/{one}" for one in changed], "pub")))
    command = ["rsync", "-r", f"--filter=merge {tmp_path / 'rules'}", f"{master}/", f"{mirror}/"]
    subprocess.run(command, check=True, timeout=20)
    fetched = sorted(str(path.parent.relative_to(mirror)) for path in mirror.rglob("file"))
    assert fetched == sorted(changed)


def test_an_empty_prefix_strips_nothing() -> None:
    assert rules(["a/b"], "") == ["+ a/", "+ a/b/", "+ a/b/*", "- *"]


def test_a_prefix_is_whole_names_of_directories() -> None:
    assert rules(["pub/fedora-secondary/x"], "pub/fedora") == ["- *"]


def test_names_with_wildcards_are_escaped_and_those_with_line_breaks_left_out() -> None:
    assert rules(["a[1]", "b\\c", "x\n+ *"], "") == ["+ a\\[1]/", "+ a\\[1]/*", "+ b\\c/", "+ b\\\\c/*", "- *"]


def test_slashes_round_the_prefix_do_not_count() -> None:
    asked = read_filter_request({"categories": " A , B ", "since": "-5", "stripprefix": "/pub/ "})
    assert (asked.categories, asked.since, asked.prefix) == (("A", "B"), -5, "pub")


# --- twins


def test_the_start_page_has_its_matrix_as_json(seen: FlaskClient) -> None:
    found = seen.get("/?format=json").get_json()
    assert (found["mirrors"], found["countries"]) == (26, 3)
    fedora = next(product for product in found["products"] if product["name"] == "Fedora")
    assert fedora["versions"][0] == {"name": "development", "label": "rawhide", "mirrors": {"x86_64": 26}}


def test_the_list_has_a_json_twin_with_the_same_pages(seen: FlaskClient) -> None:
    first = seen.get("/mirrors/Fedora?format=json&page_size=9").get_json()
    assert (first["total"], first["page"], first["pages"], len(first["mirrors"])) == (26, 1, 3, 9)
    assert first["filters"]["product"] == "Fedora"
    second = seen.get(first["next"]).get_json()
    assert (second["page"], len(second["mirrors"])) == (2, 9)
    assert not {one["name"] for one in first["mirrors"]} & {one["name"] for one in second["mirrors"]}
    assert seen.get("/mirrors?format=json&page_size=9&page_number=3").get_json()["next"] is None


def test_addresses_can_be_copied_as_text_one_in_a_line(seen: FlaskClient) -> None:
    answer = seen.get("/mirrors/Fedora?country=US&format=text")
    assert answer.mimetype == "text/plain"
    assert answer.text == "https://us.example.org/linux/\n"
    assert seen.get("/mirrors?format=text&protocol=https").text.count("\n") == 3
    assert seen.get("/mirrors?format=text&protocol=rsync").text == ""


def test_a_mirrors_page_shows_its_addresses_and_no_private_one(seen: FlaskClient) -> None:
    mirror = seen.get("/mirrors?format=json&country=US").get_json()["mirrors"][0]
    page = seen.get(mirror["page"]).text
    assert "https://us.example.org/linux/" in page
    assert "rsync is &lt;limited&gt;" in page
    assert "secret" not in page
    assert "codecs" not in page
    assert seen.get(f"{mirror['page']}?format=json").get_json() == mirror
    assert seen.get(f"{mirror['page']}?format=text").text.splitlines() == [
        "https://us.example.org/epel/",
        "https://us.example.org/linux/",
    ]


def test_only_public_mirrors_have_a_page(seen: FlaskClient) -> None:
    shown = {one["id"] for one in seen.get("/mirrors?format=json&page_size=100").get_json()["mirrors"]}
    found = {number for number in range(60) if seen.get(f"/mirror/{number}").status_code == 200}
    assert found == shown


def test_countries_are_listed_with_their_mirrors(seen: FlaskClient) -> None:
    assert seen.get("/countries?format=json").get_json()["countries"] == [
        {"code": "HR", "name": "Croatia", "mirrors": 24},
        {"code": "FR", "name": "France", "mirrors": 1},
        {"code": "US", "name": "United States", "mirrors": 1},
    ]


def test_a_country_has_a_page_also_without_mirrors_and_unknown_ones_have_none(seen: FlaskClient) -> None:
    assert "fr.example.org" in seen.get("/country/FR").text
    assert seen.get("/country/fr").location == "/country/FR"
    assert "No public mirror stands here" in seen.get("/country/NL").text
    assert seen.get("/country/NL?format=json").get_json()["total"] == 0
    assert seen.get("/country/FR?format=text").text == "https://fr.example.org/linux/\n"
    assert seen.get("/country/XX").status_code == 404


def test_old_addresses_of_crawl_logs_lead_to_the_mirror(seen: FlaskClient) -> None:
    assert seen.get("/crawler/7.log").location == "/mirror/7"


def test_freshness_and_ipv6_are_filters(client: FlaskClient, session: Session) -> None:
    category = factories.category(session)
    current = [factories.directory(session, category, str(number)) for number in range(4)]
    for name, have in (("all", 4), ("half", 2)):
        host: Host = factories.host(session, name)
        host.has_ipv6 = name == "half"
        carried = factories.carries(session, host, category, current[:have])
        state = session.get(HostCategoryState, carried.id)
        assert state is not None
        state.directories_total = 4
    session.commit()

    def names(query: str) -> list[str]:
        return [one["name"] for one in client.get(f"/mirrors?format=json&{query}").get_json()["mirrors"]]

    assert names("") == ["all", "half"]
    assert names("percent=100") == ["all"]
    assert names("percent=50") == ["all", "half"]
    assert names("ipv6=1") == ["half"]
    assert names("ipv6=1&percent=51") == []


# --- caches


@pytest.mark.parametrize("path", ["/", "/mirrors", "/countries", "/crawler", "/privacy", "/robots.txt"])
def test_public_pages_may_be_kept_and_are_not_sent_twice(engine: Engine, path: str) -> None:
    client = create_app(settings(cache_seconds=60), engine).test_client()
    first = client.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=60"
    assert {"Cookie", "Accept-Language"} <= set(first.headers["Vary"].split(", "))
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.usefixtures("ada")
def test_pages_of_somebody_signed_in_are_for_that_reader_alone(engine: Engine) -> None:
    client = create_app(settings(cache_seconds=60), engine).test_client()
    sign_in(client)
    assert client.get("/mirrors").headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("path", ["/login", "/no/such/page"])
def test_other_pages_are_not_kept_by_caches(seen: FlaskClient, path: str) -> None:
    assert seen.get(path).headers["Cache-Control"] == "private, no-cache"


@pytest.mark.usefixtures("registry")
def test_pages_from_the_kept_registry_ask_no_query(engine: Engine) -> None:
    client = create_app(settings(cache_seconds=60), engine).test_client()
    client.get("/")
    with counting_queries(engine) as statements:
        for path in ("/", "/mirrors", "/mirrors/Fedora/27/x86_64?country=US", "/countries", "/country/FR", "/mirror/1"):
            assert client.get(path).status_code == 200
    assert statements == []


@pytest.mark.usefixtures("registry")
def test_the_registry_is_read_again_when_it_is_too_old(engine: Engine, session: Session) -> None:
    client = create_app(settings(cache_seconds=0), engine).test_client()
    assert client.get("/mirrors?format=json").get_json()["total"] == 26
    with transaction(session):
        session.query(Host).filter_by(name="us.example.org").update({"private": True})
    assert client.get("/mirrors?format=json").get_json()["total"] == 25


def test_while_one_reads_the_others_get_the_old_value() -> None:
    now = [0.0]
    kept = Kept[str](10, clock=lambda: now[0])
    assert kept.get(lambda: "old") == "old"
    now[0] = 11
    reading, finish, got = Event(), Event(), []

    def read() -> str:
        reading.set()
        assert finish.wait(10)
        return "new"

    slow = Thread(target=lambda: got.append(kept.get(read)))
    slow.start()
    assert reading.wait(10)
    assert kept.get(lambda: "never") == "old"
    finish.set()
    slow.join(10)
    assert got == ["new"]
    assert kept.get(lambda: "never") == "new"


def test_pages_are_made_once_for_each_key_and_anew_for_what_is_new() -> None:
    pages, made = Pages(most=10), []

    def make(text: str) -> str:
        made.append(text)
        return text

    first, second = object(), object()
    for shown, key in ((first, "a"), (first, "a"), (first, "b"), (second, "a"), (first, "a")):
        assert pages.get(shown, key, lambda key=key: make(key)) == key
    assert made == ["a", "b", "a", "a"]
    for number in range(5):
        pages.get(first, number, lambda: "123456")
    assert pages.get(first, "a", lambda: "made anew, for the pages were too many") != "a"


@pytest.mark.usefixtures("registry", "ada")
def test_the_pages_that_are_kept_show_nobody_who_is_signed_in(engine: Engine) -> None:
    app = create_app(settings(cache_seconds=60), engine)
    member, visitor = app.test_client(), app.test_client()
    sign_in(member)
    assert "/account" in links(member.get("/mirrors"))
    assert "/account" not in links(visitor.get("/mirrors"))
    assert "/account" in links(member.get("/mirrors"))
    assert "Spiegel" in visitor.get("/mirrors", headers={"Accept-Language": "de"}).text
    assert "Spiegel" not in visitor.get("/mirrors").text


# --- the installation's own


def test_security_txt_names_the_contact_until_it_expires(engine: Engine) -> None:
    client = create_app(branded(security_contact="mailto:security@example.org"), engine).test_client()
    told = client.get("/.well-known/security.txt").text
    assert "Contact: mailto:security@example.org\n" in told
    assert re.search(r"^Expires: \d{4}-\d\d-01T00:00:00Z$", told, re.MULTILINE)
    assert client.get("/security.txt").text == told


def test_without_a_contact_there_is_no_security_txt(seen: FlaskClient) -> None:
    assert seen.get("/.well-known/security.txt").status_code == 404


def test_colours_logo_legal_text_links_and_banner_are_configuration(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    client = create_app(
        branded(
            logo=tmp_path / "logo.svg",
            accent="#1f4e8c",
            accent_dark="#9cc4ff",
            legal="Example Foundation <b>",
            links={"About us": "https://example.org/about"},
            banner="Outage on Sunday",
            privacy="Ask our officer.",
        ),
        engine,
    ).test_client()
    page = client.get("/").text
    for part in (
        "Example Foundation &lt;b&gt;",
        '<a href="https://example.org/about">About us</a>',
        "Outage on Sunday",
    ):
        assert part in page
    assert "Ask our officer." in client.get("/privacy").text
    assert "--accent: #1f4e8c" in client.get("/brand.css").text
    with client.get("/brand/logo") as logo:
        assert logo.mimetype == "image/svg+xml"
        assert "default-src 'none'" in logo.headers["Content-Security-Policy"]


def test_without_a_logo_there_is_none(seen: FlaskClient) -> None:
    assert seen.get("/brand/logo").status_code == 404


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('accent = "#ffff00"', "brand.accent cannot be read on our pages"),
        ('accent_dark = "#112233"', "brand.accent_dark cannot be read on our pages"),
        ('accent = "red"', "brand.accent"),
        ('links = { x = "javascript:alert(1)" }', "brand.links"),
        ('security_contact = "me"', "brand.security_contact"),
    ],
)
def test_brands_that_cannot_be_read_or_run_scripts_are_refused(tmp_path: Path, line: str, wrong: str) -> None:
    config = tmp_path / "mirrormanager.toml"
    config.write_text(f"[brand]\n{line}\n")
    with pytest.raises(SettingsError, match=re.escape(wrong)):
        load(config, {})
