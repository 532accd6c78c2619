"""Servers that say what a function says, byte by byte, each connection in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

Conversation = Callable[[socket.socket], None]


class RawServer:
    """Listens on a free loopback port until its block ends."""

    def __init__(self, conversation: Conversation) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, EOFError):
                    conversation(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False  # whoever hangs does so until the process ends

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes. Raises EOFError when the other side hangs up before."""
    received = b""
    while len(received) < count:
        data = connection.recv(count - len(received))
        if not data:
            raise EOFError
        received += data
    return received


def read_line(connection: socket.socket) -> bytes:
    """A line without its end. Raises EOFError when the other side hangs up before."""
    line = b""
    while not line.endswith(b"\n"):
        line += read_exactly(connection, 1)
    return line.rstrip(b"\r\n")


def hang(_connection: socket.socket) -> None:
    """Say nothing, for as long as anybody can wait."""
    time.sleep(60)


def say(text: str) -> Conversation:
    """Say one line and hang up."""
    return lambda connection: connection.sendall(f"{text}\r\n".encode())
