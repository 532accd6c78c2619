"""What every source of a master tree yields, and what it may be told about the last scan."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress, repeat
from operator import not_
from typing import NamedTuple, Protocol, overload


class Look(StrEnum):
    """What a source could see of a directory."""

    LISTED = "listed"
    UNCHANGED = "unchanged"  # since the last scan: what is remembered of it still holds
    CLOSED = "closed"  # we have no permission to list it; what is below is hidden
    FAILED = "failed"  # an error came between; nothing is known about what is below


class ScannedFile(NamedTuple):
    """A file of the master tree; mtime in Unix seconds."""

    name: str
    size: int
    mtime: int


PACKAGES = (".rpm", ".drpm", ".deb", ".hdr")


class Files(Sequence[ScannedFile]):
    """Files as columns of text: a list of millions is made into files only where somebody looks at them."""

    __slots__ = ("_others", "names", "sizes", "times")

    def __init__(self, names: Sequence[str], sizes: Sequence[str], times: Sequence[str]) -> None:
        self.names = names
        self.sizes = sizes
        self.times = times
        self._others: list[ScannedFile] | None = None

    @property
    def others(self) -> list[ScannedFile]:
        """Those that are no packages: whoever looks for something special need not look at the rest."""
        if self._others is None:
            packages = map(str.endswith, self.names, repeat(PACKAGES))
            self._others = [self[index] for index in compress(range(len(self.names)), map(not_, packages))]
        return self._others

    @classmethod
    def of(cls, files: Iterable[ScannedFile]) -> Files:
        """The same files as columns."""
        if isinstance(files, Files):
            return files
        files = tuple(files)
        return cls([file[0] for file in files], [str(file[1]) for file in files], [str(file[2]) for file in files])

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> ScannedFile: ...

    @overload
    def __getitem__(self, index: slice) -> Files: ...

    def __getitem__(self, index: int | slice) -> ScannedFile | Files:
        if isinstance(index, slice):
            return Files(self.names[index], self.sizes[index], self.times[index])
        return ScannedFile(self.names[index], int(self.sizes[index]), int(self.times[index]))


@dataclass(frozen=True, slots=True)
class ScannedDirectory:
    """A directory of the master tree, by its path below the topdir ("" is the topdir itself)."""

    path: str
    mtime: int
    readable: bool  # by everybody, and so is all above it
    look: Look
    files: Sequence[ScannedFile] = ()  # only of a listed directory
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the last scan saw of a directory: while this holds, a source need not list it again."""

    mtime: int
    children: tuple[str, ...]
    watched: Mapping[str, tuple[int, int]]  # important files: name -> (size, mtime)
    file_count: int = 0
    newest: int = 0  # the latest time that it or one of its files had


Memory = Mapping[str, Remembered]


@dataclass(frozen=True)
class Content:
    """An important file as it was at one moment."""

    data: bytes
    size: int
    mtime: int
    hashes: Mapping[str, str]  # md5, sha1, sha256, sha512 in lower-case hexadecimal


class SourceError(Exception):
    """A source cannot be used at all; the message says why."""


class FileProblem(Exception):
    """One important file cannot be used now; the message says why."""


class Source(Protocol):
    """Where a master tree is read from."""

    def directories(self, memory: Memory) -> Iterator[ScannedDirectory]:
        """Every directory, parents before children. Raises SourceError."""

    def prepare(self, paths: Sequence[str], limit: int, /) -> None:
        """Fetch these files at once, where that is cheaper than one by one when they are read. Raises SourceError."""

    def read(self, path: str, limit: int, /) -> Content:
        """An important file of at most `limit` bytes. Raises FileProblem."""

    def exists(self, path: str) -> bool:
        """Whether there is something at the path below the top. Raises SourceError when it cannot be told."""

    def close(self) -> None:
        """Remove what was fetched."""


class Excludes:
    """Tells which directories a scan leaves out, with all that is below them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def __call__(self, path: str) -> bool:
        """Whether one of the expressions is found in the path below the topdir."""
        return any(pattern.search(path) for pattern in self._patterns)

    def covers(self, path: str) -> bool:
        """Whether the path or something above it is left out."""
        return bool(self._patterns) and any(self(part) for part in upwards(path))


def is_transient(name: str) -> bool:
    """Whether a directory belongs to the storage or to a running rsync and not to the tree."""
    return name == ".snapshot" or name.endswith(".~tmp~")


def is_recordable(name: str) -> bool:
    """Whether a name is valid UTF-8 without control characters: others cannot be asked for or shown safely."""
    if name.isascii():
        return name.isprintable()
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in name)  # Cs: bytes that are not UTF-8


def join(path: str, name: str) -> str:
    """The path of something in a directory."""
    return f"{path}/{name}" if path else name


def parent(path: str) -> str:
    """The path of the directory above."""
    return path.rpartition("/")[0]


def upwards(path: str) -> Iterator[str]:
    """The path itself, then each directory above it, without the topdir."""
    while path:
        yield path
        path = parent(path)
