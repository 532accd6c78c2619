"""One mirror listed and asked by rsync, against rsync's own server and servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.fetch import rsync
from mm_crawler.fetch.base import Answer, BadAnswer, FetchError, Listed, TooBusy, TooSlow, Unreachable
from mm_crawler.fetch.host import HostFetcher, Manners
from mm_crawler.fetch.rsync import RsyncLimits
from mm_crawler.master.listing import entries
from tests.crawler import hostile
from tests.crawler.builders import sha256
from tests.crawler.hostile import HostileServer
from tests.master_servers import Rsyncd
from tests.postgres import free_port

LIMITS = RsyncLimits(connect=2, silence=5)
T = TypeVar("T")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names that need care, a link, an empty directory."""
    top = tmp_path_factory.mktemp("tree")
    for name in ("os/a b", "os/ünicode", "os/new\nline", "os/back\\slash", "os/deep/er/file", "file"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"good")
    Path(os.fsdecode(bytes(top / "os") + b"/\xff")).write_bytes(b"good")
    (top / "os/link -> there").symlink_to("a b")
    (top / "empty").mkdir()
    return top


@pytest.fixture(scope="module")
def server(tree: Path) -> Iterator[Rsyncd]:
    with Rsyncd(tree) as server:
        yield server


def run(asking: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asking)


def listed(
    url: str, below: Sequence[str] | None = None, limits: RsyncLimits = LIMITS
) -> tuple[Listed, dict[str, int], frozenset[str]]:
    """How a listing ended, the sizes of the files in it, and which are links."""
    pieces: list[bytes] = []
    ended = run(rsync.listing(url, pieces.append, limits, below))
    assert all(piece.endswith(b"\n") for piece in pieces)
    found = entries(b"".join(pieces))
    return ended, dict(zip(found.paths, map(int, found.sizes), strict=True)), found.links


def test_a_listing_names_every_file_exactly(server: Rsyncd) -> None:
    ended, sizes, links = listed(server.url)
    assert ended == Listed(whole=True)
    names = {"os/a b", "os/ünicode", "os/new\nline", "os/back\\slash", "os/deep/er/file", "file", "os/\udcff"}
    assert {path for path in sizes if path not in links} == names
    assert links == {"os/link"}  # rsync itself does not tell this name from a target
    assert {sizes[name] for name in names} == {4}


def test_only_the_directories_that_are_wanted_are_listed(server: Rsyncd) -> None:
    ended, sizes, _ = listed(server.url, ["os/deep/er", "", "empty"])
    assert (ended, set(sizes)) == (Listed(whole=True), {"os/deep/er/file", "file"})


def test_of_wanted_directories_those_that_are_not_there_are_named(server: Rsyncd) -> None:
    ended, sizes, _ = listed(server.url, ["nothing", "os/deep/er", "os/no such"])
    assert (ended.whole, set(ended.missing)) == (True, {"nothing", "os/no such"})
    assert set(sizes) == {"os/deep/er/file"}


def test_what_lies_deeper_in_a_module_is_named_from_the_url(server: Rsyncd) -> None:
    ended, sizes, _ = listed(f"{server.url}os", ["deep/er", "nothing"])
    assert (ended.missing, set(sizes)) == (("nothing",), {"deep/er/file"})


def test_a_directory_that_the_server_may_not_list_makes_a_listing_partial(tmp_path: Path) -> None:
    """Exit code 23."""
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"good")
    (tmp_path / "closed").chmod(0)
    tmp_path.chmod(0o755)
    for above in (tmp_path.parent, tmp_path.parent.parent):
        above.chmod(0o755)
    with Rsyncd(tmp_path, user="nobody") as server:
        ended, sizes, _ = listed(server.url)
    assert (ended.whole, ended.closed, ended.missing) == (False, ("closed",), ())
    assert set(sizes) == {"open/file"}
    assert "exit code 23" in ended.problem


def test_files_are_fetched_and_hashed(server: Rsyncd) -> None:
    found = run(rsync.fetch(server.url, ["os/a b", "os/ünicode", "nothing", "file"], 100, LIMITS))
    good = Answer(200, 4, sha256(b"good"))
    assert found == {"os/a b": good, "os/ünicode": good, "file": good}


def test_a_file_over_the_limit_is_not_fetched(server: Rsyncd) -> None:
    assert run(rsync.fetch(server.url, ["file"], 3, LIMITS)) == {}


def test_a_topdir_is_reached(server: Rsyncd) -> None:
    assert run(rsync.reach(f"{server.url}os", LIMITS)).status == 200


@pytest.mark.parametrize("path", ["nothing", "../other/"])
def test_a_topdir_or_module_that_is_not_there_is_not_reached(server: Rsyncd, path: str) -> None:
    with pytest.raises(FetchError, match=r"exit code (5|23)"):
        run(rsync.reach(server.url + path, LIMITS))
    with pytest.raises(FetchError):
        listed(server.url + path)


def test_a_module_that_wants_a_password_is_not_reached_and_asks_nobody(tree: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text("somebody:secret\n")
    secrets.chmod(0o600)
    options = ("auth users = somebody", f"secrets file = {secrets}")
    with Rsyncd(tree, *options) as server, pytest.raises(Unreachable, match="password"):
        run(rsync.reach(server.url, LIMITS))


def test_a_server_that_is_full_is_busy(tree: Path) -> None:
    with Rsyncd(tree, "max connections = -1") as server, pytest.raises((TooBusy, Unreachable), match="exit code 5"):
        run(rsync.reach(server.url, LIMITS))


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="exit code 10"):
        run(rsync.reach(f"rsync://127.0.0.1:{free_port()}/m/", LIMITS))


def test_a_server_that_says_nothing_ends_in_an_error_in_time() -> None:
    with HostileServer(hostile.silent) as server:
        started = time.monotonic()
        with pytest.raises(TooSlow, match="nothing came"):
            listed(server.url.replace("http:", "rsync:") + "/m/", limits=RsyncLimits(1, 1))
        assert time.monotonic() - started < 4


def running(url: str) -> set[bytes]:
    """The command lines of all rsyncs that ask this server."""
    found = set()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if (line := process.read_bytes()).startswith(b"rsync\0") and url.encode() in line:
                found.add(line)
    return found


def test_a_cancelled_listing_leaves_no_process_behind() -> None:
    async def cancelled(url: str) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await rsync.listing(url, lambda _: None, LIMITS)

    with HostileServer(hostile.silent) as server:
        url = server.url.replace("http:", "rsync:") + "/m/"
        run(cancelled(url))
        assert running(url) == set()


def test_a_failure_of_ours_leaves_no_process_behind(server: Rsyncd) -> None:
    def fail(_: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(rsync.listing(server.url, fail, LIMITS))
    assert running(server.url) == set()


def fake(folder: Path, code: int, output: str = "") -> None:
    """An rsync that prints and ends with a code."""
    program = folder / "rsync"
    program.write_text(f"#!/bin/sh\nprintf %b '{output}'\nexit {code}\n")
    program.chmod(0o755)


ROW = "-rw-r--r--           4 2026/01/02 03:04:05 a/f\\n"


@pytest.mark.parametrize("code", [1, 2, 5, 10, 11, 12, 14, 20, 23, 24, 25, 30, 35, 127, 255])
def test_every_exit_code_before_the_first_line_is_an_error(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, code)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(FetchError, match=f"exit code {code}"):
        run(rsync.listing("rsync://m/m/", lambda _: None, LIMITS))


@pytest.mark.parametrize("code", [5, 10, 11, 12, 20, 23, 24, 25, 30, 35, 255])
def test_every_exit_code_after_the_first_line_makes_a_partial_listing(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, code, ROW)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ended, sizes, _ = listed("rsync://m/m/")
    assert (ended.whole, ended.missing, sizes) == (False, (), {"a/f": 4})
    assert f"exit code {code}" in ended.problem


def test_without_rsync_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadAnswer, match="package is called rsync"):
        run(rsync.reach("rsync://m/m/", LIMITS))


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rsync").write_text("#!/bin/sh\nexec tr '\\\\0' x </dev/zero\n")
    (tmp_path / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BadAnswer, match="a line of more than"):
        run(rsync.listing("rsync://m/m/", lambda _: None, LIMITS))


def host(send: Callable[[HostFetcher], Coroutine[Any, Any, T]]) -> tuple[T, int]:
    """Ask with what asks whole hosts; the answer and the requests."""

    async def asked() -> tuple[T, int]:
        async with CurlClient(CurlOptions("tests", 2, 2, 4)) as client:
            fetcher = HostFetcher(client, Manners(2, 1000, 2, 2), Random(1))
            return await send(fetcher), fetcher.requests

    return run(asked())


def test_a_run_of_rsync_counts_as_one_request(server: Rsyncd) -> None:
    ended, requests = host(lambda mirror: mirror.listing(server.url, lambda _: None, None))
    assert (ended.whole, requests) == (True, 1)


def test_a_server_that_is_away_is_tried_again() -> None:
    reached, requests = host(lambda mirror: mirror.reach(f"rsync://127.0.0.1:{free_port()}/m/"))
    assert (isinstance(reached.answer, Unreachable), requests) == (True, 2)
