"""Debian's Mirrors.masterlist: paragraphs of fields (deb822), one per mirror."""

from __future__ import annotations

import re
from collections.abc import Iterator

from debian.deb822 import Deb822

from mm_lib.importers.drafts import DraftUrl, Found, MirrorDraft, refused, repaired

_URL_FIELD = re.compile(r"(?P<part>.+)-(?P<scheme>https?|ftps?|rsync)", re.IGNORECASE)
_SPONSOR = re.compile(r"[\s,;]*(?P<name>.*?)\s*<?\b(?P<url>https?://[^\s,;>]+)>?")
_MAIL = re.compile(r"<\s*([^<>\s]+@[^<>\s]+)\s*>")
_TAKEN = {"site", "country", "location", "sponsor", "maintainer", "comment"}
_FIELD = re.compile(r"[!-,.-9;-~][!-9;-~]*\s*:")  # as Policy 5.1 has it


def parse(text: str, file: str) -> Found:
    """A draft for each paragraph."""
    for line, paragraph in _paragraphs(text):
        where = f"{file}:{line}"
        lines: list[str] = []
        named: set[str] = set()
        again = False
        for offset, one in enumerate(paragraph):
            if _FIELD.match(one):
                again = (name := one.partition(":")[0].strip().lower()) in named
                named.add(name)
                if again:
                    yield refused("field", f"{file}:{line + offset}", one[:80], "stands there before; that one counts")
            elif one.startswith("#"):
                continue
            elif not one.startswith((" ", "\t")):
                yield refused("field", f"{file}:{line + offset}", one[:80], "is neither a field nor part of one")
                continue
            if not again:
                lines.append(one)
        fields = {key: " ".join(value.split()) for key, value in Deb822(lines).items()}
        if fields:
            yield from _mirror(fields, where)


def _paragraphs(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines between empty ones, with the number of the first."""
    start, lines = 1, []
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.strip():
            lines.append(line.rstrip())
            continue
        if lines:
            yield start, lines
        start, lines = number + 1, []


def _mirror(spelled: dict[str, str], where: str) -> Found:
    fields = {name.lower(): value for name, value in spelled.items()}
    site = fields.get("site", "").strip("/")
    urls = []
    for name, value in spelled.items():
        if found := _URL_FIELD.fullmatch(name):
            address = value if "://" in value else f"{found['scheme']}://{site}/{value.lstrip('/')}"
            urls.append(DraftUrl(address if site or "://" in value else "", found["part"]))
        elif name.lower() not in _TAKEN and value:
            yield refused("field", where, site, f"the field {name} has no place in the registry")
    sponsor, url, more = _sponsor(fields.get("sponsor", ""))
    if more:
        yield repaired("site", where, fields["sponsor"], "one organisation is kept per mirror; the first was taken")
    maintainer = fields.get("maintainer", "")
    mails = _MAIL.findall(maintainer)
    if maintainer and not mails:
        yield refused("email", where, maintainer, "names no mailbox in angle brackets")
    notes = [f"Location: {fields['location']}" if fields.get("location") else "", fields.get("comment", "")]
    yield MirrorDraft(
        where,
        tuple(urls),
        host=site,
        site=sponsor,
        site_url=url,
        country=fields.get("country", ""),
        email=",".join(mails),
        comment="\n".join(filter(None, notes)),
    )


def _sponsor(text: str) -> tuple[str, str, bool]:
    """Name and URL of the first, and whether there are more."""
    first = _SPONSOR.match(text)
    if first is None:
        return text.strip(), "", False
    return first["name"], first["url"], bool(text[first.end() :].strip(" ,;"))
