"""Asks a mirror over HTTP, HTTPS, FTP and FTPS, by libcurl."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from random import Random
from urllib.parse import urlsplit

import pycurl

from mm_crawler import curl
from mm_crawler.curl import BodyTooLong, CurlClient, CurlError
from mm_crawler.fetch.base import (
    LONGEST_PAUSE,
    Answer,
    BadAnswer,
    BadCertificate,
    FetchError,
    NotPublic,
    Reached,
    TooBusy,
    TooLarge,
    TooSlow,
    Unreachable,
    pause_before,
)
from mm_crawler.fetch.pace import Pace

FAMILIES = (4, 6)
_KINDS: Mapping[int, type[FetchError]] = {
    pycurl.E_OPERATION_TIMEDOUT: TooSlow,
    pycurl.E_PEER_FAILED_VERIFICATION: BadCertificate,
    pycurl.E_SSL_CERTPROBLEM: BadCertificate,
    pycurl.E_SSL_CIPHER: BadCertificate,
    pycurl.E_SSL_CONNECT_ERROR: BadCertificate,
    pycurl.E_COULDNT_CONNECT: Unreachable,
    pycurl.E_COULDNT_RESOLVE_HOST: Unreachable,
    pycurl.E_GOT_NOTHING: Unreachable,
    pycurl.E_PARTIAL_FILE: Unreachable,
    pycurl.E_RECV_ERROR: Unreachable,
    pycurl.E_SEND_ERROR: Unreachable,
    pycurl.E_LOGIN_DENIED: TooBusy,  # an FTP server that is full refuses to log us in
}
# FTP servers say 550 to what is not there and to what is closed alike.
_NOT_THERE = (pycurl.E_REMOTE_FILE_NOT_FOUND, pycurl.E_REMOTE_ACCESS_DENIED, pycurl.E_FTP_COULDNT_RETR_FILE)
_NO_WAY_FROM_HERE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

Outcome = Answer | FetchError
_Ask = Callable[[], Awaitable[Answer]]


class HttpFetcher:
    """Asks one mirror. When it wants a pause, all questions to it wait."""

    def __init__(self, client: CurlClient, tries: int, rng: Random, pace: Pace | None = None) -> None:
        self.requests = 0
        self._client = client
        self._tries = tries
        self._rng = rng
        self._pace = pace or Pace()
        self._known: dict[str, Reached] = {}  # by scheme, host and port

    async def reach(self, url: str) -> Reached:
        """Send a HEAD by IPv4 and one by IPv6, each over a connection of its own; once for each server."""
        server = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        if server in self._known:
            return self._known[server]._replace(answer=await value(self.look(url)))

        async def by_all() -> Outcome:
            by_each = (self._by(family, url) for family in _families(url))
            self._known[server] = merge(await asyncio.gather(*by_each))
            return self._known[server].answer

        await self._until_clear(by_all)
        return self._known[server]

    async def look(self, url: str) -> Answer:
        """Send a HEAD, or ask FTP for the size."""
        return await self._persist(lambda: self._look(url))

    async def digest(self, url: str, limit: int) -> Answer:
        """Read what comes and hash it."""
        return await self._persist(lambda: self._digest(url, limit))

    async def page(self, url: str, limit: int) -> Answer:
        """Read what comes and keep it."""
        return await self._persist(lambda: self._page(url, limit))

    async def _look(self, url: str) -> Answer:
        answer = Answer(*await self._client.head(url))
        if answer.size is None and is_ftp(url) and not url.endswith("/"):
            raise BadAnswer("the server does not say how long files are")
        return answer

    async def _digest(self, url: str, limit: int) -> Answer:
        return Answer(*await self._client.digest(url, limit))

    async def _page(self, url: str, limit: int) -> Answer:
        said = await self._client.fetch(url, limit)
        elsewhere = said.url if said.url != url else ""
        return Answer(said.status, len(said.body), None, elsewhere, said.retry_after, said.body)

    async def _by(self, family: int, url: str) -> Reached:
        """What comes by one family of addresses, in that family's field."""
        ends_at = 0

        async def ask() -> Answer:
            nonlocal ends_at
            probed = await self._client.probe(url, family)
            ends_at = probed.certificate_ends_at
            return Answer(*probed.response)

        answer = await self._once(ask)
        reached: bool | None = isinstance(answer, Answer)
        if isinstance(answer, NoWay):
            reached = None
        return Reached(answer, reached if family == 4 else None, reached if family == 6 else None, ends_at)

    async def _persist(self, ask: _Ask) -> Answer:
        """Try until the answer says yes or no, or it makes no sense to go on. Raises FetchError."""
        outcome = await self._until_clear(lambda: self._once(ask))
        if isinstance(outcome, FetchError):
            raise outcome
        return outcome

    async def _until_clear(self, once: Callable[[], Awaitable[Outcome]]) -> Outcome:
        for next_try in range(2, self._tries + 1):
            outcome = await once()
            if not outcome.worth_another_try:
                return outcome
            asked_for = outcome.retry_after if isinstance(outcome, Answer) else 0.0
            pause = pause_before(next_try, asked_for, self._rng.random())
            if pause is None:
                return outcome
            self._pace.hold(pause)
        outcome = await once()
        if isinstance(outcome, Answer) and outcome.worth_another_try:
            self._pace.hold(min(outcome.retry_after, LONGEST_PAUSE))  # for the questions that follow
        return outcome

    async def _once(self, ask: _Ask) -> Outcome:
        await self._pace.turn()
        self.requests += 1
        try:
            return await ask()
        except BodyTooLong as error:
            return TooLarge(str(error))
        except CurlError as error:
            return _no_answer(error)
        except FetchError as error:
            return error


class NoWay(Unreachable):
    """This machine has no addresses of the kind that it would take."""


def _no_answer(error: CurlError) -> Outcome:
    if error.code in _NOT_THERE:
        return Answer(HTTPStatus.NOT_FOUND, None)
    if isinstance(error, curl.NotPublic):
        return NotPublic(str(error))
    if error.reason in _NO_WAY_FROM_HERE:
        return NoWay(str(error))
    return _KINDS.get(error.code, BadAnswer)(str(error))


def _families(url: str) -> tuple[int, ...]:
    """How a server can be reached: a name by both, an address by its own."""
    try:
        return (ip_address(urlsplit(url).hostname or "").version,)
    except ValueError:
        return FAMILIES


def merge(found: list[Reached]) -> Reached:
    """All that was found; the best of the answers, and of those that say why there is none the first with a reason."""
    best = min(found, key=lambda each: (isinstance(each.answer, FetchError), _goodness(each.answer)))
    first = next((each.certificate_ends_at for each in found if each.certificate_ends_at), 0)
    ipv4 = next((each.ipv4 for each in found if each.ipv4 is not None), None)
    ipv6 = next((each.ipv6 for each in found if each.ipv6 is not None), None)
    return Reached(best.answer, ipv4, ipv6, first)


def _goodness(answer: Outcome) -> int:
    """Smaller is better: the status, or errors that say something before those that only say that we cannot."""
    if isinstance(answer, Answer):
        return answer.status
    return isinstance(answer, NoWay)


def is_ftp(url: str) -> bool:
    """Whether the address is one of FTP or FTPS."""
    return url.lower().startswith(("ftp:", "ftps:"))


async def value(request: Awaitable[Answer]) -> Outcome:
    """The answer, or why there was none, as a value: both are judged."""
    try:
        return await request
    except FetchError as error:
        return error
