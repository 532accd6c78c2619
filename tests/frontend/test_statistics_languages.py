"""The statistics pages in the reader's language: words, numbers and dates; what programs read stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from babel.support import NullTranslations
from flask.testing import FlaskClient
from sqlalchemy import Engine

from mm_frontend import language
from mm_frontend.app import create_app
from mm_frontend.statistics.asked import DIMENSIONS
from mm_frontend.statistics.views import TITLES, WORDS
from mm_lib.model.statistics import AccessDimension
from mm_lib.services.mirrors import country_names
from mm_redirector.selection import TierKind
from tests.frontend.statistics_world import NOW, database
from tests.frontend.world import SETTINGS, headline, links, text

GERMAN, SPANISH = {"Accept-Language": "de"}, {"Accept-Language": "es"}
YESTERDAY = NOW.date() - timedelta(days=1)
PAGES = (
    "/statistics",
    f"/statistics/{YESTERDAY}/hosts?period=month&rows=all",
    f"/statistics/{YESTERDAY}/archs",
    "/statistics/2019-01-01",
    "/propagation/",
    "/propagation/1",
    "/maps",
    "/maps?x=5371&y=800&zoom=4",
    "/statistics/health",
    "/statistics/load",
    "/statistics/load?by=countries",
    "/statistics/load?by=asns",
)
TWINS = (*PAGES, "/propagation/1?table=versions", "/propagation/1?table=mirrors", "/maps?table=countries")


@pytest.fixture(scope="module")
def engine(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with database(sqlite_template, tmp_path_factory.mktemp("languages")) as engine:
        yield engine


@pytest.fixture(scope="module")
def client(engine: Engine) -> FlaskClient:
    return create_app(SETTINGS, engine).test_client()


class Silent(NullTranslations):  # type: ignore[misc]
    """A language without words: of a text only the values that are put into it remain."""

    def ugettext(self, message: str) -> str:
        return " ".join(re.findall(r"%\(\w+\)[sd]", message))

    def ungettext(self, singular: str, plural: str, number: int) -> str:
        return self.ugettext(plural)


def words(page: str) -> set[str]:
    """What is read, heard, or drawn in a chart."""
    attributes = r'\b(?:aria-label|alt|title|content|data-value)="([^"]*)"'
    seen = [
        *re.findall(attributes, re.sub(r"<meta name=\"(?!description).*?>", "", page)),
        re.sub(r"<[^>]*>", " ", page),
    ]
    return set(re.findall(r"[^\W\d_]{2,}", unescape(" ".join(seen))))


def values(document: Any) -> Iterator[str]:
    """The texts of a JSON document; not its keys."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for member in document.values() if isinstance(document, dict) else document:
            yield from values(member)


FRAME = words(f"{SETTINGS.frontend.site_name} {SETTINGS.frontend.contact} API Deutsch English Español doctype html")
UNITS = words(
    "vor Minute Minuten Stunde Stunden Tag Tage Tagen Woche Wochen Monat Monaten Gbit Mbit UTC"
)  # from the locale's data
NAMES = words("CSV JSON AS")  # the same in every language


@pytest.mark.parametrize("path", PAGES)
def test_nothing_but_data_is_left_of_a_page_when_its_texts_are_taken_away(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A text that nobody can translate would be left: of templates and Python, for ears, and in charts."""
    twin = client.get(f"{path}{'&' if '?' in path else '?'}format=json").get_json()
    data = words(" ".join([*values(twin), *country_names("de").values()]))
    monkeypatch.setattr(language, "catalogue", lambda _language: Silent())
    assert words(client.get(path, headers=GERMAN).text) - data - FRAME - UNITS - NAMES == set()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("code", language.LANGUAGES)
def test_every_page_can_be_made_in_every_language(client: FlaskClient, path: str, code: str) -> None:
    page = client.get(path, headers={"Accept-Language": code})
    assert page.status_code == 200
    assert f'<html lang="{code}">' in page.text
    assert "%(" not in page.text and "%%" not in page.text
    assert "Accept-Language" in page.headers["Vary"]


@pytest.mark.parametrize("path", TWINS)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_programs_read_is_the_same_in_every_language(client: FlaskClient, path: str, form: str) -> None:
    address = f"{path}{'&' if '?' in path else '?'}format={form}"
    assert client.get(address, headers=GERMAN).data == client.get(address).data


@pytest.mark.parametrize("path", PAGES)
def test_the_switch_stays_on_the_page(client: FlaskClient, path: str) -> None:
    link = next(link for link in links(client.get(path)) if "lang=es" in link)
    there = client.get(link).location
    assert client.get(there).text.replace(there, "") == client.get(path, headers=SPANISH).text.replace(there, "")
    client.delete_cookie("mm_language")


def test_every_category_has_a_title_and_every_tier_a_word() -> None:
    assert TITLES.keys() == set(DIMENSIONS)
    assert WORDS[AccessDimension.TIER].keys() == {kind.name.lower() for kind in TierKind}


def test_numbers_shares_and_dates_are_those_of_the_language(client: FlaskClient) -> None:
    english, german = text(client.get("/maps")), text(client.get("/maps", headers=GERMAN))
    share = re.search(r"United States (\d+)\.(\d{4}) % ([\d,]+) 2", english)
    assert share
    assert f"Vereinigte Staaten {share[1]},{share[2]} % {share[3].replace(',', '.')} 2" in german
    assert f"bis {YESTERDAY:%d.%m.%Y}." in german
    assert "52.52; 13.40" in english and "52,52; 13,40" in german


def test_measurements_are_dated_in_the_language_also_in_the_chart(client: FlaskClient) -> None:
    """The chart calls its bars what the rows are called; the value is for the axis, whose days are short."""
    page = client.get("/propagation/1", headers=GERMAN).text
    assert f'data-value="{NOW.isoformat()}">{NOW:%d.%m.%Y, %H:%M}</th>' in page


def test_what_is_not_there_is_told_in_the_language(client: FlaskClient) -> None:
    assert "Dieses Repository gibt es nicht." in text(client.get("/propagation/999", headers=GERMAN))


def test_without_figures_the_page_says_so_in_the_language(sqlite_template: Path) -> None:
    configured = SETTINGS.model_copy(
        update={"database": SETTINGS.database.model_copy(update={"url": f"sqlite:///{sqlite_template}"})}
    )
    client = create_app(configured).test_client()
    assert headline(client.get("/statistics", headers=SPANISH)) == "Estadísticas"
    assert "Todavía no se ha contado nada" in text(client.get("/statistics", headers=SPANISH))
