"""Lines of the redirector's access log as requests: the reference's form, and JSON with ECS field names.

Nothing here needs more than the standard library: `mm-redirector replay` reads the same lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from socket import AF_INET6, inet_pton
from typing import Any, NamedTuple
from urllib.parse import unquote

UNKNOWN_COUNTRY = "N/"  # what the reference makes of "N/A", and of embargoed countries
MAX_NAME = 255
YEARS = range(1990, 2201)  # one line of another year would make the first or the last page of everything

# Few groups, for each makes an object per line: an IPv4 address without its last part, day and country together.
_CLASSIC = re.compile(
    rb"^IP: ((?:\d{1,3}\.){3}|\S*)\d{0,3}; DATE: (\d{4}-\d\d-\d\d; COUNTRY: (?:[A-Za-z][A-Za-z0-9]|N/A)); "
    rb"REPO: (\S+); ARCH: (\S+)\r?$",
    re.MULTILINE,
)
_JSON = re.compile(rb"^\{.*$", re.MULTILINE)
_CLIENTS = (  # in the words of the User-Agent, in small letters; the first that fits
    ("dnf", re.compile(r"libdnf|\bdnf|packagekit")),
    ("yum", re.compile(r"\byum|urlgrabber")),
    ("zypper", re.compile(r"\bzypp")),
    ("apt", re.compile(r"apt-http|\bapt\b")),
)
_PREFIX = re.compile(rb"(?:\d{1,3}\.){3}")
_SIX_TO_FOUR = b"\x20\x02"
_MAPPED = bytes(10) + b"\xff\xff"


class Asked(NamedTuple):
    """What a request was about, and what answered it. Empty is not known."""

    day: date
    country: str  # capitals
    repository: str
    arch: str
    tier: str = ""
    host: str = ""
    protocol: str = ""
    client: str = ""
    kind: str = ""
    asn: str = ""  # AS64500


class Request(NamedTuple):
    """One line."""

    address: str  # as it is in the log
    agent: str
    asked: Asked


class Columns(NamedTuple):
    """Requests, side by side: the nth of every column belongs to the nth. Of the same form all along."""

    networks: Sequence[bytes]  # IPv4 without the last part, or any address
    origins: Sequence[bytes]  # day and country, for origin_of()
    names: Mapping[str, Sequence[bytes]]  # by the other fields of Asked
    quoted: bool  # percent-encoded


class Parsed(NamedTuple):
    """A portion of a log."""

    columns: tuple[Columns, ...]
    lines: int
    others: int  # well-formed lines about something else: refusals, paths, health checks
    malformed: int


def parse(portion: bytes) -> Parsed:
    """Take whole lines apart. Days are not looked at: there may be a 31st of February among them."""
    lines = portion.count(b"\n") + (not portion.endswith(b"\n") and bool(portion))
    found = []
    if rows := _CLASSIC.findall(portion):
        networks, origins, repositories, arches = zip(*rows, strict=True)
        found.append(Columns(networks, origins, {"repository": repositories, "arch": arches}, quoted=True))
    good, rest = len(rows), 0
    if portion.startswith(b"{") or b"\n{" in portion:
        columns, number, rest = _json_columns(portion)
        good += number
        found.append(columns)
    return Parsed(tuple(found), lines, rest, lines - good - rest)


def _json_columns(portion: bytes) -> tuple[Columns, int, int]:
    """The requests in JSON lines, how many they are, and how many lines are about something else."""
    networks: list[bytes] = []
    asked: list[Asked] = []
    others = 0
    for line in _JSON.findall(portion):
        record = _record(line)
        if record is None:
            continue
        found = _asked(record)
        if found is None:
            others += 1
            continue
        asked.append(found)
        networks.append(_address(record).encode())
    days, countries, *names = zip(*asked, strict=True) if asked else ((),) * len(Asked._fields)
    origins = [f"{day}; COUNTRY: {country}".encode() for day, country in zip(days, countries, strict=True)]
    columns = {
        field: [name.encode() for name in column] for field, column in zip(Asked._fields[2:], names, strict=True)
    }
    return Columns(networks, origins, columns, quoted=False), len(asked), others


@lru_cache(1 << 12)
def origin_of(text: bytes) -> tuple[date, str] | None:
    """Day and country. None: there is no such day, or it is far from all that may be in a log."""
    day, _, country = text.decode().split(" ")
    try:
        found = date.fromisoformat(day[:-1])
    except ValueError:
        return None
    return (found, country_of(country)) if found.year in YEARS else None


def country_of(text: str) -> str:
    """A code in capitals, A1 for proxies among them, or the reference's word for no country."""
    return text.upper() if len(text) == 2 and text.isascii() and text.isalnum() else UNKNOWN_COUNTRY


@lru_cache(1 << 14)
def name_of(text: bytes, *, quoted: bool) -> str:
    """A value as it is stored. In classic lines what could break them is percent-encoded."""
    name = text.decode("utf-8", "replace")
    return _stored(unquote(name) if quoted else name)


def _stored(name: str) -> str:
    return name[:MAX_NAME].replace("\0", "\ufffd")


def _record(line: bytes) -> dict[str, Any] | None:
    """The object in a line that says when it was; None: malformed."""
    try:
        record = json.loads(line.decode())  # of bytes, it would look for their encoding each time
        date.fromisoformat(record["@timestamp"][:10])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _asked(record: dict[str, Any]) -> Asked | None:
    """None: it was no answer to a question for a repository; only those are in the reference's log."""
    repository, arch = _text(record, "mirrormanager.repo"), _text(record, "mirrormanager.arch")
    outcome, status = record.get("event.outcome"), record.get("http.response.status_code", 200)
    refused = outcome != "success" if outcome else not isinstance(status, int) or status >= 400
    if not repository or not arch or refused:
        return None
    return Asked(
        _day(record["@timestamp"][:10]),
        country_of(_text(record, "client.geo.country_iso_code")),
        repository,
        arch,
        _text(record, "mirrormanager.tier"),
        _text(record, "mirrormanager.host"),
        _text(record, "mirrormanager.protocol"),
        client_kind(_text(record, "user_agent.original")),
        _text(record, "mirrormanager.kind"),
        system_name(record.get("client.as.number")),
    )


def system_name(number: object) -> str:
    """An autonomous system as it is written; empty for what is none."""
    return f"AS{number}" if type(number) is int and 0 < number < 1 << 32 else ""


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    return _clean(value) if isinstance(value, str) else ""


@lru_cache(1 << 14)  # few are not the same again and again
def _clean(value: str) -> str:
    return _stored(value).encode("utf-8", "replace").decode()


def _address(record: dict[str, Any]) -> str:
    value = record.get("client.ip") or record.get("client.address")
    return _clean.__wrapped__(value) if isinstance(value, str) else ""  # hardly any comes again


_day = lru_cache(64)(date.fromisoformat)


@lru_cache(1 << 14)
def client_kind(agent: str) -> str:
    """Which program asked."""
    small = agent.lower()
    return next((kind for kind, words in _CLIENTS if words.search(small)), "other")


def network_of(text: bytes) -> tuple[bytes, str]:
    """The client's /24 as text without its last part, or its /48; and its family. Of what is no address, nothing."""
    if b":" not in text:
        prefix = text[: text.rfind(b".") + 1]
        return (prefix, "IPv4") if _PREFIX.fullmatch(prefix) else (b"", "")
    try:
        packed = inet_pton(AF_INET6, text.decode())
    except (OSError, ValueError):
        return b"", ""
    if packed.startswith(_MAPPED):
        return b"%d.%d.%d." % tuple(packed[12:15]), "IPv4"
    # A 6to4 address has the whole IPv4 address of its client in the first 48 bits.
    return packed[: 5 if packed.startswith(_SIX_TO_FOUR) else 6], "IPv6"


def requests(portion: bytes) -> Iterator[Request]:
    """Every request for a repository in a portion of a log, line by line, with the address as it is there."""
    for line in portion.splitlines():
        if line.startswith(b"{"):
            record = _record(line)
            if record and (asked := _asked(record)):
                yield Request(_address(record), _text(record, "user_agent.original"), asked)
        elif (match := _CLASSIC.match(line)) and (origin := origin_of(match[2])):
            address = unquote(line[4 : line.index(b"; ", 4)].decode("ascii", "replace"))
            names = (name_of(text, quoted=True) for text in match.groups()[2:])
            yield Request("" if address == "N/A" else address, "", Asked(*origin, *names))
