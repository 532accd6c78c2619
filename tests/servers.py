"""Real servers for tests, on free loopback ports, in folders of their own, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.postgres import free_port

NGINX = "/usr/sbin/nginx"
_MARKER = "/what-was-asked-so-far"


class Certificate(NamedTuple):
    """A self-signed certificate for 127.0.0.1 and localhost, and its key."""

    certificate: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """Make one with openssl. Clients that trust the certificate file itself trust the server."""
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(made.key))
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    command = ("openssl", "req", "-x509", *key, *names, "-days", "2", "-out", str(made.certificate))
    subprocess.run(command, check=True, capture_output=True)
    return made


class Nginx:
    """One nginx that serves several folders, each on a port of its own: several mirrors in one process.

    `urls[name]` is where `roots[name]` is served. `extra[name]` goes into its server block, `http` around all.
    With `tls`, `https_urls[name]` serves the same over TLS with `certificate`.
    """

    def __init__(
        self, roots: Mapping[str, Path], *, extra: Mapping[str, str] | None = None, tls: bool = False, http: str = ""
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mm-nginx-"))
        self.certificate = make_certificate(self.directory) if tls else None
        self.urls: dict[str, str] = {}
        self.https_urls: dict[str, str] = {}
        blocks = [self._server(name, root, (extra or {}).get(name, "")) for name, root in roots.items()]
        config = self.directory / "nginx.conf"
        config.write_text(self._config("\n".join([http, *blocks])))
        self._process = subprocess.Popen(
            [NGINX, "-p", str(self.directory), "-e", str(self.directory / "error.log"), "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

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

    def requests(self, name: str) -> list[str]:
        """What a mirror was asked so far: "METHOD /path status"."""
        # nginx logs after it answered, one request after the other: when this one is answered, the others are logged.
        connection = HTTPConnection("127.0.0.1", int(self.urls[name].rpartition(":")[2]), timeout=10)
        connection.request("HEAD", _MARKER)
        connection.getresponse().close()
        connection.close()
        return [line for line in (self.directory / f"{name}.log").read_text().splitlines() if _MARKER not in line]

    def _server(self, name: str, root: Path, extra: str) -> str:
        port = free_port()
        self.urls[name] = f"http://127.0.0.1:{port}"
        listen = [f"listen 127.0.0.1:{port};"]
        if self.certificate:
            tls_port = free_port()
            self.https_urls[name] = f"https://127.0.0.1:{tls_port}"
            listen += [
                f"listen 127.0.0.1:{tls_port} ssl http2;",
                f"ssl_certificate {self.certificate.certificate};",
                f"ssl_certificate_key {self.certificate.key};",
            ]
        log = self.directory / f"{name}.log"
        return f"server {{ {' '.join(listen)} root {root}; access_log {log} asked; {extra} }}"

    def _config(self, servers: str) -> str:
        here = self.directory
        temporary = "\n".join(
            f"{kind}_temp_path {here}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off;
            worker_processes 1;
            pid {here}/nginx.pid;
            error_log {here}/error.log;
            events {{ worker_connections 1024; }}
            http {{
                {temporary}
                log_format asked '$request_method $request_uri $status';
                default_type application/octet-stream;
                autoindex on;
                keepalive_requests 100000;
                {servers}
            }}
        """

    def _wait(self) -> None:
        """Until every port answers."""
        for url in [*self.urls.values(), *self.https_urls.values()]:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0:
                        break
                if self._process.poll() is not None:
                    raise RuntimeError(f"nginx did not start:\n{(self.directory / 'error.log').read_text()[-2000:]}")
                time.sleep(0.02)
            else:
                raise RuntimeError(f"nginx does not answer at {url}")
