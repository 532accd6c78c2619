"""Countries and continents: the list that comes with the package, and what operators know better."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.geography import CountryContinent
from mm_lib.services.errors import InvalidValue

# What people type for a code that they know only from a domain or a language.
COMMON_MISTAKES = {"UK": "GB", "EN": "GB", "EL": "GR", "JA": "JP", "KO": "KR", "CS": "CZ", "DA": "DK", "SW": "SE"}


@cache
def continents() -> dict[str, str]:
    """Country -> continent, both as two capitals, for every country that there is."""
    text = files("mm_lib.data").joinpath("country_continent.csv").read_text(encoding="ascii")
    return {row["country"]: row["continent"] for row in csv.DictReader(text.splitlines())}


def country_code(field: str, text: str) -> str:
    """The ISO 3166-1 alpha-2 code in capitals. Raises InvalidValue, with a suggestion where a mistake is common."""
    code = text.strip().upper()
    if code in continents():
        return code
    meant = COMMON_MISTAKES.get(code)
    raise InvalidValue(
        field,
        f"{text!r} is not a country code (ISO 3166-1, two letters)" + (f"; did you mean {meant}?" if meant else ""),
    )


def effective_continents(session: Session) -> dict[str, str]:
    """Country -> continent with the operators' overrides applied."""
    rows = session.execute(select(CountryContinent.country, CountryContinent.continent))
    return {**continents(), **dict(rows.all())}
