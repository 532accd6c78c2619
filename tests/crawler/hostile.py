"""A mirror that misbehaves on purpose: a threaded raw-socket server whose answers are functions."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self


class Asked(NamedTuple):
    """The first line of a request."""

    method: str
    path: str


# Answers one request on the connection; returns whether the connection is to be kept.
Behaviour = Callable[[Asked, socket.socket], bool]


class HostileServer:
    """Listens on a free loopback port until stopped; `asked` is everything that it was asked."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.asked: list[Asked] = []
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while (asked := _read_request(connection)) is not None:
                self.asked.append(asked)
                if not self._behaviour(asked, connection):
                    return


def _read_request(connection: socket.socket) -> Asked | None:
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            return None
        received += data
    method, path, _ = received.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return Asked(method, path)


def send(connection: socket.socket, status: str, *headers: str, body: bytes = b"") -> bool:
    """An orderly answer."""
    lines = [f"HTTP/1.1 {status}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode("latin-1") + body)
    return True


def polite(asked: Asked, connection: socket.socket) -> bool:
    """200, as long as every file of the tests' tree; GETs get that many bytes."""
    return send(connection, "200 OK", "Content-Length: 4", body=b"" if asked.method == "HEAD" else b"good")


def only_below_the_top(behaviour: Behaviour) -> Behaviour:
    """Misbehave for files, but answer the first question, for the topdir, as everybody does."""

    def answer(asked: Asked, connection: socket.socket) -> bool:
        return polite(asked, connection) if asked.path.endswith("/") else behaviour(asked, connection)

    return answer


def always(status: str, *headers: str) -> Behaviour:
    """The same answer to everything."""
    return lambda _asked, connection: send(connection, status, "Content-Length: 0", *headers)


def first(count: int, behaviour: Behaviour, then: Behaviour = polite) -> Behaviour:
    """Misbehave the first times only."""
    left = [count]

    def answer(asked: Asked, connection: socket.socket) -> bool:
        left[0] -= 1
        return (behaviour if left[0] >= 0 else then)(asked, connection)

    return answer


def silent(_asked: Asked, _connection: socket.socket) -> bool:
    """Take the request and say nothing."""
    time.sleep(60)
    return False


def drip(_asked: Asked, connection: socket.socket) -> bool:
    """One byte of an endless header every now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def endless_headers(_asked: Asked, connection: socket.socket) -> bool:
    """More and more headers."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-Header: " + b"x" * 8000 + b"\r\n")


def endless_body(_asked: Asked, connection: socket.socket) -> bool:
    """A body without length that does not end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def too_short(_asked: Asked, connection: socket.socket) -> bool:
    """Promise more than is sent."""
    send(connection, "200 OK", "Content-Length: 1000", body=b"good")
    return False


def reset(_asked: Asked, connection: socket.socket) -> bool:
    """Throw the connection away with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def not_http(_asked: Asked, connection: socket.socket) -> bool:
    """Speak another protocol."""
    connection.sendall(b"220 smtp.example.org ESMTP\r\n")
    return False


def redirect_loop(asked: Asked, connection: socket.socket) -> bool:
    """Send everybody back to where they came from."""
    return send(connection, "302 Found", "Content-Length: 0", f"Location: {asked.path}")
