"""One line per request: in the form that MirrorManager's statistics read, or as JSON with ECS field names.

An answer never waits for the disk: the request thread appends the entry to a queue in memory, and a thread of the
log's own makes lines of it and writes them, twice a second and at the end. What the disk does not take is dropped and
counted. An entry carries everything as the request had it, so that the request thread need not build anything.
"""

from __future__ import annotations

import datetime
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, NamedTuple
from urllib.parse import quote

logger = logging.getLogger(__name__)

Format = Literal["classic", "json"]

UNKNOWN = "N/A"
_PLAIN = "/:+,@~!$&'()*="  # what may stand in a name unchanged; blanks, ";", "%" and newlines are percent-encoded

INTERVAL = 0.4  # seconds between looks at the queue
LIMIT = 50_000  # entries that wait for the disk; about 30 MB when it hangs
# Formatting holds the interpreter lock. In small portions with pauses between them no request waits for longer than a
# portion takes (about 0.2 ms); in one go, each would wait for the interpreter's switch interval, 5 ms, again and again.
PORTION = 64
PAUSE = 0.0003
LAST_WRITE = 5.0  # seconds that the end of the process waits for a disk that hangs
LONGEST = 1024  # characters of one value in a JSON line; ECS ignores longer ones


class Entry(NamedTuple):
    """What is remembered of one request. The classic line needs only the first five; empty or None is unknown."""

    when: float | datetime.date  # seconds since the epoch; UTC
    address: str
    country: str  # the client's
    repo: str  # as the client wrote it
    arch: str
    method: str = ""
    status: int = 0
    size: int = 0  # bytes of the body
    path: str = ""  # as WSGI has it: bytes as Latin-1 characters, percent-decoded
    agent: str = ""  # the same
    seconds: float = 0.0  # from the request to the answer
    asn: int | None = None
    kind: str = ""
    tier: str = ""  # of the first host
    host: str = ""  # the first
    protocol: str = ""  # of its first URL
    outcome: str = ""  # success or failure, in the words of ECS


def ignore(entry: Entry) -> None:
    """Where no log is wanted."""


def line(entry: Entry) -> str:
    """The line of the reference; readers split it at white space, so values must not contain any."""
    address = quote(entry.address, safe=_PLAIN, errors="replace") or UNKNOWN
    country = entry.country or UNKNOWN
    return f"IP: {address}; DATE: {_day(entry.when)}; COUNTRY: {country}; {_asked(entry.repo, entry.arch)}"


@lru_cache(512)  # repositories are few
def _asked(repo: str, arch: str) -> str:
    names = (quote(name, safe=_PLAIN, errors="replace") or UNKNOWN for name in (repo, arch))
    return "REPO: {}; ARCH: {}\n".format(*names)


def _day(when: float | datetime.date) -> str:
    return _day_of(when // 86400) if isinstance(when, int | float) else when.isoformat()


@lru_cache(2)
def _day_of(number: float) -> str:
    return datetime.date.fromordinal(719163 + int(number)).isoformat()  # 1970-01-01


# Name in ECS (or ours), quoted already, and position in the entry.
_TEXTS = tuple(
    (f'"{name}":', Entry._fields.index(field))
    for name, field in {
        "client.address": "address",
        "client.geo.country_iso_code": "country",
        "http.request.method": "method",
        "mirrormanager.repo": "repo",
        "mirrormanager.arch": "arch",
        "mirrormanager.kind": "kind",
        "mirrormanager.tier": "tier",
        "mirrormanager.host": "host",
        "mirrormanager.protocol": "protocol",
        "event.outcome": "outcome",
    }.items()
)


def json_line(entry: Entry) -> str:
    """One JSON object with ECS field names; what is unknown is left out. ASCII only: nothing can end the line."""
    parts = [f'{{"@timestamp":"{_stamp(entry.when)}"']
    parts += [name + _quoted(_safe(text)) for name, position in _TEXTS if (text := str(entry[position]))]
    if _is_address(entry.address):  # the field has the type of an address: a collector would refuse anything else
        parts.append(f'"client.ip":"{entry.address}"')
    if entry.asn is not None:
        parts.append(f'"client.as.number":{entry.asn:d}')
    if entry.path:
        parts.append(f'"url.path":{_quoted(_safe(_decoded(entry.path)))}')
    if entry.agent:
        parts.append(f'"user_agent.original":{_quoted(_safe(_decoded(entry.agent)))}')
    parts.append(
        f'"http.response.status_code":{entry.status:d},"http.response.body.bytes":{entry.size:d},'
        f'"event.duration":{int(entry.seconds * 1e9)}}}\n'
    )
    return ",".join(parts)


def _stamp(when: float | datetime.date) -> str:
    if not isinstance(when, int | float):
        return f"{when.isoformat()}T00:00:00.000Z"
    milliseconds = int(when * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(4)
def _second(number: int) -> str:
    return datetime.datetime.fromtimestamp(number, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _decoded(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")


def _safe(text: str) -> str:
    """Not endless, and without halves of surrogate pairs, which many readers of JSON refuse."""
    text = text[:LONGEST]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@lru_cache(1024)
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone


@lru_cache(1024)
def network_of(address: str) -> str:
    """The first address of the client's /24 or /48; empty for what is no address, for who knows what it tells."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            # A 6to4 address has the whole IPv4 address of its client in the first 48 bits.
            host_bits = 128 - (40 if parsed.sixtofour else 48)
            return str(IPv6Address(int(parsed) >> host_bits << host_bits))
        parsed = parsed.ipv4_mapped
    return str(IPv4Address(int(parsed) >> 8 << 8))


class AccessLog:
    """Appends lines to a file, behind the requests' backs. Several processes may write to the same file."""

    def __init__(
        self,
        path: Path,
        form: Format = "classic",
        *,
        networks: bool = False,
        limit: int = LIMIT,
        interval: float = INTERVAL,
    ) -> None:
        self._path = path
        self._format: Callable[[Entry], str] = json_line if form == "json" else line
        self._networks = networks  # truncate the clients' addresses
        self._limit = limit
        self._interval = interval
        self._queue: deque[Entry] = deque()
        self._handle: int | None = None
        self._torn = False  # the file ends in half of a line
        self._in_place = False  # what is open is what the name stands for
        self._complained = False
        self._lost = 0  # lines that the file did not take; only the log's thread counts them
        self._refused = 0  # entries that the queue did not take
        self._refusing = threading.Lock()
        # A queue, not an Event: put() is safe inside of a signal handler that interrupts another put().
        self._wishes: SimpleQueue[bool] = SimpleQueue()
        self._writer: threading.Thread | None = None

    def write(self, entry: Entry) -> None:
        """Remember one request; returns at once. A full disk costs the line, not the answer."""
        if len(self._queue) < self._limit:
            self._queue.append(entry)
        else:
            with self._refusing:
                self._refused += 1

    @property
    def dropped(self) -> int:
        """Lines that were lost so far."""
        return self._lost + self._refused

    def start(self) -> None:
        """Write from now on. To be called in the process that writes: a fork takes no thread along."""
        self._writer = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._writer.start()

    def reopen_soon(self) -> None:
        """Open the file by its name again; returns at once and may be called from a signal handler."""
        self._wishes.put(True)

    def close(self) -> None:
        """Write what is left, and no more after it."""
        if self._writer is not None:
            self._wishes.put(False)
            self._writer.join(LAST_WRITE)
            self._writer = None

    def _run(self) -> None:
        going = reopen = True
        while going:
            try:
                self._refresh(reopen)
                self._drain(PAUSE)
            except Exception:  # the thread must outlive whatever it meets, or the queue fills up for good
                logger.exception("writing the access log failed")
            going, reopen = self._next_wish()
        self._refresh(reopen)
        self._drain(0)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _next_wish(self) -> tuple[bool, bool]:
        """Whether to go on, and whether to open the file anew."""
        try:
            wish = self._wishes.get(timeout=self._interval)
        except Empty:
            return True, False
        return wish, wish

    def _refresh(self, reopen: bool) -> None:
        """Open the file again on demand, and when it was moved away, as log rotation does."""
        try:
            self._in_place = not reopen and self._handle is not None and self._is_in_place(self._handle)
            if not self._in_place:
                new = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
                old, self._handle, self._torn, self._in_place = self._handle, new, False, True
                if old is not None:
                    os.close(old)
        except OSError as error:
            self._complain(error)

    def _is_in_place(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def _drain(self, pause: float) -> None:
        for portion in self._portions():
            self._put([self._format(entry) for entry in portion])
            time.sleep(pause)

    def _portions(self) -> Iterator[list[Entry]]:
        """What is in the queue now; what comes meanwhile is for the next time."""
        waiting = len(self._queue)
        while waiting > 0:
            portion = [self._queue.popleft() for _ in range(min(waiting, PORTION))]
            waiting -= len(portion)
            if self._networks:
                portion = [entry._replace(address=network_of(entry.address)) for entry in portion]
            yield portion

    def _put(self, lines: list[str]) -> None:
        """One write, so that lines of several processes stay whole."""
        if self._handle is None:
            self._lost += len(lines)
            return
        data = ("\n" if self._torn else "").encode() + "".join(lines).encode()
        try:
            written = os.write(self._handle, data)
            if written < len(data):  # the disk is full now: the next write says so
                self._torn = data[written - 1 : written] != b"\n"
                self._lost += data.count(b"\n", written)
                return
            self._torn = False
            self._complained = self._complained and not self._in_place
        except OSError as error:
            self._lost += len(lines)
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        """Once, not at every request, until it works again."""
        if not self._complained:
            self._complained = True
            logger.error("the access log %s cannot be written: %s", self._path, error)
