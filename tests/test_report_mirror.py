"""The client for mirrors: what it reads, what it sends to new and old servers, and how it ends."""

from __future__ import annotations

import ast
import base64
import bz2
import errno
import gzip
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import types
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

from tests.servers import make_certificate

PROGRAM = Path(__file__).parent.parent / "utils/report_mirror/report_mirror"
SAMPLE = PROGRAM.with_name("report_mirror.conf")
DONE, NOT_IN_ORDER, USAGE, REFUSED, LATER = 0, 1, 2, 3, 75
PYENV = Path.home() / ".pyenv/versions"


def pythons() -> list[Path]:
    """Every version of Python that is on PATH, or that pyenv keeps."""
    folders = [Path(name) for name in os.environ.get("PATH", "").split(":") if "shims" not in name]
    found = [path for folder in (*folders, *PYENV.glob("*/bin")) for path in folder.glob("python3*")]
    named = {path.name: path for path in found if re.fullmatch(r"python3\.\d+", path.name)}
    return [named[name] for name in sorted(named)]


@pytest.fixture(scope="module")
def program() -> types.ModuleType:
    loader = SourceFileLoader("report_mirror", str(PROGRAM))
    module = types.ModuleType(loader.name)
    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int = 200
    kind: str = "application/json"
    body: bytes = b"{}"
    headers: dict[str, str] = {}  # noqa: RUF012


class Server:
    """A server that answers as it is told, one answer after the other and the last one for ever; it remembers."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), []
        self.url = ""

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def ok(**more: Any) -> Answer:
    return Answer(body=json.dumps({"categories": [], "ignored": []} | more).encode())


def problem(status: int, detail: str) -> Answer:
    return Answer(status, "application/problem+json", json.dumps({"status": status, "detail": detail}).encode())


def old(text: str) -> Answer:
    return Answer(kind="text/xml", body=xmlrpc.client.dumps((text,), methodresponse=True).encode())


NO_PAGE = Answer(404, "text/html", b"<h1>Not Found</h1>")
OLD_OK = old("Category Fedora Linux directories updated: 0  added: 3  deleted 0\nchecked in successful")


@contextmanager
def serving(*answers: Answer, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = server.answer(Asked(self.path, dict(self.headers.items()), body))
            self.send_response(answer.status)
            for name, value in {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    kind = type("Listening", (ThreadingHTTPServer,), {"address_family": 10 if ":" in host else 2})
    listening = kind((host, 0), Handler)
    if tls is not None:
        listening.socket = tls.wrap_socket(listening.socket, server_side=True)
    name = f"[{host}]" if ":" in host else host
    server.url = f"http{'s' if tls else ''}://{name}:{listening.server_port}"
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


class Mirror:
    """A mirror's folder with a tree, its configuration, and the client run in it."""

    def __init__(self, folder: Path, program: types.ModuleType) -> None:
        self.tree, self.config, self.program = folder / "tree", folder / "report_mirror.conf", program
        for path in ("releases/44/Everything", "updates"):
            (self.tree / path).mkdir(parents=True)
        (self.tree / "releases/a file").touch()

    def write(self, server: str, *, more: str = "", secret: str = "password = secret password") -> None:
        self.config.write_text(
            f"[global]\nenabled = 1\nserver = {server}/xmlrpc\n"
            f"[site]\nenabled = 1\nname = Example University\n{secret}\n"
            "[host]\nenabled = 1\nname = mirror.example.edu\n[stats]\napache = /var/log\n"
            f"[Fedora Linux]\nenabled = 1\npath = {self.tree}\n{more}"
        )

    def run(self, *arguments: str) -> int:
        return int(self.program.main(["-c", str(self.config), *arguments]))


@pytest.fixture
def mirror(tmp_path: Path, program: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(program.time, "sleep", lambda seconds: None)
    return Mirror(tmp_path, program)


def report(asked: Asked) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(asked.body)))


def old_report(asked: Asked) -> dict[str, Any]:
    """As frontend.md 4.2 describes it."""
    [argument], method = xmlrpc.client.loads(asked.body)
    assert method == "checkin" and isinstance(argument, str)
    return dict(json.loads(bz2.decompress(base64.urlsafe_b64decode(argument))))


TREE = ["", "releases", "releases/44", "releases/44/Everything", "updates"]


def test_it_is_written_in_python_3_6() -> None:
    """The grammar, and no module that came later or is gone by 3.14."""
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    of_old = {"argparse", "base64", "bz2", "configparser", "gzip", "http", "json", "os", "random", "ssl", "sys", "time"}
    of_old |= {"typing", "urllib", "xml", "xmlrpc"}
    assert {name.partition(".")[0] for name in imported} <= of_old


@pytest.mark.parametrize("python", pythons(), ids=lambda path: path.name)
def test_every_python_of_this_machine_reports_to_new_and_old_servers(python: Path, mirror: Mirror) -> None:
    (mirror.tree / "größe").mkdir()
    with serving(NO_PAGE, OLD_OK) as server:
        mirror.write(server.url)
        command = [python, "-W", "error", "-B", PROGRAM, "-c", mirror.config]
        finished = subprocess.run(command, capture_output=True, text=True, env={"LC_ALL": "C"}, timeout=60)
    assert (finished.returncode, finished.stderr) == (DONE, "")
    assert finished.stdout.endswith("checked in successful\n")
    assert report(server.asked[0])["categories"]["fedora linux"] == sorted([*TREE, "größe"])
    assert set(old_report(server.asked[1])["fedora linux"]["dirtree"]) == {*TREE, "größe"}


def test_a_new_server_gets_json(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"name": "Fedora Linux", "updated": 1, "added": 2, "removed": 3, "unknown": 4}
    with serving(ok(categories=[row], ignored=["extra"])) as server:
        mirror.write(server.url)
        assert mirror.run() == DONE
    [asked] = server.asked
    assert asked.path == "/api/v1/checkin"
    assert report(asked) == {
        "host": "mirror.example.edu",
        "site": "Example University",
        "password": "secret password",
        "categories": {"fedora linux": TREE},
    }
    said = capsys.readouterr()
    assert "1 directories as before, 2 added, 3 removed, 4 unknown" in said.out
    assert "does not carry 'extra'" in said.err


@pytest.mark.parametrize("answer", [NO_PAGE, Answer(405, "text/html"), Answer(200, "text/html", b"Welcome")])
def test_an_old_server_gets_what_it_has_always_got(
    mirror: Mirror, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(answer, OLD_OK) as server:
        mirror.write(server.url)
        mirror.config.write_text(mirror.config.read_text().replace("[stats]", "user_active = true\n[stats]"))
        assert mirror.run() == DONE
    assert [asked.path for asked in server.asked] == ["/api/v1/checkin", "/xmlrpc"]
    assert old_report(server.asked[1]) == {
        "version": 0,
        "global": {"enabled": "1", "server": f"{server.url}/xmlrpc"},
        "site": {"enabled": "1", "name": "Example University", "password": "secret password"},
        "host": {"enabled": "1", "name": "mirror.example.edu", "user_active": "true"},
        "stats": {},
        "fedora linux": {"enabled": "1", "dirtree": {path: {} for path in TREE}},
    }
    assert report(server.asked[0])["active"] is True
    assert "checked in successful" in capsys.readouterr().out


def test_a_token_takes_the_place_of_the_password(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mms_abc\n")
    for secret in ("token = mms_abc", f"token_file = {tmp_path / 'token'}"):
        with serving(ok()) as server:
            mirror.write(server.url, secret=secret)
            assert mirror.run() == DONE
        assert server.asked[0].headers["Authorization"] == "Bearer mms_abc"
        assert "password" not in report(server.asked[0])


def test_an_old_server_cannot_be_told_with_a_token(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(NO_PAGE) as server:
        mirror.write(server.url, secret="token = mms_abc")
        assert mirror.run() == NOT_IN_ORDER
    assert len(server.asked) == 1
    assert "needs a password" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answers", "code", "text"),
    [
        ([problem(401, "Config file site name or password incorrect.")], REFUSED, "password incorrect"),
        ([problem(404, "Config file host name for site not found.")], REFUSED, "host name for site"),
        ([problem(503, "Down.")], LATER, "503"),
        ([NO_PAGE, old("Only private mirrors are allowed.\nerror checking in")], REFUSED, "Only private"),
        ([NO_PAGE, NO_PAGE], REFUSED, "right address"),
        ([NO_PAGE, Answer(kind="text/xml", body=b"hello")], REFUSED, "right address"),
        (
            [NO_PAGE, Answer(body=xmlrpc.client.dumps(xmlrpc.client.Fault(1, "no"), methodresponse=True).encode())],
            LATER,
            "no; try again later",
        ),
        ([Answer(302, headers={"Location": "https://new.example.org/"})], NOT_IN_ORDER, "https://new.example.org/"),
    ],
)
def test_how_it_ends_says_whether_to_try_again(
    mirror: Mirror, answers: list[Answer], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(*answers) as server:
        mirror.write(server.url)
        assert mirror.run() == code
    assert text in capsys.readouterr().err


def test_it_tries_again_and_waits_as_long_as_the_server_says(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(mirror.program.time, "sleep", waited.append)
    slow = [problem(503, "x")._replace(headers={"Retry-After": "7"}), problem(429, "x"), problem(502, "x"), ok()]
    with serving(*slow) as server:
        mirror.write(server.url)
        assert mirror.run() == DONE
    assert waited[0] == 7
    assert 2 <= waited[1] <= 6 and 4 <= waited[2] <= 12


def test_a_server_that_is_not_there_may_be_there_later(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ok()) as server:
        pass
    mirror.write(server.url)
    assert mirror.run("--retries", "1") == LATER
    assert "cannot reach" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda text: "", "has no section [global]"),
        (lambda text: text.replace("[host]", "[hosts]"), "has no section [host]"),
        (lambda text: text.replace("server = ", "servers = "), "section [global] needs server"),
        (lambda text: text.replace("password = ", "word = "), "needs a password or a token"),
        (lambda text: text.replace("[site]\nenabled = 1", "[site]\nenabled = 0"), "section [site] is not enabled"),
        (lambda text: text.replace("path = ", "paths = "), "section [Fedora Linux] needs path"),
        (lambda text: text.replace("/tree", "/not mounted"), "is no directory (is the disk mounted?)"),
        (lambda text: text.replace("http://", "gopher://"), "is no http:// or https:// URL"),
        (lambda text: f"{text}[", "makes no sense"),
        (lambda text: f"{text}\n[fedora LINUX]\nenabled = 1\npath = /tmp\n", "section [fedora LINUX] stands in"),
        (lambda text: f"\ufeff{text}".replace("/tree", "/none"), "is no directory"),
    ],
)
def test_what_is_not_in_order_is_named_and_nothing_is_sent(
    mirror: Mirror, change: Callable[[str], str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(ok()) as server:
        mirror.write(server.url)
        mirror.config.write_text(change(mirror.config.read_text()))
        assert mirror.run() == NOT_IN_ORDER
    assert server.asked == []
    assert text in capsys.readouterr().err


def test_a_category_that_is_not_enabled_is_left_alone(mirror: Mirror) -> None:
    """Even where its path does not exist: the original client sends an empty tree, which takes everything off."""
    with serving(ok()) as server:
        mirror.write(server.url, more="[Fedora EPEL]\nenabled = 0\npath = /nowhere\n")
        assert mirror.run() == DONE
    assert list(report(server.asked[0])["categories"]) == ["fedora linux"]


def test_a_disk_that_fails_below_the_top_takes_nothing_off(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = os.scandir

    def failing(folder: bytes) -> Any:
        if isinstance(folder, bytes) and folder.endswith(b"/releases"):
            raise OSError(errno.EIO, "Input/output error")
        return scan(folder)

    with serving(ok()) as server:
        mirror.write(server.url)
        monkeypatch.setattr(os, "scandir", failing)
        assert mirror.run() == NOT_IN_ORDER
    assert server.asked == []
    assert "Input/output error" in capsys.readouterr().err


def test_an_empty_tree_is_sent_only_when_that_is_meant(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(mirror.tree)
    mirror.tree.mkdir()
    with serving(ok()) as server:
        mirror.write(server.url)
        assert mirror.run() == NOT_IN_ORDER
        assert "--allow-empty" in capsys.readouterr().err
        assert mirror.run("--allow-empty") == DONE
    assert [report(asked)["categories"] for asked in server.asked] == [{"fedora linux": [""]}]


def test_links_are_followed_but_not_in_circles(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "disk2/45/Everything").mkdir(parents=True)
    (mirror.tree / "releases/45").symlink_to(tmp_path / "disk2/45")
    (mirror.tree / "releases/again").symlink_to(mirror.tree)
    (mirror.tree / "releases/44/up").symlink_to("..")
    (mirror.tree / "broken").symlink_to("nowhere")
    linked = tmp_path / "link"
    linked.symlink_to(mirror.tree)
    mirror.tree = linked
    with serving(ok()) as server:
        mirror.write(server.url)
        assert mirror.run() == mirror.run("--no-follow") == DONE
    followed, plain = (report(asked)["categories"]["fedora linux"] for asked in server.asked)
    assert set(followed) == {*TREE, "releases/45", "releases/45/Everything"}
    assert plain == TREE


def test_names_that_are_no_utf_8_are_told_and_left_out(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    Path(os.fsdecode(os.fsencode(mirror.tree) + b"/caf\xe9")).mkdir()
    (mirror.tree / "größe").mkdir()
    with serving(ok()) as server:
        mirror.write(server.url)
        assert mirror.run() == DONE
    assert set(report(server.asked[0])["categories"]["fedora linux"]) == {*TREE, "größe"}
    assert "caf\\xe9 is no UTF-8" in capsys.readouterr().err


def test_directories_can_be_left_out_by_parts_of_their_names(mirror: Mirror, tmp_path: Path) -> None:
    excludes = tmp_path / "excludes"
    excludes.write_text("# comment\n\nreleases/44/   # and all below\n")
    with serving(ok()) as server:
        mirror.write(server.url)
        assert mirror.run("--exclude-from", str(excludes)) == DONE
    assert report(server.asked[0])["categories"]["fedora linux"] == ["", "releases", "updates"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("options", "shown"), [([], True), (["--quiet"], False)])
def test_somebody_at_a_terminal_sees_how_far_it_is(
    mirror: Mirror, options: list[str], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    mirror.write("https://mirrors.example.org")
    assert mirror.run("--dry-run", *options) == DONE
    said = sys.stderr.getvalue()
    assert ("Fedora Linux: 2 directories" in said, said.endswith("\r\x1b[K")) == (shown, shown)


def test_a_dry_run_sends_nothing(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ok()) as server:
        mirror.write(server.url)
        assert mirror.run("--dry-run", "--debug") == mirror.run("--no-send") == DONE
    assert server.asked == []
    said = capsys.readouterr().out
    assert "fedora linux: 5 directories\n  .\n  releases\n" in said
    assert "secret password" not in said


def test_a_report_can_be_written_for_later_and_only_its_owner_reads_it(mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with serving(ok(), NO_PAGE, OLD_OK) as server:
        mirror.write(server.url)
        assert mirror.run("--no-send", "-o", str(path)) == DONE
        assert path.stat().st_mode & 0o777 == 0o600
        shutil.rmtree(mirror.tree)
        assert mirror.run("-i", str(path)) == mirror.run("-i", str(path)) == DONE
    assert report(server.asked[0])["categories"]["fedora linux"] == TREE
    assert old_report(server.asked[2]) == json.loads(path.read_text())
    path.write_text('{"site": 1}')
    assert mirror.run("-i", str(path)) == NOT_IN_ORDER


def test_a_server_is_reached_by_ipv6(mirror: Mirror) -> None:
    with serving(ok(), host="::1") as server:
        mirror.write(server.url)
        assert mirror.run() == DONE
    assert len(server.asked) == 1


def test_a_proxy_of_the_environment_is_used(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(NO_PAGE, OLD_OK) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        mirror.write("http://mirrors.example.org")
        assert mirror.run() == DONE
    assert [asked.path for asked in proxy.asked] == [
        "http://mirrors.example.org/api/v1/checkin",
        "http://mirrors.example.org/xmlrpc",
    ]


def test_user_and_password_in_the_address_are_for_the_server(mirror: Mirror) -> None:
    with serving(NO_PAGE, OLD_OK) as server:
        mirror.write(server.url.replace("http://", "http://me:p%40ss@"))
        assert mirror.run() == DONE
    expected = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert [asked.headers["Authorization"] for asked in server.asked] == [expected, expected]


def test_certificates_are_verified(mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    with serving(ok(), tls=tls) as server:
        mirror.write(server.url)
        assert mirror.run() == LATER
        assert "certificate verify failed" in capsys.readouterr().err.lower()
        assert server.asked == []
        assert mirror.run("--ca-file", str(certificate.certificate)) == DONE


def test_the_sample_configuration_needs_only_other_values(mirror: Mirror, capsys: pytest.CaptureFixture[str]) -> None:
    text = SAMPLE.read_text().replace("/srv/mirror/pub/fedora/linux", str(mirror.tree))
    mirror.config.write_text(text)
    assert mirror.run("--dry-run") == DONE
    assert "mirror.example.edu of Example University to https://mirrors.example.org/xmlrpc" in capsys.readouterr().out


def test_the_configuration_lies_where_the_original_client_has_it(program: types.ModuleType) -> None:
    assert program.DEFAULT_CONFIG == "/etc/mirrormanager-client/report_mirror.conf"


def test_wrong_usage_has_a_code_of_its_own(program: types.ModuleType) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["--nonsense"])
    assert ended.value.code == USAGE
