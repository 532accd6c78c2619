"""The cache file, fetched from the first of several HTTP(S) URLs that has a good one.

`mm-redirector fetch` does it once, for a timer. `start_fetching` does it again and again for a server, each time in a
new process: neither the workers nor the main process hold what a download needs, and no crash in it reaches them.
Nothing that is wrong with a download changes the file in place.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urljoin

from mm_lib import log
from mm_lib.cache import codec, file, signature
from mm_lib.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_SECONDS = 10.0  # an address that does not answer by then is not waited for
CHUNK = 1 << 18
FRESH = timedelta(seconds=2)
MAX_REDIRECTS = 3
CONNECT_TRIES = 3
BACKOFF = 0.2  # seconds before the third try to connect
SIGNATURE_TRIES = 2  # two publications during one download are needed before a good pair does not fit
TOO_EARLY = 1.0  # seconds until a pair that did not fit is asked for again
JITTER = 0.2  # of the interval, so that a thousand redirectors do not ask at once
# A compressed answer would be another representation, with another ETag.
HEADERS = {"User-Agent": "mirrormanager-redirector", "Accept-Encoding": "identity"}

logger = logging.getLogger(__name__)
OnResult = Callable[[str], None]


class Result(StrEnum):
    """How one URL was of use, or was not; what `on_result` counts."""

    UPDATED = "updated"
    UNCHANGED = "unchanged"
    BUSY = "busy"  # another process fetches the same file right now
    UNREACHABLE = "unreachable"  # no connection, no answer in time, or another status than 200 and 304
    TOO_LARGE = "too_large"
    BROKEN = "broken"  # not a cache, or not all of it
    UNSIGNED = "unsigned"  # there is no signature, but one is asked for
    BAD_SIGNATURE = "bad_signature"
    OLDER = "older"  # older than the file in place
    NOT_WRITTEN = "not_written"  # the disk or the permissions
    MISCONFIGURED = "misconfigured"  # a key or certificate file that cannot be used


GOOD = frozenset({Result.UPDATED, Result.UNCHANGED, Result.BUSY})


class Refused(Exception):
    """What a URL gave is not taken; the message says why and what to do."""

    def __init__(self, result: Result, message: str) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Outcome:
    """How a fetch ended, for a program and in one line for a person."""

    result: Result
    message: str


@dataclass(frozen=True)
class Known:
    """Where the file in place came from, so that it is not sent again. Kept beside the file."""

    url: str
    key: str  # that its signature was checked with, as hexadecimal digits; "": it was not checked
    headers: dict[str, str]  # what to ask with: If-None-Match, If-Modified-Since
    stamp: list[int]  # of the file that we wrote; with any other file in place nothing is known


def ignore(_result: str) -> None:
    """Count nothing."""


def fetch(settings: Settings, on_result: OnResult = ignore) -> Outcome:
    """Bring the cache file up to date from the first URL that has a good one; `on_result` hears of every URL asked."""
    target = settings.cache.file
    if not settings.redirector.cache_urls:
        return Outcome(Result.MISCONFIGURED, "redirector.cache_urls names no URL; set it in the configuration")
    try:
        with _alone(target) as alone:
            if alone:
                outcome = _from_any(settings, Fetcher(settings), on_result)
            else:
                outcome = Outcome(Result.BUSY, f"another process is fetching {target} right now")
                on_result(outcome.result)
    except Refused as error:
        outcome = Outcome(error.result, str(error))
        on_result(outcome.result)
    except OSError as error:
        outcome = Outcome(Result.NOT_WRITTEN, f"{target.parent} must be writable to fetch: {error}")
        on_result(outcome.result)
    return outcome


def _from_any(settings: Settings, fetcher: Fetcher, on_result: OnResult) -> Outcome:
    outcome = Outcome(Result.UNREACHABLE, "")
    for url in settings.redirector.cache_urls:
        try:
            outcome = fetcher.fetch(url)
        except Refused as error:
            logger.error("the mirrorlist cache at %s is not taken: %s", url, error)
            outcome = Outcome(error.result, f"{url}: {error}")
        on_result(outcome.result)
        if outcome.result in GOOD:
            break
    return outcome


@contextmanager
def _alone(target: Path) -> Iterator[bool]:
    """Whether nobody else is fetching this file; instances that share it, and the timer, must not undo each other."""
    with target.with_name(f".{target.name}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class Fetcher:
    """Asks URLs for a cache. Raises Refused when a key or certificate file of the settings cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._target = settings.cache.file
        self._chosen = settings.redirector
        self._http = _client(self._chosen.fetch_ca_file, self._chosen.fetch_timeout)
        self._key = _public_key(self._chosen.cache_public_key)
        self._key_name = self._key.public_bytes_raw().hex() if self._key else ""

    def fetch(self, url: str) -> Outcome:
        """Take what the URL has, if it is good and new. Raises Refused."""
        for attempt in range(1, SIGNATURE_TRIES + 1):
            try:
                return self._fetch(url)
            except Refused as error:
                if error.result is not Result.BAD_SIGNATURE or attempt == SIGNATURE_TRIES:
                    raise
                time.sleep(TOO_EARLY)
        raise AssertionError("the last try returns or raises")

    def _fetch(self, url: str) -> Outcome:
        known = _read_known(self._target)
        headers = known.headers if known and (known.url, known.key) == (url, self._key_name) else {}
        with self._answer(url, headers) as answer:
            if answer.status == 304 and headers:
                return Outcome(Result.UNCHANGED, f"{self._target} is what {url} has")
            _expect(answer, 200, Result.UNREACHABLE)
            data = self._body(answer)
            validators = _validators(answer)
        if self._key is not None:
            self._check_signature(url, data)
        return self._take(url, data, validators)

    @contextmanager
    def _answer(self, url: str, headers: dict[str, str]) -> Iterator[BaseHTTPResponse]:
        """The answer to a GET, its body not read yet; whatever goes wrong with the connection is UNREACHABLE."""
        from urllib3.exceptions import HTTPError, SSLError

        try:
            answer = self._open(url, headers)
            try:
                yield answer
            finally:
                answer.close()  # not given back: a body that was not read to its end spoils the connection
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            hint = "look whether the server runs and can be reached from here"
            if isinstance(reason, SSLError):
                hint = "redirector.fetch_ca_file may name other certificates to trust"
            raise Refused(Result.UNREACHABLE, f"{reason}; {hint}") from error

    def _open(self, url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        """Follow redirects; not by urllib3, which would read their bodies, however long, into memory."""
        place = url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._http.request(
                "GET", place, headers=HEADERS | headers, redirect=False, preload_content=False, decode_content=False
            )
            location = answer.get_redirect_location()
            if not location:
                return answer
            answer.close()
            place, before = urljoin(place, location), place
            if before.startswith("https:") and not place.startswith("https:"):
                # What comes over a connection that anybody can change is not what https promised.
                raise Refused(Result.UNREACHABLE, f"it redirects from https to {place}; name a URL that stays in https")
        raise Refused(Result.UNREACHABLE, f"more than {MAX_REDIRECTS} redirects; name the URL where they end")

    def _body(self, answer: BaseHTTPResponse) -> bytes:
        """The whole body, by way of the disk: memory is for what has proved to be of the right size."""
        most, seconds = self._chosen.fetch_max_bytes, self._chosen.fetch_timeout
        deadline = time.monotonic() + seconds
        with tempfile.TemporaryFile(dir=self._target.parent) as stream:
            while chunk := answer.read1(CHUNK):
                stream.write(chunk)
                if stream.tell() > most:
                    hint = "if that is right, raise redirector.fetch_max_bytes"
                    raise Refused(Result.TOO_LARGE, f"it has more than {most} bytes; {hint}")
                if time.monotonic() > deadline:
                    hint = "if the way is only slow, raise redirector.fetch_timeout"
                    raise Refused(Result.UNREACHABLE, f"it was not complete after {seconds:g} s; {hint}")
            stream.seek(0)
            return stream.read()

    def _check_signature(self, url: str, data: bytes) -> None:
        with self._answer(url + signature.SUFFIX, {}) as answer:
            _expect(answer, 200, Result.UNSIGNED)
            signatures = answer.read(signature.MAX_SIGNATURE_BYTES + 1)
        assert self._key is not None
        try:
            signature.check(data, signatures, self._key)
        except signature.WrongSignature as error:
            raise Refused(Result.BAD_SIGNATURE, str(error)) from error

    def _take(self, url: str, data: bytes, validators: dict[str, str]) -> Outcome:
        try:
            new = codec.decode(data).generation
        except codec.CacheError as error:
            raise Refused(Result.BROKEN, f"{error}; it must be published again there") from error
        in_place = _usable(self._target)
        if in_place is not None and new < in_place.generation:
            hint = f"remove {self._target} to go back to it"
            raise Refused(Result.OLDER, f"its generation {new} is older than {in_place.generation} in place; {hint}")
        if in_place is not None and data == in_place.data:
            outcome = Outcome(Result.UNCHANGED, f"{self._target} has generation {new} already, as {url} has")
        else:
            file.publish(self._target, data)
            outcome = Outcome(Result.UPDATED, f"fetched generation {new}, {len(data):,} bytes, from {url}")
            logger.info("%s", outcome.message)
        seen = file.stamp(self._target)
        _remember(self._target, Known(url, self._key_name, validators, list(seen or ())))
        return outcome


def _client(ca_file: Path | None, timeout: float) -> PoolManager:
    import ssl  # here, with the next: what a server's main process loads stays in the memory of its workers

    import urllib3

    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused(Result.MISCONFIGURED, f"redirector.fetch_ca_file {ca_file} cannot be used: {error}") from error
    # Only connecting is tried again: an answer that was slow or wrong once is left for the next URL or the next time.
    again = CONNECT_TRIES - 1
    retries = urllib3.Retry(again, connect=again, read=0, redirect=0, status=0, other=0, backoff_factor=BACKOFF)
    waits = urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout), read=timeout)
    return urllib3.PoolManager(retries=retries, timeout=waits, ssl_context=context)


def _public_key(path: Path | None) -> Ed25519PublicKey | None:
    try:
        return signature.read_public(path) if path else None
    except signature.KeyUnusable as error:
        raise Refused(Result.MISCONFIGURED, f"redirector.cache_public_key: {error}") from error


def _expect(answer: BaseHTTPResponse, status: int, otherwise: Result) -> None:
    if answer.status == status:
        return
    if otherwise is Result.UNSIGNED:
        hint = "set cache.signing_key where it is published, or redirector.cache_public_key to nothing here"
        raise Refused(otherwise, f"its signature, {signature.SUFFIX}, answers with status {answer.status}; {hint}")
    raise Refused(otherwise, f"the answer has status {answer.status}; look whether redirector.cache_urls is right")


def _validators(answer: BaseHTTPResponse) -> dict[str, str]:
    """What to ask with the next time."""
    if _is_fresh(answer):
        return {}
    pairs = (("If-None-Match", answer.headers.get("ETag")), ("If-Modified-Since", answer.headers.get("Last-Modified")))
    return {name: value for name, value in pairs if value}


def _is_fresh(answer: BaseHTTPResponse) -> bool:
    """Whether the file may change again within the second that its date, and the ETag that servers make of it, tell."""
    try:
        made = parsedate_to_datetime(answer.headers["Last-Modified"])
        return parsedate_to_datetime(answer.headers["Date"]) - made < FRESH
    except (KeyError, ValueError, TypeError):  # the last: one of them without a time zone
        return False


class InPlace(NamedTuple):
    """The file that a fetched one would replace."""

    generation: int
    data: bytes


def _usable(path: Path) -> InPlace | None:
    """The file in place; None when there is none that can be used, which anything good may replace."""
    try:
        data = file.read(path)
        return InPlace(codec.decode(data).generation, data)
    except (OSError, codec.CacheError):
        return None


def state_path(target: Path) -> Path:
    """Where it is kept what the file in place was fetched from."""
    return target.with_name(target.name + ".fetched.json")


def _read_known(target: Path) -> Known | None:
    """What is known of the file in place; None when it was not us who wrote it."""
    try:
        known = Known(**json.loads(state_path(target).read_bytes()))
        headers = {str(name): str(value) for name, value in known.headers.items()}
        seen = file.stamp(target)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return replace(known, headers=headers) if seen is not None and known.stamp == list(seen) else None


def _remember(target: Path, known: Known) -> None:
    with suppress(OSError):  # it only saves a download
        file.publish(state_path(target), json.dumps(asdict(known), indent=1).encode(), keep_previous=False)


class Fetching:
    """Fetches in the background until it is stopped, or the `with` block that it was started for ends."""

    def __init__(self, settings: Settings, on_result: OnResult) -> None:
        self._settings = settings
        self._on_result = on_result
        self._owner = os.getpid()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="cache-fetch", daemon=True)
        if settings.redirector.cache_urls:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, also in the middle of a download; the file in place stays as it is."""
        if os.getpid() != self._owner:  # a worker that was forked off has neither the thread nor a sane lock
            return
        self._stopped.set()
        with self._lock:
            if self._child is not None:
                self._child.terminate()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        # Signals are for the main thread: one that came to this thread would not wake it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._stopped.is_set():
            try:
                self._once()
            except OSError as error:
                logger.error("no process to fetch the mirrorlist cache with could be started: %s", error)
            pause = self._settings.redirector.fetch_interval
            self._stopped.wait(pause * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 # no secret

    def _once(self) -> None:
        with self._lock:
            if self._stopped.is_set():
                return
            self._child = subprocess.Popen(
                # -P: the folder that the server was started in is no place to load modules from.
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # a Ctrl-C is for the server, which ends its child itself
            )
        # Its results come as lines and not as an exit code: gunicorn's main process takes those of all children.
        results, _ = self._child.communicate(_relevant(self._settings))
        for result in results.split():
            self._on_result(result)


def _relevant(settings: Settings) -> str:
    """What the fetching process needs to know; no secret is among it."""
    return settings.model_dump_json(include={"cache", "redirector", "log"})


def start_fetching(settings: Settings, on_result: OnResult = ignore) -> Fetching:
    """Fetch now and every redirector.fetch_interval, for the main process of a server; does nothing without cache_urls.

    `on_result` is called in a thread of this process with the value of a Result for every URL asked.
    """
    return Fetching(settings, on_result)


def once(settings: Settings) -> int:
    """`mm-redirector fetch`, for a timer or cron: says in one line what happened, and returns the exit code.

    0: there is a good file; 1: no URL had one, and the file in place stays; 2: the settings are wrong.
    """
    log.configure(settings.log)
    outcome = fetch(settings)
    if outcome.result in GOOD:
        sys.stdout.write(f"{outcome.message}\n")
        return 0
    sys.stderr.write(f"Error: {outcome.message}\n")
    return 2 if outcome.result is Result.MISCONFIGURED else 1


def _child_main() -> None:
    """Fetch once for `Fetching`: settings come in, results go out; the log goes where that of the server goes."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # what the thread that started us blocks, we are to be ended by
    settings = Settings.model_validate_json(sys.stdin.read())
    log.configure(settings.log)
    outcome = fetch(settings, lambda result: print(result, flush=True))  # noqa: T201 # the parent reads it
    if outcome.result not in GOOD:
        logger.error("the mirrorlist cache was not fetched, the one in place stays: %s", outcome.message)


if __name__ == "__main__":
    _child_main()
