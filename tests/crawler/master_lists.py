"""The lists that a master's administrators make of its tree."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path


def time_list(top: Path, prefix: str = "") -> bytes:
    """As create-filelist writes it: each directory after all that is in it."""
    rows = [*_rows(top, os.fsencode(prefix), inside=True)]
    if prefix:
        rows.append(_row(top, os.fsencode(prefix), "d", inside=True))
    head = b"[Version]\n2\n\n[Files]\n"
    return head + b"".join(rows) + b"\n[Checksums SHA1]\n" + b"0" * 40 + b"\tlinux/not/a/file\n\n[End]\n"


def _rows(folder: Path, path: bytes, *, inside: bool) -> Iterator[bytes]:
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in entries:
            below = path + b"/" + entry.name if path else entry.name
            place = Path(os.fsdecode(entry.path))
            if entry.is_symlink():
                yield _row(place, below, "l", inside=inside)
            elif entry.is_dir():
                here = inside and _is_open(place)
                yield from _rows(place, below, inside=here)
                yield _row(place, below, "d", inside=inside)
            else:
                yield _row(place, below, "f", inside=inside)


def _is_open(place: Path) -> bool:
    return place.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH) == stat.S_IROTH | stat.S_IXOTH


def _row(place: Path, path: bytes, kind: str, *, inside: bool) -> bytes:
    status = place.lstat()
    mark = "" if kind != "d" or _is_open(place) else "-"
    mark = mark or ("" if inside else "*")
    return f"{int(status.st_mtime)}\t{kind}{mark}\t{status.st_size}\t".encode() + path + b"\n"


def name_list(top: Path) -> bytes:
    """As `find` writes it."""
    return subprocess.run(["find", "."], cwd=top, check=True, capture_output=True).stdout


def rsync_listing(top: Path, *options: str) -> bytes:
    """What rsync prints of a tree, sizes with commas and all."""
    command = ["rsync", "--list-only", "--recursive", "--links", *options, f"{top}/"]
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    return subprocess.run(command, check=True, capture_output=True, env=environment).stdout
