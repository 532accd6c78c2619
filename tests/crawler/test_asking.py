"""The ways to find out what a mirror has: rsync, index pages, FTP, file by file, and what one leaves to the next."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyroaring import BitMap

from mm_crawler.asking import BATCH
from mm_crawler.report import MasterCategory, Outcome, Tier, Verdict
from tests.crawler import hostile
from tests.crawler.builders import DAY, NEW, OLD, TOPDIR, category, directory, repomd, with_digests, write
from tests.crawler.crawls import crawl_one, verdicts
from tests.crawler.hostile import HostileServer
from tests.ftp_servers import Pyftpdlib, Vsftpd
from tests.master_servers import Apache, Rsyncd
from tests.postgres import free_port
from tests.servers import Nginx

REPODATA, PACKAGES, MANY, EXCLUDED, DEEP, EMPTY = range(1, 7)
OK, STALE, MISSING = Verdict.OK, Verdict.STALE, Verdict.MISSING
ALL_OK = dict.fromkeys((REPODATA, PACKAGES, MANY, EXCLUDED, DEEP), OK)
NAMES = [f"package-{number:03d}.rpm" for number in range(60)]


@pytest.fixture(scope="module")
def whole() -> MasterCategory:
    """A repository, a directory of many files, and a part that mirrors may leave out."""
    return category(
        directory(REPODATA, f"{TOPDIR}/os/repodata", "primary", important=(repomd(int(time.time()) - DAY),)),
        directory(PACKAGES, f"{TOPDIR}/os/Packages", "a.rpm", "b c+d~e.rpm", "ü.rpm"),
        directory(MANY, f"{TOPDIR}/os/many", *NAMES),
        directory(EXCLUDED, f"{TOPDIR}/debug", "x"),
        directory(DEEP, f"{TOPDIR}/debug/deep", "y"),
        directory(EMPTY, f"{TOPDIR}/empty"),
        repodata={77: REPODATA},
    )


@pytest.fixture(scope="module")
def tree(whole: MasterCategory) -> MasterCategory:
    """What a crawl knows of it: three files of each directory, and the digest of all."""
    return with_digests(whole, sampled=3)


@pytest.fixture
def mirror(whole: MasterCategory, tmp_path: Path) -> Path:
    """A copy in sync."""
    return open_to_all(write(tmp_path / "mirror", whole))


def open_to_all(mirror: Path) -> Path:
    """Servers that are nobody may read it."""
    for folder in (mirror, *mirror.parents[:3]):
        folder.chmod(0o755)
    return mirror


def damage(mirror: Path) -> None:
    """A file of another size, one missing that is not sampled, a part left out, older metadata."""
    (mirror / "os/Packages/b c+d~e.rpm").write_bytes(b"longer than that")
    (mirror / f"os/many/{NAMES[7]}").unlink()
    shutil.rmtree(mirror / "debug")
    (mirror / "os/repodata/repomd.xml").write_bytes(OLD)


DAMAGED = {REPODATA: Verdict.ALTERNATE, PACKAGES: STALE, MANY: STALE, EXCLUDED: MISSING, DEEP: MISSING}


@pytest.fixture(params=["rsync", "nginx", "apache", "rsync and http"])
def urls(request: pytest.FixtureRequest, mirror: Path) -> Iterator[tuple[str, ...]]:
    """The same mirror by different ways."""
    kind = request.param
    if kind == "apache":
        with Apache(mirror) as apache:
            yield (apache.url.rstrip("/"),)
        return
    with Rsyncd(mirror) as rsyncd, Nginx({"mirror": mirror}) as nginx:
        by = {"rsync": (rsyncd.url,), "nginx": (nginx.urls["mirror"],)}
        yield by.get(kind, (nginx.urls["mirror"], rsyncd.url))


def test_a_full_crawl_finds_a_mirror_in_sync(urls: tuple[str, ...], tree: MasterCategory) -> None:
    """Case 30: an empty directory says nothing."""
    report = crawl_one(urls, tree)
    assert verdicts(report) == ALL_OK
    assert [(kind, evidence.found) for kind, evidence in report.evidence] == []
    assert report.repositories[77].file_detail_id == 2


def test_a_full_crawl_finds_what_differs(urls: tuple[str, ...], tree: MasterCategory, mirror: Path) -> None:
    """Case 30. That a file is missing which is not sampled shows in the listing; what a mirror excludes is missing."""
    damage(mirror)
    found = verdicts(crawl_one(urls, tree))
    if not urls[-1].startswith("rsync:"):
        found[MANY] = STALE  # one file less may be hidden by a web server
    assert found == DAMAGED


def test_a_full_crawl_by_rsync_takes_few_requests(mirror: Path, tree: MasterCategory) -> None:
    """The topdir twice, repomd.xml, one listing."""
    with Rsyncd(mirror) as rsyncd, Nginx({"mirror": mirror}) as nginx:
        report = crawl_one((nginx.urls["mirror"], rsyncd.url), tree)
        assert nginx.requests("mirror") == ["HEAD / 200", "GET /os/repodata/repomd.xml 200"]
    assert report.requests == 4


def test_pages_take_one_request_for_each_directory_with_files(mirror: Path, tree: MasterCategory) -> None:
    with Nginx({"mirror": mirror}) as nginx:
        report = crawl_one((nginx.urls["mirror"],), tree)
        asked = nginx.requests("mirror")
    assert sorted(line for line in asked if line.endswith("/ 200")) == [
        "GET / 200",
        "GET /debug/ 200",
        "GET /debug/deep/ 200",
        "GET /os/Packages/ 200",
        "GET /os/many/ 200",
        "GET /os/repodata/ 200",
        "HEAD / 200",
    ]
    assert report.requests == 8  # and repomd.xml


def test_pages_with_rough_sizes_need_no_further_questions_when_times_agree(tmp_path: Path) -> None:
    """Apache's pages: 1.2M and a time; the mirror kept the times of the master."""
    tree = category(directory(1, f"{TOPDIR}/a", "big.rpm", size=1_234_567, mtime=1_700_000_000))
    mirror = open_to_all(write(tmp_path / "mirror", tree))
    os.utime(mirror / "a/big.rpm", (1_700_000_000, 1_700_000_000))
    with Apache(mirror) as apache:
        assert verdicts(crawl_one((apache.url.rstrip("/"),), tree)) == {1: OK}
        assert not [line for line in apache.requests() if "big.rpm" in line]
        os.utime(mirror / "a/big.rpm")
        assert verdicts(crawl_one((apache.url.rstrip("/"),), tree)) == {1: OK}
        assert apache.was_asked("HEAD /a/big.rpm 200")


def test_files_that_a_server_hides_from_its_pages_are_asked_for(tmp_path: Path) -> None:
    tree = category(directory(1, f"{TOPDIR}/os", ".treeinfo", "file"))
    with Nginx({"mirror": write(tmp_path, tree)}) as nginx:
        assert verdicts(crawl_one((nginx.urls["mirror"],), tree)) == {1: OK}
        assert "HEAD /os/.treeinfo 200" in nginx.requests("mirror")


def test_what_lies_below_a_missing_directory_is_not_asked_for(tmp_path: Path) -> None:
    tree = category(
        directory(1, f"{TOPDIR}/here", "f"),
        *(directory(id_, f"{TOPDIR}/gone/{id_ % 4}/{id_}", "f") for id_ in range(2, 60)),
    )
    write(tmp_path, category(tree.directories[0]))
    with Nginx({"mirror": tmp_path}) as nginx:
        report = crawl_one((nginx.urls["mirror"],), tree)
        assert report.counts["missing"] == 58
        assert len([line for line in nginx.requests("mirror") if line.endswith(" 404")]) <= 6


def test_without_pages_files_are_asked_for_one_by_one(mirror: Path, tree: MasterCategory) -> None:
    damage(mirror)
    with Nginx({"mirror": mirror}, extra={"mirror": "autoindex off;"}) as nginx:
        report = crawl_one((nginx.urls["mirror"],), tree)
        pages = [line for line in nginx.requests("mirror") if line.startswith("GET") and "/ " in line]
    assert verdicts(report) == DAMAGED | {MANY: OK}  # nobody asked for the file that is missing
    assert len(pages) <= 5


@pytest.mark.parametrize("tier", [Tier.METADATA, Tier.INCREMENTAL, Tier.FULL])
@pytest.mark.parametrize("kind", ["vsftpd", "pyftpdlib", "rsync"])
def test_a_mirror_without_web_server_is_asked_in_every_tier(
    kind: str, tier: Tier, mirror: Path, tree: MasterCategory
) -> None:
    """Also when something is not there: rsync ends with 23 then, but names what is missing."""
    with {"vsftpd": Vsftpd, "pyftpdlib": Pyftpdlib, "rsync": Rsyncd}[kind](mirror) as server:
        assert verdicts(crawl_one((server.url,), tree, tier)) == ALL_OK
        damage(mirror)
        found = verdicts(crawl_one((server.url,), tree, tier))
    assert found == DAMAGED | ({} if kind == "rsync" else {MANY: OK})


def test_a_metadata_crawl_asks_for_important_files_and_for_all_where_something_was_wrong(
    mirror: Path, tree: MasterCategory
) -> None:
    part = replace(tree, directories=tree.directories[:1])
    with Nginx({"mirror": mirror}) as nginx:
        crawl_one((nginx.urls["mirror"],), part, Tier.METADATA)
        assert nginx.requests("mirror") == ["HEAD / 200", "GET /os/repodata/repomd.xml 200"]
        crawl_one((nginx.urls["mirror"],), part, Tier.METADATA, again=BitMap([REPODATA]))
        assert nginx.requests("mirror")[2:] == [
            "HEAD / 200",
            "GET /os/repodata/repomd.xml 200",
            "HEAD /os/repodata/primary 200",
        ]


def test_wrong_metadata_of_the_right_length_is_seen_by_rsync_too(mirror: Path, tree: MasterCategory) -> None:
    (mirror / "os/repodata/repomd.xml").write_bytes(b"x" * len(NEW))
    with Rsyncd(mirror) as server:
        assert verdicts(crawl_one((server.url,), tree)) == ALL_OK | {REPODATA: STALE}


def test_metadata_that_is_listed_but_cannot_be_read_is_unknown(mirror: Path, tree: MasterCategory) -> None:
    with Nginx({"mirror": mirror}, extra={"mirror": "location ~ repomd { return 503; }"}) as nginx:
        assert verdicts(crawl_one((nginx.urls["mirror"],), tree)) == ALL_OK | {REPODATA: Verdict.UNKNOWN}


def test_rsync_lists_wanted_directories_in_batches(tmp_path: Path) -> None:
    count = BATCH + 5
    tree = category(*(directory(id_, f"{TOPDIR}/{id_}", "f") for id_ in range(1, count + 1)))
    with Rsyncd(write(tmp_path, tree)) as server:
        report = crawl_one((server.url,), tree, Tier.INCREMENTAL)
    assert (report.counts["ok"], report.requests) == (count, 3)


# ---------------------------------------------------------------- the budget: 100,000 files, at most 50 requests

LARGE = [f"package-{number:04d}-1.0-1.x86_64.rpm" for number in range(2500)]


@pytest.fixture(scope="module")
def large() -> MasterCategory:
    """40 directories with 2,500 files each."""
    made = category(*(directory(id_, f"{TOPDIR}/{id_:02d}", *LARGE) for id_ in range(1, 41)))
    return with_digests(made, sampled=3)


def test_a_full_crawl_of_100_000_files_by_rsync_takes_two_runs(
    large: MasterCategory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_rsync(tmp_path, monkeypatch, [f"{id_:02d}/{name}" for id_ in range(1, 41) for name in LARGE], 0)
    report = crawl_one(("rsync://m/m",), large)
    assert (report.counts["ok"], report.requests) == (40, 2)


def test_a_full_crawl_of_100_000_files_by_index_pages_takes_a_request_per_directory(large: MasterCategory) -> None:
    links = "".join(f'<a href="{name}">{name}</a> 02-Jan-2026 03:04 4\n' for name in LARGE)
    index = f"<html><head><title>Index of /</title></head><body><pre>{links}</pre></body></html>".encode()

    def pages(asked: hostile.Asked, connection: object) -> bool:
        body = b"" if asked.method == "HEAD" else index
        return hostile.send(connection, "200 OK", f"Content-Length: {len(index)}", body=body)  # type: ignore[arg-type]

    with HostileServer(pages) as server:
        report = crawl_one((server.url,), large)
    assert (report.counts["ok"], report.requests) == (40, 42)


# ---------------------------------------------------------------- what one way leaves to the next


def test_when_rsync_fails_the_pages_are_used(mirror: Path, tree: MasterCategory) -> None:
    with Nginx({"mirror": mirror}) as nginx:
        dead = f"rsync://127.0.0.1:{free_port()}/master"
        report = crawl_one((nginx.urls["mirror"], dead), tree)
    assert verdicts(report) == ALL_OK
    assert [address.url for address in report.addresses if address.problem] == [dead]


def test_an_address_that_wants_no_questions_now_is_not_told_to_lead_nowhere(tree: MasterCategory) -> None:
    """Users may go there all the same: what is known of it stays."""
    with HostileServer(hostile.always("429 Too Many Requests", "Retry-After: 86400")) as server:
        report = crawl_one((server.url,), tree)
    assert report.outcome is Outcome.UNANSWERED
    assert report.addresses == ()


def test_what_the_server_may_not_list_itself_is_unreadable(mirror: Path, tree: MasterCategory) -> None:
    """Exit code 23."""
    (mirror / "debug").chmod(0o700)
    with Rsyncd(mirror, user="nobody") as rsyncd:
        found = verdicts(crawl_one((rsyncd.url,), tree))
    assert found == ALL_OK | dict.fromkeys((EXCLUDED, DEEP), Verdict.UNREADABLE)


@pytest.mark.parametrize("code", [12, 23, 24, 30])
def test_what_a_partial_listing_does_not_show_is_asked_for_elsewhere(
    code: int, mirror: Path, tree: MasterCategory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing from a partial listing is not missing from the mirror."""
    fake_rsync(tmp_path, monkeypatch, [f"os/many/{name}" for name in NAMES], code)
    with Nginx({"mirror": mirror}) as nginx:
        report = crawl_one((nginx.urls["mirror"], "rsync://m/m"), tree)
        assert not [line for line in nginx.requests("mirror") if "many" in line]
    assert verdicts(report) == ALL_OK
    assert [kind for kind, _ in report.evidence] == ["listing"]


def fake_rsync(folder: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], code: int) -> None:
    """An rsync that lists these files and then ends with a code."""
    rows = "".join(f"-rw-r--r--           4 2026/01/02 03:04:05 {name}\n" for name in names)
    (folder / "rsync").write_text(f"#!/bin/sh\ncat <<'END'\n{rows}END\nexit {code}\n")
    (folder / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_listing_that_breaks_off_makes_nothing_missing(
    tree: MasterCategory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_rsync(tmp_path, monkeypatch, [f"os/many/{name}" for name in NAMES], 12)
    report = crawl_one(("rsync://m/m",), tree)
    assert {id_: verdict for id_, verdict in verdicts(report).items() if verdict is not Verdict.UNKNOWN} == {MANY: OK}
    assert (report.outcome, "exit code 12" in report.reason) == (Outcome.ASKED, True)


def test_an_empty_module_says_nothing(tmp_path: Path, tree: MasterCategory) -> None:
    (tmp_path / "lost+found").mkdir()
    with Rsyncd(tmp_path) as server:
        report = crawl_one((server.url,), tree)
    assert (report.outcome, dict(report.verdicts)) == (Outcome.UNANSWERED, {})
    assert "none of them in a directory that the master has files in" in report.reason


def test_a_wrong_module_does_not_hide_what_the_web_shows(mirror: Path, tmp_path: Path, tree: MasterCategory) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Rsyncd(other) as rsyncd, Nginx({"mirror": mirror}) as nginx:
        assert verdicts(crawl_one((nginx.urls["mirror"], rsyncd.url), tree)) == ALL_OK


def test_when_the_first_url_breaks_in_mid_crawl_the_next_goes_on(mirror: Path, tree: MasterCategory) -> None:
    with (
        HostileServer(hostile.only_below_the_top(hostile.reset)) as broken,
        Nginx({"mirror": mirror}) as nginx,
    ):
        report = crawl_one((broken.url, nginx.urls["mirror"]), tree, Tier.INCREMENTAL)
    assert verdicts(report) == ALL_OK


def test_a_mirror_that_says_yes_to_everything_without_a_length_is_not_believed(tree: MasterCategory) -> None:
    def yes(asked: hostile.Asked, connection: object) -> bool:
        body = b"" if asked.method == "HEAD" else b"<html>welcome</html>"
        hostile.send(connection, "200 OK", "Connection: close", body=body)  # type: ignore[arg-type]
        return False

    with HostileServer(yes) as server:
        report = crawl_one((server.url,), category(directory(1, f"{TOPDIR}/a", "f")), Tier.INCREMENTAL)
    assert report.outcome is Outcome.UNANSWERED
    assert "whatever it is asked" in str(report.evidence)


def test_a_canary_asks_for_the_topdir_of_every_url_and_nothing_else(mirror: Path) -> None:
    with Rsyncd(mirror) as rsyncd, Nginx({"mirror": mirror}) as nginx:
        report = crawl_one((nginx.urls["mirror"], rsyncd.url), category(), Tier.CANARY)
        assert nginx.requests("mirror") == ["HEAD / 200"]
    assert (report.outcome, report.requests) == (Outcome.ASKED, 2)


@pytest.mark.parametrize("with_web", [True, False])
def test_what_lies_behind_a_link_to_a_directory_is_not_missing(
    with_web: bool, mirror: Path, tree: MasterCategory
) -> None:
    """Mirrors spread over several disks: rsync lists the link and does not go there."""
    (mirror / "debug").rename(mirror / "other disk")
    (mirror / "debug").symlink_to("other disk")
    with Rsyncd(mirror) as rsyncd, Nginx({"mirror": mirror}) as nginx:
        urls = (nginx.urls["mirror"], rsyncd.url) if with_web else (rsyncd.url,)
        assert verdicts(crawl_one(urls, tree)) == ALL_OK


# ---------------------------------------------------------------- addresses


def test_ipv4_and_ipv6_are_tried_and_recorded_separately(mirror: Path, tree: MasterCategory) -> None:
    with Nginx({"mirror": mirror}) as nginx:
        url = nginx.urls["mirror"].replace("127.0.0.1", "localhost")
        (address,) = crawl_one((url,), tree).addresses
        assert (address.ipv4, address.ipv6, address.problem) == (True, False, "")
    port = free_port()
    with Nginx({"mirror": mirror}, extra={"mirror": f"listen [::1]:{port};"}):
        (address,) = crawl_one((f"http://[::1]:{port}",), tree).addresses
        assert (address.ipv4, address.ipv6, address.problem) == (None, True, "")


def test_when_a_certificate_ends_is_recorded(mirror: Path, tree: MasterCategory) -> None:
    with Nginx({"mirror": mirror}, tls=True) as nginx:
        assert nginx.certificate is not None
        (address,) = crawl_one((nginx.https_urls["mirror"],), tree, ca_file=nginx.certificate.certificate).addresses
    assert DAY < address.certificate_ends_at - time.time() < 3 * DAY


def test_http2_is_spoken_where_it_is_offered(mirror: Path, tree: MasterCategory) -> None:
    log = mirror.parent / "protocols"
    extra = f"access_log {log} protocol;"
    formats = "log_format protocol '$server_protocol';"
    with Nginx({"mirror": mirror}, extra={"mirror": extra}, tls=True, http=formats) as nginx:
        assert nginx.certificate is not None
        report = crawl_one((nginx.https_urls["mirror"],), tree, ca_file=nginx.certificate.certificate)
    assert verdicts(report) == ALL_OK
    assert set(log.read_text().split()) == {"HTTP/2.0"}


# ---------------------------------------------------------------- notes


class Heard:
    """Keeps what the engine says."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def note(self, event: str, **fields: object) -> None:
        self.events.append(f"{event} {' '.join(map(str, fields.values()))}")


def test_every_decision_is_told_to_whoever_wants_to_follow(mirror: Path, tree: MasterCategory) -> None:
    damage(mirror)
    heard = Heard()
    dead = f"https://127.0.0.1:{free_port()}"
    with Rsyncd(mirror) as rsyncd, Nginx({"mirror": mirror}) as nginx:
        crawl_one((dead, nginx.urls["mirror"], rsyncd.url), tree, notes=heard)
    said = "\n".join(heard.events)
    assert f"asked HEAD {dead}/" in said
    assert f"failed {dead}" in said
    assert f"asked rsync {rsyncd.url.rstrip('/')} all" in said
    assert f"listed {rsyncd.url.rstrip('/')}" in said
    assert f"judged {PACKAGES} stale" in said
