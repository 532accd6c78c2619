"""The samples for nginx, Apache httpd and HAProxy: each real server in front of a real redirector and a front end.

Of two redirectors in the samples one is dead here. The front end is one that tells what it was asked.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mm_lib.cache import codec, file
from tests.postgres import free_port
from tests.redirector.world import world

ROOT = Path(__file__).parents[2]
MAIN = [sys.executable, "-c", "from mm_redirector.server import main; main()"]
PATIENCE = 30.0
CLIENT, ADMINISTRATOR = "127.0.0.2", "127.0.0.3"
FORGED = "192.0.2.99"
METALINK = "/metalink?repo=fedora-44&arch=x86_64"
MODULES = (
    "mpm_event", "authz_core", "authz_host", "proxy", "proxy_http", "proxy_balancer", "lbmethod_bybusyness",
    "lbmethod_byrequests", "slotmem_shm", "headers", "deflate", "filter",
)  # fmt: skip

pytestmark = pytest.mark.xdist_group("proxies")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes


def ask(port: int, path: str, client: str = CLIENT, **headers: str) -> Answer:
    """One request from a loopback address of one's choice; the path goes out as it is."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=(client, 0))
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("__", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def wait_for(true: Callable[[], bool], explain: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _holds(true):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)  # nothing tells when a foreign process is ready


def _holds(true: Callable[[], bool]) -> bool:
    try:
        return true()
    except OSError:
        return False


@contextmanager
def running(command: list[str], folder: Path, port: int, **environ: str) -> Iterator[None]:
    """A server that answers on the port, until the block ends."""
    log = folder / "output"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | environ, stdout=stream, stderr=stream)
    try:
        ready = partial(lambda: process.poll() is None and ask(port, "/healthz/ready").status == 200)
        wait_for(ready, lambda: f"{command}\n{log.read_text()[-3000:]}")
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@dataclass(frozen=True)
class Redirector:
    port: int
    log: Path


@pytest.fixture(scope="module")
def redirector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redirector]:
    folder, port = tmp_path_factory.mktemp("redirector"), free_port()
    file.publish(folder / "mirrorlist.cache", codec.encode(world()))
    config = folder / "mirrormanager.toml"
    config.write_text(f'[redirector]\nport = {port}\nworkers = 1\ntrusted_proxies = 1\naccess_log = "access.log"\n')
    with running(MAIN, folder, port, MM_CONFIG=str(config), PYTHONPATH=str(ROOT)):
        yield Redirector(port, folder / "access.log")


@pytest.fixture(scope="module")
def frontend() -> Iterator[int]:
    """The port of a front end that answers with the headers that reached it."""

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told = json.dumps({"path": self.path, "headers": [list(pair) for pair in self.headers.items()]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True  # the proxies keep connections open
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # and cut them in the end
        server.block_on_close = False
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
Start = tuple[list[str], list[str]]  # how the configuration is checked, how the server is started


def nginx(folder: Path, sample: str, port: int) -> Start:
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in TEMPORARY)
    sample = sample.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {temporary}\n{sample}\n}}"
    )
    command = ["/usr/sbin/nginx", "-p", str(folder), "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]
    return [*command, "-t"], command


def apache(folder: Path, sample: str, port: int) -> Start:
    load = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in MODULES)
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    sample = sample.replace("*:8080", f"127.0.0.1:{port}")
    (folder / "httpd.conf").write_text(
        f"{load}{user}ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/pid\nServerName localhost\n"
        f"ErrorLog {folder}/log\nStartServers 1\nListen 127.0.0.1:{port}\n{sample}"
    )
    command = ["/usr/sbin/apache2", "-f", str(folder / "httpd.conf")]
    return [*command, "-t"], [*command, "-D", "FOREGROUND"]


def haproxy(folder: Path, sample: str, port: int) -> Start:
    (folder / "haproxy.cfg").write_text(sample.replace("bind :8080", f"bind 127.0.0.1:{port}"))
    command = ["/usr/sbin/haproxy", "-f", str(folder / "haproxy.cfg")]
    return [*command, "-c"], [*command, "-db"]


PROXIES = {
    "nginx": (nginx, "nginx/mirrormanager.conf"),
    "apache": (apache, "apache/mirrormanager.conf"),
    "haproxy": (haproxy, "haproxy/mirrormanager.cfg"),
}


@pytest.fixture(scope="module", params=PROXIES)
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redirector: Redirector, frontend: int
) -> Iterator[int]:
    """The port of a proxy with its sample, whose own check has nothing against it."""
    prepare, name = PROXIES[request.param]
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    sample = (ROOT / "utils" / name).read_text()
    changes = {"3000": redirector.port, "3001": free_port(), "5000": frontend}
    for written, real in changes.items():
        assert f"127.0.0.1:{written}" in sample
        sample = sample.replace(f"127.0.0.1:{written}", f"127.0.0.1:{real}")
    assert "127.0.0.0/8" in sample
    check, command = prepare(folder, sample.replace("127.0.0.0/8", f"{ADMINISTRATOR}/32"), port)
    checked = subprocess.run(check, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr.lower(), checked.stderr
    with running(command, folder, port):
        yield port


def test_answers_pass_through_though_one_redirector_is_dead(proxy: int, redirector: Redirector) -> None:
    for _ in range(4):
        answer = ask(proxy, METALINK)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/metalink+xml")
        assert b"<metalink" in answer.body


CLIENTS = {"nginx": "127.0.0.11", "apache": "127.0.0.12", "haproxy": "127.0.0.13"}


def test_the_redirector_sees_the_client_whatever_it_claims(
    proxy: int, redirector: Redirector, request: pytest.FixtureRequest
) -> None:
    """Under the header's own name, twice, and under a name that WSGI programs take for the same."""

    def asked_by(address: str) -> list[str]:
        lines = redirector.log.read_text().splitlines() if redirector.log.exists() else []
        return [line for line in lines if line.startswith(f"IP: {address};")]

    claims: list[dict[str, str]] = [
        {},
        {"X__Forwarded__For": FORGED},
        {"X__Forwarded__For": f"{FORGED}, {FORGED}", "x__forwarded__for": FORGED},
        {"X_Forwarded_For": FORGED},
        {"X__Forwarded__For": FORGED, "X_Forwarded_For": FORGED},
        {"X_Forwarded__For": FORGED},
        {"X__Forwarded_For": FORGED},
    ]
    client = CLIENTS[request.node.callspec.params["proxy"]]
    for claim in claims:
        assert ask(proxy, METALINK, client, **claim).status == 200
    wait_for(lambda: len(asked_by(FORGED) + asked_by(client)) >= len(claims), redirector.log.read_text)
    assert not asked_by(FORGED)


def test_metalinks_are_compressed_for_those_who_want_it(proxy: int) -> None:
    packed = ask(proxy, METALINK, Accept__Encoding="gzip")
    plain = ask(proxy, METALINK)
    assert (packed.headers.get("content-encoding"), plain.headers.get("content-encoding")) == ("gzip", None)
    assert gzip.decompress(packed.body).startswith(plain.body[:60])
    assert "accept-encoding" in ", ".join(packed.headers.get_all("vary", [])).lower()


@pytest.mark.parametrize("path", ["/metrics", "/explain?repo=fedora-44&arch=x86_64"])
def test_numbers_and_explanations_are_for_the_networks_inside(proxy: int, path: str) -> None:
    assert ask(proxy, path, CLIENT).status == 403
    assert ask(proxy, path, CLIENT, X__Forwarded__For=ADMINISTRATOR).status == 403
    answer = ask(proxy, path, ADMINISTRATOR)
    assert path != "/metrics" or (answer.status, b"# TYPE" in answer.body) == (200, True)
    assert b"nginx" not in answer.body  # the redirector itself answers


@pytest.mark.parametrize(
    "path",
    [
        "//metrics", "/./metrics", "/%6detrics", "/mirrorlist/metrics", "/metalink/../metrics", "/metalink%2fmetrics",
        "/metalink%2F..%2Fmetrics", "/redirect/../metrics", "/redirect/%2e%2e/metrics", "/redirect/x%2fmetrics",
        "/redirect%2f..%2fmetrics", "/healthz/ready/metrics", "/metrics/",
    ],
)  # fmt: skip
def test_no_other_way_to_write_it_leads_to_the_numbers(proxy: int, path: str) -> None:
    assert b"# TYPE" not in ask(proxy, path, CLIENT).body


def test_the_readiness_of_the_redirectors_can_be_asked(proxy: int) -> None:
    assert ask(proxy, "/healthz/ready").body.startswith(b"ready")


def test_all_else_is_for_the_front_end_which_is_told_the_truth(proxy: int) -> None:
    answer = ask(
        proxy, "/mirrors/a%20b?c=d", X__Forwarded__For=FORGED, X__Forwarded__Host="evil", X__Forwarded__Proto="x"
    )
    told = json.loads(answer.body)
    assert told["path"] == "/mirrors/a%20b?c=d"
    heard = {name.lower(): [v for n, v in told["headers"] if n.lower() == name.lower()] for name, _ in told["headers"]}
    assert ",".join(heard["x-forwarded-for"]).split(",")[-1].strip() == CLIENT
    assert heard["x-forwarded-proto"] == ["http"]
    assert "evil" not in ",".join(heard["x-forwarded-host"])


def test_a_redirect_gets_its_path_as_the_client_wrote_it(proxy: int) -> None:
    answer = ask(proxy, "/redirect/pub/fedora/linux/images/R%26D%20%3C1%3E.iso")
    assert (answer.status, "R%26D%20%3C1%3E.iso" in answer.headers["location"]) == (302, True)


def test_a_client_that_asks_too_fast_is_told_so_by_nginx(proxy: int, request: pytest.FixtureRequest) -> None:
    """The other two have no limit in their samples."""
    statuses = set()
    connection = HTTPConnection("127.0.0.1", proxy, timeout=PATIENCE, source_address=("127.0.0.4", 0))
    for _ in range(160):
        connection.request("HEAD", METALINK)
        answer = connection.getresponse()
        answer.read()
        statuses.add(answer.status)
    connection.close()
    limited = request.node.callspec.params["proxy"] == "nginx"
    assert statuses == ({200, 429} if limited else {200})
