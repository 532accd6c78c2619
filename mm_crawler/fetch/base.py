"""How a mirror is asked, whatever the protocol: a few questions, one kind of answer, and why there was none.

FetchError            no answer that could be judged; the message says what happened, in words for a person
├── Unreachable       no connection: no such name, refused, reset, broken off
│   ├── BadCertificate   the TLS connection could not be trusted
│   ├── NotAdmitted      the server does not let us in
│   └── NotPublic        its name leads into our own network
├── TooSlow           connected, but the answer did not end in time
├── TooLarge          the answer is longer than we are willing to read
├── BadAnswer         not what the protocol says: no HTTP, a redirect loop, a redirect to another protocol
└── TooBusy           it has no room for us now
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

FIRST_PAUSE = 1.0  # seconds before the second try; doubles with each further one
LONGEST_PAUSE = 60.0  # a mirror that asks for more is left alone for the rest of the crawl


class FetchError(Exception):
    """No answer that could be judged."""

    worth_another_try = False


class Unreachable(FetchError):
    """No connection, or it broke off."""

    worth_another_try = True


class BadCertificate(Unreachable):
    """The TLS connection could not be trusted."""

    worth_another_try = False


class NotAdmitted(Unreachable):
    """The server does not let us in, and will not later: an unknown module, a wrong password."""

    worth_another_try = False


class NotPublic(Unreachable):
    """Its name leads to an address that is not on the Internet: we would ask a machine of our own network."""

    worth_another_try = False


class TooSlow(FetchError):
    """The answer did not end in time."""

    worth_another_try = True


class TooLarge(FetchError):
    """The answer is longer than we are willing to read."""


class BadAnswer(FetchError):
    """The answer is not what the protocol says."""


class TooBusy(FetchError):
    """The server has no room for us now."""

    worth_another_try = True


class Answer(NamedTuple):
    """What a mirror said, at the end of all redirects. Other protocols' answers are put into HTTP's status codes."""

    status: int
    size: int | None  # length of the file, where the answer says it
    sha256: str | None = None  # only of a file that was read whole
    redirected_to: str = ""  # where the answer came from, if not from where we asked
    retry_after: float = 0.0  # seconds that it asked us to wait
    body: bytes = b""  # only of a page

    @property
    def worth_another_try(self) -> bool:
        """Neither yes nor no, and likely to change soon."""
        return self.status == 429 or self.status >= 500

    @property
    def wants_no_more(self) -> bool:
        """It asked for a longer pause than a crawl can make."""
        return self.worth_another_try and self.retry_after > LONGEST_PAUSE


class Reached(NamedTuple):
    """What the first question to a server brought to light."""

    answer: Answer | FetchError
    ipv4: bool | None = None  # it answers by IPv4; None: not tried, or we have none ourselves
    ipv6: bool | None = None
    certificate_ends_at: int = 0  # Unix seconds; 0: no TLS


class Listed(NamedTuple):
    """How a listing ended."""

    whole: bool  # nothing was left out
    missing: tuple[str, ...] = ()  # the server said that there is no such thing: paths below the URL
    closed: tuple[str, ...] = ()  # directories that it may not read itself
    problem: str = ""  # what went wrong, in words
    only_missing: bool = False  # nothing went wrong but that some things are missing


class Fetcher(Protocol):
    """Asks one mirror. Tries again by itself where that helps; raises FetchError when no answer came at last."""

    requests: int  # sent so far, further tries included; a run of rsync is one

    async def reach(self, url: str) -> Reached:
        """Does this address of a topdir lead anywhere?"""

    async def look(self, url: str) -> Answer:
        """Is the file there, and how long is it?"""

    async def digest(self, url: str, limit: int) -> Answer:
        """Read the file, up to a limit of bytes, and hash it."""

    async def page(self, url: str, limit: int) -> Answer:
        """Read a page, up to a limit of bytes."""

    async def listing(self, url: str, take: Callable[[bytes], None], below: Sequence[str] | None) -> Listed:
        """Let rsync list all below the URL, or only what is in these directories; `take` gets whole lines of it."""

    async def fetch(self, url: str, paths: Sequence[str], limit: int) -> Mapping[str, Answer]:
        """Let rsync fetch and hash these files, none longer than the limit. What is not in the result did not come."""


def pause_before(next_try: int, asked_for: float, jitter: float) -> float | None:
    """Seconds to wait before the 2nd, 3rd, ... try; None: do not try again. `jitter` lies between 0 and 1."""
    if asked_for > LONGEST_PAUSE:
        return None
    back_off = FIRST_PAUSE * 2.0 ** (next_try - 2) * (0.5 + jitter)
    return min(max(asked_for, back_off), LONGEST_PAUSE)
