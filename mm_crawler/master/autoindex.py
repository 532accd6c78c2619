"""The index pages that nginx and Apache httpd make of directories, as entries."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urljoin

from lxml import etree, html

from mm_crawler.master.scanned import is_recordable

_DATES = {"%Y-%m-%d %H:%M": re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}")}
_DATES["%d-%b-%Y %H:%M"] = re.compile(r"\d{2}-[A-Z][a-z]{2}-\d{4} \d{2}:\d{2}")
_SIZE = re.compile(r"\s*(?P<number>\d{1,18}(?:\.\d)?)(?P<unit>[KMGTP]?)(?=\s|$)")
_UNITS = {unit: 1024**power for power, unit in enumerate(("", "K", "M", "G", "T", "P"))}
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~%-]*/?")  # a link to something in the same directory, and no more
_TITLE = "index of"
_MAX_NAME = 255


class NoIndex(ValueError):
    """A page is no index of a directory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a page says of a file or directory; times in whole minutes."""

    name: str
    is_directory: bool
    size: int
    is_exact: bool  # its size; and it has a time
    mtime: int

    def agrees(self, size: int, mtime: int) -> bool:
        """Whether this may be a file of this size and time."""
        return self.mtime == mtime - mtime % 60 and (self.size == size or not self.is_exact)


@dataclass(frozen=True, slots=True)
class Page:
    """A directory, and the links of its page that could not be used."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]


def parse(data: bytes, url: str) -> Page:
    """The entries of the directory at this address. Links to anything else are left out. Raises NoIndex."""
    try:
        tree = html.document_fromstring(data, parser=html.HTMLParser(encoding="utf-8", no_network=True))
    except (etree.ParserError, etree.XMLSyntaxError, ValueError, AssertionError):
        raise NoIndex("it is no HTML") from None
    title = (tree.findtext(".//title") or tree.findtext(".//h1") or "").strip().lower()
    if not title.startswith(_TITLE):
        raise NoIndex('its title is not "Index of ..."')
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    for link in tree.iter("a"):
        name, is_directory = _name(link.get("href") or "", url)
        if not name or name in entries:
            continue
        if not is_recordable(name) or len(name) > _MAX_NAME:
            problems.append(f"{name[:100]!a}: left out, its name cannot be recorded")
        else:
            entries[name] = _entry(name, is_directory, _said(link))
    return Page(tuple(entries.values()), tuple(problems[:20]))


def _name(href: str, url: str) -> tuple[str, bool]:
    """The name of what a link leads to, and whether that is a directory; "" when it is not in this directory."""
    if url.endswith("/") and _PLAIN.fullmatch(href):  # nearly all are, and joining takes longer than all the rest
        rest = href
    else:
        try:
            target = urljoin(url, href.strip())
        except ValueError:
            return "", False
        if not target.startswith(url) or "?" in target or "#" in target:
            return "", False
        rest = target.removeprefix(url)
    name = unquote(rest.removesuffix("/"), errors="surrogateescape")
    if "/" in name or name in (".", ".."):
        return "", False
    return name, rest.endswith("/")


def _said(link: Any) -> str:
    """The text beside a link: of the cells after its own, or up to the end of the line."""
    cell = link.getparent()
    if cell is not None and cell.tag in ("td", "th"):
        return " ".join(" ".join(other.itertext()) for other in cell.itersiblings())
    return (link.tail or "").partition("\n")[0]


def _entry(name: str, is_directory: bool, said: str) -> Entry:
    mtime, rest = _time(said)
    match = None if is_directory else _SIZE.match(rest)
    if match is None:
        return Entry(name, is_directory, 0, is_directory, mtime)
    exact = not match["unit"] and "." not in match["number"] and bool(mtime)
    return Entry(name, is_directory, int(float(match["number"]) * _UNITS[match["unit"]]), exact, mtime)


def _time(said: str) -> tuple[int, str]:
    """The time, 0 when there is none, and the text behind it."""
    for form, expression in _DATES.items():
        if match := expression.search(said):
            time = _seconds(match[0], form)
            return time, said[match.end() :] if time else said
    return 0, said


@lru_cache(maxsize=4096)
def _seconds(text: str, form: str) -> int:
    """A time of a page, 0 for one that is none; files of a directory often share theirs."""
    try:
        return timegm(datetime.strptime(text, form).timetuple())  # noqa: DTZ007 - UTC
    except ValueError:
        return 0


def children(page: Page) -> Iterator[Entry]:
    """Its directories."""
    return (entry for entry in page.entries if entry.is_directory)
