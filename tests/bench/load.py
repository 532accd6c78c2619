"""Load: as much as the server bears (wrk), or at a set rate with latencies from when a request was due (paced)."""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import subprocess
import time
from bisect import bisect
from collections import deque
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from tests.bench.processes import LOAD_CORE, Server
from tests.bench.traffic import Request

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 32
GAP = 0.0005  # seconds; to send a request or to receive an answer takes a twentieth
LEAST_CLEAR = 0.5  # of the requests; with fewer the rest need not be like those that were left out
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Flood(NamedTuple):
    """What came of asking as fast as the server answers."""

    requests: int
    seconds: float
    bytes: int
    failed: int
    p50: float  # milliseconds, as all of them
    p99: float
    p999: float
    worst: float
    cpu: float = 0.0  # seconds of the server

    @property
    def rate(self) -> float:
        """Requests per second of the server's CPU time."""
        return self.requests / self.cpu


def write(path: Path, requests: Sequence[Request]) -> Path:
    """The requests as a file for wrk."""
    path.write_text("".join(f"{target} {client}\n" for target, client in requests))
    return path


def flood(server: Server, requests: Path, seconds: float, start: int = 0) -> Flood:
    """Ask for so long, from request number `start` on. Raises RuntimeError when anything failed."""
    before = server.cpu()
    found = wrk(server.port, requests, seconds, start)._replace(cpu=server.cpu() - before)
    if found.failed:
        raise RuntimeError(f"{found.failed} of {found.requests} requests failed; {server.log.read_text()[-2000:]}")
    return found


def wrk(port: int, requests: Path, seconds: float, start: int = 0) -> Flood:
    """Run wrk for so long."""
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(SCRIPT)]
    done = subprocess.run(
        ["taskset", "-c", str(LOAD_CORE), "wrk", *options, f"http://127.0.0.1:{port}", "--", str(requests), str(start)],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode or not done.stdout.strip().endswith("}"):
        raise RuntimeError(f"wrk failed: {done.stdout[-1000:]} {done.stderr[-1000:]}")
    return Flood(**json.loads(done.stdout.strip().splitlines()[-1]))


class Sample(NamedTuple):
    """One answer."""

    due: float  # seconds of time.perf_counter
    latency: float  # seconds from when it was due to its last byte
    status: int  # 0: the connection broke
    blurred: bool = False  # this process was kept from its core: that may be most of the latency


class _Connection:
    """One request at a time."""

    def __init__(self, port: int, epoll: select.epoll) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self.status = 0
        self._missing = 0
        self._head = b""
        epoll.register(self.socket, select.EPOLLIN)

    def send(self, request: bytes, due: float) -> None:
        self.due, self.status, self._missing, self._head = due, 0, -1, b""
        self.socket.send(request)

    def receive(self) -> bool:
        """Whether the answer is whole; status 0 when the server closed the connection."""
        try:
            part = self.socket.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        if not part:
            self.status = 0
            return True
        if self._missing < 0:
            self._head += part
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self._head, 0, end)
            self.status = int(self._head[9:12])
            self._missing = end + 4 + (int(length[1]) if length else 0) - len(self._head)
        else:
            self._missing -= len(part)
        return self._missing <= 0


class _Watch:
    """The time, and when it passed without this process: between two requests or answers nothing takes long."""

    def __init__(self) -> None:
        self.gaps: list[tuple[float, float]] = []
        self._last = time.perf_counter()

    def now(self) -> float:
        now = time.perf_counter()
        if now - self._last > GAP:
            self.gaps.append((self._last, now))
        self._last = now
        return now


def encode(request: Request) -> bytes:
    """A request as it goes over the wire."""
    target, client = request
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: {client}\r\n\r\n".encode()


def paced(
    port: int,
    requests: Sequence[Request],
    rate: float,
    seconds: float,
    tick: Callable[[float], None] | None = None,
) -> list[Sample]:
    """Ask at a constant rate, whatever the answers do; `tick` is called now and then with the seconds since the start.

    It polls without sleeping: this process must have a core of its own. Where something else took that for longer than
    GAP, requests that were due or on their way meanwhile are marked, as blurred() says.
    """
    epoll = select.epoll()
    idle = deque(_Connection(port, epoll) for _ in range(CONNECTIONS))
    by_file = {connection.socket.fileno(): connection for connection in idle}
    texts = cycle([encode(request) for request in requests])
    samples: list[Sample] = []
    watch = _Watch()
    start = time.perf_counter() + 0.01
    sent, count = 0, round(rate * seconds)
    gc.disable()
    try:
        while len(samples) < count:
            now = watch.now()
            while idle and sent < count and start + sent / rate <= watch.now():
                idle.popleft().send(next(texts), start + sent / rate)
                sent += 1
            for file, _ in epoll.poll(0):
                connection = by_file[file]
                whole, received = connection.receive(), watch.now()
                if whole:
                    samples.append(Sample(connection.due, received - connection.due, connection.status))
                    idle.append(connection if connection.status else _again(port, epoll, by_file, file))
            if tick and now > start:
                tick(now - start)
            if now > start + 3 * seconds + 10:
                raise RuntimeError(f"only {len(samples)} of {count} requests were answered in {now - start:.0f} s")
    finally:
        gc.enable()
        for connection in by_file.values():
            connection.socket.close()
        epoll.close()
    return [sample._replace(blurred=blurred(sample, watch.gaps)) for sample in samples]


def blurred(sample: Sample, gaps: list[tuple[float, float]]) -> bool:
    """Whether the gaps that it was due or on its way in explain half of its latency.

    All of such a gap counts: what was due in it came to the server at once, and waited there for each other. A server
    that stalls for longer than that is not excused by a moment that the client lost meanwhile.
    """
    lost = 0.0
    place = bisect(gaps, (sample.due + sample.latency, 0.0)) - 1
    while place >= 0 and gaps[place][1] > sample.due:
        lost += gaps[place][1] - gaps[place][0]
        place -= 1
    return lost > 0.0 and sample.latency <= 2 * lost


def clear(samples: Sequence[Sample]) -> list[Sample]:
    """Those whose latency is the server's; prints how many are not. RuntimeError where that is no exception."""
    found = [sample for sample in samples if not sample.blurred]
    share = 1 - len(found) / len(samples)
    words = f"{share:.2%} of {len(samples):,} requests are left out: their client was kept waiting"
    print(words)
    if len(found) < len(samples) * LEAST_CLEAR:
        raise RuntimeError(f"{words}. That is too many: measure where nothing else runs")
    return found


def _again(port: int, epoll: select.epoll, by_file: dict[int, _Connection], file: int) -> _Connection:
    """A new connection in place of one that broke."""
    by_file.pop(file).socket.close()
    made = _Connection(port, epoll)
    by_file[made.socket.fileno()] = made
    return made


def percentile(samples: Sequence[Sample], share: float) -> float:
    """Milliseconds that so large a share of the answers did not exceed."""
    ordered = sorted(sample.latency for sample in samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3
