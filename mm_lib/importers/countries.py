"""Countries as people write them, to the codes of ISO 3166-1."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

from babel import Locale

from mm_lib.services.geography import COMMON_MISTAKES, continents

_LANGUAGES = ("en", "de", "es", "fr", "it", "pt", "nl", "pl", "ru")
# Names that no list of territories has.
_ALSO = {
    "america": "US",
    "bolivia, plurinational state of": "BO",
    "brasil": "BR",
    "burma": "MM",
    "czech republic": "CZ",
    "england": "GB",
    "great britain": "GB",
    "holland": "NL",
    "hong kong": "HK",
    "iran, islamic republic of": "IR",
    "ivory coast": "CI",
    "korea": "KR",
    "korea, republic of": "KR",
    "macao": "MO",
    "macau": "MO",
    "macedonia": "MK",
    "moldova, republic of": "MD",
    "northern ireland": "GB",
    "republic of korea": "KR",
    "republic of moldova": "MD",
    "russian federation": "RU",
    "scotland": "GB",
    "taiwan, province of china": "TW",
    "tanzania, united republic of": "TZ",
    "the netherlands": "NL",
    "turkey": "TR",
    "u.k.": "GB",
    "u.s.": "US",
    "u.s.a.": "US",
    "uae": "AE",
    "united states of america": "US",
    "usa": "US",
    "venezuela, bolivarian republic of": "VE",
    "viet nam": "VN",
    "wales": "GB",
}


class Country(NamedTuple):
    """A code, and what was repaired; no code: nobody knows what is meant."""

    code: str | None
    note: str = ""


def find(text: str) -> Country:
    """The country that somebody means."""
    written = " ".join(text.split())
    code = written.upper()
    if code in continents():
        return Country(code, "" if code == written else f"{written!r} is {code}")
    if code in COMMON_MISTAKES:
        return Country(COMMON_MISTAKES[code], f"{written!r} is no code; {COMMON_MISTAKES[code]} is meant")
    first, _, rest = written.partition(" ")
    if rest and first in continents():  # "AT Austria"
        return Country(first)
    if rest and first in COMMON_MISTAKES:
        return find(first)
    named = _names().get(_plain(written))
    return Country(named, f"{written!r} is {named}") if named else Country(None)


@cache
def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    for language in _LANGUAGES:
        for code, name in Locale(language).territories.items():
            if code in continents():
                found.setdefault(_plain(name), code)
    return {**found, **_ALSO}


def _plain(text: str) -> str:
    """Without accents, capitals and what stands around it."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(bare.casefold().replace("&", "and").split()).strip(" .;,")
