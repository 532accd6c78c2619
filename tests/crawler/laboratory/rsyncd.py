"""A daemon that speaks as much of rsync's protocol 29 as a listing needs: of any size, from nowhere, broken at will."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.crawler.laboratory.raw import Conversation, hang, read_exactly, read_line

_LONG_NAME, _TOP_DIRECTORY = 0x40, 0x01
_FILE, _DIRECTORY = 0o100644, 0o040755
_FRAME = 32 << 10
_DONE = struct.pack("<i", -1)
MTIME = 1_772_323_200  # 2026-03-01


class Entry(NamedTuple):
    """A file or directory below the top."""

    path: str
    size: int
    is_directory: bool = False


def daemon(entries: bytes, *, cut: float = 1.0, then_hang: bool = False) -> Conversation:
    """Lists packed entries for whoever wants all, and the top alone for whoever looks whether it is there.

    `cut` is the part of the list that is sent before it breaks off, or goes on with silence.
    """

    def serve(connection: socket.socket) -> None:
        recursive = _greet(connection)
        listing = _TOP + entries if recursive else _TOP
        if recursive and cut < 1:
            _send(connection, listing[: int(len(listing) * cut)])
            if then_hang:
                hang(connection)
            return
        _send(connection, listing + b"\0" + struct.pack("<i", 0))
        _send(connection, 3 * _DONE + struct.pack("<5i", 0, 0, 0, 0, 0))
        while connection.recv(4096):
            pass

    return serve


def refusing(message: str) -> Conversation:
    """Says why nobody gets in."""

    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"@RSYNCD: 29.0\n")
        read_line(connection)
        read_line(connection)
        connection.sendall(f"@ERROR: {message}\n".encode())

    return refuse


def _greet(connection: socket.socket) -> bool:
    """The hand-shake; whether the client wants everything."""
    connection.sendall(b"@RSYNCD: 29.0\n")
    read_line(connection)  # its version
    read_line(connection)  # the module
    connection.sendall(b"@RSYNCD: OK\n")
    arguments = list(iter(lambda: read_line(connection), b""))
    connection.sendall(struct.pack("<i", 1))  # the seed of checksums
    while length := struct.unpack("<i", read_exactly(connection, 4))[0]:
        read_exactly(connection, length)  # a filter rule
    short = next(argument for argument in arguments if argument.startswith(b"-") and not argument.startswith(b"--"))
    return b"r" in short.partition(b"e")[0]


def _send(connection: socket.socket, data: bytes) -> None:
    """As data among the messages that share the connection."""
    view = memoryview(data)
    for start in range(0, len(data), _FRAME):
        piece = view[start : start + _FRAME]
        connection.sendall(struct.pack("<I", len(piece) | 7 << 24))
        connection.sendall(piece)


def pack(entries: Iterable[Entry]) -> bytes:
    """The list as it is sent, without its end."""
    return b"".join(map(_packed, entries))


def _packed(entry: Entry) -> bytes:
    name = entry.path.encode()
    flags = _LONG_NAME | (_TOP_DIRECTORY if entry.path == "." else 0)
    mode = _DIRECTORY if entry.is_directory else _FILE
    return struct.pack("<Bi", flags, len(name)) + name + struct.pack("<iii", entry.size, MTIME, mode)


_TOP = _packed(Entry(".", 4096, is_directory=True))


def pack_many(directories: Sequence[str], names: Sequence[str], size: int = 4) -> bytes:
    """The list of directories that all have the same files. Their paths are all of the same length."""
    pattern = "?" * len(directories[0])
    one = pack([Entry(pattern, 4096, is_directory=True), *(Entry(f"{pattern}/{name}", size) for name in names)])
    return b"".join(one.replace(pattern.encode(), path.encode()) for path in directories)
