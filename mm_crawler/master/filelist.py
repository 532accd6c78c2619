"""A master tree from a list of everything in it, in the format of Fedora's fullfiletimelist.

Below a line `[Files]` stand rows of time, kind, size and path, with tabs between; the kind is f, d or l, with `-` or
`*` behind it when not everybody may read it. Other listings are turned into this format first (listing.py).

The list is read twice, in pieces: once for the directories alone, because they may stand before or after what is in
them, and once for the files. What is kept meanwhile are the directories, and the files of those that are not complete.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

from mm_crawler.master.contents import Contents
from mm_crawler.master.scanned import (
    Content,
    Excludes,
    Files,
    Look,
    Memory,
    Remembered,
    ScannedDirectory,
    SourceError,
    is_recordable,
    is_transient,
    join,
    parent,
)

START = b"[Files]\n"
MAX_LINE = 1 << 16  # bytes
MAX_PATH = 1024  # characters; PostgreSQL cannot index much longer ones
MAX_NAME = 255
MAX_ENTRIES = 250_000  # of one directory
MAX_DIRECTORIES = 5_000_000
MAX_PROBLEMS = 1000
_PIECE = 1 << 20
_DIGITS = 10  # of a time between 2001 and 2286
_GZIP = b"\x1f\x8b"
_FILES = frozenset(("f", "f-", "f*"))
_KINDS = frozenset((*_FILES, "d", "d-", "d*", "l", "l-", "l*"))
_TIME = re.compile(r"[0-9]{1,11}")
_SIZE = re.compile(r"[0-9]{1,18}")
_ROW = re.compile(r"([0-9]{1,11})\t([fdl][-*]?)\t([0-9]{1,18})\t([^\t]*)")
_LINKS = (b"\tl\t", b"\tl-", b"\tl*", b"\nl")  # in rows of a fullfiletimelist, in lines of a listing by rsync
_NO_NAMES = frozenset(("", ".", ".."))

Looks = Mapping[str, Look]  # directories that the list does not tell all of


class _Own(NamedTuple):
    """What the list says of a directory itself."""

    mtime: int
    readable: bool


@dataclass
class _Block:
    """The rows of what lies in a directory, as columns."""

    path: str
    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)

    def only(self, keep: Iterable[object]) -> _Block:
        """With those rows for which there is something true."""
        names, kinds, sizes, times = (
            list(compress(column, keep)) for column in (self.names, self.kinds, self.sizes, self.times)
        )
        return _Block(self.path, names, kinds, sizes, times)


class ListTree:
    """The tree that a file lists; only what is below `prefix` belongs to it."""

    def __init__(
        self,
        file: Path,
        contents: Contents,
        excludes: Excludes,
        *,
        prefix: str = "",
        looks: Looks | None = None,
        folder: TemporaryDirectory[str] | None = None,
    ) -> None:
        self._file = file
        self._contents = contents
        self._excludes = excludes
        self._prefix = prefix
        self._looks = looks or {}
        self._folder = folder  # ours to remove
        self._listed: dict[str, _Own] = {}  # not judged yet
        self._judged: dict[str, _Own | None] = {}  # None: left out
        self._problems: list[str] = []
        self._more_problems = 0
        self._overfull: set[str] = set()

    def prepare(self, paths: Sequence[str], limit: int) -> None:
        """Fetch these files at once. Raises SourceError."""
        self._contents.prepare(paths, limit)

    def read(self, path: str, limit: int) -> Content:
        """An important file. Raises FileProblem."""
        return self._contents.read(path, limit)

    def exists(self, path: str) -> bool:
        """Whether there is something at the path below the top. Raises SourceError when it cannot be told."""
        return self._contents.exists(path)

    def close(self) -> None:
        """Remove what was fetched."""
        self._contents.close()
        if self._folder is not None:
            self._folder.cleanup()

    def note(self, problems: Iterable[str], more: int = 0) -> None:
        """Problems that came up before, when the list was made; `more` of them are not told."""
        self._problems += problems
        self._more_problems += more

    def directories(self, memory: Memory) -> Iterator[ScannedDirectory]:
        """Every directory, once all that is in it was read. Raises SourceError."""
        self._read_directories()
        done: set[str] = set()
        for block in self._blocks():
            if block.path in done:
                raise SourceError(
                    f"{self._file}: {block.path or 'the top'} comes back after another directory. The list must be in"
                    " the order of a walk through the tree, as find and create-filelist make it; it must not be sorted."
                )
            done.add(block.path)
            if block.path:
                yield self._scanned(block, memory.get(block.path))
            else:
                top = block
        for path in [*self._judged, *self._listed]:
            if path and path not in done and self._own(path) is not None:
                yield self._scanned(_Block(path), memory.get(path))
        last = self._scanned(top, memory.get(""))
        if self._more_problems:
            self._problems.append(f"and {self._more_problems} more")
        # What is wrong with the list goes with the top.
        yield replace(last, problems=tuple(self._problems))

    # -- directories

    def _read_directories(self) -> None:
        own_time = self._contents.top_time()
        self._judged[""] = _Own(own_time, True)
        for piece in read_pieces(self._file):
            at = 0
            while (at := piece.find(b"\td", at)) >= 0:
                end = piece.index(b"\n", at)
                row = piece[piece.rfind(b"\n", 0, at) + 1 : end]
                self._read_directory(row.decode("utf-8", "surrogateescape"))
                at = end
            if len(self._listed) > MAX_DIRECTORIES:
                raise SourceError(f"{self._file}: more than {MAX_DIRECTORIES} directories")

    def _read_directory(self, row: str) -> None:
        parts = row.split("\t", 3)
        if len(parts) != 4 or parts[1] not in ("d", "d-", "d*"):
            return
        path = self._below(parts[3])
        if path is None or not parts[0].isdecimal() or len(parts[0]) > 11:
            return
        own = _Own(int(parts[0]), parts[1] == "d")
        if path:
            self._listed[path] = own
        else:
            self._judged[""] = own

    def _below(self, path: str) -> str | None:
        """The path below the prefix, None for one that is elsewhere."""
        path = path.removeprefix("./")
        if path == ".":
            path = ""
        if not self._prefix:
            return path
        if path == self._prefix:
            return ""
        return path[len(self._prefix) + 1 :] if path.startswith(f"{self._prefix}/") else None

    def _own(self, path: str) -> _Own | None:
        """What is known of a directory, which is judged when it is first met; None when it is left out."""
        if path in self._judged:
            return self._judged[path]
        if len(path) > MAX_PATH:
            self._complain(f"{path[:60]!a}...: left out, its path has more than {MAX_PATH} characters")
            return None
        unknown = [path]
        while (above := parent(unknown[-1])) not in self._judged:
            unknown.append(above)
        for each in reversed(unknown):
            self._judged[each] = self._judge(each, self._judged[parent(each)], self._listed.pop(each, _Own(0, True)))
        return self._judged[path]

    def _judge(self, path: str, above: _Own | None, own: _Own) -> _Own | None:
        name = path.rpartition("/")[2]
        if above is None or is_transient(name) or self._excludes(path):
            return None
        if name in _NO_NAMES or join(parent(path), name) != path:
            self._complain(f"{path!a}: left out, it is not a path below the top")
            return None
        if not is_recordable(name) or len(name) > MAX_NAME:
            self._complain(f"{path!a}: left out, its name cannot be recorded")
            return None
        return own if above.readable else own._replace(readable=False)

    # -- files

    def _blocks(self) -> Iterator[_Block]:
        """Each directory with its rows, once it and all below it were left; the top last."""
        stack = [_Block("")]
        for piece in read_pieces(self._file):
            times, kinds, sizes, paths = self._columns(piece.decode("utf-8", "surrogateescape"))
            names, runs = runs_of(paths)
            for raw, start, end in runs:
                path = self._below(raw)
                if path is None or self._own(path) is None:
                    continue
                yield from _leave(stack, path)
                if stack[-1].path != path:
                    stack.append(_Block(path))
                block = stack[-1]
                block.names += names[start:end]
                block.kinds += kinds[start:end]
                block.sizes += sizes[start:end]
                block.times += times[start:end]
                self._bound(block)
        yield from reversed(stack)

    def _columns(self, piece: str) -> tuple[list[str], ...]:
        """Times, kinds, sizes and paths; rows that cannot be used are left out."""
        fields = piece.replace("\n", "\t").split("\t")
        if len(fields) % 4 != 1 or not _KINDS.issuperset(fields[1::4]):
            fields = []
            for row in piece[:-1].split("\n"):
                if match := _ROW.fullmatch(row):
                    fields += match.groups()
                elif row:
                    self._complain(f"{row[:100]!a}: left out, it is not a row of a list")
            fields.append("")
        return fields[0:-1:4], fields[1::4], fields[2::4], fields[3::4]

    def _bound(self, block: _Block) -> None:
        if len(block.names) > MAX_ENTRIES:
            self._overfull.add(block.path)
            for column in (block.names, block.kinds, block.sizes, block.times):
                column.clear()

    def _scanned(self, block: _Block, remembered: Remembered | None) -> ScannedDirectory:
        path = block.path
        own = self._own(path)
        assert own is not None
        look = self._looks.get(path)
        if path in self._overfull:
            look = Look.FAILED
            self._complain(f"{path or 'the top directory'}: left as it was, it has more than {MAX_ENTRIES} entries")
        if look is not None:
            return ScannedDirectory(path, own.mtime, own.readable and look is not Look.CLOSED, look)
        if not _FILES.issuperset(block.kinds):
            block = block.only([kind[0] != "d" for kind in block.kinds])
        if remembered is not None and remembered.mtime == own.mtime and _still_holds(block, remembered):
            return ScannedDirectory(path, own.mtime, own.readable, Look.UNCHANGED)
        if not _is_plain(block):
            self._make_plain(block)
        return ScannedDirectory(
            path, own.mtime, own.readable, Look.LISTED, Files(block.names, block.sizes, block.times)
        )

    def _make_plain(self, block: _Block) -> None:
        """Follow links, and leave out what cannot be used."""
        seen: set[str] = set()
        keep: list[bool] = []
        for index, name in enumerate(block.names):
            why = ""
            if name in _NO_NAMES or len(name) > MAX_NAME or not is_recordable(name):
                why = "its name cannot be recorded"
            elif name in seen:
                why = "it is listed twice"
            elif not (_TIME.fullmatch(block.times[index]) and _SIZE.fullmatch(block.sizes[index])):
                why = "its time or size is none"
            elif block.kinds[index][0] == "l" and not self._follow(block, index):
                keep.append(False)
                continue
            if why:
                self._complain(f"{join(block.path, name)[:200]!a}: left out, {why}")
            else:
                seen.add(name)
            keep.append(not why)
        plain = block.only(keep)
        block.names, block.kinds, block.sizes, block.times = plain.names, plain.kinds, plain.sizes, plain.times

    def _follow(self, block: _Block, index: int) -> bool:
        found = self._contents.target(join(block.path, block.names[index]))
        if found is not None:
            block.sizes[index], block.times[index] = str(found.size), str(found.mtime)
        return found is not None

    def _complain(self, problem: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more_problems += 1


def _leave(stack: list[_Block], path: str) -> Iterator[_Block]:
    """The directories that are complete when the list goes on in this one."""
    while (top := stack[-1].path) and top != path and not path.startswith(f"{top}/"):
        yield stack.pop()


def runs_of(paths: Iterable[str]) -> tuple[list[str], list[tuple[str, int, int]]]:
    """The names, and where rows of one directory follow each other: directory, from, to."""
    # A plain loop: it takes half the time of zip(*map(str.rpartition, ...)), and a third of a regular expression's.
    names: list[str] = []
    starts: list[tuple[int, str]] = []
    current = None
    for path in paths:
        directory, _, name = path.rpartition("/")
        if directory != current:
            current = directory
            starts.append((len(names), directory))
        names.append(name)
    starts.append((len(names), ""))
    return names, [(directory, start, end) for (start, directory), (end, _) in pairwise(starts)]


def _still_holds(block: _Block, remembered: Remembered) -> bool:
    """Whether these rows say what is remembered: as many files, none newer, and the important ones as they were."""
    if len(block.names) != remembered.file_count:
        return False
    if not block.names:
        return True
    newest = max(block.times)
    if len(newest) != _DIGITS:  # text compares like numbers only where the numbers are equally long
        newest = max(block.times, key=lambda time: (len(time), time))
    if not newest.isdecimal() or int(newest) > remembered.newest:
        return False
    if not remembered.watched:
        return True
    now = dict(zip(block.names, zip(block.sizes, block.times, strict=True), strict=True))
    return all(now.get(name) == (str(size), str(mtime)) for name, (size, mtime) in remembered.watched.items())


def _is_plain(block: _Block) -> bool:
    """Whether all rows are files whose names, sizes and times can be used."""
    if not block.names:
        return True
    text = "".join(block.names)
    return (
        text.isascii()
        and text.isprintable()
        and _lengths_within(block.names, 3, MAX_NAME)  # shorter ones may be "." or ".."
        and _FILES.issuperset(block.kinds)
        and _are_numbers(block.sizes, 18)
        and _are_numbers(block.times, 11)
    )


def _are_numbers(column: list[str], digits: int) -> bool:
    text = "".join(column)
    return text.isascii() and text.isdecimal() and _lengths_within(column, 1, digits)


def _lengths_within(column: list[str], least: int, most: int) -> bool:
    lengths = set(map(len, column))
    return least <= min(lengths) and max(lengths) <= most


# -- reading


def fingerprint(file: Path, salt: bytes) -> bytes | None:
    """16 bytes that change with the list or the salt.

    None for a list with links: what they lead to can change without it. Raises SourceError.
    """
    digest = hashlib.blake2b(salt, digest_size=16)
    try:
        with open_plain(file) as stream:
            end = b"\n"
            while data := stream.read(_PIECE):
                if any(mark in data or mark in end + data[:2] for mark in _LINKS):
                    return None
                digest.update(data)
                end = data[-2:]
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from None
    return digest.digest()


def read_pieces(file: Path) -> Iterator[bytes]:
    """The rows of the part [Files], in pieces of whole lines. Raises SourceError."""
    started = False
    for piece in _whole_lines(file):
        if not started:
            at = 0 if piece.startswith(START) else piece.find(b"\n" + START) + 1
            if not at and not piece.startswith(START):
                continue
            started, piece = True, piece[at + len(START) :]  # noqa: PLW2901
        end = _next_part(piece)
        if rows := piece if end is None else piece[:end]:
            yield rows
        if end is not None:
            return
    if not started:
        raise SourceError(f"{file}: this is no list of files, it has no part [Files]")


def _next_part(piece: bytes) -> int | None:
    """Where the first line begins that begins another part."""
    at = piece.find(b"[")
    while at > 0 and piece[at - 1 : at] != b"\n":
        at = piece.find(b"[", at + 1)
    return None if at < 0 else at


def _whole_lines(file: Path) -> Iterator[bytes]:
    rest = b""
    try:
        with open_plain(file) as stream:
            while data := stream.read(_PIECE):
                end = data.rfind(b"\n") + 1
                if end:
                    yield rest + data[:end]
                    rest = data[end:]
                else:
                    rest += data
                if len(rest) > MAX_LINE:
                    raise SourceError(f"{file}: there is a line of more than {MAX_LINE} bytes")
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from None
    if rest:
        raise SourceError(f"{file}: it is cut off, its last line has no end")


def _unreadable(file: Path, error: Exception) -> SourceError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return SourceError(f"{file} cannot be read: {reason}")


def open_plain(file: Path) -> BinaryIO:
    """The file, unpacked when it is gzip's. Raises OSError."""
    with file.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    return gzip.open(file, "rb") if packed else file.open("rb")  # type: ignore[return-value]  # GzipFile reads alike
