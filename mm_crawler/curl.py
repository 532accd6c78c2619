"""libcurl's multi interface (pycurl) on the asyncio event loop: no polling, connections kept alive and shared.

libcurl tells us by callbacks which sockets to watch and when to wake it; we tell it what happened with
socket_action(). See https://curl.se/libcurl/c/libcurl-multi.html, "multi_socket".
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import select
import socket as sockets
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from ssl import cert_time_to_seconds
from types import TracebackType
from typing import Any, NamedTuple, Self

import pycurl

from mm_lib.rules.urls import is_public_address

MAX_REDIRECTS = 10
_WITHOUT_MESSAGE = {100: "more headers than libcurl takes"}
_MILLISECOND = 0.001
SPARE_HANDLES = 64  # idle easy handles that are kept


class CurlError(Exception):
    """libcurl could not finish a transfer; `code` is its error number, `reason` the system's if it has one."""

    def __init__(self, code: int, message: str, reason: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class NotPublic(CurlError):
    """The name leads to addresses that are not on the Internet, and only to such."""


class BodyTooLong(CurlError):
    """The body is longer than the caller wants to read."""


class CurlOptions(NamedTuple):
    """What holds for every transfer."""

    user_agent: str
    connect_timeout: float
    request_timeout: float
    connections: int  # kept open in all
    ca_file: Path | None = None
    public_only: bool = False  # connect to addresses of the Internet only, also after a redirect


class Response(NamedTuple):
    """The answer at the end of all redirects."""

    status: int
    length: int | None  # Content-Length, or the length of the body that was read
    sha256: str | None
    redirected_to: str
    retry_after: float


class Download(NamedTuple):
    """A body, and what came with it at the end of all redirects."""

    status: int
    body: bytes
    length: int | None  # of a whole body, as the server says
    modified: int  # Last-Modified in Unix seconds; 0: not said
    url: str
    retry_after: float = 0.0


class Probed(NamedTuple):
    """An answer over a connection of a chosen kind."""

    response: Response
    certificate_ends_at: int  # Unix seconds; 0: no TLS


class CurlClient:
    """Sends requests; made and used on one event loop. `async with` closes it."""

    def __init__(self, options: CurlOptions) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, options.connections)
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # when libcurl wants to be woken
        self._soon: asyncio.Handle | None = None
        self._spare: list[pycurl.Curl] = []
        self._waiting: dict[pycurl.Curl, asyncio.Future[None]] = {}
        self._turned_away: dict[pycurl.Curl, str] = {}  # an address that a transfer was not let connect to
        # One for all sockets: asyncio takes many steps to watch one, and libcurl wants that twice for each request.
        self._sockets = select.epoll()
        self._watched: set[int] = set()
        self._loop.add_reader(self._sockets.fileno(), self._sockets_ready)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        for handle in list(self._waiting):
            self._multi.remove_handle(handle)
            handle.close()
        self._waiting.clear()
        for handle in self._spare:
            handle.close()
        self._multi.close()
        self._loop.remove_reader(self._sockets.fileno())
        self._sockets.close()
        for alarm in (self._timer, self._soon):
            if alarm is not None:
                alarm.cancel()

    async def head(self, url: str) -> Response:
        """Ask for the headers. Raises CurlError."""
        handle = self._handle(url)
        handle.setopt(pycurl.NOBODY, True)
        try:
            await self._perform(handle)
            return _response(handle, _content_length(handle), None)
        finally:
            self._spare_or_close(handle)

    async def probe(self, url: str, family: int) -> Probed:
        """Ask for the headers over a new connection by IPv4 or IPv6 (4, 6). Raises CurlError."""
        handle = self._new_handle()
        try:
            handle.setopt(pycurl.URL, url)
            handle.setopt(pycurl.NOBODY, True)
            handle.setopt(pycurl.FRESH_CONNECT, True)
            handle.setopt(pycurl.OPT_CERTINFO, True)
            handle.setopt(pycurl.IPRESOLVE, pycurl.IPRESOLVE_V4 if family == 4 else pycurl.IPRESOLVE_V6)
            try:
                await self._perform(handle)
            except NotPublic:
                raise
            except CurlError as error:
                raise CurlError(error.code, str(error), handle.getinfo(pycurl.OS_ERRNO)) from None
            return Probed(_response(handle, _content_length(handle), None), _certificate_end(handle))
        finally:
            handle.close()

    async def digest(self, url: str, limit: int) -> Response:
        """Read and hash the body. Raises CurlError, BodyTooLong when it has more than `limit` bytes."""
        body = _Body(limit)
        handle = self._handle(url)
        handle.setopt(pycurl.HTTPGET, True)
        handle.setopt(pycurl.WRITEFUNCTION, body.write)
        try:
            await self._perform(handle)
            return _response(handle, body.length, body.hash.hexdigest())
        except CurlError as error:
            if body.length <= limit:
                raise
            response = _response(handle, None, None)
            if response.status == HTTPStatus.OK:
                raise BodyTooLong(error.code, f"more than {limit} bytes") from None
            return response  # a long error page: its status is all that matters
        finally:
            handle.setopt(pycurl.WRITEFUNCTION, _drop)
            self._spare_or_close(handle)

    async def fetch(self, url: str, limit: int, *, body: bool = True) -> Download:
        """Read the body, or only ask for its headers. Raises CurlError, BodyTooLong beyond `limit` bytes."""
        kept = _Kept(limit)
        handle = self._handle(url)
        handle.setopt(pycurl.HTTPGET if body else pycurl.NOBODY, True)
        handle.setopt(pycurl.OPT_FILETIME, True)
        handle.setopt(pycurl.WRITEFUNCTION, kept.write)
        try:
            await self._perform(handle)
            modified = max(0, handle.getinfo(pycurl.INFO_FILETIME))
            effective = handle.getinfo_raw(pycurl.EFFECTIVE_URL).decode("utf-8", "replace")
            said = _response(handle, _content_length(handle), None)
            return Download(said.status, bytes(kept.data), said.length, modified, effective, said.retry_after)
        except CurlError as error:
            if kept.overflown:
                raise BodyTooLong(error.code, f"more than {limit} bytes") from None
            raise
        finally:
            handle.setopt(pycurl.WRITEFUNCTION, _drop)
            self._spare_or_close(handle)

    def _handle(self, url: str) -> pycurl.Curl:
        handle = self._spare.pop() if self._spare else self._new_handle()
        handle.setopt(pycurl.URL, url)
        return handle

    def _new_handle(self) -> pycurl.Curl:
        handle = _new_handle(self._options)
        if self._options.public_only:
            handle.setopt(pycurl.OPENSOCKETFUNCTION, partial(self._open, handle))
        return handle

    def _open(self, handle: pycurl.Curl, _purpose: int, to: Any) -> sockets.socket | int:
        """Connect, or not. Asked with the address itself: what DNS says to another question does not count."""
        family, kind, protocol, where = to
        if not is_public_address(where[0]):
            self._turned_away[handle] = where[0]
            return int(pycurl.SOCKET_BAD)
        return sockets.socket(family, kind, protocol)

    def _spare_or_close(self, handle: pycurl.Curl) -> None:
        if len(self._spare) < SPARE_HANDLES:
            self._spare.append(handle)
        else:
            handle.close()

    async def _perform(self, handle: pycurl.Curl) -> None:
        future = self._loop.create_future()
        self._waiting[handle] = future
        self._turned_away.pop(handle, None)
        self._multi.add_handle(handle)
        try:
            await future
        except asyncio.CancelledError:
            if self._waiting.pop(handle, None) is not None:
                self._multi.remove_handle(handle)
            raise

    # ------------------------------------------------ what libcurl asks of the event loop

    def _watch(self, what: int, socket: int, _multi: pycurl.CurlMulti, _data: Any) -> None:
        """Watch a socket as libcurl wants. Called by libcurl, for each request at its beginning and its end."""
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(socket)
            with suppress(OSError):  # it is closed already
                self._sockets.unregister(socket)
            return
        events = (select.EPOLLIN if what & pycurl.POLL_IN else 0) | (select.EPOLLOUT if what & pycurl.POLL_OUT else 0)
        if socket in self._watched:
            self._sockets.modify(socket, events)
        else:
            self._watched.add(socket)
            self._sockets.register(socket, events)

    def _set_timer(self, milliseconds: int) -> None:
        """Wake libcurl after that time; -1: not at all. Called by libcurl, which must not be called back from here.

        It moves its timer with every request, mostly to later: then the one that is set looks again when it goes off.
        """
        self._due = self._loop.time() + milliseconds / 1000 if milliseconds > 0 else math.inf
        if milliseconds == 0:
            self._soon = self._soon or self._loop.call_soon(self._go_on)
        elif self._timer is None or self._timer.when() > self._due:
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._time_is_up) if self._due < math.inf else None

    def _go_on(self) -> None:
        self._soon = None
        self._act()

    def _time_is_up(self) -> None:
        self._timer = None
        if self._due > self._loop.time() + _MILLISECOND:
            self._set_alarm()
        else:
            self._act()

    def _sockets_ready(self) -> None:
        """Let libcurl work on all of them, in whatever they are ready for; a broken one is ready for everything."""
        for socket, events in self._sockets.poll(0):
            incoming = pycurl.CSELECT_IN if events & ~select.EPOLLOUT else 0
            outgoing = pycurl.CSELECT_OUT if events & ~select.EPOLLIN else 0
            self._multi.socket_action(socket, incoming | outgoing)
        self._hand_out()

    def _act(self) -> None:
        """Let libcurl see what time it is."""
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._hand_out()

    def _hand_out(self) -> None:
        """Tell those who wait for what libcurl has finished."""
        queued = 1
        while queued:
            queued, succeeded, failed = self._multi.info_read()
            for handle in succeeded:
                self._finish(handle, None)
            for handle, code, message in failed:
                self._finish(handle, CurlError(code, message or _WITHOUT_MESSAGE.get(code, f"libcurl's error {code}")))

    def _finish(self, handle: pycurl.Curl, error: CurlError | None) -> None:
        self._multi.remove_handle(handle)
        future = self._waiting.pop(handle)
        address = self._turned_away.pop(handle, "")
        if error and address:
            error = NotPublic(error.code, f"{address} is no address of the Internet (crawler.private_mirrors)")
        if future.done():  # cancelled in this very round
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(None)


class _Body:
    """Hashes what arrives and ends the transfer when it is too much."""

    def __init__(self, limit: int) -> None:
        self.hash = hashlib.sha256()
        self.length = 0
        self._limit = limit

    def write(self, data: bytes) -> int:
        self.length += len(data)
        if self.length > self._limit:
            return 0  # libcurl takes anything but len(data) as "stop"
        self.hash.update(data)
        return len(data)


class _Kept:
    """Keeps what arrives and ends the transfer when it is too much."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.overflown = False
        self._limit = limit

    def write(self, data: bytes) -> int:
        self.overflown = len(self.data) + len(data) > self._limit
        if self.overflown:
            return 0
        self.data += data
        return len(data)


def _drop(_data: bytes) -> None:
    """Nobody wants to know."""


def _new_handle(options: CurlOptions) -> pycurl.Curl:
    handle = pycurl.Curl()
    web = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
    settings: dict[int, Any] = {
        pycurl.PROTOCOLS: web | pycurl.PROTO_FTP | pycurl.PROTO_FTPS,
        pycurl.FTP_FILEMETHOD: pycurl.FTPMETHOD_SINGLECWD,
        pycurl.WRITEFUNCTION: _drop,  # else what FTP says of a file's size is printed
        pycurl.REDIR_PROTOCOLS: web,  # a mirror must not send us to file:// or gopher://
        pycurl.FOLLOWLOCATION: True,
        pycurl.MAXREDIRS: MAX_REDIRECTS,
        pycurl.NOSIGNAL: True,
        pycurl.NOPROXY: "*",  # a proxy's cache would answer in the mirror's place
        pycurl.USERAGENT: options.user_agent,
        pycurl.CONNECTTIMEOUT_MS: int(options.connect_timeout * 1000),
        pycurl.TIMEOUT_MS: int(options.request_timeout * 1000),
    }
    if options.ca_file is not None:
        settings[pycurl.CAINFO] = str(options.ca_file)
    for option, value in settings.items():
        handle.setopt(option, value)
    return handle


def _content_length(handle: pycurl.Curl) -> int | None:
    length = int(handle.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T))
    return None if length < 0 else length


def _certificate_end(handle: pycurl.Curl) -> int:
    """When the server's own certificate ends: the first of the chain that it showed."""
    for chain in handle.getinfo(pycurl.INFO_CERTINFO):
        for name, value in chain:
            if name == "Expire date":
                return int(cert_time_to_seconds(value))
    return 0


def _response(handle: pycurl.Curl, length: int | None, sha256: str | None) -> Response:
    redirected = handle.getinfo(pycurl.REDIRECT_COUNT) > 0
    status = handle.getinfo(pycurl.RESPONSE_CODE)
    if handle.getinfo(pycurl.SCHEME).lower() in ("ftp", "ftps"):
        status = HTTPStatus.OK  # what FTP says no to ends in an error
    return Response(
        status,
        length,
        sha256,
        handle.getinfo_raw(pycurl.EFFECTIVE_URL).decode("utf-8", "replace") if redirected else "",
        float(handle.getinfo(pycurl.RETRY_AFTER)) if status in (429, 503) else 0.0,
    )
