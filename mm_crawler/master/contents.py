"""Where the contents of a listed tree's important files come from."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mm_crawler.master.important import read_file
from mm_crawler.master.scanned import Content, FileProblem, ScannedFile, SourceError


class Contents(Protocol):
    """Single files of a tree, by their paths below the top."""

    def top_time(self) -> int:
        """When the top directory itself changed, 0 where that is not known."""

    def target(self, path: str, /) -> ScannedFile | None:
        """The file behind a link; None when there is none or it cannot be told."""

    def prepare(self, paths: Sequence[str], limit: int, /) -> None:
        """Fetch them at once, where that is cheaper. Raises SourceError."""

    def read(self, path: str, limit: int, /) -> Content:
        """One of at most `limit` bytes. Raises FileProblem."""

    def exists(self, path: str) -> bool:
        """Whether there is something. Raises SourceError when it cannot be told."""

    def close(self) -> None:
        """Remove what was fetched."""


class LocalContents:
    """Files below a directory of this machine."""

    def __init__(self, top: Path) -> None:
        self._top = str(top)

    def top_time(self) -> int:
        """When the directory changed. Raises SourceError when it is not there."""
        try:
            return int(os.stat(self._top).st_mtime)  # noqa: PTH116 - as in walk.py
        except OSError as error:
            raise SourceError(f"{self._top} cannot be looked at: {error.strerror}") from None

    def target(self, path: str) -> ScannedFile | None:
        """What the link leads to, if it is a file."""
        try:
            status = os.stat(f"{self._top}/{path}")  # noqa: PTH116
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return ScannedFile(path.rpartition("/")[2], status.st_size, int(status.st_mtime))

    def prepare(self, paths: Sequence[str], limit: int) -> None:
        """Nothing: the files are here."""

    def read(self, path: str, limit: int) -> Content:
        """A file. Raises FileProblem."""
        return read_file(f"{self._top}/{path}", limit)

    def exists(self, path: str) -> bool:
        """Whether there is something, whatever it is."""
        return os.path.lexists(f"{self._top}/{path}")

    def close(self) -> None:
        """Nothing was fetched."""


class NoContents:
    """There is nothing but the list."""

    def top_time(self) -> int:
        """Not known."""
        return 0

    def target(self, _path: str) -> ScannedFile | None:
        """Not known."""

    def prepare(self, _paths: Sequence[str], _limit: int) -> None:
        """Nothing."""

    def read(self, _path: str, _limit: int) -> Content:
        """Raises FileProblem."""
        raise FileProblem("cannot be read: the source names a list only; say where the files are with `content`")

    def exists(self, path: str) -> bool:
        """Raises SourceError."""
        raise SourceError(f"a list alone cannot be asked for {path}; say where the files are with `content`")

    def close(self) -> None:
        """Nothing was fetched."""
