"""Asks a mirror over HTTP and HTTPS, by libcurl."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pycurl

from mm_crawler.curl import BodyTooLong, CurlClient, CurlError, Response
from mm_crawler.fetch.base import (
    Answer,
    BadAnswer,
    BadCertificate,
    FetchError,
    TooLarge,
    TooSlow,
    Unreachable,
    pause_before,
)

_KINDS: dict[int, type[FetchError]] = {
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
}


class HttpFetcher:
    """Asks one mirror. When it wants a pause, all questions to it wait."""

    def __init__(
        self,
        client: CurlClient,
        tries: int,
        rng: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.requests = 0
        self._client = client
        self._tries = tries
        self._rng = rng
        self._sleep = sleep
        self._quiet_until = 0.0

    async def look(self, url: str) -> Answer:
        """Send a HEAD."""
        return await self._persist(lambda: self._client.head(url))

    async def digest(self, url: str, limit: int) -> Answer:
        """Send a GET and hash what comes."""
        return await self._persist(lambda: self._client.digest(url, limit))

    async def _persist(self, send: Callable[[], Awaitable[Response]]) -> Answer:
        """Try until the answer says yes or no, or it makes no sense to go on."""
        for next_try in range(2, self._tries + 1):
            outcome = await self._try(send)
            if not outcome.worth_another_try:
                return _answer(outcome)
            asked_for = outcome.retry_after if isinstance(outcome, Answer) else 0.0
            pause = pause_before(next_try, asked_for, self._rng.random())
            if pause is None:
                return _answer(outcome)
            self._be_quiet(pause)
        return _answer(await self._try(send))

    async def _try(self, send: Callable[[], Awaitable[Response]]) -> Answer | FetchError:
        if (left := self._quiet_until - asyncio.get_running_loop().time()) > 0:
            await self._sleep(left)
        self.requests += 1
        try:
            return Answer(*await send())
        except BodyTooLong as error:
            return TooLarge(str(error))
        except CurlError as error:
            return _KINDS.get(error.code, BadAnswer)(str(error))

    def _be_quiet(self, seconds: float) -> None:
        self._quiet_until = max(self._quiet_until, asyncio.get_running_loop().time() + seconds)


def _answer(outcome: Answer | FetchError) -> Answer:
    if isinstance(outcome, FetchError):
        raise outcome
    return outcome
