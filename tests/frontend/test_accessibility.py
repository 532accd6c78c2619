"""Public pages in a real browser: axe-core finds nothing in light and dark, they fit on a phone, keys are enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions
from mm_lib.settings import BrandSettings, DatabaseSettings
from tests.frontend.serving import served
from tests.frontend.test_server import fits
from tests.frontend.world import build, settings

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
# Only what is wrong is sent back: everything else that axe says is large.
CHECK = """rules => axe.run(document, {runOnly: rules, resultTypes: ["violations"]})
    .then(found => found.violations.map(one => [one.id, one.nodes.map(node => node.target.join(" "))]))
    .then(Object.fromEntries)"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PAGES = [
    "/",
    "/mirrors?page_size=5&page_number=2",
    "/mirrors/Fedora/27/x86_64?country=NL&ipv6=1",
    "/mirror/1",
    "/countries",
    "/country/US",
    "/crawler",
    "/privacy",
    "/login",
    "/no/such/page",
]


@pytest.fixture(scope="module")
def address(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The registry behind a server of this process, with everything that a brand can add."""
    path = tmp_path_factory.mktemp("accessibility") / "registry.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(engine)() as session:
        build(session)
    brand = BrandSettings(legal="Example Foundation", links={"About us": "https://example.org/"}, banner="Outage")
    shown = settings(cache_seconds=60, redirector_url="https://mirrors.example.org")
    with served(create_app(shown.model_copy(update={"brand": brand}), engine)) as address:
        yield address
    engine.dispose()


# Each scheme on one of the two layouts that pages have.
SCREENS = {"light": {"width": 1280, "height": 720}, "dark": {"width": 320, "height": 640}}


@pytest.fixture(scope="module", params=sorted(SCREENS))
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    # The checks themselves are a script, which our policy would refuse.
    screen = ViewportSize(**SCREENS[request.param])
    page = browser.new_page(base_url=address, color_scheme=request.param, viewport=screen, bypass_csp=True)
    yield page
    page.close()


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(page: Page, path: str) -> None:
    page.goto(path)
    page.evaluate(AXE)
    assert page.evaluate(CHECK, RULES) == {}
    assert fits(page)


def test_axe_sees_what_is_wrong(page: Page) -> None:
    page.goto("/privacy")
    page.evaluate(AXE)
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=/favicon.ico><h5>x</h5>')")
    assert {"image-alt", "heading-order"} <= set(page.evaluate(CHECK, RULES))


@pytest.mark.parametrize("language", ["de", "es"])
def test_longer_languages_fit_on_320_pixels(browser: Browser, address: str, language: str) -> None:
    context = browser.new_context(base_url=address, viewport={"width": 320, "height": 640}, locale=language)
    page = context.new_page()
    for path in ("/", "/mirrors?page_size=5", "/privacy"):
        page.goto(path)
        assert page.locator("html").get_attribute("lang") == language
        assert fits(page), path
    context.close()


def test_links_and_controls_are_large_enough_to_hit(page: Page) -> None:
    """24 by 24 pixels (WCAG 2.5.8), except for links within a sentence."""
    page.goto("/mirrors?page_size=5")
    small = page.evaluate(
        """() => [...document.querySelectorAll("nav a, .button, select, .urls a, .host, .check")]
        .filter(element => element.getClientRects().length)
        .map(element => [element.textContent.trim(), element.getBoundingClientRect()])
        .filter(([, box]) => Math.max(box.height, 0) < 24 || box.width < 24).map(([text]) => text)"""
    )
    assert small == []


def test_every_control_is_reached_by_the_tab_key_and_shows_that_it_is(browser: Browser, address: str) -> None:
    page = browser.new_page(base_url=address)
    page.goto("/mirrors?page_size=5")
    expected = page.evaluate("document.querySelectorAll('a[href], button, select, input:not([type=hidden])').length")
    seen = set()
    for _ in range(expected):
        page.keyboard.press("Tab")
        place, outline = page.evaluate(
            """() => { const one = document.activeElement;
            return [[...document.querySelectorAll('*')].indexOf(one), getComputedStyle(one).outlineStyle]; }"""
        )
        assert outline != "none"
        seen.add(place)
    assert len(seen) == expected
    page.close()


def test_the_filters_work_without_a_script(browser: Browser, address: str) -> None:
    context = browser.new_context(base_url=address, java_script_enabled=False)
    page = context.new_page()
    page.goto("/mirrors")
    page.get_by_label("Country").select_option("US")
    page.get_by_label("In sync").select_option("100")
    page.get_by_role("button", name="Show").click()
    assert page.url == f"{address}/mirrors?country=US&percent=100"
    page.get_by_role("link", name="Deutsch").click()
    assert page.locator("h1").inner_text() == "1 Spiegel: Vereinigte Staaten, mindestens zu 100 % aktuell"
    context.close()
