"""What `mirrorbits list` (with any columns) and `mirrorbits export mirmon` print: text in columns that tabs line up."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mm_lib.importers.drafts import DraftUrl, Found, MirrorDraft, refused, repaired

_TAB = 8
_COLUMNS = re.compile(r"\S+(?: \S+)*")
_URL_COLUMNS = ("HTTP", "RSYNC", "FTP")
_PLACE = re.compile(r"([A-Za-z]{2})(?:\s*\(.*\))?")


def parse(text: str, file: str) -> Found:
    """A draft for each mirror."""
    lines = [(number, line.expandtabs(_TAB).rstrip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    if lines and lines[0][1].lstrip().lower().startswith("identifier"):
        yield from _list(lines[0][1], lines[1:], file)
    else:
        for number, line in lines:
            yield _exported(line.split(), f"{file}:{number}")


def _list(header: str, lines: Sequence[tuple[int, str]], file: str) -> Found:
    places = [(found.start(), found[0].upper()) for found in _COLUMNS.finditer(header)]
    ends = [start for start, _ in places[1:]] + [None]
    names = [name.partition(" ")[0] for _, name in places]
    for number, line in lines:
        cells = {name: line[start:end].strip() for (start, _), end, name in zip(places, ends, names, strict=True)}
        where, host = f"{file}:{number}", cells[names[0]]
        state = cells.get("STATE", "").lower()
        if state.startswith("disabled"):
            yield refused("host", where, host, "is disabled there")
            continue
        urls = tuple(DraftUrl(cells[name]) for name in _URL_COLUMNS if cells.get(name))
        place = _PLACE.fullmatch(cells.get("LOCATION", ""))
        if state and not state.startswith("up"):
            yield repaired("host", where, host, f"is {state} there; taken all the same, the crawler finds out")
        yield MirrorDraft(where, urls, host=host, country=place[1] if place else "")


def _exported(words: list[str], where: str) -> MirrorDraft:
    """CC URL MAIL, or a URL alone."""
    url = next((word for word in words if "://" in word), "")
    country = words[0] if len(words[0]) == 2 else ""
    mail = next((word for word in words if "@" in word and "://" not in word), "")
    return MirrorDraft(where, (DraftUrl(url or " ".join(words)),), country=country, email=mail, whole=False)
