"""The pages for operators in a real browser: axe-core finds nothing in light and dark, and they fit on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.base import State
from mm_lib.services import hosts
from mm_lib.settings import DatabaseSettings
from tests.frontend import operators_world
from tests.frontend.operators_world import Registry
from tests.frontend.serving import served
from tests.frontend.test_accessibility import AXE, CHECK, RULES, SCREENS
from tests.frontend.test_server import fits
from tests.frontend.world import PASSWORD, SETTINGS

PAGES = [
    "/site/mine",
    "/site/{site_id}",
    "/site/{site_id}/edit",
    "/site/{site_id}/drop",
    "/site/{site_id}/events",
    "/site/{site_id}/check-in",
    "/site/{site_id}/tokens",
    "/account/tokens/new",
    "/api/v1/",
    "/api/v1/problems",
    "/site/{site_id}/admin/new",
    "/host/{host_id}",
    "/host/{host_id}/edit",
    "/host/{host_id}/checks",
    "/host/{host_id}/logs",
    "/host/{host_id}/asked",
    "/host/{host_id}/explain?repo=x&arch=y",
    "/host/{host_id}/maintenance/new",
    "/deleted",
    "/invitation/{token}",
]


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Registry]]:
    path = tmp_path_factory.mktemp("operators-accessibility") / "registry.sqlite"
    shutil.copy(sqlite_template, path)
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(engine)() as session:
        registry = operators_world.build(session)
        with transaction(session):
            hosts.set_state(session, registry.host, State.AUTO_DISABLED, "connection refused", "crawler")
    with served(create_app(SETTINGS, engine)) as address:
        yield address, registry
    engine.dispose()


@pytest.fixture(scope="module", params=sorted(SCREENS))
def page(request: pytest.FixtureRequest, browser: Browser, stage: tuple[str, Registry]) -> Iterator[Page]:
    """The owner's browser."""
    screen = ViewportSize(**SCREENS[request.param])
    page = browser.new_page(base_url=stage[0], color_scheme=request.param, viewport=screen, bypass_csp=True)
    page.goto("/login")
    page.fill("[name=name]", "owner")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/site/mine")
    yield page
    page.close()


def test_axe_finds_nothing_and_everything_fits(page: Page, stage: tuple[str, Registry]) -> None:
    registry = stage[1]
    wrong: dict[str, Any] = {}
    for path in PAGES:
        page.goto(path.format(**registry.ids, token=registry.token))
        page.evaluate(AXE)
        found = page.evaluate(CHECK, RULES)
        if found or not fits(page):
            wrong[path] = found or "does not fit"
    assert wrong == {}
