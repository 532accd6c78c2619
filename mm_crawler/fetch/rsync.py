"""Runs rsync to list and fetch what a mirror has. Its output is handed on as it comes and never held whole."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlsplit

from mm_crawler.fetch.base import (
    Answer,
    BadAnswer,
    FetchError,
    Listed,
    NotAdmitted,
    NotPublic,
    TooBusy,
    TooSlow,
    Unreachable,
)
from mm_crawler.master.filelist import MAX_LINE
from mm_crawler.master.rsync import LEFT_OUT, MISSING, PARTIAL, below_top, complaints, explain, hidden, inside_module
from mm_crawler.master.scanned import Look, SourceError
from mm_lib.rules.urls import is_public_address

_PIECE = 1 << 17  # bytes of a listing that are looked at in one go: other mirrors wait for some milliseconds
_MESSAGES = 1 << 16  # bytes of messages that are kept
_KINDS: Mapping[int, type[FetchError]] = {
    5: NotAdmitted,  # unknown module, wrong password: it will say so again
    10: Unreachable,  # no connection, or it broke off
    12: Unreachable,  # broke off in the middle, or no rsync server
    30: TooSlow,  # nothing came for too long
    35: TooSlow,  # no connection in time
}
_BUSY = ("max connections", "too many", "busy")


class RsyncLimits(NamedTuple):
    """Seconds to wait, and where it may go."""

    connect: float
    silence: float  # in which nothing comes
    public_only: bool = False


class Ended(NamedTuple):
    """How rsync ended."""

    code: int
    messages: str

    def problem(self, url: str) -> FetchError:
        """As an error."""
        text = explain(url, self.code, self.messages)
        if self.code == 5 and any(word in self.messages.lower() for word in _BUSY):
            return TooBusy(text)
        return _KINDS.get(self.code, BadAnswer)(text)


async def reach(url: str, limits: RsyncLimits) -> Answer:
    """List the top of the URL. Raises FetchError."""
    came: list[bytes] = []
    ended = await _run(["--list-only", "--dirs"], url, (), limits, lambda lines: came.append(lines[:1]))
    if ended.code == 0 or came:
        return Answer(200, None)
    raise ended.problem(url)


async def listing(
    url: str, take: Callable[[bytes], None], limits: RsyncLimits, below: Sequence[str] | None = None
) -> Listed:
    """List everything, or what is in these directories. Raises FetchError when it ended before anything came."""
    came = False

    def note_and_take(lines: bytes) -> None:
        nonlocal came
        came = True
        take(lines)

    with TemporaryDirectory(prefix="mm-crawl-") as folder:
        scope = ["--recursive"]
        if below is not None:
            scope = ["--dirs", "--no-implied-dirs", *_names(folder, [f"{path}/" if path else "./" for path in below])]
        options = ["--list-only", "--links", *LEFT_OUT, *scope]
        ended = await _run(options, url, (folder,), limits, note_and_take)
    if ended.code == 0:
        return Listed(whole=True)
    if ended.code in PARTIAL and (came or below is not None):
        listed = _partial(url, ended)
        # Of what was named, it may only lack what is not there: the rest was listed completely.
        return listed._replace(whole=below is not None and listed.only_missing)
    problem = ended.problem(url)
    if not came:
        raise problem
    return Listed(whole=False, problem=str(problem))


async def fetch(url: str, paths: Sequence[str], limit: int, limits: RsyncLimits) -> Mapping[str, Answer]:
    """Fetch files into a folder that is gone afterwards, and hash them. Raises FetchError."""
    with TemporaryDirectory(prefix="mm-crawl-") as folder, TemporaryDirectory(prefix="mm-crawl-") as target:
        options = ["--copy-links", "--no-implied-dirs", f"--max-size={limit}", *_names(folder, paths)]
        ended = await _run(options, url, (target,), limits, _ignore)
        if ended.code not in (0, *PARTIAL):
            raise ended.problem(url)
        return await asyncio.to_thread(_hashes, Path(target), paths)


def _hashes(folder: Path, paths: Sequence[str]) -> dict[str, Answer]:
    return {path: found for path in paths if (found := _hashed(folder / path))}


def _hashed(file: Path) -> Answer | None:
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return Answer(200, stream.tell(), digest.hexdigest())


def _partial(url: str, ended: Ended) -> Listed:
    """What rsync said of things that it could not list. Only what it names as missing is missing."""
    inside = inside_module(url)
    lines = complaints(ended.messages)
    named = [match["path"] for match in map(MISSING.search, lines) if match]
    below = tuple(path for each in named if (path := below_top(each, inside)) is not None)
    try:
        looks, _ = hidden(ended.messages, inside)
    except SourceError:
        looks = {}
    closed = tuple(path for path, look in looks.items() if look is Look.CLOSED)
    problem = explain(url, ended.code, ended.messages)
    return Listed(False, below, closed, problem, only_missing=bool(lines) and len(below) == len(lines))


def _names(folder: str, paths: Sequence[str]) -> list[str]:
    """The options that make rsync read these names from a file in the folder."""
    file = Path(folder) / "names"
    file.write_bytes(b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths))
    return ["--from0", f"--files-from={file}"]


def _ignore(_lines: bytes) -> None:
    """Nobody wants to know."""


# ---------------------------------------------------------------- the program


async def _run(
    options: Sequence[str], url: str, target: Sequence[str], limits: RsyncLimits, take: Callable[[bytes], None]
) -> Ended:
    """Run rsync; `take` gets its output in pieces of whole lines. Raises FetchError."""
    if limits.public_only:
        await _refuse_own_network(url)
    waits = (f"--contimeout={max(1, round(limits.connect))}", f"--timeout={max(1, round(limits.silence))}")
    command = ["rsync", "--no-human-readable", "--no-motd", *waits, *options, "--", url.rstrip("/") + "/", *target]
    async with _started(command) as process:
        assert process.stderr is not None
        messages = asyncio.create_task(_first_of(process.stderr))
        try:
            await _hand_on(process, take)
            code = await process.wait()
            return Ended(code, await messages)
        finally:
            messages.cancel()


async def _refuse_own_network(url: str) -> None:
    """A name of which one address is not on the Internet is not asked: rsync chooses among them. Raises NotPublic."""
    name = urlsplit(url).hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return  # rsync says it better
    for *_, where in found:
        if not is_public_address(str(where[0])):
            raise NotPublic(f"{where[0]} is no address of the Internet (crawler.private_mirrors)")


@asynccontextmanager
async def _started(command: Sequence[str]) -> AsyncGenerator[Process]:
    """A process that is gone when the block ends, however it ends."""
    # In C every byte that is not ASCII is escaped. A session of its own: it must not ask a terminal for a password.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True, limit=_PIECE
        )
    except FileNotFoundError:
        raise BadAnswer("rsync is not installed here; Debian's package is called rsync") from None
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _hand_on(process: Process, take: Callable[[bytes], None]) -> None:
    assert process.stdout is not None
    rest = b""
    while data := await process.stdout.read(_PIECE):
        end = data.rfind(b"\n") + 1
        if end:
            take(rest + data[:end])
            rest = data[end:]
        else:
            rest += data
        if len(rest) > MAX_LINE:
            raise BadAnswer(f"there is a line of more than {MAX_LINE} bytes in the listing")


async def _first_of(stream: asyncio.StreamReader) -> str:
    """The beginning of what comes; the rest is read and thrown away, so that its sender does not wait."""
    kept = b""
    while data := await stream.read(_MESSAGES):
        kept += data[: _MESSAGES - len(kept)]
    return kept.decode("utf-8", "replace")
