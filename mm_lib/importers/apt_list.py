"""The lists of Debian's package python-apt-common: a URL on each line, below headings with the country's code."""

from __future__ import annotations

from mm_lib.importers.drafts import DraftUrl, Found, MirrorDraft

_HEADING = "#LOC:"


def parse(text: str, file: str) -> Found:
    """A draft for each URL."""
    country = ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line.startswith(_HEADING):
            country = line.removeprefix(_HEADING).strip()
        elif line and not line.startswith("#"):
            yield MirrorDraft(f"{file}:{number}", (DraftUrl(line),), country=country, whole=False)
