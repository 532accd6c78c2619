"""The pages of statistics and the reports as people see them: light and dark, desktop and phone, mouse or keys.

What they look like stays below artefacts/statistics/, to be looked at: no test can tell whether a page is beautiful.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Browser, Page, ViewportSize
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import make_sessions
from mm_lib.model.statistics import StatisticLevel
from mm_lib.reports import charts, distribution, pdf, periods, rendering, site
from mm_lib.reports.document import Document
from mm_lib.services.sites import find_site
from mm_redirector.index import build
from mm_redirector.replay import page as replay_page
from mm_redirector.replaying import Question, Replay, result
from mm_redirector.settings import BALANCED, CLASSIC
from tests.frontend.serving import served
from tests.frontend.statistics_world import NOW, database
from tests.frontend.test_accessibility import AXE, CHECK, RULES
from tests.frontend.test_server import fits
from tests.frontend.world import SETTINGS
from tests.redirector.worlds import ADDRESSES, atlas, make

ARTEFACTS = Path(__file__).parents[2] / "artefacts" / "statistics"
YESTERDAY = NOW.date() - timedelta(days=1)
# Name -> address, and how many charts there are.
PAGES = {
    "requests": ("/statistics", 2),
    "requests-by-mirror-in-a-month": (f"/statistics/{NOW.date() - timedelta(days=20)}/hosts?period=month", 2),
    "propagation": ("/propagation/", 0),
    "propagation-of-a-repository": ("/propagation/1", 1),
    "map": ("/maps", 0),
    "map-of-europe": ("/maps?x=5300&y=900&zoom=4", 0),
    "health": ("/statistics/health", 0),
    "load": ("/statistics/load", 1),
    "load-by-country": ("/statistics/load?by=countries", 1),
}
REPORTS = ("daily", "weekly", "year", "site")
FILES = (*REPORTS, "replay")
NAMES = (*PAGES, *FILES)
# Each scheme on one of the two layouts is looked through by axe-core as well: it takes the longest.
LOOKS = {
    "light-desktop": (ViewportSize(width=1280, height=900), True),
    "dark-desktop": (ViewportSize(width=1280, height=900), False),
    "light-phone": (ViewportSize(width=390, height=844), False),
    "dark-phone": (ViewportSize(width=320, height=640), True),
}
# How many dots of a chart have the colours that the page has for charts in the scheme of now.
DOTS = """(chart, names) => {
    const probe = document.body.appendChild(document.createElement("i"));
    const wanted = names.map(name => {
        probe.style.color = `var(--${name})`;
        return getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    });
    probe.remove();
    const drawn = chart.querySelector("canvas");
    const dots = drawn.getContext("2d").getImageData(0, 0, drawn.width, drawn.height).data;
    const found = names.map(() => 0);
    for (let at = 0; at < dots.length; at += 4)
        wanted.forEach((one, place) => { found[place] += one.every((part, step) => dots[at + step] === part); });
    return found;
}"""


@dataclass(frozen=True)
class Made:
    """Pages behind an address, and reports in files of a folder."""

    address: str
    folder: Path

    def where(self, name: str) -> str:
        return f"file://{self.folder}/{name}.html" if name in FILES else PAGES[name][0]


@pytest.fixture(scope="module")
def made(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("looks")
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    dark = partial(charts.data_address, dark=True)
    with database(sqlite_template, folder) as engine:
        with make_sessions(engine)() as session:
            documents = reports(session)
        for name, document in documents.items():
            (folder / f"{name}.html").write_text(rendering.html(document, charts.data_address, dark))
        (folder / "replay.html").write_text(replayed())
        (ARTEFACTS / "report-weekly.pdf").write_bytes(pdf.render(documents["weekly"]))
        with served(create_app(SETTINGS, engine)) as address:
            yield Made(address, folder)


def replayed() -> str:
    """What `mm-admin policy replay --html` writes."""
    cache, draw = make(30, 5), Random(3)
    names = sorted(cache.repositories)
    replay = Replay((build(cache, BALANCED), BALANCED), (build(cache, CLASSIC), CLASSIC), atlas((59.3, 18.1)))
    replay.add([(Question(*draw.choice(names), ""), draw.choice(ADDRESSES), "") for _ in range(200)])
    replay.finish()
    return replay_page(result(replay, {host.name: host.country for host in cache.hosts}), "/etc/proposed.toml")


def reports(session: Session) -> dict[str, Document]:
    """Of the last periods that are over; the year as far as it goes."""
    found = {}
    for name, level in zip(REPORTS, (StatisticLevel.DAY, StatisticLevel.WEEK, StatisticLevel.YEAR), strict=False):
        first = YESTERDAY.replace(month=1, day=1) if level is StatisticLevel.YEAR else None
        period = periods.period(level, first, None, NOW.date())
        found[name] = distribution.report(session, period, [], periods.steps(level, period.span))
    week = periods.period(StatisticLevel.WEEK, None, None, NOW.date())
    steps = periods.steps(StatisticLevel.WEEK, week.span)
    (found["site"],) = site.reports(session, [find_site(session, "Site of ber.example.org")], week, steps)
    return found


@pytest.fixture(scope="module", params=LOOKS)
def look(request: pytest.FixtureRequest, browser: Browser, made: Made) -> Iterator[tuple[str, Page, list[str]]]:
    """Its name, a window with our policy in force, and what that complained about."""
    page = browser.new_page(
        base_url=made.address,
        color_scheme=request.param.partition("-")[0],
        viewport=LOOKS[request.param][0],
        reduced_motion="reduce",
    )
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield request.param, page, said
    page.close()


def check_charts(page: Page, number: int) -> None:
    """All charts are drawn in the colours of the page."""
    drawn = page.locator(".chart")
    assert drawn.count() == number
    for chart in drawn.all():
        wanted = ["age-same_day", "age-older"] if chart.get_attribute("data-chart") == "stack" else ["accent"]
        dots = chart.evaluate(DOTS, wanted)
        assert min(dots) > 100, (wanted, dots)


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_charts_are_drawn_and_axe_finds_nothing(
    look: tuple[str, Page, list[str]], made: Made, name: str
) -> None:
    called, page, said = look
    said.clear()
    page.goto(made.where(name))
    page.screenshot(path=ARTEFACTS / f"{'report-' if name in REPORTS else ''}{name}-{called}.png", full_page=True)
    if name in PAGES:
        check_charts(page, PAGES[name][1])
    elif name in REPORTS:
        widths = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
        assert widths and set(widths) == {charts.INCHES[0] * charts.DOTS}
    assert fits(page)
    assert said == []
    if LOOKS[called][1]:
        page.evaluate(AXE)
        assert page.evaluate(CHECK, RULES) == {}


def test_charts_follow_when_the_screen_becomes_dark(browser: Browser, made: Made) -> None:
    page = browser.new_page(base_url=made.address, color_scheme="light", reduced_motion="reduce")
    page.goto("/statistics")
    check_charts(page, 2)
    before = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--accent')")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--accent')") != before
    page.wait_for_function(f"({DOTS})(document.querySelector('.chart'), ['accent'])[0] > 100")
    page.close()


def test_the_picture_of_a_report_is_another_one_on_a_dark_screen(browser: Browser, made: Made) -> None:
    page = browser.new_page(color_scheme="light")
    page.goto(made.where("weekly"))
    light = page.locator("img").first.evaluate("image => image.currentSrc")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("light => document.images[0].currentSrc !== light", arg=light)
    page.close()


@pytest.mark.parametrize("language", ["de", "es"])
def test_longer_languages_fit_on_the_smallest_phone(browser: Browser, made: Made, language: str) -> None:
    screen = LOOKS["dark-phone"][0]
    context = browser.new_context(base_url=made.address, viewport=screen, locale=language, reduced_motion="reduce")
    page = context.new_page()
    for name in ("requests", "propagation-of-a-repository", "map", "health", "load"):
        page.goto(PAGES[name][0])
        assert page.locator("html").get_attribute("lang") == language
        check_charts(page, PAGES[name][1])
        assert fits(page), name
    context.close()


def test_without_scripts_all_tables_are_there_and_no_empty_charts(browser: Browser, made: Made) -> None:
    page = browser.new_page(base_url=made.address, java_script_enabled=False)
    for path, number in PAGES.values():
        page.goto(path)
        assert page.locator(".chart").count() == number
        assert page.locator(".chart:visible").count() == 0
        assert page.locator("table.numbers tbody tr:visible").count() > 0
    page.close()


def test_on_paper_tables_are_whole(browser: Browser, made: Made) -> None:
    page = browser.new_page(base_url=made.address)
    page.emulate_media(media="print")
    for path in ("/statistics", "/maps", "/propagation/1"):
        page.goto(path)
        cut = "region => region.scrollHeight > region.clientHeight + 1"
        assert not any(region.evaluate(cut) for region in page.locator(".scroll").all()), path
    page.close()


# -- the map by keys


def focused(page: Page, what: str) -> str:
    """A property of what has the focus."""
    return str(page.evaluate(f"document.activeElement.{what}"))


def test_the_tab_key_goes_from_mark_to_mark_and_each_shows_that_it_is_there(browser: Browser, made: Made) -> None:
    page = browser.new_page(base_url=made.address)
    page.goto("/maps")
    labels = page.locator("a.mark").evaluate_all("marks => marks.map(mark => mark.getAttribute('aria-label'))")
    page.locator(".map").focus()
    for label in labels:
        page.keyboard.press("Tab")
        assert focused(page, "getAttribute('aria-label')") == label
        ring = page.evaluate("getComputedStyle(document.activeElement.querySelector('.reach')).stroke")
        assert ring != "none"
        assert ring != page.evaluate("getComputedStyle(document.querySelector('a.mark:not(:focus) .reach')).stroke")
    page.close()


def test_enter_leads_from_one_mirror_to_its_row_and_from_several_to_a_larger_map(browser: Browser, made: Made) -> None:
    page = browser.new_page(base_url=made.address)
    page.goto("/maps")
    page.locator("a.mark[aria-label^='sao.example.org']").focus()
    page.keyboard.press("Enter")
    assert page.locator("tr:target").inner_text().startswith("sao.example.org")
    page.locator("a.mark[aria-label*='4 mirrors']").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/maps?*zoom=2*")
    page.close()


def test_a_phone_shows_the_middle_of_the_map_first_and_arrow_keys_move_it(browser: Browser, made: Made) -> None:
    page = browser.new_page(base_url=made.address, viewport=LOOKS["dark-phone"][0], reduced_motion="reduce")
    page.goto("/maps")
    region = page.locator(".map")
    left, width, whole = region.evaluate("map => [map.scrollLeft, map.clientWidth, map.scrollWidth]")
    assert abs(left + width / 2 - whole / 2) < whole / 10
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("left => document.querySelector('.map').scrollLeft > left", arg=left)
    page.close()
