"""Our programs as an administrator runs them: the installed commands, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import free_port

BIN = Path(sys.executable).parent
START_SECONDS = 30


class Installation:
    """A folder with a configuration, and the commands run in it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}  # the servers, by program
        self.environment = {
            "PATH": f"{BIN}:/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            "HOME": str(folder),
            "MM_CONFIG": str(folder / "mirrormanager.toml"),
            "MM_CRAWLER__PRIVATE_MIRRORS": "true",  # they are on this machine
            **{f"MM_{name.upper()}": value for name, value in settings.items()},
        }

    def run(self, program: str, *arguments: str, stdin: str = "", **settings: str) -> str:
        """Run a command that must succeed; what it printed."""
        finished = subprocess.run(
            [BIN / program, *arguments],
            cwd=self.folder,
            env=self.environment | {f"MM_{name.upper()}": value for name, value in settings.items()},
            input=stdin,
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, f"{program} {' '.join(arguments)}\n{finished.stdout}{finished.stderr}"
        return finished.stdout

    def admin(self, *arguments: str, **settings: str) -> str:
        """Run mm-admin."""
        return self.run("mm-admin", *arguments, **settings)

    @contextmanager
    def serving(self, program: str, section: str, port: int = 0) -> Iterator[str]:
        """One of our servers, ready; its address."""
        port = port or free_port()
        url = f"http://127.0.0.1:{port}"
        log = self.folder / f"{program}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [BIN / program],
                cwd=self.folder,
                env=self.environment | {f"MM_{section}__PORT": str(port)},
                stdout=stream,
                stderr=stream,
            )
        self.processes[program] = process
        try:
            _wait(process, f"{url}/healthz/ready", log)
            yield url
        finally:
            process.terminate()
            process.wait(20)

    @contextmanager
    def working(self, program: str, *arguments: str) -> Iterator[None]:
        """A command that runs until the block ends."""
        with (self.folder / f"{program}-{arguments[0]}.log").open("wb") as stream:
            process = subprocess.Popen(
                [BIN / program, *arguments], cwd=self.folder, env=self.environment, stdout=stream, stderr=stream
            )
            try:
                yield
            finally:
                process.terminate()
                process.wait(20)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # nothing tells when another process listens
    raise AssertionError(f"{url} did not get ready:\n{log.read_text()[-3000:]}")


def get(url: str) -> str:
    """The body of an answer with status 200."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def as_root(*command: str) -> list[str]:
    """The command as root: as it is when we are, else in a user namespace of its own."""
    return list(command) if os.geteuid() == 0 else ["unshare", "-r", *command]
