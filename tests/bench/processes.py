"""Servers under measurement: each on a core of its own, its CPU time and memory as the kernel counts them."""

from __future__ import annotations

import atexit
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench import compiled
from tests.bench.data import ROOT
from tests.postgres import free_port
from tests.servers import NGINX

SERVER_CORE, LOAD_CORE = 0, 1
BIN = Path(sys.executable).parent
_TICKS = os.sysconf("SC_CLK_TCK")
# As a service has it. granian copies all of it into every request, so what a shell has would be measured too.
_ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
_PATIENCE = 60.0  # seconds until a server must answer


def take_load_core() -> None:
    """Keep this process, and all that makes load for it, off the server's core; end servers when SIGTERM comes too."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("Error: this benchmark needs two cores: one for the server and one for its clients.")
    os.sched_setaffinity(0, {LOAD_CORE})
    _shield({int(task.name) for task in Path("/proc/self/task").iterdir()})


def _shield(own: set[int]) -> None:
    """Keep whatever else runs here, kernel threads too, off the server's core until this process ends.

    When both cores are busy it stops one of them for milliseconds, and a latency is to be the server's. Where this is
    not allowed (it takes root), or a thread is bound to its core, things stay as they are.
    """
    moved: list[tuple[int, set[int]]] = []
    for task in {int(path.name) for path in Path("/proc").glob("[0-9]*/task/[0-9]*")} - own:
        with suppress(OSError):  # it ended, or may not be moved
            cores = os.sched_getaffinity(task)
            if SERVER_CORE in cores and len(cores) > 1:
                os.sched_setaffinity(task, cores - {SERVER_CORE})
                moved.append((task, cores))

    def restore() -> None:
        for task, cores in moved:
            with suppress(OSError):
                os.sched_setaffinity(task, cores)

    atexit.register(restore)


class Server:
    """A process with its children, pinned to the server's core; ended with the block that uses it."""

    def __init__(self, command: list[str], port: int, place: Path, ready: str) -> None:
        self.port = port
        self.log = place / f"{Path(command[0]).name}-{port}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(SERVER_CORE), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        try:
            self._wait(ready)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and whatever is left of its session."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", target, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def cpu(self) -> float:
        """Seconds of CPU time that it used so far, in user mode and in the kernel."""
        return sum(cpu_of(pid) for pid in self._pids())

    def pss(self) -> float:
        """Megabytes of the largest worker: its own memory, and its share of what it has in common with others."""
        workers = [pid for pid in self._pids() if not list(_children(pid))]
        return max(_pss(pid) for pid in workers)

    def hang_up(self) -> None:
        """Send SIGHUP to the first process."""
        self._process.send_signal(signal.SIGHUP)

    def _pids(self) -> list[int]:
        found = [self._process.pid]  # taskset becomes the server
        for pid in found:
            found += _children(pid)
        return found

    def _wait(self, ready: str) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            with suppress(OSError, http.client.HTTPException):
                if self.get(ready)[0] == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self._process.args!r} does not answer:\n{self.log.read_text()[-3000:]}")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_of(pid: int) -> float:
    """Seconds of CPU time that a process used so far, in user mode and in the kernel; 0 when it is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _pss(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def redirector(config: Path, workers: int = 1, *, plain: bool = False) -> Server:
    """mm-redirector of the tree that this file lies in, compiled or not."""
    port = free_port()
    code = f"import sys; sys.path.insert(0, {str(compiled.folder(plain))!r})"
    command = [
        sys.executable,
        "-c",
        f"{code}; from mm_redirector.server import main; main()",
        "--config",
        str(config),
        "--port",
        str(port),
        "--workers",
        str(workers),
    ]
    return Server(command, port, config.parent, "/healthz/ready")


def floor(place: Path) -> Server:
    """What mm-redirector starts, but with an application that does nothing: /N answers with N bytes."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--interface", "wsgi", "--workers", "1"]
    options += ["--http", "1", "--runtime-mode", "st", "--blocking-threads", "1"]
    return Server([str(BIN / "granian"), *options, "tests.bench.floor:application"], port, place, "/1")


def static_files(place: Path, sizes: list[int]) -> Server:
    """nginx with one worker that sends /N, a file of N bytes."""
    port = free_port()
    root = place / "static"
    root.mkdir()
    for size in (1, *sizes):
        (root / str(size)).write_bytes(b"x" * size)
    folders = "\n".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = place / "nginx.conf"
    config.write_text(f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
        events {{ worker_connections 1024; }}
        http {{
            {folders}
            access_log off; sendfile on; tcp_nopush on; open_file_cache max=100; keepalive_requests 10000000;
            server {{ listen 127.0.0.1:{port}; root {root}; }}
        }}
    """)
    return Server([NGINX, "-p", str(place), "-e", str(place / "error.log"), "-c", str(config)], port, place, "/1")
