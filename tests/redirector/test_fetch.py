"""The cache over HTTP: taken when it is good and new, left alone when anything is wrong."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from mm_lib.cache import codec, file, signature
from mm_lib.settings import CacheSettings, LogSettings, RedirectorSettings, Settings
from mm_redirector import fetch as fetching
from mm_redirector.fetch import Outcome, Result, fetch, start_fetching
from tests.lib.test_cache_codec import example
from tests.postgres import free_port
from tests.redirector.serving import surroundings
from tests.servers import Nginx

PATIENCE = 30.0
LONG_AGO = 1_700_000_000


def content(generation: int) -> bytes:
    return codec.encode(replace(example(), generation=generation))


def generation(path: Path) -> int:
    return codec.decode(path.read_bytes()).generation


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TOO_EARLY", 0.0)
    monkeypatch.setattr(fetching, "BACKOFF", 0.01)


class Place:
    """A redirector's folder, and what is asked and heard in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "mirrorlist.cache"
        self.results: list[str] = []

    def settings(self, *urls: str, **other: Any) -> Settings:
        chosen = RedirectorSettings(cache_urls=list(urls), fetch_timeout=other.pop("fetch_timeout", 10), **other)
        return Settings(cache=CacheSettings(file=self.file), redirector=chosen)

    def fetch(self, *urls: str, **other: Any) -> Outcome:
        return fetch(self.settings(*urls, **other), self.results.append)

    def refused(self, url: str, **other: Any) -> Outcome:
        """Fetch what must not be taken: whatever was there stays, and nothing else is left in the folder."""
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        outcome = self.fetch(url, **other)
        after = {path.name: path.read_bytes() for path in self.folder.iterdir() if not path.name.endswith(".lock")}
        assert after == {name: data for name, data in before.items() if not name.endswith(".lock")}
        return outcome


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "redirector").mkdir()
    return Place(tmp_path / "redirector")


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("origins")


@pytest.fixture(scope="module")
def nginx(origins: Path) -> Iterator[Nginx]:
    """A real server that knows ETags; each test publishes in a folder of its own."""
    with Nginx({"origin": origins}, tls=True) as server:
        yield server


class Origin:
    """A folder on the real server where caches are published."""

    def __init__(self, nginx: Nginx, root: Path, name: str) -> None:
        self._nginx, self._name = nginx, name
        (root / name).mkdir()
        self.file = root / name / "mirrorlist.cache"
        self.url = f"{nginx.urls['origin']}/{name}/mirrorlist.cache"
        self.https_url = f"{nginx.https_urls['origin']}/{name}/mirrorlist.cache"
        assert nginx.certificate
        self.certificate = nginx.certificate.certificate

    def publish(self, generation: int, key: Path | None = None) -> None:
        """Publish a cache, long ago."""
        if key:
            signature.publish(self.file, content(generation), signature.read_private(key))
        file.publish(self.file, content(generation))
        os.utime(self.file, (LONG_AGO + generation, LONG_AGO + generation))

    def assert_answered(self, *statuses: int) -> None:
        """What requests for the cache itself were answered with; nginx notes it a moment after the answer."""
        deadline = time.monotonic() + PATIENCE
        while len(seen := self._statuses()) < len(statuses) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert seen == list(statuses)

    def _statuses(self) -> list[int]:
        lines = (line.split() for line in self._nginx.requests("origin"))
        return [int(status) for _, path, status in lines if path == f"/{self._name}/mirrorlist.cache"]


@pytest.fixture
def origin(nginx: Nginx, origins: Path, tmp_path: Path) -> Origin:
    return Origin(nginx, origins, tmp_path.name)


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def misbehaving(answer: Answer) -> Iterator[str]:
    """The URL of a server that answers as the function does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up are the point
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mirrorlist.cache"
        finally:
            server.shutdown()
            thread.join()


def body(data: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def dead() -> str:
    return f"http://127.0.0.1:{free_port()}/mirrorlist.cache"


def test_the_first_fetch_brings_the_file(place: Place, origin: Origin) -> None:
    origin.publish(5)
    assert place.fetch(origin.url).result is Result.UPDATED
    assert place.file.read_bytes() == origin.file.read_bytes()


def test_a_new_file_replaces_the_old_one_which_is_kept(place: Place, origin: Origin) -> None:
    origin.publish(5)
    place.fetch(origin.url)
    origin.publish(6)
    assert place.fetch(origin.url).result is Result.UPDATED
    assert (generation(place.file), generation(file.previous(place.file))) == (6, 5)


def test_what_did_not_change_is_not_sent_again(place: Place, origin: Origin) -> None:
    """Also by another process: what is known of the file survives a restart."""
    origin.publish(5)
    place.fetch(origin.url)
    stamp = file.stamp(place.file)
    assert Place(place.folder).fetch(origin.url).result is Result.UNCHANGED
    origin.assert_answered(200, 304)
    assert file.stamp(place.file) == stamp


def test_two_files_of_one_second_are_told_apart(place: Place, origin: Origin) -> None:
    """nginx makes the ETag of date and size, which are the same for both."""
    for number in (5, 6):
        origin.publish(number)
        now = int(time.time())
        os.utime(origin.file, (now, now))
        assert place.fetch(origin.url).result is Result.UPDATED


def test_last_modified_does_where_there_is_no_etag(place: Place) -> None:
    asked: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        since = handler.headers.get("If-Modified-Since")
        asked.append(since)
        body(b"" if since else content(5), 304 if since else 200, **{"Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"})(
            handler
        )

    with misbehaving(answer) as url:
        assert [place.fetch(url).result, place.fetch(url).result] == [Result.UPDATED, Result.UNCHANGED]
    assert asked == [None, "Sun, 22 Nov 2026 10:00:00 GMT"]


@pytest.mark.parametrize("damage", ["removed", "broken", "replaced"])
def test_a_file_that_is_not_what_was_fetched_is_fetched_again(place: Place, origin: Origin, damage: str) -> None:
    origin.publish(5)
    place.fetch(origin.url)
    place.file.unlink()
    if damage != "removed":
        place.file.write_bytes(b"broken" if damage == "broken" else content(4))
    assert place.fetch(origin.url).result is Result.UPDATED
    origin.assert_answered(200, 200)
    assert generation(place.file) == 5


@pytest.mark.parametrize("state", ["", "{}", "[]", '{"url": 1, "key": 2, "headers": 3, "stamp": 4}', "\xff"])
def test_a_broken_note_of_what_was_fetched_costs_only_a_download(place: Place, origin: Origin, state: str) -> None:
    origin.publish(5)
    place.fetch(origin.url)
    fetching.state_path(place.file).write_text(state, "latin-1")
    assert place.fetch(origin.url).result is Result.UNCHANGED
    origin.assert_answered(200, 200)
    assert json.loads(fetching.state_path(place.file).read_text())["url"] == origin.url


def test_an_older_generation_is_refused(place: Place, origin: Origin) -> None:
    file.publish(place.file, content(9))
    origin.publish(8)
    outcome = place.refused(origin.url)
    assert outcome.result is Result.OLDER
    assert "generation 8 is older than 9" in outcome.message


def test_an_older_generation_replaces_a_file_that_cannot_be_read(place: Place, origin: Origin) -> None:
    place.file.write_bytes(content(9)[:-1])
    origin.publish(8)
    assert place.fetch(origin.url).result is Result.UPDATED


WRONG: dict[str, tuple[Answer, Result]] = {
    "truncated": (body(content(5)[:-1], **{"Content-Length": str(len(content(5)))}), Result.UNREACHABLE),
    "truncated without a length": (body(content(5)[:-1], **{"Content-Length": ""}), Result.BROKEN),
    "a page": (body(b"<html>Welcome to this airport's network</html>"), Result.BROKEN),
    "empty": (body(b""), Result.BROKEN),
    "one bit wrong": (body(content(5)[:-1] + bytes([content(5)[-1] ^ 1])), Result.BROKEN),
    "compressed though nobody asked": (body(b"\x1f\x8b\x08", **{"Content-Encoding": "gzip"}), Result.BROKEN),
    "not found": (body(b"", 404), Result.UNREACHABLE),
    "failing": (body(b"", 500), Result.UNREACHABLE),
    "not modified, though that was no question": (body(b"", 304), Result.UNREACHABLE),
    "endless redirects": (body(b"", 302, Location="/again"), Result.UNREACHABLE),
    "redirect to a file": (body(b"", 302, Location="file:///etc/passwd"), Result.UNREACHABLE),
    "wait for a day": (body(b"", 503, **{"Retry-After": "86400"}), Result.UNREACHABLE),
    "no HTTP": (lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n") and None, Result.UNREACHABLE),
    "hangs up": (lambda handler: handler.connection.shutdown(socket.SHUT_RDWR), Result.UNREACHABLE),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_changes_nothing_and_says_what_to_do(
    place: Place, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.publish(place.file, content(4))
    answer, result = WRONG[name]
    with misbehaving(answer) as url:
        outcome = place.refused(url)
    assert (outcome.result, place.results) == (result, [result])
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"the mirrorlist cache at {url} is not taken: " in record.message
    assert "; " in record.message  # what is wrong; what to do


def test_a_huge_body_is_given_up_at_the_limit(place: Place) -> None:
    sent: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            sent.append(handler.wfile.write(b"x" * (1 << 16)))

    with misbehaving(answer) as url:
        outcome = place.refused(url, fetch_max_bytes=1 << 20)
    assert outcome.result is Result.TOO_LARGE
    assert sum(sent) < 64 << 20  # what the buffers of the kernel hold is sent too


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "dripping"])
def test_a_server_that_takes_too_long_is_given_up(place: Place, drip: bytes) -> None:
    over = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(drip)

    with misbehaving(answer) as url:
        began = time.monotonic()
        outcome = place.refused(url, fetch_timeout=0.4)
        over.set()
    assert outcome.result is Result.UNREACHABLE
    assert time.monotonic() - began < PATIENCE / 2


def test_a_dead_first_url_leaves_it_to_the_second(place: Place, origin: Origin) -> None:
    origin.publish(5)
    for expected in (Result.UPDATED, Result.UNCHANGED):
        assert place.fetch(dead(), origin.url).result is expected
    assert place.results == ["unreachable", "updated", "unreachable", "unchanged"]
    origin.assert_answered(200, 304)


def test_a_broken_first_url_leaves_it_to_the_second(place: Place, origin: Origin) -> None:
    origin.publish(5)
    with misbehaving(body(b"broken")) as url:
        assert place.fetch(url, origin.url).result is Result.UPDATED


def test_urls_after_the_first_good_one_are_not_asked(place: Place, origin: Origin) -> None:
    origin.publish(5)
    place.fetch(origin.url, dead())
    assert place.results == ["updated"]


def test_what_one_server_said_is_not_asked_of_another(place: Place, origin: Origin) -> None:
    origin.publish(5)
    place.fetch(origin.url)
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("If-None-Match"))
        body(content(5))(handler)

    with misbehaving(answer) as url:
        assert place.fetch(url).result is Result.UNCHANGED
    assert seen == [None]


def test_a_redirect_is_followed(place: Place, origin: Origin) -> None:
    origin.publish(5)
    with misbehaving(body(b"", 302, Location=origin.url)) as url:
        assert place.fetch(url).result is Result.UPDATED


# Signatures


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "cache.key"
    signature.make_keys(path)
    return path


@pytest.fixture
def public(key: Path) -> Path:
    return key.with_name("cache.key.pub")


def test_a_signed_file_is_taken(place: Place, origin: Origin, key: Path, public: Path) -> None:
    for number in (5, 6):
        origin.publish(number, key)
        assert place.fetch(origin.url, cache_public_key=public).result is Result.UPDATED
    assert place.fetch(origin.url, cache_public_key=public).result is Result.UNCHANGED
    origin.assert_answered(200, 200, 304)


def test_an_unsigned_file_is_refused(place: Place, origin: Origin, public: Path) -> None:
    origin.publish(5)
    assert place.refused(origin.url, cache_public_key=public).result is Result.UNSIGNED


def test_a_file_signed_by_another_key_is_refused(place: Place, origin: Origin, tmp_path: Path, public: Path) -> None:
    signature.make_keys(tmp_path / "other.key")
    origin.publish(5, tmp_path / "other.key")
    assert place.refused(origin.url, cache_public_key=public).result is Result.BAD_SIGNATURE


def test_a_signature_of_another_file_is_refused(place: Place, origin: Origin, key: Path, public: Path) -> None:
    origin.publish(5, key)
    origin.file.write_bytes(content(6))
    assert place.refused(origin.url, cache_public_key=public).result is Result.BAD_SIGNATURE


def test_a_file_without_a_right_signature_is_not_even_looked_into(place: Place, public: Path) -> None:
    with misbehaving(body(b"neither a cache nor a signature")) as url:
        assert place.refused(url, cache_public_key=public).result is Result.BAD_SIGNATURE


def test_a_reader_between_the_two_steps_of_publishing_takes_the_old_file(
    place: Place, origin: Origin, key: Path, public: Path
) -> None:
    origin.publish(5, key)
    signature.publish(origin.file, content(6), signature.read_private(key))
    assert place.fetch(origin.url, cache_public_key=public).result is Result.UPDATED
    assert generation(place.file) == 5


def test_a_pair_that_two_publications_tore_apart_is_asked_for_again(
    place: Place, origin: Origin, key: Path, public: Path
) -> None:
    origin.publish(7, key)
    signatures = signature.path_of(origin.file).read_bytes()
    files = [content(5), content(7)]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body(signatures if handler.path.endswith(".sig") else files.pop(0))(handler)

    with misbehaving(answer) as url:
        assert place.fetch(url, cache_public_key=public).result is Result.UPDATED
    assert generation(place.file) == 7


def test_a_file_fetched_without_a_key_is_checked_once_there_is_one(place: Place, origin: Origin, public: Path) -> None:
    origin.publish(5)
    place.fetch(origin.url)
    assert place.refused(origin.url, cache_public_key=public).result is Result.UNSIGNED
    origin.assert_answered(200, 200)


# TLS


def test_https_is_taken_with_the_certificates_that_are_configured(place: Place, origin: Origin) -> None:
    origin.publish(5)
    assert place.fetch(origin.https_url, fetch_ca_file=origin.certificate).result is Result.UPDATED


def test_an_unknown_certificate_is_refused(place: Place, origin: Origin) -> None:
    origin.publish(5)
    outcome = place.refused(origin.https_url)
    assert outcome.result is Result.UNREACHABLE
    assert "redirector.fetch_ca_file" in outcome.message


def test_a_redirect_from_https_to_http_is_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Nginx({"tls": tmp_path / "empty"}, extra={"tls": f"return 302 {dead()};"}, tls=True) as server:
        assert server.certificate
        url = f"{server.https_urls['tls']}/mirrorlist.cache"
        outcome = place.refused(url, fetch_ca_file=server.certificate.certificate)
    assert "redirects from https to http:" in outcome.message


# Settings, disks and other processes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"cache_public_key": Path("/nowhere/key.pub")},
            "redirector.cache_public_key: the public key /nowhere/key.pub",
        ),
        ({"fetch_ca_file": Path("/nowhere/ca.pem")}, "redirector.fetch_ca_file /nowhere/ca.pem"),
    ],
)
def test_files_that_cannot_be_used_are_named_before_anything_is_fetched(
    place: Place, changes: dict[str, Path], named: str
) -> None:
    outcome = place.refused(dead(), **changes)
    assert (outcome.result, place.results) == (Result.MISCONFIGURED, ["misconfigured"])
    assert named in outcome.message


def test_without_urls_it_says_which_setting_is_empty(place: Place) -> None:
    assert "redirector.cache_urls names no URL" in place.fetch().message


def test_a_folder_that_is_not_there_is_named(place: Place, origin: Origin) -> None:
    place.file = place.folder / "nowhere/mirrorlist.cache"
    outcome = place.fetch(origin.url)
    assert outcome.result is Result.NOT_WRITTEN
    assert "nowhere must be writable" in outcome.message


def test_a_full_disk_leaves_what_was_there(place: Place, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    file.publish(place.file, content(4))
    origin.publish(5)

    def full(_handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert place.refused(origin.url).result is Result.NOT_WRITTEN


def test_two_fetches_of_one_file_do_not_meet(place: Place, origin: Origin) -> None:
    with (place.folder / ".mirrorlist.cache.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert place.fetch(origin.url).result is Result.BUSY
    origin.assert_answered()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "http://a",
        "http://a/",
        "/srv/cache",
        "http://me:secret@a/b",
        "http://a/b?token=x",
        "http:///b",
        "x",
    ],
)
def test_a_url_that_cannot_work_is_refused_in_the_settings(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be http|must have no user"):
        RedirectorSettings(cache_urls=[url])


def test_urls_may_come_from_an_environment_variable() -> None:
    given: Any = "https://a/b, https://c/d\nhttps://e/f"
    assert RedirectorSettings(cache_urls=given).cache_urls == ["https://a/b", "https://c/d", "https://e/f"]


# The command


Captured = pytest.CaptureFixture[str]


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("_logging_as_it_was")
def test_the_command_says_in_one_line_what_it_did(place: Place, origin: Origin, capsys: Captured) -> None:
    origin.publish(5)
    assert [fetching.once(place.settings(origin.url)), fetching.once(place.settings(origin.url))] == [0, 0]
    first = f"fetched generation 5, {len(content(5)):,} bytes, from {origin.url}"
    assert capsys.readouterr().out.splitlines() == [first, f"{place.file} is what {origin.url} has"]


@pytest.mark.usefixtures("_logging_as_it_was")
def test_the_command_fails_when_no_url_has_a_good_file(place: Place, capsys: Captured) -> None:
    assert fetching.once(place.settings(dead())) == 1
    heard = capsys.readouterr()
    assert heard.out == ""
    assert heard.err.splitlines()[-1].startswith("Error: http://127.0.0.1:")


@pytest.mark.usefixtures("_logging_as_it_was")
def test_the_command_ends_with_2_for_wrong_settings(place: Place, capsys: Captured) -> None:
    assert fetching.once(place.settings()) == 2
    assert "Error: redirector.cache_urls names no URL" in capsys.readouterr().err


# In the background of a server


def background(place: Place, *urls: str, **other: Any) -> Settings:
    settings = place.settings(*urls, fetch_interval=other.pop("fetch_interval", 0.01), **other)
    return settings.model_copy(update={"log": LogSettings(level="ERROR")})


def test_a_server_fetches_at_once_and_again(place: Place, origin: Origin) -> None:
    results: Queue[str] = Queue()
    origin.publish(5)
    handle = start_fetching(background(place, origin.url), results.put)
    try:
        assert results.get(timeout=PATIENCE) == "updated"
        origin.publish(6)
        while results.get(timeout=PATIENCE) != "updated":
            pass
        assert generation(place.file) == 6
    finally:
        handle.stop()


def test_stopping_does_not_wait_for_a_download(place: Place) -> None:
    asked, over = threading.Event(), threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        over.wait(PATIENCE)

    with misbehaving(answer) as url:
        handle = start_fetching(background(place, url, fetch_timeout=PATIENCE))
        assert asked.wait(PATIENCE)
        began = time.monotonic()
        handle.stop()
        over.set()
    assert time.monotonic() - began < PATIENCE / 2


def test_signals_are_left_to_the_main_thread(place: Place, origin: Origin) -> None:
    results: Queue[str] = Queue()
    origin.publish(5)
    handle = start_fetching(background(place, origin.url), results.put)
    try:
        results.get(timeout=PATIENCE)
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "cache-fetch")
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        assert all(blocked >> (number - 1) & 1 for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1))
    finally:
        handle.stop()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what gunicorn does, too, from Python 3.12 on
def test_a_forked_worker_leaves_it_alone(place: Place, origin: Origin) -> None:
    origin.publish(5)
    results: Queue[str] = Queue()
    with start_fetching(background(place, origin.url), results.put) as handle:
        results.get(timeout=PATIENCE)
        worker = os.fork()
        if worker == 0:
            with handle:
                pass
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 7
        origin.publish(6)
        while results.get(timeout=PATIENCE) != "updated":
            pass


def test_without_urls_nothing_runs(place: Place) -> None:
    before = threading.active_count()
    handle = start_fetching(background(place))
    assert threading.active_count() == before
    handle.stop()


def test_a_server_that_takes_the_exit_codes_of_all_children_still_hears_the_results(
    place: Place, origin: Origin
) -> None:
    """gunicorn's main process waits for any child, as this one does."""
    origin.publish(5)
    code = f"""
import os, signal, sys, threading
from mm_lib.settings import Settings
from mm_redirector.fetch import start_fetching
def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
signal.signal(signal.SIGCHLD, reap)
heard = []
done = threading.Event()
def hear(result):
    heard.append(result)
    if len(heard) == 2: done.set()
handle = start_fetching(Settings.model_validate_json({background(place, origin.url).model_dump_json()!r}), hear)
done.wait({PATIENCE})
handle.stop()
print(*heard[:2])
"""
    environment = surroundings()
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert finished.stdout.split() == ["updated", "unchanged"], finished.stderr
