"""Whole crawls of real mirrors, in sync and not, next to others that misbehave."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mm_crawler import engine
from mm_crawler.asking import GIVE_UP_AFTER
from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.engine import Limits, crawl
from mm_crawler.fetch.base import Answer, Fetcher, Reached
from mm_crawler.fetch.http import HttpFetcher
from mm_crawler.findings import EXAMPLES
from mm_crawler.report import CategoryReport, CategoryTask, HostReport, HostTask, MasterCategory, Outcome, Tier, Verdict
from tests.crawler import hostile
from tests.crawler.builders import DAY, NEW, OLD, TOPDIR, category, directory, limits, repomd, tasks_for, write
from tests.crawler.hostile import Behaviour, HostileServer
from tests.postgres import free_port
from tests.servers import Nginx

REPODATA, PACKAGES, OS, EMPTY, NESTED = 1, 2, 3, 4, 5


@pytest.fixture
def tree() -> MasterCategory:
    """A repository whose own directory is empty, an empty leaf, and a directory with two files."""
    return category(
        directory(REPODATA, f"{TOPDIR}/os/repodata", "primary.xml.gz", important=(repomd(int(time.time()) - DAY),)),
        directory(PACKAGES, f"{TOPDIR}/os/Packages", "a.rpm", "b c+d~e.rpm"),
        directory(OS, f"{TOPDIR}/os"),
        directory(EMPTY, f"{TOPDIR}/empty"),
        repodata={77: REPODATA},
    )


def run(
    tasks: list[HostTask],
    rules: Limits | None = None,
    *,
    make: Callable[[CurlClient], Fetcher] | None = None,
    request_timeout: float = 1,
    ca_file: Path | None = None,
) -> dict[str, HostReport]:
    """Crawl; the reports by the hosts' names, in the order in which they came."""

    async def collect() -> dict[str, HostReport]:
        found = {}
        async with CurlClient(CurlOptions("tests", request_timeout, request_timeout, 40, ca_file)) as client:
            fetcher = make or (lambda client: HttpFetcher(client, 1, Random(1)))
            async for report in crawl(tasks, lambda: fetcher(client), rules or limits()):
                found[report.name] = report
        return found

    return asyncio.run(collect())


def only(report: HostReport) -> CategoryReport:
    (found,) = report.categories
    return found


def verdicts(report: HostReport) -> dict[int, Verdict]:
    return {id_: verdict for verdict, ids in only(report).verdicts.items() for id_ in ids}


@pytest.fixture
def nginx(tree: MasterCategory, tmp_path: Path) -> Iterator[Nginx]:
    """Mirrors of the tree: one in sync, and what becomes of the others."""
    good = write(tmp_path / "good", tree)
    roots = {"good": good}
    for name in ("alternate", "tampered", "partial", "damaged", "closed", "gone"):
        roots[name] = tmp_path / name
        shutil.copytree(good, roots[name])
    for name, content in (("alternate", OLD), ("tampered", b"x" * len(NEW))):
        (roots[name] / "os/repodata/repomd.xml").write_bytes(content)
    (roots["alternate"] / "os/repodata/primary.xml.gz").unlink()
    shutil.rmtree(roots["partial"] / "os/repodata")
    (roots["damaged"] / "os/Packages/b c+d~e.rpm").write_bytes(b"longer than that")
    extra = {
        "good": "autoindex off;",
        "closed": "location /os/repodata/ { return 403; }",
        "gone": "location / { return 404; }",
    }
    with Nginx(roots, extra=extra) as server:
        yield server


def test_each_mirror_gets_the_verdicts_that_its_files_deserve(nginx: Nginx, tree: MasterCategory) -> None:
    """Cases 30, 31 and 33; the mirror in sync does not even show its directories."""
    reports = run(tasks_for(nginx.urls, tree))
    ok, missing, stale = Verdict.OK, Verdict.MISSING, Verdict.STALE
    assert verdicts(reports["good"]) == {REPODATA: ok, PACKAGES: ok, OS: ok}
    assert verdicts(reports["alternate"]) == {REPODATA: Verdict.ALTERNATE, PACKAGES: ok, OS: ok}
    assert verdicts(reports["tampered"]) == {REPODATA: stale, PACKAGES: ok, OS: stale}
    assert verdicts(reports["partial"]) == {REPODATA: missing, PACKAGES: ok, OS: missing}
    assert verdicts(reports["damaged"]) == {REPODATA: ok, PACKAGES: stale, OS: ok}
    assert verdicts(reports["closed"]) == {REPODATA: Verdict.UNREADABLE, PACKAGES: ok, OS: Verdict.UNREADABLE}
    assert only(reports["gone"]).outcome is Outcome.UNREACHABLE


def test_evidence_names_the_url_what_should_have_come_and_what_came(nginx: Nginx, tree: MasterCategory) -> None:
    report = only(run(tasks_for({"damaged": nginx.urls["damaged"]}, tree))["damaged"])
    ((kind, evidence),) = report.evidence
    assert kind == "stale"
    assert evidence.url == f"{nginx.urls['damaged']}/os/Packages/b%20c%2Bd~e.rpm"
    assert (evidence.expected, evidence.found) == ("4 bytes", "16 bytes in the listing")


def test_which_metadata_a_mirror_has_is_reported_per_repository(nginx: Nginx, tree: MasterCategory) -> None:
    reports = run(tasks_for(nginx.urls, tree))
    found = {name: only(report).repositories.get(77) for name, report in reports.items()}
    assert [(said.file_detail_id, said.lag_seconds) for name in ("good", "alternate") if (said := found[name])] == [
        (2, 0),
        (1, DAY),
    ]
    assert (found["tampered"] and found["tampered"].file_detail_id) is None
    assert found["gone"] is None


def test_only_what_is_needed_is_asked(nginx: Nginx, tree: MasterCategory) -> None:
    """Case 34: an empty directory sends no request. The first file that is not right ends the questions."""
    reports = run(tasks_for(nginx.urls, tree, Tier.INCREMENTAL))
    assert sorted(nginx.requests("good")) == [
        "GET /os/repodata/repomd.xml 200",
        "HEAD / 403",
        "HEAD /os/Packages/a.rpm 200",
        "HEAD /os/Packages/b%20c%2Bd~e.rpm 200",
        "HEAD /os/repodata/primary.xml.gz 200",
    ]
    assert only(reports["good"]).requests == 5
    assert not [line for line in nginx.requests("alternate") if "primary" in line]
    assert nginx.requests("gone") == ["HEAD / 404"]


def test_directories_that_the_master_keeps_closed_are_not_asked(tmp_path: Path) -> None:
    tree = category(directory(1, f"{TOPDIR}/a", "f"), directory(2, f"{TOPDIR}/b", "f", readable=False))
    with Nginx({"mirror": write(tmp_path, tree)}) as nginx:
        report = run(tasks_for(nginx.urls, tree))["mirror"]
        assert verdicts(report) == {1: Verdict.OK}
        assert not [line for line in nginx.requests("mirror") if "/b/" in line]


def test_a_redirect_to_another_host_is_judged_there_and_recorded(tree: MasterCategory, tmp_path: Path) -> None:
    with Nginx({"target": write(tmp_path, tree), "mirror": tmp_path}) as nginx:
        port = nginx.urls["target"].rpartition(":")[2]

        def to_target(asked: hostile.Asked, connection: object) -> bool:
            where = f"Location: http://localhost:{port}{asked.path}"
            return hostile.send(connection, "302 Found", "Content-Length: 0", where)  # type: ignore[arg-type]

        with HostileServer(to_target) as server:
            report = run(tasks_for({"mirror": server.url}, tree))["mirror"]
    assert set(verdicts(report).values()) == {Verdict.OK}
    ((kind, evidence),) = only(report).evidence
    assert (kind, evidence.url) == ("redirect", f"{server.url}/")
    assert f"redirected to http://localhost:{port}/" in evidence.found


def test_when_https_fails_http_is_used_and_the_failure_is_kept_as_evidence(
    tree: MasterCategory, tmp_path: Path
) -> None:
    with Nginx({"mirror": write(tmp_path, tree)}, tls=True) as nginx:
        (task,) = tasks_for(nginx.urls, tree)
        both = (nginx.https_urls["mirror"], nginx.urls["mirror"])
        tasks = [HostTask(1, "mirror", "site", (task.categories[0]._replace(urls=both),))]
        found = only(run(tasks)["mirror"])
        assert nginx.certificate is not None
        trusted = only(run(tasks, ca_file=nginx.certificate.certificate)["mirror"])
    assert (found.base_url, found.outcome) == (both[1], Outcome.ASKED)
    assert [(kind, evidence.url) for kind, evidence in found.evidence] == [("base", f"{both[0]}/")]
    assert (trusted.base_url, trusted.evidence) == (both[0], ())


HOSTILE: dict[str, tuple[Behaviour, Outcome]] = {
    "silent": (hostile.silent, Outcome.UNREACHABLE),
    "silent below": (hostile.only_below_the_top(hostile.silent), Outcome.UNANSWERED),
    "drips": (hostile.drip, Outcome.UNREACHABLE),
    "drips below": (hostile.only_below_the_top(hostile.drip), Outcome.UNANSWERED),
    "endless headers": (hostile.only_below_the_top(hostile.endless_headers), Outcome.UNANSWERED),
    "resets": (hostile.reset, Outcome.UNREACHABLE),
    "resets below": (hostile.only_below_the_top(hostile.reset), Outcome.UNANSWERED),
    "loops": (hostile.redirect_loop, Outcome.UNREACHABLE),
    "no http": (hostile.not_http, Outcome.UNREACHABLE),
    "busy": (hostile.always("503 Service Unavailable"), Outcome.UNREACHABLE),
    "too many": (hostile.always("429 Too Many Requests", "Retry-After: 86400"), Outcome.UNANSWERED),
    "too many below": (
        hostile.only_below_the_top(hostile.always("429 Too Many Requests", "Retry-After: 86400")),
        Outcome.UNANSWERED,
    ),
}


def test_misbehaving_mirrors_end_in_a_report_and_delay_no_other(tree: MasterCategory, tmp_path: Path) -> None:
    with ExitStack() as stack:
        nginx = stack.enter_context(Nginx({"good": write(tmp_path, tree)}))
        urls = {name: stack.enter_context(HostileServer(behaviour)).url for name, (behaviour, _) in HOSTILE.items()}
        urls["refused"] = f"http://127.0.0.1:{free_port()}"
        urls["good"] = nginx.urls["good"]
        reports = run(tasks_for(urls, tree))
    found = {name: only(report).outcome for name, report in reports.items()}
    assert found == {name: outcome for name, (_, outcome) in HOSTILE.items()} | {
        "refused": Outcome.UNREACHABLE,
        "good": Outcome.ASKED,
    }
    assert reports["good"].seconds < 0.8  # less than a single time-out of the others
    assert all(only(report).reason for name, report in reports.items() if name != "good")


def test_a_server_that_wants_a_long_pause_is_not_asked_for_the_next_category(tree: MasterCategory) -> None:
    """The pause that it asks for is longer than a crawl makes."""
    with HostileServer(hostile.always("429 Too Many Requests", "Retry-After: 86400")) as server:
        (task,) = tasks_for({"mirror": server.url}, tree)
        (first,) = task.categories
        report = run([replace(task, categories=(first, first._replace(host_category_id=99)))])["mirror"]
        assert len(server.asked) == 1
    assert [each.outcome for each in report.categories] == [Outcome.UNANSWERED, Outcome.UNANSWERED]
    assert all("pause of 86400 s" in each.reason or "429" in each.reason for each in report.categories)
    assert report.categories[1].requests == 0


def test_an_endless_repomd_is_stale_and_does_not_hide_the_rest(tree: MasterCategory) -> None:
    def endless_repomd(asked: hostile.Asked, connection: object) -> bool:
        behaviour = hostile.endless_body if asked.path.endswith("repomd.xml") else hostile.polite
        return behaviour(asked, connection)  # type: ignore[arg-type]

    with HostileServer(endless_repomd) as server:
        found = verdicts(run(tasks_for({"mirror": server.url}, tree))["mirror"])
    assert found == {REPODATA: Verdict.STALE, PACKAGES: Verdict.OK, OS: Verdict.STALE}


def many(count: int) -> MasterCategory:
    return category(*(directory(id_, f"{TOPDIR}/{id_}", "f") for id_ in range(1, count + 1)))


def test_a_mirror_that_stops_answering_is_left_alone_and_the_rest_is_unknown() -> None:
    def dies_after(count: int) -> Behaviour:
        return hostile.first(count, hostile.polite, then=hostile.reset)

    with HostileServer(dies_after(6)) as server:  # the topdir and five files
        report = run(tasks_for({"mirror": server.url}, many(100), Tier.INCREMENTAL))["mirror"]
        assert len(server.asked) < 30
    found = only(report)
    assert found.outcome is Outcome.ASKED
    assert (found.counts["ok"], found.counts["unknown"]) == (5, 95)
    assert found.reason.startswith(f"{GIVE_UP_AFTER} directories in a row could not be judged")


def test_the_deadline_of_a_host_leaves_what_was_judged(tree: MasterCategory) -> None:
    def slow(asked: hostile.Asked, connection: object) -> bool:
        time.sleep(0.1)
        return hostile.polite(asked, connection)  # type: ignore[arg-type]

    with HostileServer(slow) as server:
        report = run(tasks_for({"mirror": server.url}, many(100)), limits(host_timeout=1))["mirror"]
    found = only(report)
    assert 0.9 < report.seconds < 1.5
    assert found.outcome is Outcome.ASKED
    assert found.counts["ok"] >= 5
    assert found.counts["ok"] + found.counts["unknown"] == 100
    assert "time ran out after" in found.reason


def test_when_the_run_ends_hosts_that_were_not_asked_are_not_to_blame(tree: MasterCategory) -> None:
    with HostileServer(hostile.silent) as server:
        urls = {f"m{number}": server.url for number in range(4)}
        started = time.monotonic()
        reports = run(tasks_for(urls, tree), limits(hosts=2, total_timeout=0.5), request_timeout=10)
        assert time.monotonic() - started < 2
    assert len(reports) == 4
    assert {only(report).outcome for report in reports.values()} == {Outcome.NOT_ASKED}


def test_no_more_connections_are_used_at_once_than_allowed() -> None:
    now = peak = 0

    class Counting:
        """Counts the questions that are open at the same time."""

        def __init__(self) -> None:
            self.requests = 0

        async def reach(self, url: str) -> Reached:
            return Reached(await self.look(url))

        async def look(self, url: str) -> Answer:
            nonlocal now, peak
            now += 1
            peak = max(peak, now)
            await asyncio.sleep(0.001)
            now -= 1
            return Answer(200, 4)

    tasks = tasks_for({f"m{number}": "http://m" for number in range(12)}, many(20), Tier.INCREMENTAL)
    reports = run(tasks, limits(hosts=10, connections=7, connections_per_host=2), make=lambda _: Counting())
    assert len(reports) == 12
    assert peak <= 6  # three hosts with two connections each: what seven connections are enough for


def test_a_mistake_of_ours_ends_in_a_report_too(tree: MasterCategory) -> None:
    class Broken:
        requests = 0

        async def reach(self, url: str) -> Reached:
            raise ZeroDivisionError

    found = only(run(tasks_for({"m": "http://m"}, tree), make=lambda _: Broken())["m"])
    assert (found.outcome, found.verdicts) == (Outcome.ERROR, {})
    assert "ZeroDivisionError" in found.reason


def test_a_category_without_a_url_that_we_speak_is_not_asked(tree: MasterCategory) -> None:
    """Case 39."""
    (task,) = tasks_for({"m": "http://m"}, tree)
    tasks = [HostTask(1, "m", "site", (CategoryTask(1, (), task.categories[0].plan),))]
    report = run(tasks)["m"]
    assert (only(report).outcome, only(report).requests, report.asked) == (Outcome.NOT_ASKED, 0, False)


def test_evidence_is_bounded() -> None:
    with HostileServer(hostile.only_below_the_top(hostile.always("404 Not Found"))) as server:
        found = only(run(tasks_for({"m": server.url}, many(50)))["m"])
    assert found.counts["missing"] == 50
    assert len(found.evidence) == EXAMPLES


def test_leaving_early_ends_what_is_still_running(tree: MasterCategory) -> None:
    """As on Ctrl-C."""

    async def first_only() -> int:
        async with CurlClient(CurlOptions("tests", 5, 5, 40)) as client:
            tasks = tasks_for({"good": polite.url, "silent": silent.url}, tree)
            reports = engine.crawl(tasks, lambda: HttpFetcher(client, 1, Random(1)), limits())
            report = await anext(reports)
            await reports.aclose()
            return report.host_id

    with HostileServer(hostile.polite) as polite, HostileServer(hostile.silent) as silent:
        started = time.monotonic()
        assert asyncio.run(first_only()) == 1
        assert time.monotonic() - started < 2
