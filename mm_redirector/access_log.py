"""One line per answered repository request, in the form that MirrorManager's statistics read."""

from __future__ import annotations

import datetime
import logging
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

logger = logging.getLogger(__name__)

UNKNOWN = "N/A"
_PLAIN = "/:+,@~!$&'()*="  # what may stand in a name unchanged; blanks, ";", "%" and newlines are percent-encoded


class Entry(NamedTuple):
    """What is remembered of one request."""

    date: datetime.date  # UTC
    address: str
    country: str  # the client's
    repo: str  # as the client wrote it
    arch: str


def ignore(entry: Entry) -> None:
    """Where no log is wanted."""


def line(entry: Entry) -> str:
    """The line of the reference; readers split it at white space, so values must not contain any."""
    names = (entry.address, entry.country, quote(entry.repo, safe=_PLAIN), quote(entry.arch, safe=_PLAIN))
    address, country, repo, arch = (name or UNKNOWN for name in names)
    return f"IP: {address}; DATE: {entry.date.isoformat()}; COUNTRY: {country}; REPO: {repo}; ARCH: {arch}\n"


class AccessLog:
    """Appends lines to a file. One write per line keeps lines of several processes whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._complained = False
        self.refresh()

    def write(self, entry: Entry) -> None:
        """Append one line. A full disk costs the line, not the answer."""
        if self._handle is None:
            return
        try:
            os.write(self._handle, line(entry).encode())
            self._complained = False
        except OSError as error:
            self._complain(error)

    def refresh(self) -> None:
        """Open the file again when it was moved away, as log rotation does."""
        try:
            if self._handle is None or not self._is_in_place(self._handle):
                self._swap(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        """Write no more."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)

    def _is_in_place(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def _swap(self, new: int) -> None:
        if self._handle is None:
            self._handle = new
        else:
            # The number stays the same, so that a thread in the middle of write() hits one file or the other.
            os.dup2(new, self._handle, inheritable=False)
            os.close(new)

    def _complain(self, error: OSError) -> None:
        """Once, not at every request, until it works again."""
        if not self._complained:
            self._complained = True
            logger.error("the access log %s cannot be written: %s", self._path, error)
