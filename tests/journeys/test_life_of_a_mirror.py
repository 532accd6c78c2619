"""The whole life of a mirror, in Chromium: it is registered, becomes active, breaks, and comes back.

Everything is real: an OpenID provider, PostgreSQL, the front end, a crawl worker, the redirector and nginx as the
mirror. What the pages looked like stays below artefacts/.
"""

from __future__ import annotations

import shutil
import time
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from tests.conftest import TEMPLATE
from tests.frontend.serving import CHROMIUM, SWITCHES
from tests.journeys.packages import create_repository
from tests.journeys.program import Installation, get
from tests.openid_provider import OpenidProvider
from tests.postgres import Postgres, free_port
from tests.servers import Nginx

ARTEFACTS = Path(__file__).parents[2] / "artefacts" / "life-of-a-mirror"
DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
TOPDIR = "pub/fedora/linux"
REPOSITORY = f"{TOPDIR}/updates/44/Everything/x86_64"
QUERY = "repo=updates-released-f44&arch=x86_64"
HOST = "mirror.example.edu"
SETTINGS = {
    "crawler__check_again_minutes": "0.001",  # nobody waits ten minutes here
    "crawler__max_stale_days": "0",  # a mirror that is behind is out at once
    "crawler__requests_per_second": "1000",
    "crawler__tries": "1",
    "crawler__worker_grace": "1",
    "crawler__log_directory": "logs",
    "frontend__https": "false",
    "frontend__cache_seconds": "0",
    "redirector__workers": "1",
    "redirector__reload_interval": "0.1",
    "redirector__explain": "networks",
    "redirector__explain_networks": "127.0.0.0/8",
}
PROVIDER = """
[oidc.providers.example]
label = "Example ID"
issuer = "{issuer}"
client_id = "{client_id}"
client_secret = "{client_secret}"
"""


class World:
    """A master, one mirror behind nginx, and an installation that does not know it yet."""

    def __init__(self, folder: Path, database_url: str, provider: OpenidProvider) -> None:
        self.master, self.mirror = folder / "master", folder / "mirror"
        self.mirror.mkdir()
        self.port = free_port()
        self.frontend = f"http://127.0.0.1:{self.port}"
        self.redirector = ""
        self.mirror_url = ""
        told = {"database__url": database_url, "frontend__public_url": self.frontend}
        self.installation = Installation(folder, **SETTINGS, **told)
        self.installation.admin("init")
        with (folder / "mirrormanager.toml").open("a") as stream:
            stream.write(PROVIDER.format_map(provider.settings()))

    def publish(self, day: int) -> None:
        """The master has something new."""
        (self.master / REPOSITORY).mkdir(parents=True, exist_ok=True)
        create_repository(self.master / REPOSITORY, day)

    def sync(self) -> None:
        """The mirror copies the master."""
        shutil.rmtree(self.mirror / "pub", ignore_errors=True)
        shutil.copytree(self.master / "pub", self.mirror / "pub")

    def set_up(self) -> None:
        """What an administrator does once."""
        admin = self.installation.admin
        admin("product", "add", "Fedora")
        admin("arch", "add", "x86_64")
        source = str(self.master / TOPDIR)
        admin("category", "add", "Fedora Linux", "--product", "Fedora", "--topdir", TOPDIR, "--source", source)
        admin("rules", "load", "fedora")
        self.scan()
        admin("cache", "build")

    def scan(self) -> None:
        """What cron does."""
        self.installation.run("mm-crawler", "master", crawler__max_stale_days="4")

    def answer(self) -> str:
        """Where the redirector sends a client; empty: nowhere."""
        try:
            return get(f"{self.redirector}/metalink?{QUERY}")
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return ""

    def published(self, *, listed: bool) -> None:
        """Build a cache; wait until the redirector has it, and sends clients to the mirror, or not."""
        self.installation.admin("cache", "build")
        deadline = time.monotonic() + 10
        while (self.mirror_url in self.answer()) != listed:
            assert time.monotonic() < deadline, self.answer()
            time.sleep(0.05)  # nothing tells when another process has read a file


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[World]:
    folder, name = tmp_path_factory.mktemp("life"), postgres.create(TEMPLATE)
    provider = OpenidProvider()
    provider.user = {"sub": "17", "preferred_username": "alice", "name": "Alice E.", "email": "alice@example.org"}
    with ExitStack() as stack:
        stack.callback(provider.stop)
        made = World(folder, postgres.url(name), provider)
        made.publish(day=0)
        made.sync()
        made.set_up()
        nginx = stack.enter_context(Nginx({"mirror": made.mirror}))
        made.mirror_url = f"{nginx.urls['mirror']}/{TOPDIR}"
        made.redirector = stack.enter_context(made.installation.serving("mm-redirector", "REDIRECTOR"))
        made.installation.environment["MM_FRONTEND__EXPLAIN_URL"] = f"{made.redirector}/explain"
        stack.enter_context(made.installation.working("mm-crawler", "worker"))
        stack.enter_context(made.installation.serving("mm-frontend", "FRONTEND", made.port))
        yield made
    postgres.drop(name)


@pytest.fixture(scope="module")
def page(world: World) -> Iterator[Page]:
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_page(base_url=world.frontend, viewport=DESKTOP)
        page.set_default_timeout(15_000)
        yield page
        browser.close()


def keep(page: Page, name: str, *, everywhere: bool = False) -> None:
    """Keep what the page looks like; `everywhere`: also in the dark and on a phone."""
    number = len({path.name[:2] for path in ARTEFACTS.glob("*.png")}) + 1
    for scheme in ("light", "dark") if everywhere else ("light",):
        for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)) if everywhere else (("desktop", DESKTOP),):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size(viewport)
            page.screenshot(path=ARTEFACTS / f"{number:02}-{name}-{scheme}-{size}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESKTOP)


def press(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("button", name=name).first.click()


def follow(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("link", name=name).first.click()


def check_now(page: Page, result: str, name: str) -> None:
    """Ask for a check, and watch it until it is done; then back to the host's page."""
    press(page, "Check now")
    expect(page.get_by_text("The check is queued.")).to_be_visible()
    follow(page, "Look again every 5 seconds")
    keep(page, f"{name}-queued")
    expect(page.get_by_role("row").nth(1)).to_contain_text("done", timeout=30_000)
    expect(page.get_by_role("row").nth(1)).to_contain_text(result)
    keep(page, f"{name}-done")
    follow(page, "Overview")


def test_the_whole_life_of_a_mirror(world: World, page: Page) -> None:
    """Registered by OpenID, active, broken, understood, mended: on the pages, in the list and at the redirector."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    register(world, page)
    check_now(page, "up to date", "check")
    expect(page.get_by_text("100 % up to date")).to_be_visible()
    keep(page, "host-active")
    world.published(listed=True)
    see_in_public(world, page, listed=True)
    break_it(world, page)
    mend_it(world, page)
    assert problems == []


def register(world: World, page: Page) -> None:
    assert world.answer() == "" or world.mirror_url not in world.answer()
    page.goto("/")
    follow_menu = page.get_by_role("navigation", name="Main")
    follow_menu.get_by_role("link", name="Sign in").click()
    keep(page, "sign-in", everywhere=True)
    follow(page, "Sign in with Example ID")
    expect(page.get_by_text("Alice E.").first).to_be_visible()
    follow_menu.get_by_role("link", name="My sites").click()
    keep(page, "no-site-yet")
    follow(page, "New site")
    page.get_by_label("Name").fill("Example University")
    page.get_by_label("Web address").fill("https://www.example.edu")
    keep(page, "new-site")
    press(page, "Make the site")
    follow(page, "Add a host")
    page.get_by_label("Name", exact=False).first.fill(HOST)
    page.get_by_label("Country").select_option("DE")
    page.get_by_label("Bandwidth in Mbit/s").fill("10000")
    keep(page, "new-host", everywhere=True)
    press(page, "Make the host")
    follow(page, "Add a category")
    page.get_by_label("Category").select_option(label="Fedora Linux")
    press(page, "Add")
    follow(page, "Add a URL")
    page.get_by_label("Address").fill(f"{world.mirror_url}/")
    keep(page, "new-url")
    press(page, "Save")
    keep(page, "host-not-looked-at-yet")


def see_in_public(world: World, page: Page, *, listed: bool) -> None:
    """In the public list, and in the redirector's answer."""
    here = page.url
    page.goto("/mirrors")
    found = page.get_by_role("link", name=HOST)
    expect(found.first).to_be_visible() if listed else expect(found).to_have_count(0)
    keep(page, f"public-list-{'with' if listed else 'without'}-it")
    mirrorlist = get(f"{world.redirector}/mirrorlist?{QUERY}") if listed else ""
    assert listed == (f"{world.mirror_url}/updates/44/Everything/x86_64" in mirrorlist)
    page.goto(here)


def break_it(world: World, page: Page) -> None:
    """The master goes on, the mirror does not: it is out, and its page says why."""
    world.publish(day=1)
    world.scan()
    check_now(page, "0 of 6", "broken")
    expect(page.get_by_text("100 % up to date")).to_have_count(0)
    expect(page.get_by_role("cell", name="stale")).to_be_visible()
    keep(page, "host-broken", everywhere=True)
    follow(page, "Crawls and logs")
    keep(page, "crawls")
    page.get_by_role("link", name="Log of Fedora Linux").first.click()
    expect(page.locator("pre.log")).to_contain_text("repomd.xml")
    keep(page, "log")
    world.published(listed=False)
    follow(page, "Why it is served, or not")
    page.goto(f"{page.url}?{urlencode({'ip': '127.0.0.1', 'repo': 'updates-released-f44', 'arch': 'x86_64'})}")
    expect(page.locator(".verdict")).to_contain_text("No:")
    keep(page, "why-not-served")
    follow(page, "Overview")
    see_in_public(world, page, listed=False)


def mend_it(world: World, page: Page) -> None:
    world.sync()
    check_now(page, "up to date", "mended")
    expect(page.get_by_text("100 % up to date")).to_be_visible()
    keep(page, "host-mended")
    world.published(listed=True)
    see_in_public(world, page, listed=True)
