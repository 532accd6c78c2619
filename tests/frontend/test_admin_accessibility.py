"""The pages for administrators in a real browser: axe-core finds nothing in light and dark, and they fit on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import User
from mm_lib.model.banners import Banner, Level
from mm_lib.model.outbox import Channel, Delivery, DeliveryState, Event
from mm_lib.model.state import CrawlRun, Job, JobState, RunKind
from mm_lib.services import approvals, content, identities, places, rules, sites
from mm_lib.services.identities import Person
from tests.frontend import admin_world
from tests.frontend.admin_world import Stage
from tests.frontend.serving import served
from tests.frontend.test_accessibility import AXE, CHECK, RULES, SCREENS
from tests.frontend.test_server import fits
from tests.frontend.world import PASSWORD

NOW = datetime.now(UTC)
TOML = """
[["Fedora Linux"]]
pattern = 'releases/(?P<version>\\d+)/(?P<name>Everything|Modular)/(?P<arch>[a-z0-9_]+)/(?:os|debug/tree|source/tree)'
prefix = "fedora-{name|lower}-{version}"
comment = "as release engineering lays them out"
"""
PAGES = [
    "/admin/approvals/{waiting}",
    "/admin/users",
    "/admin/users/{user}",
    "/admin/users/{user}/link?other=owner",
    "/admin/places",
    "/admin/places/embargo/{embargo}/delete",
    "/admin/redirects",
    "/admin/rules/{category}?path=releases/44/Everything/x86_64/os",
    "/admin/monitor",
    "/admin/monitor/checks",
    "/admin/monitor/messages",
    "/admin/configuration?show=set",
    "/admin/banners",
    "/admin/banners/new",
]


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with admin_world.stage(sqlite_template, tmp_path_factory.mktemp("admin-accessibility")) as made:
        with made.sessions() as session, transaction(session):
            made.registry.ids |= fill(session, made.registry.ids)
        yield made


def fill(session: Session, ids: dict[str, int]) -> dict[str, int]:
    """One of everything that the pages list; ids by the names that PAGES has."""
    waiting = sites.add_site(
        session, "University of the Very Long Name of Somewhere", org_url="https://long.example.edu"
    )
    approvals.submit(session, waiting, "stranger")
    embargo = places.add_embargo(session, "DE")
    places.save_continent(session, None, "MX", "SA")
    places.save_netblock(session, None, "2001:db8:1234:5678::/64", "FR")
    content.add_redirect(session, "fedora-debug-rawhide-of-a-long-name", "rawhide-debug-of-a-long-name")
    rules.load_rules(session, TOML)
    identities.enter(session, Person("https://id.example.org", "e2c1c6ad-2b4c-4f0e-9d64-0d2f2a1c7b55", "grace"), NOW)
    user = session.scalars(select(User.id).where(User.name == "grace")).one()
    session.add_all(Banner(text=f"A {level.value} for all", level=level, starts_at=NOW) for level in Level)
    event = Event(kind="crawler.host.disabled", at=NOW, payload={"host": {"name": "m.example.org"}}, spread_at=NOW)
    dead = {"state": DeliveryState.DEAD, "attempts": 12, "last_error": "550 5.1.1 no such user here"}
    session.add(Delivery(event=event, channel=Channel.MAIL, target="a@example.org", next_try_at=NOW, **dead))
    session.add(
        CrawlRun(kind=RunKind.MIRRORS, started_at=NOW - timedelta(hours=9), outcome="running", counts={"ok": 3})
    )
    session.add(Job(kind="check", host_category_id=ids["carried_id"], state=JobState.FAILED, result={"text": "busy"}))
    category = content.find_category(session, "Fedora Linux").id
    return {"waiting": waiting.id, "embargo": embargo.id, "user": user, "category": category}


@pytest.fixture(scope="module", params=sorted(SCREENS))
def page(request: pytest.FixtureRequest, browser: Browser, stage: Stage) -> Iterator[Page]:
    """An administrator's browser."""
    screen = ViewportSize(**SCREENS[request.param])
    with served(stage.app) as address:
        page = browser.new_page(base_url=address, color_scheme=request.param, viewport=screen, bypass_csp=True)
        page.goto("/login")
        page.fill("[name=name]", "super")
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        page.wait_for_url("**/*")
        yield page
        page.close()


def test_axe_finds_nothing_and_everything_fits(page: Page, stage: Stage) -> None:
    wrong: dict[str, Any] = {}
    for path in PAGES:
        page.goto(path.format(**stage.registry.ids))
        page.evaluate(AXE)
        found = page.evaluate(CHECK, RULES)
        if found or not fits(page):
            wrong[path] = found or "does not fit"
    assert wrong == {}


def test_the_effect_of_a_form_is_shown_accessibly_before_it_is_saved(page: Page, stage: Stage) -> None:
    page.goto("/admin/places/network/new")
    page.fill("[name=netblock]", "192.0.2.0/24")
    page.select_option("[name=country]", "FR")
    page.get_by_role("button", name="Show the effect").click()
    page.get_by_role("button", name="Save").wait_for()
    page.wait_for_load_state()  # a page that is half there has no foot, and half of its landmarks
    page.evaluate(AXE)
    assert page.evaluate(CHECK, RULES) == {}
    assert fits(page) and page.get_by_role("button", name="Save").is_visible()
