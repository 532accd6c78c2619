"""Which language a reader gets: as chosen by the switch, else as the browser asks, else the installation's own.

Catalogues are compiled in memory from the .po files that come with the package: no step of a build can be forgotten,
and what translators edit is what is shown.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, g, has_app_context, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import Babel, Domain, get_locale

from mm_frontend.settings import frontend

TRANSLATIONS = Path(__file__).parent / "translations"
LANGUAGES = ("en", *sorted(path.name for path in TRANSLATIONS.iterdir() if path.is_dir()))
# Parts of the application that are translated; the others are English as a whole, menu included, rather than a mixture.
TRANSLATED = (
    *(None, "public", "files", "branding", "auth", "operators"),
    *("statistics", "propagation", "maps", "mirror_health"),
)
COOKIE = "mm_language"
YEAR = 365 * 24 * 3600


class _Catalogues(Domain):  # type: ignore[misc]
    """The catalogue of the request's language."""

    def get_translations(self) -> NullTranslations:
        return catalogue(current())


class _Babel(Babel):  # type: ignore[misc]
    domain_instance = _Catalogues()


@cache
def catalogue(language: str) -> NullTranslations:
    """The translations into a language; of English and unknown ones the texts as they stand in the source."""
    path = TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"
    if language not in LANGUAGES or not path.exists():
        return NullTranslations()
    compiled = BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return Translations(compiled)


def register(app: Flask) -> None:
    """Let pages speak the reader's language, and `?lang=de` on any page choose it."""
    _Babel().init_app(app, locale_selector=_select)
    app.before_request(_switch)


def current() -> str:
    """The language of this request. Tables ask for it at each number, so that it is found out once."""
    try:
        return g.language  # type: ignore[no-any-return]
    except (AttributeError, RuntimeError):  # not asked yet, or no request
        locale = get_locale()
        found = locale.language if locale else "en"
        if has_app_context():
            g.language = found
        return found


def names() -> dict[str, str]:
    """Language -> what its speakers call it."""
    return {code: str(Locale(code).language_name).capitalize() for code in LANGUAGES}


def switch_link(language: str) -> str:
    """This page in another language; the start page where this one cannot be asked for again."""
    if request.endpoint is None or request.method not in ("GET", "HEAD"):
        return url_for("public.start", lang=language)
    return url_for(request.endpoint, **_values(), lang=language)


def translated() -> bool:
    """Whether this page is there in all languages."""
    return request.blueprint in TRANSLATED


def _select() -> str:
    if not translated():
        return "en"
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    default = frontend().language
    return request.accept_languages.best_match(LANGUAGES, default) or default


def _switch() -> ResponseReturnValue | None:
    """Remember the language that a link asked for, and show the page at its own address."""
    language = request.args.get("lang", "")
    if language not in LANGUAGES or request.endpoint is None or request.method != "GET":
        return None
    # Made from the endpoint, never from the text of the address: it cannot lead to another host.
    answer = redirect(url_for(request.endpoint, **_values()))
    answer.set_cookie(COOKIE, language, max_age=YEAR, secure=frontend().https, httponly=True, samesite="Lax")
    return answer


def _values() -> dict[str, Any]:
    asked: dict[str, Any] = {
        name: values if len(values) > 1 else values[0] for name, values in request.args.lists() if name != "lang"
    }
    asked |= request.view_args or {}
    return {name: value for name, value in asked.items() if not name.startswith("_")}  # url_for's own begin with _
