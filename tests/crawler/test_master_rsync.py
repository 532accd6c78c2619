"""A master on a real rsync server: odd names, partial listings, exit codes, time-outs, and what is fetched."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mm_crawler.master import rsync as rsync_module
from mm_crawler.master.listing import RowError, to_row
from mm_crawler.master.rsync import RsyncTree, explain, hidden
from mm_crawler.master.scanned import Excludes, Look, ScannedDirectory, SourceError
from mm_lib.settings import CrawlerSettings
from tests.crawler.master_tree import OLD, put, settle
from tests.master_servers import Rsyncd
from tests.postgres import free_port

SETTINGS = CrawlerSettings(connect_timeout=2)


@pytest.fixture
def top() -> Iterator[Path]:
    with TemporaryDirectory(prefix="mm-tree-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "master").mkdir()
        yield Path(name) / "master"


def listed(url: str, *excludes: str, timeout: float = 60) -> dict[str, ScannedDirectory]:
    with closing(RsyncTree(url, timeout, SETTINGS, Excludes(excludes))) as tree:
        return {seen.path: seen for seen in tree.directories({})}


def test_names_with_blanks_and_bytes_that_are_not_utf8_and_line_breaks(top: Path) -> None:
    put(top, "with  blanks/ a  b ", "12")
    put(top, "back\\#012slash", "1")
    put(top, "ünï", "1")
    put(top, "new\nline", "1")
    put(top, b"latin\xe9".decode("utf-8", "surrogateescape"), "1")
    put(top, "big", "x" * 1_234_567)
    settle(top)
    with Rsyncd(top) as server:
        seen = listed(server.url)
    assert {tuple(file) for file in seen[""].files} == {
        ("back\\#012slash", 1, OLD),
        ("ünï", 1, OLD),
        ("big", 1_234_567, OLD),
    }
    assert [tuple(file) for file in seen["with  blanks"].files] == [(" a  b ", 2, OLD)]
    assert len([problem for problem in seen[""].problems if "left out" in problem]) == 2


def test_what_the_server_may_not_list_is_closed_and_the_rest_is_listed(top: Path) -> None:
    put(top, "a/x")
    put(top, "hidden/deep/x")
    (top / "hidden").chmod(0o750)
    with Rsyncd(top, user="nobody") as server:
        seen = listed(server.url)
    assert {path: directory.look for path, directory in seen.items()} == {
        "": Look.LISTED,
        "a": Look.LISTED,
        "hidden": Look.CLOSED,
    }
    assert not seen["hidden"].readable


def test_a_directory_inside_a_module_can_be_the_top(top: Path) -> None:
    put(top, "pub/linux/a/x")
    put(top, "pub/linux/hidden/x")
    (top / "pub/linux/hidden").chmod(0o750)
    with Rsyncd(top, user="nobody") as server:
        seen = listed(f"{server.url}pub/linux/")
    assert {path: seen[path].look for path in seen} == {"": Look.LISTED, "a": Look.LISTED, "hidden": Look.CLOSED}


def test_a_top_that_is_not_there_is_an_error(top: Path) -> None:
    with Rsyncd(top) as server, pytest.raises(SourceError, match="the top directory cannot be listed"):
        listed(f"{server.url}nothing/")


def test_an_unknown_module_is_an_error_with_the_servers_words(top: Path) -> None:
    with Rsyncd(top) as server, pytest.raises(SourceError, match="exit code 5: @ERROR: Unknown module 'nothing'"):
        listed(server.url.replace("/master/", "/nothing/"))


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SourceError, match="the connection failed"):
        listed(f"rsync://127.0.0.1:{free_port()}/master/")


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SourceError, match="not complete after 1 sec"):
        listed(f"rsync://127.0.0.1:{silent.getsockname()[1]}/master/", timeout=1)


def test_without_rsync_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceError, match="rsync is not installed"):
        listed("rsync://127.0.0.1/master/")


@pytest.mark.parametrize("code", sorted(rsync_module._MEANING))
def test_every_exit_code_has_a_meaning(code: int) -> None:
    message = explain("rsync://h/m/", code, "rsync: [sender] something (1)\n")
    assert rsync_module._MEANING[code] in message
    assert f"exit code {code}: rsync: [sender] something" in message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('rsync: [sender] opendir "a/b" (in m) failed: Permission denied (13)', {"a/b": Look.CLOSED}),
        ('rsync: [sender] opendir "/a/b" (in m) failed: Input/output error (5)', {"a/b": Look.FAILED}),
        ('rsync: opendir "/a b" (in m) failed: Permission denied (13)', {"a b": Look.CLOSED}),
        ('rsync: [sender] readlink_stat("a/b" (in m)) failed: Permission denied (13)', {"a": Look.FAILED}),
        ('rsync: [sender] readdir("a" (in m)): Input/output error (5)', {"a": Look.FAILED}),
        ('file has vanished: "/a/x" (in m)', {"a": Look.FAILED}),
        ("IO error encountered -- skipping file deletion", {"": Look.FAILED}),
        ("", {"": Look.FAILED}),
    ],
)
def test_what_is_missing_from_a_partial_listing(message: str, expected: dict[str, Look]) -> None:
    assert hidden(f"{message}\nrsync error: some files were not transferred (code 23)\n", "")[0] == expected


def test_only_the_files_that_are_asked_for_are_fetched_and_all_at_once(top: Path) -> None:
    for name in ("a/one", "b c/two", "b c/three"):
        put(top, name, name)
    with Rsyncd(top) as server, closing(RsyncTree(server.url, 60, SETTINGS, Excludes(()))) as tree:
        list(tree.directories({}))
        assert server.sent() == []
        tree.prepare(["a/one", "b c/two", "gone"], 100)
        sent = server.sent()
        assert [tree.read(path, 100).data for path in ("a/one", "b c/two")] == [b"a/one", b"b c/two"]
        assert server.sent() == sent
        assert len(sent) == 2
        assert tree.exists("a/one")
        assert not tree.exists("gone")


def test_a_size_with_commas_and_a_time_in_utc_are_understood() -> None:
    line = b"-rw-r--r--        123,456 2000/01/01 12:34:56 a name"
    assert to_row(line) == b"946730096\tf\t123456\ta name\n"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"-rw-r--r-- 1 2000/13/01 12:34:56 x",
        b"-rw-r--r-- x 2000/01/01 12:34:56 x",
        b"-rw-r--r-- 1 1901/01/01 12:34:56 x",
        b"-rw-r--r-- 1 2000/01/01 12:34:56 a\\#012b",
        b"receiving file list ... done",
    ],
)
def test_a_line_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(RowError):
        to_row(line)
