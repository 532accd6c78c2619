"""The page of /explain in a browser: on a phone, and in a dark room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mm_lib.cache.schema import ABSENCES, Absent
from mm_redirector.settings import BALANCED
from tests.redirector.world import OS, client, debian, fedora, world

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--disable-dev-shm-usage"]
URLS = [f"/explain?path={OS}&ip=10.1.2.9", "/explain?repo=none&arch=x86_64", f"/explain?path={OS}&avoid_country=SE,DE"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield started
        started.close()


def opened(browser: Browser, url: str, **options: object) -> tuple[Page, list[str]]:
    """The page, and everything that it complained about or asked for."""
    category = fedora()
    category.absent = [Absent("a-host-with-a-long-name.of-a-university.example.org", code) for code in ABSENCES]
    ask = client(world(categories=[category, debian()]), BALANCED._replace(explain="public"))
    answer = ask(url, Accept="text/html")
    complaints: list[str] = []
    page = browser.new_page(**options)  # type: ignore[arg-type]
    page.route("**/*", lambda route: route.fulfill(status=200, headers=answer.headers, body=answer.body))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: complaints.append(request.url) if "explain" not in request.url else None)
    page.goto("http://redirector.example/explain")
    return page, complaints


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("width", [320, 1200])
def test_nothing_has_to_be_scrolled_sideways_to_and_nothing_else_is_asked_for(
    browser: Browser, url: str, width: int
) -> None:
    """With the Content-Security-Policy that is sent: a violation would be a complaint."""
    page, complaints = opened(browser, url, viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.get_by_role("heading", level=1).inner_text() == "Why this answer"
    assert [one for one in complaints if "favicon" not in one] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(browser: Browser, scheme: str) -> None:
    """A contrast of 4.5 at least (WCAG 1.4.3), of every colour of text on every background."""
    page, _ = opened(browser, URLS[0], color_scheme=scheme)
    contrast = page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          const light = name => {
            const dot = document.createElement('canvas').getContext('2d');
            dot.fillStyle = style.getPropertyValue(name); dot.fillRect(0, 0, 1, 1);
            const linear = [...dot.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255)
              .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
          };
          const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          return Math.min(...['--text', '--dim', '--mark'].flatMap(
            front => ['--back', '--soft'].map(back => ratio(light(front), light(back)))));
        }"""
    )
    assert contrast >= 4.5


def test_tables_are_reached_by_keyboard_and_named(browser: Browser) -> None:
    page, _ = opened(browser, URLS[0])
    for name in ("Tiers", "Mirrors in the answer", "Mirrors that are out"):
        region = page.get_by_role("region", name=name)
        region.focus()
        assert region.evaluate("element => element === document.activeElement")
