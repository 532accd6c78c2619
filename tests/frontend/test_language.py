"""Pages in the reader's language: how it is chosen, and that nothing of a catalogue is missing or broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from flask import Flask
from flask.testing import FlaskClient
from flask_babel import gettext
from sqlalchemy import Engine

import mm_frontend
from mm_frontend import theme
from mm_frontend.app import create_app
from mm_frontend.language import LANGUAGES, catalogue, current, translated
from mm_lib.database import make_engine, make_sessions
from mm_lib.settings import DatabaseSettings
from tests.frontend.world import build, headline, links, settings, text, token
from utils.translations import catalogues, extract

TEMPLATES = Path(mm_frontend.__file__).parent / "templates"
GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
TEXTS = [message for message in extract() if message.id]


@pytest.fixture(scope="module")
def engine(sqlite_template: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The registry, made once: these tests only look, and ask nothing that depends on the kind of database."""
    path = tmp_path_factory.mktemp("language") / "registry.sqlite"
    path.write_bytes(sqlite_template.read_bytes())  # type: ignore[attr-defined]
    made = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(made)() as session:
        build(session)
    yield made
    made.dispose()


def read(language: str) -> Catalog:
    with catalogues()[language].open("rb") as source:
        return read_po(source, locale=language)


def placeholders(text_: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sdg]", text_))


def forms(texts: str | tuple[str, ...] | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def broken(source: Message, found: Message | None) -> str:
    """What is wrong with a translation; empty: nothing."""
    if found is None or found.fuzzy or not all(forms(found.string)):
        return "not translated"
    wanted = placeholders(forms(source.id)[-1])
    if any(placeholders(form) != wanted for form in forms(found.string)):
        return "other placeholders"
    try:
        values = {name[2:-2]: 1 for name in wanted}
        _ = [form % values for form in forms(found.string)] if wanted or "%%" in str(source.id) else []
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("language", sorted(catalogues()))
def test_every_text_that_visitors_see_is_translated_with_its_placeholders(language: str) -> None:
    found = read(language)
    wrong = {str(message.id): broken(message, found.get(message.id, message.context)) for message in TEXTS}
    assert {source: problem for source, problem in wrong.items() if problem} == {}


NAMES = {"AS", "CSV", "IPv4", "IPv6", "JSON", "SVG", "kB"}  # the same in every language


@pytest.mark.parametrize("part", ["auth", "operators", "public", "statistics", "errors"])
def test_no_page_of_a_translated_part_has_a_text_that_is_not_marked(part: str) -> None:
    found = {}
    for path in (TEMPLATES / part).glob("*.html"):
        source = re.sub(r"\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}", " ", path.read_text(), flags=re.DOTALL)
        source = re.sub(r"<(pre|code)\b[^>]*>.*?</\1>|<span class=\"mono\">.*?</span>", " ", source, flags=re.DOTALL)
        words = set(re.findall(r"[A-Za-z]\w+", re.sub(r"<[^>]*>|&\w+;", " ", source)))
        if words - NAMES:
            found[path.name] = words - NAMES
    assert found == {}


@pytest.mark.parametrize("language", sorted(catalogues()))
def test_no_catalogue_has_texts_that_no_page_shows(language: str) -> None:
    shown = {str(message.id) for message in TEXTS}
    assert [str(message.id) for message in read(language) if message.id and str(message.id) not in shown] == []


def test_the_three_languages_come_with_the_package() -> None:
    assert LANGUAGES == ("en", "de", "es")
    assert catalogue("de").gettext("Mirrors") == "Spiegel"
    assert catalogue("../../etc").gettext("Mirrors") == "Mirrors"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("es-MX", "es"),
        ("fr,es;q=0.5", "es"),
        ("fr", "en"),
        ("", "en"),
        ("x" * 500, "en"),
    ],
)
def test_the_browser_says_which_language(client: FlaskClient, accepted: str, language: str) -> None:
    page = client.get("/", headers={"Accept-Language": accepted})
    assert f'<html lang="{language}">' in page.text
    assert "Accept-Language" in page.headers["Vary"]


def test_pages_about_signing_in_speak_the_readers_language(client: FlaskClient) -> None:
    """What services say of a wrong password, too."""
    assert headline(client.get("/login", headers=GERMAN)) == "Anmelden"
    form = {"csrf_token": token(client), "name": "nobody", "password": "wrong"}
    refused = text(client.post("/login", data=form, headers=GERMAN))
    assert "Benutzername und Passwort passen zu keinem Konto." in refused
    assert "Geben Sie Ihren Benutzernamen ein." in text(
        client.post("/login", data={**form, "name": ""}, headers=GERMAN)
    )


def test_pages_that_are_not_translated_are_english_as_a_whole(app: Flask) -> None:
    """Those for administrators."""
    with app.test_request_context("/admin/", headers=GERMAN):
        assert (current(), gettext("Mirrors"), translated()) == ("en", "Mirrors", False)
    with app.test_request_context("/account", headers=GERMAN):
        assert (current(), gettext("Mirrors"), translated()) == ("de", "Spiegel", True)


def test_readers_of_other_languages_get_the_installations_own(engine: Engine) -> None:
    page = create_app(settings(language="es"), engine).test_client().get("/", headers={"Accept-Language": "fr"})
    assert '<html lang="es">' in page.text


def test_a_link_at_the_foot_switches_the_language_without_a_script_and_stays_on_the_page(client: FlaskClient) -> None:
    page = client.get("/mirrors/Fedora?country=US", headers=GERMAN)
    link = next(link for link in links(page) if "lang=es" in link)
    answer = client.get(link)
    assert answer.location == "/mirrors/Fedora?country=US"
    assert headline(client.get(answer.location, headers=GERMAN)) == "1 réplica: Fedora, Estados Unidos"


@pytest.mark.parametrize(
    "path", ["//evil.example/?lang=de", "/no/such/page?lang=de", "/?lang=xx", "/?lang=de&_external=1"]
)
def test_a_switch_never_leads_to_another_host(client: FlaskClient, path: str) -> None:
    location = client.get(path).headers.get("Location", "/")
    assert location.startswith("/") and not location.startswith("//") and "evil" not in location.partition("?")[0]


def test_a_switch_keeps_parameters_that_are_given_twice(client: FlaskClient) -> None:
    assert client.get("/mirrors?x=1&x=2&lang=de").location == "/mirrors?x=1&x=2"


def test_countries_numbers_and_ages_are_said_in_the_language(app: Flask) -> None:
    with app.test_request_context(headers=GERMAN):
        assert app.jinja_env.filters["country"]("DE") == "Deutschland"
        assert theme.number(12345.5) == "12.345,5"
        assert theme.bandwidth(2500) == "2,5 Gbit/s"
        assert theme.duration(90) == "90 Minuten"
        moment = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
        assert theme.ago(moment, moment.replace(hour=14)) == "vor 2 Stunden"
        assert theme.moment(moment).startswith("25.11.2026, 12:00")


def test_mirrors_stand_by_the_names_that_countries_have_in_the_language(client: FlaskClient) -> None:
    page = text(client.get("/countries", headers=GERMAN))
    assert page.index("Frankreich") < page.index("Kroatien") < page.index("Vereinigte Staaten")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "path", ["/", "/mirrors", "/mirror/1", "/countries", "/country/FR", "/crawler", "/privacy", "/no"]
)
def test_every_public_page_can_be_made_in_every_language(client: FlaskClient, language: str, path: str) -> None:
    page = client.get(path, headers={"Accept-Language": language})
    assert page.status_code == (404 if path == "/no" else 200)
    assert "%(" not in page.text and "%%" not in page.text
