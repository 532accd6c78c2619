"""Logs as streams of whole lines: plain, gzip, xz and zstd; files, directories and standard input.

A log is known by its content, not by its name: rotated, compressed or renamed it is the same, and when it has grown
only what is new counts.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PORTION = 4 << 20  # bytes that are parsed at once; some 25 times that are in memory then
LONGEST_HEAD = 1 << 16
BEGINNING = 1 << 14  # so many lines that nobody finds out by trying who they were about

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Take more."""

    def hexdigest(self) -> str:
        """Of all so far."""

    def copy(self) -> Digest:
        """To go on from here in two ways."""


class Log(NamedTuple):
    """Something that can be read from its beginning, more than once."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(slots=True)
class Progress:
    """How far a log was read."""

    length: int
    digest: Digest  # of all before

    @classmethod
    def start(cls) -> Progress:
        """Of what was not read yet."""
        return cls(0, hashlib.sha256())


def logs(paths: Iterable[Path]) -> Iterator[Log]:
    """The logs that arguments of a command mean: files, all files of directories by name, "-" for standard input.

    Each is to be read before the next is asked for.
    """
    for path in paths:
        if path == Path("-"):
            # What cannot be read twice goes to a file without a name, that is gone when this process is.
            with tempfile.TemporaryFile() as spool:
                shutil.copyfileobj(sys.stdin.buffer, spool)
                spool.flush()
                yield Log("standard input", partial(_opened, Path(f"/proc/self/fd/{spool.fileno()}")))
        elif path.is_dir():
            files = [each for each in sorted(path.iterdir()) if each.is_file() and each.name[0] != "."]
            yield from (Log(str(each), partial(_opened, each)) for each in files)
        else:
            yield Log(str(path), partial(_opened, path))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The text in a file, whatever it was compressed with."""
    with path.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        for magic, opener in _COMPRESSED.items():
            if start.startswith(magic):
                with opener(stream) as text:
                    yield text
                return
        yield stream


_COMPRESSED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": zstd.ZstdFile,
}


def head(stream: IO[bytes]) -> int | None:
    """16 bits of the hash of the first line: too few to find out who it was about. None: there is no whole line."""
    line = stream.readline(LONGEST_HEAD)
    if not line.endswith(b"\n") and len(line) < LONGEST_HEAD:
        return None
    return int.from_bytes(hashlib.sha256(line).digest()[:2])


def beginning(stream: IO[bytes]) -> str | None:
    """The SHA-256 of the first bytes; None: there are too few."""
    data = stream.read(BEGINNING)
    return hashlib.sha256(data).hexdigest() if len(data) == BEGINNING else None


def reaches(stream: IO[bytes], length: int) -> bool:
    """Whether there are at least so many bytes."""
    stream.seek(max(0, length - 1))
    return length <= 0 or bool(stream.read(1))


def find(stream: IO[bytes], known: Iterable[tuple[int, str]]) -> Progress:
    """How far this log was read before, by the lengths and digests of what was read of any."""
    digest: Digest = hashlib.sha256()
    found = Progress(0, digest.copy())
    done = 0
    for length, expected in sorted(known):
        while done < length and (data := stream.read(min(PORTION, length - done))):
            digest.update(data)
            done += len(data)
        if done < length:
            break
        if digest.hexdigest() == expected:
            found = Progress(length, digest.copy())
    return found


def portions(stream: IO[bytes], progress: Progress) -> Iterator[bytes]:
    """Whole lines from here to the end; a last line that is not complete is left for the next time."""
    rest = b""
    while data := stream.read(PORTION):
        data = rest + data if rest else data
        # A line that is longer than a portion is none of ours: its pieces are counted as malformed.
        end = data.rfind(b"\n") + 1 or (len(data) if len(data) >= PORTION else 0)
        rest = data[end:]
        if end:
            data = data[:end]
            progress.digest.update(data)
            progress.length += end
            yield data
