"""The laboratory: every mirror that misbehaves, and what a crawl must say of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.crawler import hostile
from tests.crawler.builders import NEW
from tests.crawler.hostile import Behaviour, HostileServer
from tests.crawler.laboratory import ftp, raw, rsyncd, web
from tests.crawler.laboratory.certificates import NOW, Authority
from tests.crawler.laboratory.raw import Conversation, RawServer
from tests.crawler.laboratory.rsyncd import Entry
from tests.crawler.laboratory.web import InSync
from tests.ftp_servers import Vsftpd
from tests.master_servers import Rsyncd
from tests.postgres import free_port
from tests.servers import Certificate, Nginx, make_certificate

# Of this process alone, so that no port of it is taken.
TLS_ADDRESS = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
DIRECTORIES = {"repodata": ("repomd.xml",), "a": ("f",), "b": ("g", "h"), "c": ("i",)}
FILES = {
    f"{directory}/{name}": NEW if name == "repomd.xml" else b"good"
    for directory, names in DIRECTORIES.items()
    for name in names
}
GOOD = "4 ok"


class Expected(NamedTuple):
    """What a crawl must say: outcome, how many directories got which verdict, and words among its reasons."""

    outcome: str
    verdicts: str = ""
    says: str = ""


class Mirror(NamedTuple):
    """A mirror at its addresses."""

    name: str
    urls: tuple[str, ...]
    expected: Expected


Wrong = tuple[Callable[[InSync], Behaviour], Expected]

FINE = Expected("asked", GOOD)
_NOT_ALLOWED = hostile.always("405 Method Not Allowed")
ALL_STALE = "4 stale"

WEB: dict[str, Wrong] = {
    # -- slow
    "hangs after connect": (lambda _: hostile.silent, Expected("unreachable", says="timed out")),
    "hangs in files": (lambda _: web.in_files(hostile.silent), Expected("unanswered", says="timed out")),
    "hangs after headers": (
        lambda ok: web.in_metadata(web.in_bodies(web.hang_after_headers, ok), ok),
        Expected("asked", "3 ok, 1 unknown", "timed out"),
    ),
    "drips one byte a second": (
        lambda ok: web.in_metadata(web.in_bodies(web.drip_body, ok), ok),
        Expected("asked", "3 ok, 1 unknown", "timed out"),
    ),
    "drips headers": (lambda _: web.in_files(hostile.drip), Expected("unanswered", says="timed out")),
    "takes a while": (lambda ok: web.slow(0.1, ok), FINE),
    # -- too much
    "endless body": (
        lambda ok: web.in_metadata(web.in_bodies(hostile.endless_body, ok), ok),
        Expected("asked", "3 ok, 1 stale", "more than"),
    ),
    "endless headers": (lambda _: web.in_files(hostile.endless_headers), Expected("unanswered", says="header")),
    "endless interim answers": (
        lambda _: web.in_files(web.endless_continue),
        Expected("unanswered", says="header"),
    ),
    "a huge header": (lambda _: web.in_files(web.huge_header), Expected("unanswered", says="header")),
    "compressed bomb": (
        lambda ok: web.in_metadata(web.bomb(), ok),
        Expected("asked", "3 ok, 1 stale", "more than"),
    ),
    "compressed bomb for every file": (
        lambda _: web.in_files(web.bomb()),
        Expected("asked", ALL_STALE, "more than"),
    ),
    "directory pages of a million entries": (lambda ok: web.long_page(1_000_000, ok), FINE),
    # -- redirects
    "redirect loop": (lambda _: hostile.redirect_loop, Expected("unreachable", says="redirects")),
    "redirects without end": (
        lambda _: web.in_files(web.redirect_for_ever),
        Expected("unanswered", says="redirects"),
    ),
    "redirects to a file of ours": (
        lambda _: web.in_files(web.redirect_to("file:///etc")),
        Expected("unanswered", says="rotocol"),
    ),
    # -- lies
    "promises more than it sends": (
        lambda ok: web.in_metadata(web.claim_length(len(NEW) + 5, NEW), ok),
        Expected("asked", "3 ok, 1 unknown"),
    ),
    "sends more than it promised": (
        lambda ok: web.in_metadata(web.claim_length(len(NEW) - 5, NEW), ok),
        Expected("asked", "3 ok, 1 stale", "sha256"),
    ),
    "right length and wrong content": (
        lambda ok: web.in_metadata(web.claim_length(len(NEW), b"x" * len(NEW)), ok),
        Expected("asked", "3 ok, 1 stale", "sha256"),
    ),
    "wrong lengths": (
        lambda _: web.in_files(web.claim_length(7, b"no good")),
        Expected("asked", ALL_STALE, "7 bytes"),
    ),
    "a page for everything": (
        lambda _: web.soft_404("Content-Length: 44"),
        Expected("asked", ALL_STALE),
    ),
    "a page for everything, without length": (
        lambda _: web.soft_404("Connection: close"),
        Expected("asked", "1 stale, 3 unknown", "whatever"),
    ),
    # -- broken connections and protocols
    "reset": (lambda _: web.in_files(hostile.reset), Expected("unanswered", says="eset")),
    "reset in mid-answer": (lambda _: web.in_files(web.reset_in_mid_answer), Expected("unanswered", says="eset")),
    "not HTTP": (lambda _: hostile.not_http, Expected("unreachable", says="HTTP")),
    "hangs up unannounced": (web.hang_up_unannounced, FINE),
    "answers twice": (lambda _: web.in_files(web.answer_twice), FINE),
    # -- wants less
    "429 and a long Retry-After": (
        lambda _: web.in_files(hostile.always("429 Too Many Requests", "Retry-After: 3600")),
        Expected("unanswered", says="3600 s"),
    ),
    "429 without Retry-After": (
        lambda _: web.in_files(hostile.always("429 Too Many Requests")),
        Expected("unanswered"),
    ),
    "429 at once": (lambda _: hostile.always("429 Too Many Requests"), Expected("unanswered", says="429")),
    "503 for every second request": (
        lambda ok: web.every_second(hostile.always("503 Service Unavailable"), ok),
        FINE,
    ),
    "HEAD is not allowed": (lambda ok: web.in_heads(_NOT_ALLOWED, ok), FINE),
    "HEAD is not allowed, and there are no pages": (
        lambda ok: web.in_heads(_NOT_ALLOWED, web.in_files(ok)),
        Expected("asked", "1 ok, 3 unknown", "405"),
    ),
}


_MILLION = [f"elsewhere/{number:05}" for number in range(10_000)]
_FILES_OF_ALL = [f"package-{number:05}.rpm" for number in range(100)]

# Those with the address of a mirror that is fine besides must be judged by that.
RAW: dict[str, tuple[Callable[[], Conversation], str, Expected]] = {
    "rsync hangs": (lambda: raw.hang, "rsync", Expected("unreachable", says="nothing came")),
    "not rsync": (lambda: raw.say("HTTP/1.1 400 Bad Request"), "rsync", Expected("unreachable", says="greeting")),
    "rsync is full": (lambda: rsyncd.refusing("too many users"), "rsync", Expected("unreachable", says="too many")),
    "rsync breaks off": (lambda: rsyncd.daemon(_own(), cut=0.5), "rsync", Expected("unanswered", says="rsync")),
    "rsync breaks off, but there is HTTP": (lambda: rsyncd.daemon(_own(), cut=0.5), "http rsync", FINE),
    "rsync falls silent, but there is HTTP": (
        lambda: rsyncd.daemon(_own(), cut=0.5, then_hang=True),
        "http rsync",
        FINE,
    ),
    "rsync lists a million entries": (
        lambda: rsyncd.daemon(_own() + rsyncd.pack_many(_MILLION, _FILES_OF_ALL)),
        "http rsync",
        FINE,
    ),
    "rsync lists wrong sizes": (lambda: rsyncd.daemon(_own(5)), "http rsync", Expected("asked", "1 ok, 3 stale")),
    "FTP hangs": (lambda: raw.hang, "ftp", Expected("unreachable", says="timed out")),
    "FTP is full": (lambda: ftp.server({}, "421 Too many users"), "ftp", Expected("unreachable")),
    "FTP lets nobody in": (lambda: ftp.server({"PASS": "530 No"}), "ftp", Expected("unreachable", says="530")),
    "FTP hangs at the files": (lambda: ftp.server({"SIZE": ""}), "ftp", Expected("unanswered", says="timed out")),
    "FTP has no files and no data connections": (
        lambda: ftp.server({"SIZE": "550 No such file"}),
        "ftp",
        Expected("asked", "3 missing, 1 unknown", "PASV"),
    ),
}


def _own(size: int = 4) -> bytes:
    """What an rsync server lists of the tree."""
    entries = [Entry(path, 4096, is_directory=True) for path in DIRECTORIES]
    entries += [Entry(path, len(NEW) if content is NEW else size) for path, content in FILES.items()]
    return rsyncd.pack(entries)


class Laboratory:
    """All of them on loopback ports; `with` ends them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-laboratory-")))
        folder.chmod(0o755)
        self.authority = Authority(folder)
        self.mirrors: list[Mirror] = []

    def __enter__(self) -> Self:
        try:
            self._nginx()
            self._web()
            self._rsync()
            self._raw()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def _folder(self) -> Path:
        return self.authority.file.parent

    def _add(self, name: str, urls: str | tuple[str, ...], expected: Expected) -> None:
        self.mirrors.append(Mirror(name, (urls,) if isinstance(urls, str) else urls, expected))

    def _tree(self, name: str, changed: Mapping[str, bytes]) -> Path:
        root = self._folder / name
        for path, content in {**FILES, **changed}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return root

    def _nginx(self) -> None:
        """Those that are fine, those whose TLS is not, and where a redirect leads to wrong content."""
        good = self._tree("good", {})
        wrong = self._tree("wrong", dict.fromkeys(FILES, b"something else"))
        certificates = {
            "fine": self.authority.issue("fine", TLS_ADDRESS),
            "expired": self.authority.issue("expired", TLS_ADDRESS, NOW - timedelta(days=1)),
            "for-another-name": self.authority.issue("another", "mirror.example.org"),
            "self-signed": make_certificate(self._folder),
        }
        tls = {name: f"{TLS_ADDRESS}:{8443 + number}" for number, name in enumerate(certificates)}
        extra = {name: _tls(tls[name], certificate) for name, certificate in certificates.items()}
        extra |= {"IPv4-only": "", "IPv6-only": f"listen [::1]:{(port6 := free_port())};"}
        roots = {f"control-{number}": good for number in range(4)} | dict.fromkeys(extra, good) | {"elsewhere": wrong}
        roots["copies"] = self._folder / "copies"
        roots["copies"].mkdir()
        self.server = self._stack.enter_context(Nginx(roots, extra=extra))
        for number in range(4):
            self._add(f"control-{number}", self.server.urls[f"control-{number}"], FINE)
        for name, address in tls.items():
            expected = FINE if name == "fine" else Expected("unreachable", says="certificate")
            self._add(f"certificate {name}", f"https://{address}", expected)
        self._add("IPv4 only", self.server.urls["IPv4-only"].replace("127.0.0.1", "localhost"), FINE)
        self._add("IPv6 only", f"http://localhost:{port6}", FINE)
        self._serve(
            "redirects to another host with wrong content",
            web.in_files(web.redirect_to(self.server.urls["elsewhere"].replace("127.0.0.1", "localhost"))),
            Expected("asked", ALL_STALE, "redirected to http://localhost"),
        )

    def _web(self) -> None:
        for name, (wrong, expected) in WEB.items():
            self._serve(name, wrong(_OK), expected)

    def _rsync(self) -> None:
        """Real rsync servers."""
        for name in ("fine", "smaller", "without", "closed"):
            self._tree(f"rsync-{name}", {"b/g": b"gone wrong"} if name == "smaller" else {})
        (self._folder / "rsync-closed" / "c").chmod(0o700)
        (self._folder / "rsync-empty").mkdir()
        (self._folder / "rsync-without" / "a" / "f").unlink()
        secret = self._folder / "secret"
        secret.write_text("somebody:password")
        secret.chmod(0o600)
        password = ("auth users = somebody", f"secrets file = {secret}")
        self._rsyncd("rsync is fine", "fine", FINE)
        self._rsyncd("rsync with a wrong size", "smaller", Expected("asked", "3 ok, 1 stale", "10 bytes"))
        self._rsyncd("rsync with a missing file", "without", Expected("asked", "3 ok, 1 missing"))
        self._rsyncd("rsync with a closed directory", "closed", Expected("asked", "3 ok, 1 unreadable"))
        self._rsyncd("empty module", "empty", Expected("unanswered", says="none of them in a directory"))
        self._rsyncd("rsync wants a password", "fine", Expected("unreachable", says="password"), *password)
        closed = Expected("unreachable", says="max connections")
        self._rsyncd("rsync has enough connections", "fine", closed, "max connections = -1")
        unknown = f"rsync://127.0.0.1:{self._rsync_port}/nothing"
        self._add("unknown module", unknown, Expected("unreachable", says="Unknown module"))

    def _rsyncd(self, name: str, tree: str, expected: Expected, *options: str) -> None:
        server = self._stack.enter_context(Rsyncd(self._folder / f"rsync-{tree}", *options, user="nobody"))
        self._rsync_port = server.port
        self._add(name, server.url.rstrip("/"), expected)

    def _raw(self) -> None:
        """Conversations in rsync's and FTP's words."""
        for number, (name, (make, schemes, expected)) in enumerate(RAW.items()):
            port = self._stack.enter_context(RawServer(make())).port
            (self._folder / "copies" / str(number)).symlink_to(self._folder / "good")
            fine = f"{self.server.urls['copies']}/{number}"
            urls = {"rsync": f"rsync://127.0.0.1:{port}/module", "ftp": f"ftp://127.0.0.1:{port}", "http": fine}
            self._add(name, tuple(urls[scheme] for scheme in schemes.split()), expected)
        vsftpd = self._stack.enter_context(Vsftpd(self._folder / "good"))
        self._add("FTP is fine", vsftpd.url, FINE)

    def _serve(self, name: str, behaviour: Behaviour, expected: Expected) -> None:
        self._add(name, self._stack.enter_context(HostileServer(behaviour)).url, expected)


_OK = InSync(FILES)


def _tls(address: str, certificate: Certificate) -> str:
    return f"listen {address} ssl; ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key};"
