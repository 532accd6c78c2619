"""What web mirrors do wrong: behaviours for the hostile server, each on top of a mirror that is in sync."""

from __future__ import annotations

import socket
import time
import zlib
from collections.abc import Mapping
from urllib.parse import unquote

from tests.crawler import hostile
from tests.crawler.builders import NEW
from tests.crawler.hostile import Asked, Behaviour, send

BIG = 64 << 20  # more than a crawl may ever take of one answer


class InSync:
    """Answers as nginx does: files with their length, directories with a page, 404 for the rest."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {f"/{path}": content for path, content in files.items()}

    def __call__(self, asked: Asked, connection: socket.socket) -> bool:
        path = unquote(asked.path)
        if path.endswith("/"):
            return answer(asked, connection, "200 OK", self.page(path), "Content-Type: text/html")
        if path in self._files:
            return answer(asked, connection, "200 OK", self._files[path])
        return answer(asked, connection, "404 Not Found", b"not here")

    def page(self, path: str, rows: str = "") -> bytes:
        """The directory page, with more rows at its end."""
        below = [name.removeprefix(path) for name in self._files if name.startswith(path)]
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        lines = [f'<a href="{name}/">{name}/</a>   01-Mar-2026 00:00       -\r\n' for name in folders]
        lines += [row(name, len(self._files[path + name])) for name in sorted(below) if "/" not in name]
        head = f"<html>\r\n<head><title>Index of {path}</title></head>\r\n<body>\r\n<h1>Index of {path}</h1><hr><pre>"
        return f'{head}<a href="../">../</a>\r\n{"".join(lines)}{rows}</pre><hr></body>\r\n</html>\r\n'.encode()


def row(name: str, size: int) -> str:
    """A file in nginx's directory page."""
    return f'<a href="{name}">{name}</a>   01-Mar-2026 00:00   {size}\r\n'


def answer(asked: Asked, connection: socket.socket, status: str, body: bytes, *headers: str) -> bool:
    """An orderly answer; HEAD gets no body."""
    headers = (f"Content-Length: {len(body)}", *headers)
    return send(connection, status, *headers, body=b"" if asked.method == "HEAD" else body)


# ---------------------------------------------------------------- where it goes wrong


def in_files(wrong: Behaviour) -> Behaviour:
    """Wrong for every file; directories have no page, so every file is asked for."""
    closed = hostile.always("403 Forbidden")
    return lambda asked, connection: (closed if asked.path.endswith("/") else wrong)(asked, connection)


def in_metadata(wrong: Behaviour, mirror: Behaviour) -> Behaviour:
    """Wrong for repomd.xml alone."""
    return lambda asked, connection: (wrong if asked.path.endswith("/repomd.xml") else mirror)(asked, connection)


def in_bodies(wrong: Behaviour, mirror: Behaviour) -> Behaviour:
    """Wrong when a body is asked for; HEAD is answered well."""
    return lambda asked, connection: (wrong if asked.method == "GET" else mirror)(asked, connection)


def in_heads(wrong: Behaviour, mirror: Behaviour) -> Behaviour:
    """Wrong when only headers are asked for."""
    return lambda asked, connection: (wrong if asked.method == "HEAD" else mirror)(asked, connection)


# ---------------------------------------------------------------- what goes wrong


def hang_after_headers(_asked: Asked, connection: socket.socket) -> bool:
    """Promise a body and send none of it."""
    send(connection, "200 OK", "Content-Length: 20")
    time.sleep(60)
    return False


def drip_body(_asked: Asked, connection: socket.socket) -> bool:
    """A byte of the body every second."""
    send(connection, "200 OK", "Content-Length: 20")
    while True:
        connection.sendall(b"x")
        time.sleep(1)


def redirect_to(target: str) -> Behaviour:
    """Send everybody elsewhere, to the same path."""
    return lambda asked, connection: send(
        connection, "302 Found", "Content-Length: 0", f"Location: {target}{asked.path}"
    )


def redirect_for_ever(asked: Asked, connection: socket.socket) -> bool:
    """No loop: each redirect leads to an address that was not seen before."""
    return send(connection, "302 Found", "Content-Length: 0", f"Location: {asked.path}x")


def claim_length(length: int, content: bytes) -> Behaviour:
    """A Content-Length that is not true."""

    def lie(asked: Asked, connection: socket.socket) -> bool:
        send(connection, "200 OK", f"Content-Length: {length}", body=b"" if asked.method == "HEAD" else content)
        return asked.method == "HEAD"

    return lie


def soft_404(*headers: str) -> Behaviour:
    """A page for people, whatever was asked for."""

    def greet(asked: Asked, connection: socket.socket) -> bool:
        body = b"<html><body><h1>Welcome!</h1></body></html>"
        send(connection, "200 OK", "Content-Type: text/html", *headers, body=b"" if asked.method == "HEAD" else body)
        return False

    return greet


def bomb() -> Behaviour:
    """A small compressed answer that unpacks to 64 MB."""
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(bytes(BIG)) + packer.flush()

    def explode(asked: Asked, connection: socket.socket) -> bool:
        return answer(asked, connection, "200 OK", packed, "Content-Encoding: gzip")

    return explode


def reset_in_mid_answer(_asked: Asked, connection: socket.socket) -> bool:
    """Half of the headers, then a TCP reset."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
    return hostile.reset(_asked, connection)


def huge_header(_asked: Asked, connection: socket.socket) -> bool:
    """One header of a megabyte."""
    return send(connection, "200 OK", "Content-Length: 4", f"X-Header: {'x' * (1 << 20)}")


def endless_continue(_asked: Asked, connection: socket.socket) -> bool:
    """Interim answers without end."""
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def every_second(wrong: Behaviour, mirror: Behaviour) -> Behaviour:
    """Wrong for the first request, and for each second one from then on."""
    count = [0]

    def alternate(asked: Asked, connection: socket.socket) -> bool:
        count[0] += 1
        return (wrong if count[0] % 2 else mirror)(asked, connection)

    return alternate


def hang_up_unannounced(mirror: Behaviour) -> Behaviour:
    """Answer well, then close the connection without having said so."""

    def close(asked: Asked, connection: socket.socket) -> bool:
        mirror(asked, connection)
        return False

    return close


def answer_twice(asked: Asked, connection: socket.socket) -> bool:
    """With a second answer that nobody asked for: it must not be taken for that to the next request."""
    length = len(NEW) if asked.path.endswith("/repomd.xml") else 4
    body = b"" if asked.method == "HEAD" else NEW
    again = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    return send(connection, "200 OK", f"Content-Length: {length}", body=body + again)


def slow(seconds: float, mirror: Behaviour) -> Behaviour:
    """Right, but not at once."""

    def wait(asked: Asked, connection: socket.socket) -> bool:
        time.sleep(seconds)
        return mirror(asked, connection)

    return wait


def long_page(entries: int, mirror: InSync) -> Behaviour:
    """Directory pages that go on with so many files; without a length, as a script makes them."""
    piece = "".join(row(f"file-{number}.rpm", number) for number in range(1000)).encode()

    def list_all(asked: Asked, connection: socket.socket) -> bool:
        send(connection, "200 OK", "Content-Type: text/html", "Connection: close")
        if asked.method == "GET":
            connection.sendall(mirror.page(asked.path).partition(b"</pre>")[0])
            for _ in range(entries // 1000):
                connection.sendall(piece)
            connection.sendall(b"</pre></body></html>")
        return False

    return lambda asked, connection: (list_all if asked.path.endswith("/") else mirror)(asked, connection)
