"""A master tree on a local disk, walked with os.scandir.

An unchanged directory costs one stat: a file that comes or goes changes its directory's time. What this cannot see,
important files apart, are files rewritten in place long after the last scan and directory times that were set back.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from mm_crawler.master.important import read_file
from mm_crawler.master.scanned import (
    Content,
    Excludes,
    Files,
    Look,
    Memory,
    Remembered,
    ScannedDirectory,
    ScannedFile,
    SourceError,
    is_recordable,
    is_transient,
    join,
)

_WORLD = stat.S_IROTH | stat.S_IXOTH
_DENIED = (errno.EACCES, errno.EPERM)

Seen = tuple[ScannedDirectory, list[str]]  # a directory and the names of those in it


class DirectoryTree:
    """The tree below a directory that corresponds to a category's topdir."""

    def __init__(self, top: Path, excludes: Excludes) -> None:
        self._top = str(top)
        self._excludes = excludes

    def directories(self, memory: Memory) -> Iterator[ScannedDirectory]:
        """Every directory, parents before children, siblings by name. Raises SourceError when the top is not there."""
        self._check_top()
        waiting = [("", True)]
        while waiting:
            path, reachable = waiting.pop()
            seen = self._look(path, reachable, memory.get(path))
            if seen is None:
                continue
            directory, children = seen
            yield directory
            below = [join(path, name) for name in sorted(children, reverse=True)]
            waiting.extend((child, directory.readable) for child in below if not self.is_left_out(child))

    def is_left_out(self, path: str) -> bool:
        """Whether a directory is not entered."""
        return self._excludes(path)

    def prepare(self, paths: Sequence[str], limit: int) -> None:
        """Nothing: the files are here."""

    def close(self) -> None:
        """Nothing was fetched."""

    def read(self, path: str, limit: int) -> Content:
        """An important file. Raises FileProblem."""
        return read_file(self._absolute(path), limit)

    def exists(self, path: str) -> bool:
        """Whether there is something at the path, which may lead upwards: lists of all files lie above their trees."""
        return os.path.lexists(self._absolute(path))

    def _absolute(self, path: str) -> str:
        return f"{self._top}/{path}" if path else self._top

    def _check_top(self) -> None:
        try:
            with os.scandir(self._top):
                pass
        except OSError as error:
            raise SourceError(f"{self._top} cannot be listed: {error.strerror}") from None

    def _look(self, path: str, reachable: bool, remembered: Remembered | None) -> Seen | None:
        """What can be seen of a directory; None when it is gone or no longer one."""
        absolute = self._absolute(path)
        try:
            # Only the top may be a link: links to directories can lead in circles or out of the tree.
            status = os.stat(absolute, follow_symlinks=not path)  # noqa: PTH116 - a Path per directory doubles the time
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            return _unseen(path, 0, False, error)
        if not stat.S_ISDIR(status.st_mode):
            return None
        mtime, readable = int(status.st_mtime), reachable and status.st_mode & _WORLD == _WORLD
        if remembered is not None and remembered.mtime == mtime and _still_holds(absolute, remembered):
            return ScannedDirectory(path, mtime, readable, Look.UNCHANGED), list(remembered.children)
        try:
            return _list(absolute, path, mtime, readable)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _unseen(path, mtime, readable, error)


def _unseen(path: str, mtime: int, readable: bool, error: OSError) -> Seen:
    if error.errno in _DENIED:
        return ScannedDirectory(path, mtime, False, Look.CLOSED), []
    problem = f"{path or 'the top directory'}: cannot be listed: {error.strerror}"
    return ScannedDirectory(path, mtime, readable, Look.FAILED, problems=(problem,)), []


def _still_holds(absolute: str, remembered: Remembered) -> bool:
    for name, known in remembered.watched.items():
        try:
            status = os.stat(f"{absolute}/{name}")  # noqa: PTH116 - as above
        except OSError:
            return False
        if (status.st_size, int(status.st_mtime)) != known:
            return False
    return True


def _list(absolute: str, path: str, mtime: int, readable: bool) -> Seen:
    files: list[ScannedFile] = []
    children: list[str] = []
    problems: list[str] = []
    with os.scandir(absolute) as entries:
        for entry in entries:
            if not is_recordable(entry.name):
                problems.append(f"{join(path, '')}{entry.name!a}: left out, its name cannot be recorded")
            elif entry.is_dir(follow_symlinks=False):
                if not is_transient(entry.name):
                    children.append(entry.name)
            elif file := _file(entry, path, problems):
                files.append(file)
    directory = ScannedDirectory(path, mtime, readable, Look.LISTED, Files.of(files), tuple(problems))
    return directory, children


def _file(entry: os.DirEntry[str], path: str, problems: list[str]) -> ScannedFile | None:
    """The file behind an entry, links followed; None when it leads to no regular file."""
    try:
        status = entry.stat()
    except FileNotFoundError:  # a link to nowhere, or gone meanwhile
        return None
    except OSError as error:
        problems.append(f"{join(path, entry.name)}: {error.strerror}")
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return ScannedFile(entry.name, status.st_size, int(status.st_mtime))
