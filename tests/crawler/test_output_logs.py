"""Logs of crawls: readable whatever happens, in a ring, found by the front end's half."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mm_crawler.output import logs
from mm_crawler.output.logs import Limits, RunLogs
from mm_crawler.report import CategoryReport, Evidence, HostDecision, HostReport, HostTask, Outcome, Tier
from mm_lib.services import crawl_logs
from mm_lib.services.errors import NotFound
from tests.crawler.builders import NOW, category, repomd, tasks_for
from tests.crawler.builders import directory as master_directory

EVIDENCE = Evidence("http://m/fedora/a", "200", "404\n2026-03-01 00:00:00 all is well")


def task(name: str = "Mirror ../of\n1", tier: Tier = Tier.FULL) -> HostTask:
    """Asks a mirror with the id 1."""
    (made,) = tasks_for({name: "http://m/fedora"}, category(master_directory(1, "pub/fedora", important=(repomd(1),))))
    return HostTask(made.host_id, made.name, made.site, tuple(each._replace(tier=tier) for each in made.categories))


def report(name: str = "m") -> HostReport:
    found = CategoryReport(1, Outcome.ASKED, "", NOW, 1.0, 7, "http://m/fedora", 1, evidence=(("missing", EVIDENCE),))
    return HostReport(1, name, "site", NOW, 1.5, (found,))


def run(directory: Path | None, number: int = 1, *, keep: int = 15, max_bytes: int = 1 << 20) -> RunLogs:
    return RunLogs(directory, Limits(keep, max_bytes), number, NOW + timedelta(hours=number))


def write(directory: Path, number: int = 1, notes: int = 1, tier: Tier = Tier.FULL, **limits: int) -> str:
    """A whole log; its name."""
    made = run(directory, number, **limits)
    heard = made.notes(task(tier=tier))
    name = made.name(1)
    for count in range(notes):
        heard.note("asked", method="HEAD", url=f"http://m/fedora/{count}")
    made.tell(report(), HostDecision(1, ()))
    return name


def names(directory: Path) -> list[str]:
    return [log.name for log in crawl_logs.list_logs(directory, 1)]


def test_a_log_is_text_for_people_and_json_lines_for_programs(tmp_path: Path) -> None:
    name = write(tmp_path)
    text = crawl_logs.read_text(tmp_path, 1, name)
    assert "asked: method HEAD, url http://m/fedora/0" in text
    assert "done in 1.5 s" in text
    entries = crawl_logs.read_lines(tmp_path, 1, name)
    assert [entry["event"] for entry in entries] == ["begin", "asked", "evidence", "category", "end"]
    assert (entries[0]["run"], entries[0]["tier"], entries[3]["outcome"]) == (1, "full", "asked")


def test_what_a_mirror_says_never_makes_a_line_of_its_own(tmp_path: Path) -> None:
    name = write(tmp_path)
    assert all(line[:4].isdigit() for line in crawl_logs.read_text(tmp_path, 1, name).splitlines())
    assert "404?2026-03-01 00:00:00 all is well" in crawl_logs.read_text(tmp_path, 1, name)


def test_the_folder_has_the_hosts_id_and_a_safe_name_and_follows_a_new_name(tmp_path: Path) -> None:
    write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1-mirror-..-of-1"]
    made = run(tmp_path, 2)
    made.notes(task("new.example.org"))
    assert [path.name for path in tmp_path.iterdir()] == ["1-new.example.org"]
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("host", ["..", "", "/", "-", "ÄÖÜ", "a" * 300])
def test_no_name_of_a_host_leads_out_of_the_directory(tmp_path: Path, host: str) -> None:
    folder = tmp_path / crawl_logs.folder_name(7, host)
    assert folder.parent == tmp_path
    assert folder.resolve().parent == tmp_path.resolve()
    assert folder.name.startswith("7-") and len(folder.name) < 100


def test_one_hosts_logs_are_not_anothers(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "11-other").mkdir()
    assert crawl_logs.list_logs(tmp_path, 11) == []


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    made = [write(tmp_path, number, keep=3) for number in range(1, 7)]
    assert names(tmp_path) == made[:2:-1]
    assert len(list(tmp_path.rglob("*.log"))) == len(list(tmp_path.rglob("*.jsonl"))) == 3


def test_frequent_small_crawls_do_not_push_the_full_ones_out(tmp_path: Path) -> None:
    full = write(tmp_path, 1, keep=2)
    for number in range(2, 8):
        write(tmp_path, number, keep=2, tier=Tier.CANARY)
    assert full in names(tmp_path)
    assert len(names(tmp_path)) == 3


def test_a_log_ends_at_its_limit_but_says_how_the_crawl_ended(tmp_path: Path) -> None:
    name = write(tmp_path, notes=5000, max_bytes=20_000)
    folder = next(tmp_path.iterdir())
    assert all(path.stat().st_size < 30_000 for path in folder.iterdir())
    entries = crawl_logs.read_lines(tmp_path, 1, name)
    assert entries[-1]["event"] == "end"
    assert any(entry["event"] == "left out" and entry["lines"] > 4000 for entry in entries)


def test_a_log_that_is_not_ended_is_shown_as_such(tmp_path: Path) -> None:
    write(tmp_path, 1)
    run(tmp_path, 2).notes(task())
    assert [log.finished for log in crawl_logs.list_logs(tmp_path, 1)] == [False, True]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    name = write(tmp_path)
    path = next(tmp_path.rglob("*.jsonl"))
    path.write_bytes(path.read_bytes()[:-9])
    assert [entry["event"] for entry in crawl_logs.read_lines(tmp_path, 1, name)][-1] == "category"


def test_lines_are_on_the_disk_soon_and_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the crawl goes on: what a killed crawler did in its last second may be lost, no more."""
    monkeypatch.setattr(logs, "FLUSH_AFTER", 0.01)

    async def crawl() -> int:
        heard = run(tmp_path).notes(task())
        for count in range(50):
            heard.note("asked", url=f"http://m/{count}")
        before = next(tmp_path.rglob("*.jsonl")).stat().st_size
        while not next(tmp_path.rglob("*.jsonl")).stat().st_size:
            await asyncio.sleep(0.01)
        return before

    assert asyncio.run(asyncio.wait_for(crawl(), 5)) == 0
    assert len(next(tmp_path.rglob("*.jsonl")).read_text().splitlines()) == 51


def test_a_directory_that_cannot_be_written_costs_the_log_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    made = run(tmp_path / "file")
    made.notes(task()).note("asked", url="http://m/")
    made.tell(report(), None)
    assert made.name(1) == ""
    assert "no log of" in caplog.text


def test_a_log_whose_folder_vanishes_meanwhile_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = run(tmp_path)
    heard = made.notes(task())
    folder = next(tmp_path.iterdir())
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    heard.note("asked", url="http://m/")
    made.tell(report(), None)
    assert "cannot be written" in caplog.text


def test_without_a_directory_nothing_is_written() -> None:
    made = run(None)
    made.notes(task()).note("asked", url="http://m/")
    made.tell(report(), None)
    assert (made.name(1), crawl_logs.list_logs(None, 1)) == ("", [])


def test_a_mirror_that_was_not_asked_has_a_log_that_says_why(tmp_path: Path) -> None:
    run(tmp_path).tell(HostReport(1, "m", "site", NOW, 0.0, (), "an embargo"), None)
    (log,) = crawl_logs.list_logs(tmp_path, 1)
    assert log.tier == "none"
    assert "not asked: an embargo" in crawl_logs.read_text(tmp_path, 1, log.name)


def test_a_second_job_of_a_run_goes_on_with_the_hosts_log(tmp_path: Path) -> None:
    first = write(tmp_path)
    assert write(tmp_path) == first
    events = [entry["event"] for entry in crawl_logs.read_lines(tmp_path, 1, first)]
    assert events.count("end") == 2


@pytest.mark.parametrize("name", ["../../etc/passwd", "20260301T010000Z-1-full/../x", "", "20260301T010000Z-9-full"])
def test_only_logs_can_be_read(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    for read in (crawl_logs.read_text, crawl_logs.read_lines):
        with pytest.raises(NotFound, match="no such log"):
            read(tmp_path, 1, name)


def test_a_log_knows_its_run_and_time(tmp_path: Path) -> None:
    write(tmp_path, 5)
    (log,) = crawl_logs.list_logs(tmp_path, 1)
    assert (log.run_id, log.started_at) == (5, datetime(2026, 3, 1, 5, tzinfo=UTC))
    assert log.bytes == sum(len(json.dumps(entry)) + 1 for entry in read(tmp_path, log.name))


def read(directory: Path, name: str) -> list[dict[str, Any]]:
    return crawl_logs.read_lines(directory, 1, name)
