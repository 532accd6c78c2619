"""Asks one mirror by every protocol that we speak."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple, TypeVar

from mm_crawler.curl import CurlClient
from mm_crawler.fetch import rsync
from mm_crawler.fetch.base import Answer, FetchError, Listed, Reached, pause_before
from mm_crawler.fetch.http import HttpFetcher
from mm_crawler.fetch.pace import Pace
from mm_crawler.fetch.rsync import RsyncLimits

T = TypeVar("T")


class Manners(NamedTuple):
    """How one mirror is asked."""

    tries: int
    requests_per_second: float
    connect_timeout: float
    request_timeout: float
    public_only: bool = False  # rsync, too, connects to addresses of the Internet only


class HostFetcher(HttpFetcher):
    """Asks by libcurl, and by rsync for rsync's URLs; a run of rsync waits for its turn as a request does."""

    def __init__(self, client: CurlClient, manners: Manners, rng: Random) -> None:
        super().__init__(client, manners.tries, rng, Pace(manners.requests_per_second))
        # A server may think long before it sends the first line of a listing.
        self._rsync = RsyncLimits(manners.connect_timeout, 4 * manners.request_timeout, manners.public_only)

    async def reach(self, url: str) -> Reached:
        """Ask for the topdir; rsync is asked for a listing of the top alone."""
        if not is_rsync(url):
            return await super().reach(url)
        try:
            return Reached(await self._run(lambda: rsync.reach(url, self._rsync)))
        except FetchError as error:
            return Reached(error)

    async def listing(self, url: str, take: Callable[[bytes], None], below: Sequence[str] | None) -> Listed:
        """A listing of all, or of what is in these directories. Raises FetchError when nothing of it came."""
        return await self._run(lambda: rsync.listing(url, take, self._rsync, below))

    async def fetch(self, url: str, paths: Sequence[str], limit: int) -> Mapping[str, Answer]:
        """Fetch and hash files. Raises FetchError."""
        return await self._run(lambda: rsync.fetch(url, paths, limit, self._rsync))

    async def _run(self, start: Callable[[], Awaitable[T]]) -> T:
        """Run rsync, and again while the server is away or busy and nothing came of it."""
        for next_try in range(2, self._tries + 2):
            await self._pace.turn()
            self.requests += 1
            try:
                return await start()
            except FetchError as error:
                pause = pause_before(next_try, 0.0, self._rng.random())
                if next_try > self._tries or not error.worth_another_try or pause is None:
                    raise
                self._pace.hold(pause)
        raise AssertionError("the last try raises")


def is_rsync(url: str) -> bool:
    """Whether the address is one of rsync."""
    return url.lower().startswith("rsync:")
