"""Real redirectors in processes of their own, and questions to them over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

import mm_redirector
from mm_lib.cache import codec, file
from tests.redirector.world import world

PATIENCE = 30.0  # seconds that a busy machine may need
PACKAGES = Path(mm_redirector.__file__).parents[1]  # compiled ones, or the source
MAIN = [sys.executable, "-c", "from mm_redirector.server import main; main()"]
LIST = "/mirrorlist?repo=fedora-44&arch=x86_64"

T = TypeVar("T")
Answer = tuple[int, str]


def publish(folder: Path, generation: int) -> None:
    file.publish(folder / "mirrorlist.cache", codec.encode(world(generation=generation)))


def configure(folder: Path, interval: float = 0.05, workers: int = 1) -> Path:
    config = folder / "mirrormanager.toml"
    config.write_text(f'[redirector]\nreload_interval = {interval}\naccess_log = "access.log"\nworkers = {workers}\n')
    return config


def surroundings(**variables: str) -> dict[str, str]:
    """The environment of a child that is to run the same packages as these tests, and not those where it stands."""
    return os.environ | {"PYTHONPATH": str(PACKAGES), "PYTHONSAFEPATH": "1"} | variables


@contextmanager
def launched(command: list[str], config: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A server that is gone afterwards, however the test ends."""
    environ = surroundings(MM_CONFIG=str(config)) | variables
    # Other WSGI servers look for packages in the current folder first.
    process = subprocess.Popen(command, env=environ, cwd=config.parent, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def get(port: int, path: str) -> Answer:
    """One question on a connection of its own, which any of the workers may accept."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def wait_until(look: Callable[[], T], true: Callable[[T], bool]) -> T:
    """What is seen when it is as wanted; another process cannot tell us when."""
    deadline = time.monotonic() + PATIENCE
    seen: T | OSError
    while True:
        try:
            seen = look()
            if true(seen):
                return seen
        except OSError as error:
            seen = error
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)


def wait_for(port: int, path: str, true: Callable[[Answer], bool]) -> Answer:
    return wait_until(lambda: get(port, path), true)


def workers_of(process: subprocess.Popen[str]) -> set[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return {int(child) for child in children.split()}


class Load:
    """Clients that ask one question after the other; `ends` counts how they ended."""

    def __init__(self, port: int, clients: int = 3) -> None:
        self.ends: Counter[str] = Counter()
        self._port = port
        self._going = True
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def wait(self, number: int) -> None:
        """Until so many more were answered."""
        wanted = self.ends["200"] + number
        wait_until(lambda: self.ends["200"], lambda answered: answered >= wanted)

    def stop(self) -> Counter[str]:
        self._going = False
        for thread in self._threads:
            thread.join()
        return self.ends

    def _ask(self) -> None:
        while self._going:
            try:
                self.ends[str(get(self._port, LIST)[0])] += 1
            except ConnectionRefusedError:  # nobody took the request, so nobody lost it
                self.ends["refused"] += 1
                time.sleep(0.01)
            except Exception as error:
                self.ends[repr(error)] += 1
