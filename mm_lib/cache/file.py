"""The cache file on disk: published by rename, the previous one kept, read whole, watched by its stamp."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mm_lib.cache.table import Pause, unhurried

MAX_CACHE_BYTES = 4 << 30  # larger than any installation needs; a wrong path must not eat the memory


class Stamp(NamedTuple):
    """What tells one published file from the next without reading it."""

    mtime_ns: int
    inode: int
    size: int


def previous(path: Path) -> Path:
    """Where the last published version is kept."""
    return path.with_name(path.name + ".previous")


def publish(path: Path, data: bytes | Iterable[bytes], *, keep_previous: bool = True) -> None:
    """Replace the file atomically and keep the version before; a reader sees the old or the new one, never a part.

    What is too large to be held comes in parts. Raises OSError and leaves what was there when the new file cannot be
    written whole.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)  # mkstemp makes it 0600; redirectors run as another user
            os.fsync(stream.fileno())
        if keep_previous:
            _keep_previous(path)
        temporary.replace(path)
        _sync_directory(path.parent)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _keep_previous(path: Path) -> None:
    """Hard-link the current version aside, so that the name itself never vanishes."""
    if not path.exists():
        return
    spare = previous(path).with_suffix(".linking")
    with suppress(FileNotFoundError):
        spare.unlink()
    os.link(path, spare)
    spare.replace(previous(path))


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path, pause: Pause = unhurried) -> bytes:
    """The whole file. Raises OSError, also when it is larger than MAX_CACHE_BYTES.

    `pause` is called between pieces: the kernel copies, but on the core of whoever waits for an answer.
    """
    with path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_CACHE_BYTES:
            raise OSError(f"{path} has {size} bytes, more than the {MAX_CACHE_BYTES} that a cache may have")
        found = io.BytesIO()
        while piece := stream.read(_PIECE):
            found.write(piece)
            pause()
        return found.getvalue()  # without another copy


_PIECE = 1 << 18  # bytes, copied in a fifth of a millisecond


def stamp(path: Path) -> Stamp | None:
    """The stamp of the published file, or None when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Stamp(status.st_mtime_ns, status.st_ino, status.st_size)
