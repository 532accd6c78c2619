"""One category of the cache, prepared for questions: who carries a directory, and what each host adds to an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from mm_lib.cache.schema import Absent, Category, Factors, FileDetail, Host
from mm_lib.cache.table import Pause, resting, unhurried
from mm_redirector.memory import Memory
from mm_redirector.query import LIST_PROTOCOLS, REDIRECT_PROTOCOLS, UNSAFE, Choice
from mm_redirector.shuffle import Law

HOLE = b"\x01"  # stands in a host's contribution where the rest of the URL comes; no URL contains it

MAX_READ = 4_096  # about 5 MB

_CUT = "\x02"
_SPECIAL = re.compile(f'[&<>"]|{UNSAFE.pattern}')
_URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~"


def escape(text: str) -> str:
    """Safe as content and as a quoted attribute of an XML element."""
    if not _SPECIAL.search(text):
        return text
    safe = UNSAFE.sub("\ufffd", text)
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@dataclass(frozen=True, slots=True)
class View:
    """What each host of a category contributes to an answer with one choice of URLs, by number of the host."""

    hosts: int  # who has a URL at all
    urls: Sequence[tuple[str, ...]]  # safe to print, best first
    firsts: Sequence[str]  # the best one
    links: Sequence[str]  # the same, as a Link header begins
    places: Sequence[str]  # the country, as a Link header ends
    lines: Sequence[bytes]  # for a list: URLs with holes between them, and none at the end
    single: bool  # no host has more than one: there are no holes in lines
    elements: Sequence[tuple[bytes, ...]]  # for a metalink: <url> elements, cut where the preference comes
    elements4: Sequence[tuple[bytes, ...]]  # the same for metalink 4, cut where the priority comes


class Weighing(NamedTuple):
    """What a host is weighed by, where the client stands aside."""

    bandwidth: int  # Mbit/s
    factors: Factors


class CategoryIndex:
    """One category: its directories, and what its hosts contribute to answers."""

    def __init__(
        self,
        category: Category,
        hosts: Sequence[Host],
        masks: Sequence[int],
        factors: frozenset[str],
        pause: Pause = unhurried,
    ) -> None:
        self.name = category.name
        self.always_up_to_date = category.always_up_to_date
        self.reserved: Mapping[str, int] = category.reserved
        self.absent: Sequence[Absent] = category.absent
        self.top = f"{category.topdir}/" if category.topdir else ""
        self._directories = category.directories
        self._masks = masks
        self._files = category.files
        self._hosts = hosts
        urls_of = resting(category.urls.items(), pause)
        self._urls = {number: _ordered(urls) for number, urls in urls_of if 0 <= number < len(hosts)}
        self._protocols = frozenset(_protocol(url) for urls in self._urls.values() for url in urls)
        self._most = max((len(urls) for urls in self._urls.values()), default=0)
        self._pause = pause
        self._views: dict[Choice, View] = {}
        countries = [host.country.lower() for host in resting(hosts, pause)]
        self._places = [f"; geo={country}" if country.isalpha() else "" for country in countries]
        self._read: Memory[str, tuple[FileDetail, ...]] = Memory(MAX_READ)
        self.hosts = self.view(Choice(None, None)).hosts
        self.view(Choice(frozenset(LIST_PROTOCOLS), 1))
        self.view(Choice(frozenset(REDIRECT_PROTOCOLS), 1))
        self._factors = category.factors
        numbers = resting(range(len(hosts)), pause)
        self.law = Law(np.array([weight(self.weighing(number), factors) for number in numbers], np.float64))
        self._pause = unhurried  # from now on it works for a request that waits

    def weighing(self, number: int) -> Weighing:
        """What the host with this number is weighed by."""
        # A weight of nothing would never be drawn: a host that is up to date has at least some bandwidth.
        return Weighing(max(1, self._hosts[number].bandwidth), self._factors.get(number, Factors()))

    def carriers(self, path: str) -> int | None:
        """Who has the directory up to date; None when there is no such directory."""
        position = self._directories.get(path)
        return None if position is None else self._masks[position]

    def details(self, path: str, file: str) -> tuple[FileDetail, ...]:
        """The known versions of a file, newest first. Few files are asked for again and again."""
        name = f"{path}/{file}" if path else file
        found = self._read.get(name)
        if found is None:
            found = self._files.get(name, ())
            self._read.keep(name, found)
        return found

    def below_topdir(self, path: str) -> str:
        """The part of a directory's path that follows the URL of a host."""
        return path[len(self.top) :]

    def view(self, choice: Choice) -> View:
        """What hosts contribute with this choice; made once per distinct choice, of which there are only a few."""
        found = self._views.get(choice)
        return found if found is not None else self._find_view(choice)

    def pieces(self) -> list[object]:
        """What it has made of its hosts."""
        found: list[object] = [*self._urls.values(), *tuple(self._read.values())]
        for view in tuple(self._views.values()):
            for part in (view.urls, view.links, view.lines, view.elements, view.elements4):
                found += part
        return found

    def _find_view(self, choice: Choice) -> View:
        """Choices that mean the same share a view, so that odd requests do not fill the memory."""
        protocols, limit = choice
        wanted = self._protocols if protocols is None else self._protocols & protocols
        key = Choice(wanted, self._most if limit is None else min(limit, self._most))
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self._make_view(key)
        if protocols is None or protocols <= _KNOWN_PROTOCOLS:
            self._views[choice] = found
        return found

    def _make_view(self, choice: Choice) -> View:
        protocols, limit = choice
        mask, size = 0, len(self._hosts)
        shown: list[tuple[str, ...]] = [()] * size
        firsts = [""] * size
        links = [""] * size
        lines = [b""] * size
        elements: list[tuple[bytes, ...]] = [()] * size
        elements4: list[tuple[bytes, ...]] = [()] * size
        for number, urls in resting(self._urls.items(), self._pause):
            chosen = tuple(url for url in urls if _protocol(url) in (protocols or ()))[:limit]
            if chosen:
                mask |= 1 << number
                shown[number] = chosen
                firsts[number] = chosen[0]
                links[number] = f"<{chosen[0]}"
                lines[number] = HOLE.join(url.encode() for url in chosen)
                elements[number] = _elements(self._hosts[number], chosen)
                elements4[number] = _elements4(self._hosts[number], chosen)
        return View(mask, shown, firsts, links, self._places, lines, limit == 1, elements, elements4)


_KNOWN_PROTOCOLS = frozenset({"https", "http", "ftp", "rsync"})


def weight(weighing: Weighing, factors: frozenset[str]) -> float:
    """The weight of a host in a draw: the product of those factors that the policy names."""
    values = {"bandwidth": float(weighing.bandwidth), **weighing.factors._asdict()}
    product = prod(value for name, value in values.items() if name in factors)
    return product if product > 0.0 else MIN_WEIGHT


MIN_WEIGHT = 1e-6  # of a host that a factor of 0 would exclude: it is up to date, so it stays the last resort


def _protocol(url: str) -> str:
    return url.partition(":")[0]


def _ordered(urls: Iterable[str]) -> list[str]:
    """Safe to print, and https first; the order of the operator otherwise."""
    clean = [quote(url.rstrip("/"), safe=_URL_CHARACTERS) for url in urls]
    return sorted(clean, key=lambda url: not url.startswith("https:"))


def _elements(host: Host, urls: Iterable[str]) -> tuple[bytes, ...]:
    """The <url> elements of a host, cut in pieces: joined by a preference they are whole."""
    private = ' mm0:private="True"' if host.private else ""
    text = "".join(
        f'    <url protocol="{escape(_protocol(url))}" type="{escape(_protocol(url))}"'
        f' location="{escape(host.country.upper())}"'
        f' preference="{_CUT}"{private}>{escape(url)}{HOLE.decode()}</url>\n'
        for url in urls
    )
    return tuple(piece.encode() for piece in text.split(_CUT))


def _elements4(host: Host, urls: Iterable[str]) -> tuple[bytes, ...]:
    """The same for metalink 4 (RFC 5854 section 4.2.17): location in lower case, priority 1 is best."""
    location = f' location="{escape(host.country.lower())}"' if host.country else ""
    text = "".join(f'    <url{location} priority="{_CUT}">{escape(url)}{HOLE.decode()}</url>\n' for url in urls)
    return tuple(piece.encode() for piece in text.split(_CUT))
