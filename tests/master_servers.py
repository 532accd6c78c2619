"""A real rsync server and a real Apache httpd over a master tree."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.postgres import free_port

_MODULES = ("mpm_event", "authz_core", "dir", "autoindex", "alias")


class Server:
    """A program that listens on a loopback port, and its folder; both gone afterwards."""

    def __init__(self, command: list[str], directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"{command[0]} did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and remove its files."""
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)


class Rsyncd(Server):
    """rsync --daemon with one module, `master`; `options` are more lines of it."""

    def __init__(self, top: Path, *options: str, user: str = "root") -> None:
        directory, port = Path(tempfile.mkdtemp(prefix="mm-rsyncd-")), free_port()
        config = directory / "rsyncd.conf"
        module = [
            f"path = {top}",
            "use chroot = no",
            f"uid = {user}",
            f"gid = {'root' if user == 'root' else 'nogroup'}",
        ]
        log = [f"log file = {directory}/log", "transfer logging = yes", "log format = %o %f"]
        config.write_text("\n".join([f"port = {port}", "address = 127.0.0.1", "[master]", *module, *log, *options, ""]))
        self.url = f"rsync://127.0.0.1:{port}/master/"
        super().__init__(["rsync", "--daemon", "--no-detach", f"--config={config}"], directory, port)

    def sent(self) -> list[str]:
        """The files whose contents it sent so far."""
        lines = (self.directory / "log").read_text().splitlines()
        return [line.rpartition(" send ")[2] for line in lines if " send " in line]


def _let_others_in(top: Path) -> None:
    """pytest's folders are for their owner alone, and Apache does not serve as root."""
    for folder in (top, *top.parents):
        if folder.stat().st_mode & 0o777 == 0o700 and folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)


class Apache(Server):
    """Apache httpd that makes index pages as Debian configures it, or with other IndexOptions."""

    def __init__(
        self, top: Path, options: str = "FancyIndexing VersionSort HTMLTable NameWidth=* Charset=UTF-8"
    ) -> None:
        directory, port = Path(tempfile.mkdtemp(prefix="mm-apache-")), free_port()
        _let_others_in(top)
        load = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _MODULES)
        config = directory / "httpd.conf"
        config.write_text(
            f"""
            {load}
            {"User www-data" if os.geteuid() == 0 else ""}
            {"Group www-data" if os.geteuid() == 0 else ""}
            ServerRoot {directory}
            DefaultRuntimeDir {directory}
            StartServers 1
            ServerName localhost
            PidFile {directory}/pid
            ErrorLog {directory}/error.log
            CustomLog {directory}/asked.log "%m %U %>s"
            Listen 127.0.0.1:{port}
            DocumentRoot {top}
            <Directory {top}>
                Options +Indexes +FollowSymLinks
                IndexOptions {options}
                Require all granted
            </Directory>
            """
        )
        self.url = f"http://127.0.0.1:{port}/"
        super().__init__(["/usr/sbin/apache2", "-DFOREGROUND", "-f", str(config)], directory, port)

    def requests(self) -> list[str]:
        """What it was asked so far: "METHOD /path status". Apache logs after it answered."""
        text, before = "", None
        while text != before:
            time.sleep(0.1)
            before, text = text, (self.directory / "asked.log").read_text()
        return text.splitlines()

    def was_asked(self, line: str, patience: float = 5.0) -> bool:
        """Whether it was asked that; it is given so many seconds to say so."""
        end = time.monotonic() + patience
        while not (asked := line in self.requests()) and time.monotonic() < end:
            pass
        return asked
