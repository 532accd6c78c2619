"""The tables in a real browser: axe-core finds nothing in light and dark, they fit on a phone, and keys are enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from argon2 import PasswordHasher, profiles
from playwright.sync_api import Browser, Page, ViewportSize

from mm_frontend.app import create_app
from mm_lib.database import make_sessions, transaction
from mm_lib.model.accounts import Role
from mm_lib.services import accounts
from tests.frontend.serving import served
from tests.frontend.test_accessibility import AXE, CHECK, RULES, SCREENS
from tests.frontend.test_server import fits
from tests.frontend.world import PASSWORD, SETTINGS
from tests.lib import tables_world

PAGES = [
    "/admin/",
    "/admin/table/host?q=m0&state=active&sort=-name",
    "/admin/table/host?bandwidth_mbps=lots",
    "/admin/table/audit_event",
    "/admin/table/webhook",
    "/admin/table/host/row/1",
    "/admin/table/event/row/9004",
    "/admin/table/host/edit/1",
    "/admin/table/category/new",
    "/admin/table/host/remove/1",
    "/admin/table/host/bulk?action=disable&all=1&q=m0",
    "/admin/table/host/bulk?action=category&key=1",
    "/admin/table/host/import",
]


@pytest.fixture(scope="module")
def address(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    quick = PasswordHasher.from_parameters(profiles.CHEAPEST)
    with tables_world.database("sqlite", None, sqlite_template, tmp_path_factory.mktemp("looks")) as engine:
        with make_sessions(engine)() as session, patch.object(accounts, "_hasher", lambda: quick):
            tables_world.build(session)
            with transaction(session):
                accounts.create_user(session, "super", PASSWORD, role=Role.ADMIN)
        with served(create_app(SETTINGS, engine)) as address:
            yield address


@pytest.fixture(scope="module", params=sorted(SCREENS))
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    """The administrator's browser, on a screen of each kind."""
    screen = ViewportSize(**SCREENS[request.param])
    page = browser.new_page(base_url=address, color_scheme=request.param, viewport=screen, bypass_csp=True)
    page.goto("/login")
    page.fill("[name=name]", "super")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/account")
    yield page
    page.close()


def wrong_with(page: Page) -> Any:
    page.evaluate(AXE)
    return page.evaluate(CHECK, RULES) or ("" if fits(page) else "does not fit")


def test_axe_finds_nothing_and_everything_fits(page: Page) -> None:
    wrong = {}
    for path in PAGES:
        page.goto(path)
        wrong[path] = wrong_with(page)
    assert {path: found for path, found in wrong.items() if found} == {}


def test_looking_something_up_and_a_dry_run_are_usable_too_and_keys_are_enough(page: Page, tmp_path: Path) -> None:
    page.goto("/admin/table/host_acl_address/new")
    page.focus("[name=host_id]")
    page.keyboard.type("m0")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the button Find
    page.wait_for_selector("fieldset.found")
    page.keyboard.press("Space")  # the first that was found has the focus
    assert page.is_checked("[name=host_id-chosen] >> nth=0")
    assert not wrong_with(page)
    page.goto("/admin/table/host/import")
    file = tmp_path / "hosts.csv"
    file.write_text("site,name,country\nSite of m01.example.org,m01.example.org,FR\nnobody,x,DE\n")
    page.set_input_files("[name=file]", file)
    page.click("text=Show what would change")
    page.wait_for_selector("text=There is no site nobody")
    assert not wrong_with(page)
