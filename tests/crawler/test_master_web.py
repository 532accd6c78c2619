"""A master behind a web server: pages of nginx and Apache httpd, what is not asked again, and hostile pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_crawler.master.autoindex import Entry, NoIndex, parse
from mm_crawler.master.scanned import Excludes, FileProblem, Look, Memory, Remembered, ScannedDirectory, SourceError
from mm_crawler.master.source import curl_options
from mm_crawler.master.web import WebTree
from mm_lib.settings import CrawlerSettings
from tests.crawler.master_tree import OLD, put, settle
from tests.master_servers import Apache
from tests.postgres import free_port
from tests.servers import Nginx

URL = "http://h/pub/"
OPTIONS = curl_options(CrawlerSettings(connect_timeout=2, request_timeout=5))


@pytest.fixture
def top() -> Iterator[Path]:
    with TemporaryDirectory(prefix="mm-tree-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "master").mkdir()
        yield Path(name) / "master"


def tree(url: str, *excludes: str, depth: int = 32, page: int = 1 << 20) -> WebTree:
    return WebTree(f"{url.rstrip('/')}/", OPTIONS, Excludes(excludes), max_depth=depth, max_page_bytes=page)


def listed(url: str, *excludes: str, memory: Memory | None = None, **limits: int) -> dict[str, ScannedDirectory]:
    with closing(tree(url, *excludes, **limits)) as opened:
        return {seen.path: seen for seen in opened.directories(memory or {})}


def page(*links: str, title: str = "Index of /pub/") -> bytes:
    body = "\n".join(f'<a href="{link}">{link}</a>  01-Jan-2026 00:00  12' for link in links)
    return f"<html><head><title>{title}</title></head><body><pre>{body}</pre></body></html>".encode()


# -- pages

NGINX = b"""<html><head><title>Index of /pub/</title></head><body><h1>Index of /pub/</h1><hr><pre><a href="../">../</a>
<a href="a%20b/">a b/</a>                           01-Jan-2026 00:00                   -
<a href="x%3Fy.iso">x?y.iso</a>                     02-Feb-2026 03:04          1234567890
<a href="rough">rough</a>                           02-Feb-2026 03:04                  2M
</pre><hr></body></html>"""
TABLE = b"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN"><html><head><title>Index of /pub</title></head><body>
<h1>Index of /pub</h1><table><tr><th valign="top"><img src="/icons/blank.gif"></th><th><a href="?C=N;O=D">Name</a></th>
<th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td valign="top"><img src="/icons/back.gif"></td><td><a href="/">Parent Directory</a></td><td>&nbsp;</td></tr>
<tr><td valign="top"><img></td><td><a href="a/">a/</a></td><td align="right">2026-01-01 00:00  </td><td>  - </td></tr>
<tr><td valign="top"><img></td><td><a href="x">x</a></td><td>2026-02-02 03:04  </td><td>1.2K</td><td>&nbsp;</td></tr>
<tr><td valign="top"><img></td><td><a href="y">y</a></td><td>2026-02-02 03:04  </td><td>120 </td><td>&nbsp;</td></tr>
</table></body></html>"""
PRE = b"""<html><head><title>Index of /pub</title></head><body><pre><img src="/icons/blank.gif"> <a href="?C=N">Name</a>
<img src="/icons/folder.gif"> <a href="a/">a/</a>    2026-01-01 00:00    -
<img src="/icons/unknown.gif"> <a href="x">x</a>     2026-02-02 03:04  1.2K
<img src="/icons/unknown.gif"> <a href="y">y</a>     2026-02-02 03:04  120
</pre></body></html>"""
DIRECTORY = Entry("a", True, 0, True, OLD)
TIME = 1770001440


def test_a_page_of_nginx_has_exact_sizes_unless_it_was_told_otherwise() -> None:
    assert parse(NGINX, URL).entries == (
        Entry("a b", True, 0, True, OLD),
        Entry("x?y.iso", False, 1_234_567_890, True, TIME),
        Entry("rough", False, 2 << 20, False, TIME),
    )


@pytest.mark.parametrize("content", [TABLE, PRE], ids=["table", "lines"])
def test_a_page_of_apache_has_rounded_sizes_from_a_thousand_bytes_on(content: bytes) -> None:
    assert parse(content, URL).entries == (
        DIRECTORY,
        Entry("x", False, 1228, False, TIME),
        Entry("y", False, 120, True, TIME),
    )


@pytest.mark.parametrize(
    "link",
    [
        "../",
        "..",
        "/",
        "/etc/passwd",
        "//elsewhere/pub/x",
        "http://elsewhere/pub/x",
        "https://h/pub/x",
        "http://h/pub/../x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "mailto:a@b",
        "?C=N;O=D",
        "#top",
        "x?download",
        "a/b",
        "a%2Fb",
        "%2e%2e/",
        "./",
        "",
        "http://[bad/",
    ],
)
def test_a_link_that_leads_elsewhere_is_ignored(link: str) -> None:
    assert [entry.name for entry in parse(page(link, "good"), URL).entries] == ["good"]


@pytest.mark.parametrize("link", ["x%0Ay", "x%1B", "latin%E9", "n" * 300])
def test_a_name_that_cannot_be_recorded_is_left_out_with_a_message(link: str) -> None:
    found = parse(page(link, "good"), URL)
    assert [entry.name for entry in found.entries] == ["good"]
    assert len(found.problems) == 1
    assert "left out" in found.problems[0]


@pytest.mark.parametrize("content", [b"", b"\0", b"text", page("x", title="Welcome"), b"<title>Index", b"<pre>"])
def test_a_page_that_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(NoIndex):
        parse(content, URL)


def test_deep_nesting_is_contained() -> None:
    parse(page("x") + b"<div>" * 100_000 + b'<a href="y">y</a>', URL)


@given(
    st.lists(st.sampled_from(["<a href='", "x", "/", "..", "'>", "</a>", "<td>", "</tr>", "%00", "&#0;", "\n", "é"]))
)
def test_no_page_breaks_the_reader(parts: list[str]) -> None:
    for entry in parse(b"<title>Index of /</title>" + "".join(parts).encode(), URL).entries:
        assert entry.name not in ("", ".", "..")
        assert entry.name.isprintable()
        assert "/" not in entry.name


# -- servers


def test_a_directory_that_the_server_closes_is_closed_and_an_error_hides_what_is_below(top: Path) -> None:
    for name in ("closed/a/x", "broken/a/x", "moved/x", "good/x", "page/x"):
        put(top, name)
    put(top, "page/index.html", "<title>Welcome</title>")
    rules = (
        "location /closed/ { return 403; } location /broken/ { return 500; } location /moved/ { return 302 /good/; }"
    )
    with Nginx({"master": top}, extra={"master": rules}) as server:
        seen = listed(server.urls["master"])
    assert {path: directory.look for path, directory in seen.items()} == {
        "": Look.LISTED,
        "good": Look.LISTED,
        "closed": Look.CLOSED,
        "broken": Look.FAILED,
        "moved": Look.FAILED,
        "page": Look.FAILED,
    }
    assert "the server answered 500" in seen["broken"].problems[0]
    assert "redirected" in seen["moved"].problems[0]
    assert "no index page" in seen["page"].problems[0]


@pytest.mark.parametrize("rules", ["return 404;", "return 403;", "return 302 http://127.0.0.1:1/;", "autoindex off;"])
def test_a_top_that_cannot_be_listed_is_an_error(top: Path, rules: str) -> None:
    with (
        Nginx({"master": top}, extra={"master": f"location / {{ {rules} }}"}) as server,
        pytest.raises(SourceError),
    ):
        listed(server.urls["master"])


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SourceError, match="connect"):
        listed(f"http://127.0.0.1:{free_port()}/")


def test_a_page_that_is_too_large_hides_its_directory_and_no_more(top: Path) -> None:
    for number in range(100):
        put(top, f"large/file-with-a-long-name-{number}")
    put(top, "small/x")
    with Nginx({"master": top}) as server:
        seen = listed(server.urls["master"], page=4096)
    assert (seen["large"].look, seen["small"].look) == (Look.FAILED, Look.LISTED)
    assert "more than 4096 bytes" in seen["large"].problems[0]


def test_a_tree_without_end_is_cut_at_its_depth(top: Path) -> None:
    (top / "a").mkdir()
    (top / "a/loop").symlink_to("..")
    with Nginx({"master": top}) as server:
        seen = listed(server.urls["master"], depth=4)
    assert max(path.count("/") for path in seen) == 3
    assert any("too deep" in problem for directory in seen.values() for problem in directory.problems)


def test_excluded_directories_and_snapshots_are_not_asked_for(top: Path) -> None:
    for name in ("out/x", ".snapshot/x", "a/.~tmp~/x"):
        put(top, name)
    with Nginx({"master": top}) as server:
        assert set(listed(server.urls["master"], "^out$")) == {"", "a"}
        assert server.requests("master") == ["GET / 200", "GET /a/ 200"]


def test_an_unchanged_directory_without_important_files_or_others_in_it_is_not_asked_for(top: Path) -> None:
    put(top, "leaf/x")
    put(top, "repodata/repomd.xml", "1234")
    settle(top)
    memory = {
        "leaf": Remembered(OLD, (), {}, 1, OLD),
        "repodata": Remembered(OLD, (), {"repomd.xml": (4, OLD)}, 1, OLD),
    }
    with Nginx({"master": top}) as server:
        seen = listed(server.urls["master"], memory=memory)
        assert server.requests("master") == ["GET / 200", "GET /repodata/ 200"]
    assert {path: directory.look for path, directory in seen.items()} == {
        "": Look.LISTED,
        "leaf": Look.UNCHANGED,
        "repodata": Look.UNCHANGED,
    }


def test_rounded_sizes_are_asked_for_only_where_a_crawl_needs_them(top: Path) -> None:
    for number in range(30):
        put(top, f"packages/p{number:02}.rpm", "x" * (2000 + number))
    settle(top)
    with Apache(top) as server:
        seen = listed(server.url)
        assert len([line for line in server.requests() if line.startswith("HEAD")]) == 3
    assert max(file.size for file in seen["packages"].files if file.name > "p26.rpm") == 2029


def test_important_files_are_fetched_at_once_and_bounded(top: Path) -> None:
    put(top, "a b/one", "1234")
    put(top, "large", "x" * 1000)
    with Nginx({"master": top}) as server, closing(tree(server.urls["master"])) as opened:
        opened.prepare(["a b/one", "large", "gone"], 600)
        asked = server.requests("master")
        assert opened.read("a b/one", 600).data == b"1234"
        with pytest.raises(FileProblem, match="more than 600 bytes"):
            opened.read("large", 600)
        with pytest.raises(FileProblem, match="answered 404"):
            opened.read("gone", 600)
        assert server.requests("master") == asked
        assert (opened.exists("large"), opened.exists("gone")) == (True, False)
