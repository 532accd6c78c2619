"""What `rsync --list-only --recursive` prints, turned into rows of a fullfiletimelist."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, BinaryIO, NamedTuple

from mm_crawler.master.contents import Contents
from mm_crawler.master.filelist import MAX_LINE, START, ListTree, open_plain
from mm_crawler.master.scanned import Excludes, SourceError

MAX_KEPT = 20
_HEAD = 1 << 16  # bytes of a fullfiletimelist in which its part [Files] begins
# drwxr-xr-x  1,234 2026/01/02 03:04:05 name; sizes have commas unless --no-human-readable
_LINE = re.compile(
    rb"([-dlbcps])([-rwxsStT]{9})[.+@]? +([0-9][0-9,]{0,24}) ([0-9]{4})/([0-9]{2})/([0-9]{2})"
    rb" ([0-9]{2}):([0-9]{2}):([0-9]{2}) (.*)",
    re.DOTALL,
)
# The same for files alone (and links), in many lines at once and without the time.
_REST = r"[-rwxsStT]{9}[.+@]? +([0-9][0-9,]{0,24}) [0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} (.*)$"
_FILES = re.compile(f"^-{_REST}", re.MULTILINE)
_FILES_AND_LINKS = re.compile(f"^([-l]){_REST}", re.MULTILINE)
_ESCAPE = re.compile(rb"\\#([0-3][0-7]{2})")
_FORBIDDEN = re.compile(rb"[\x00-\x1f\x7f]")


class RowError(ValueError):
    """A line that is not of a listing; the message says why."""


@dataclass
class Converted:
    """What a listing was turned into, besides its rows."""

    links: list[bytes] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: int = 0


def convert(lines: Iterable[bytes], target: BinaryIO) -> Converted:
    """Write the rows of a fullfiletimelist. A line that cannot be used is a problem."""
    result = Converted()
    target.write(START)
    for line in lines:
        try:
            row = to_row(line.removesuffix(b"\n"))
        except RowError as error:
            result.left_out += 1
            if len(result.problems) < MAX_KEPT:
                result.problems.append(f"{line[:100]!r}: left out, {error}")
            continue
        if row:
            target.write(row)
            if row.split(b"\t", 2)[1] == b"l":
                result.links.append(row.rstrip(b"\n").split(b"\t", 3)[3])
    return result


def to_row(line: bytes) -> bytes | None:
    """The row of a line, None for what is neither file, directory nor link. Raises RowError."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise RowError("it is no line of rsync --list-only")
    kind, mode, size, year, month, day, hour, minute, second, name = match.groups()
    if kind not in b"-dl":
        return None
    time = _midnight(year, month, day) + int(hour) * 3600 + int(minute) * 60 + int(second)
    if kind == b"l":
        name = name.partition(b" -> ")[0]
    name = unescape(name)
    if _FORBIDDEN.search(name):
        raise RowError("its name has control characters")
    mark = {b"-": b"f", b"d": b"d", b"l": b"l"}[kind]
    if kind == b"d" and not (mode[6:7] == b"r" and mode[8:9] in b"xt"):
        mark = b"d-"
    return b"%d\t%b\t%b\t%b\n" % (time, mark, size.replace(b",", b""), name)


class Entries(NamedTuple):
    """The files of a listing as columns. Links are among them, without what they lead to."""

    paths: Sequence[str]
    sizes: Sequence[str]
    links: frozenset[str] = frozenset()  # paths


def entries(lines: bytes) -> Entries:
    """The files in whole lines of a listing; whatever else there is is left out."""
    text = lines.decode("utf-8", "surrogateescape")
    links: frozenset[str] = frozenset()
    if lines.startswith(b"l") or b"\nl" in lines:
        found = [_without_target(*row) for row in _FILES_AND_LINKS.findall(text)]
        links = frozenset(_unescaped(path) for kind, _, path in found if kind == "l")
        rows = [(size, path) for _, size, path in found]
    else:
        rows = _FILES.findall(text)
    if not rows:
        return Entries((), ())
    sizes, paths = zip(*rows, strict=True)
    if b"," in lines:
        sizes = tuple(size.replace(",", "") for size in sizes)
    if b"\\#" in lines:
        paths = tuple(map(_unescaped, paths))
    return Entries(paths, sizes, links)


def _without_target(kind: str, size: str, path: str) -> tuple[str, str, str]:
    return kind, size, path.partition(" -> ")[0] if kind == "l" else path


def _unescaped(name: str) -> str:
    if "\\#" not in name:
        return name
    return unescape(name.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def unescape(name: bytes) -> bytes:
    """The name with rsync's escapes as the bytes that they stand for."""
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 8),)), name) if b"\\#" in name else name


@lru_cache(maxsize=4096)
def _midnight(year: bytes, month: bytes, day: bytes) -> int:
    date = (int(year), int(month), int(day))
    if not (date[0] >= 1970 and 1 <= date[1] <= 12 and 1 <= date[2] <= 31):
        raise RowError("its date is none")
    return timegm((*date, 0, 0, 0))


def lines_of(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines, none of them endless. Raises SourceError."""
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise SourceError(f"there is a line of more than {MAX_LINE} bytes")
        yield line


def saved_listing(file: Path, contents: Contents, excludes: Excludes, *, prefix: str = "") -> ListTree:
    """A tree from a file that holds a fullfiletimelist or what rsync printed. Raises SourceError."""
    folder = TemporaryDirectory(prefix="mm-master-")
    try:
        with open_plain(file) as stream:
            if START in stream.read(_HEAD):
                return ListTree(file, contents, excludes, prefix=prefix, folder=folder)
            stream.seek(0)
            kept = Path(folder.name) / "list"
            with kept.open("wb") as target:
                converted = convert(lines_of(stream), target)
        if kept.stat().st_size <= len(START):
            raise SourceError("this is neither a fullfiletimelist nor what rsync --list-only prints")
    except (OSError, EOFError, SourceError) as error:
        folder.cleanup()
        raise SourceError(f"{file}: cannot be used: {getattr(error, 'strerror', None) or error}") from None
    tree = ListTree(kept, contents, excludes, prefix=prefix, folder=folder)
    tree.note(converted.problems, converted.left_out - len(converted.problems))
    return tree
