"""A master tree from a fullfilelist: it names everything, and a local tree has the sizes and times.

What the list does not name is not entered, except for empty directories, which look like files in it.
"""

from __future__ import annotations

import os
from pathlib import Path

from mm_crawler.master.filelist import MAX_DIRECTORIES, MAX_LINE, open_plain
from mm_crawler.master.scanned import Excludes, SourceError, parent
from mm_crawler.master.walk import DirectoryTree


class NamedTree(DirectoryTree):
    """The directories that a list names, walked where they are."""

    def __init__(self, file: Path, prefix: str, top: Path, excludes: Excludes) -> None:
        self._named = _directories(file, prefix)
        super().__init__(top, excludes)

    def is_left_out(self, path: str) -> bool:
        """Whether it is excluded or not named."""
        return super().is_left_out(path) or (path not in self._named and not self._is_empty(path))

    def _is_empty(self, path: str) -> bool:
        try:
            with os.scandir(self._absolute(path)) as entries:
                return next(entries, None) is None
        except OSError:
            return False


def _directories(file: Path, prefix: str) -> set[str]:
    """Everything that the list has something below. Raises SourceError."""
    found = {""}
    before = f"{prefix}/" if prefix else ""
    last = ""
    try:
        with open_plain(file) as stream:
            while line := stream.readline(MAX_LINE):
                if not line.endswith(b"\n"):
                    raise SourceError(f"{file}: a line is longer than {MAX_LINE} bytes, or the list is cut off")
                name = line[:-1].decode("utf-8", "surrogateescape").removeprefix("./")
                path = parent(name)
                if path != last and name.startswith(before):
                    last = path
                    _add(found, path[len(before) :])
                    if len(found) > MAX_DIRECTORIES:
                        raise SourceError(f"{file}: more than {MAX_DIRECTORIES} directories")
    except (OSError, EOFError) as error:
        raise SourceError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if found == {""}:
        raise SourceError(f"{file}: it names nothing{f' below {prefix}' if prefix else ''} that lies in a directory")
    return found


def _add(found: set[str], path: str) -> None:
    while path not in found:
        found.add(path)
        path = parent(path)
