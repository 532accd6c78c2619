"""One line per answered repository request."""

from __future__ import annotations

import datetime
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.access_log import AccessLog, Entry, Format, json_line, line, network_of
from tests.redirector.serving import surroundings
from tests.redirector.world import IN_SWEDEN, NOW, NOWHERE, OS, client

DAY = datetime.date(2026, 11, 22)
ENTRY = Entry(DAY, "89.160.20.113", "SE", "alias", "x86_64")


def logged(url: str, address: str = IN_SWEDEN) -> list[Entry]:
    entries: list[Entry] = []
    client(log=entries.append)(url, address)
    return entries


def test_the_line_is_that_of_the_reference() -> None:
    assert line(ENTRY) == "IP: 89.160.20.113; DATE: 2026-11-22; COUNTRY: SE; REPO: alias; ARCH: x86_64\n"


def test_what_is_unknown_is_not_available() -> None:
    assert line(ENTRY._replace(address="", country="")).startswith("IP: N/A; DATE: 2026-11-22; COUNTRY: N/A; ")


@given(st.text(), st.text())
def test_no_name_shifts_a_column_or_adds_a_line(repo: str, arch: str) -> None:
    text = line(ENTRY._replace(repo=repo, arch=arch))
    fields = text.split()
    assert text.count("\n") == 1
    assert len(fields) == 10
    assert text.count(";") == 4


def test_the_repository_is_logged_as_asked_and_the_architecture_after_the_source_rule() -> None:
    (entry,) = logged("/mirrorlist?repo=rawhide&arch=x86_64")
    assert entry == Entry(NOW, IN_SWEDEN, "SE", "rawhide", "x86_64")
    (entry,) = logged("/mirrorlist?repo=fedora-source-44&arch=x86_64")
    assert entry.arch == "source"


def test_the_country_is_the_clients_and_never_the_requested_one() -> None:
    assert logged("/metalink?repo=fedora-44&arch=x86_64&country=DE", NOWHERE)[0].country == ""


def test_a_path_with_a_repository_beside_it_is_logged() -> None:
    assert logged(f"/mirrorlist?path={OS}&repo=any&arch=thing")[0].repo == "any"


def test_a_metalink_that_ends_in_a_redirect_or_a_list_is_logged_alike() -> None:
    assert len(logged("/mirrorlist?repo=fedora-44&arch=x86_64&redirect")) == 1


@pytest.mark.parametrize(
    "query", [f"path={OS}", "repo=unknown&arch=x86_64", "repo=off&arch=x86_64", "path=n/a&repo=a&arch=b", "repo=a"]
)
def test_other_requests_are_not_logged(query: str) -> None:
    assert logged(f"/mirrorlist?{query}") == []


def eventually(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def logging_to(path: Path, **options: Any) -> AccessLog:
    log = AccessLog(path, **({"interval": 0.01} | options))
    log.start()
    return log


def test_lines_are_appended_and_the_end_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    log = logging_to(path, interval=3600)
    for _ in range(1000):
        log.write(ENTRY)
    log.close()
    assert path.read_text() == "before\n" + line(ENTRY) * 1000


def test_lines_are_written_without_waiting_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    log.start()
    log.write(ENTRY)
    start = time.monotonic()
    eventually(lambda: path.exists() and path.read_text() == line(ENTRY))
    assert time.monotonic() - start < 10  # twice a second, on a machine that may be busy
    log.close()


def test_a_log_that_was_moved_away_is_opened_again(tmp_path: Path) -> None:
    """The reference goes on writing to the old file (D11)."""
    path = tmp_path / "access.log"
    log = logging_to(path)
    eventually(path.exists)
    path.rename(tmp_path / "access.log.1")
    eventually(path.exists)
    log.write(ENTRY)
    log.close()
    assert path.read_text() == line(ENTRY)
    assert (tmp_path / "access.log.1").read_text() == ""


def test_it_is_opened_anew_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = logging_to(path, interval=3600)
    eventually(path.exists)
    path.rename(tmp_path / "access.log.1")
    log.reopen_soon()
    eventually(path.exists)
    log.write(ENTRY)  # not before: it could still have gone into the old file
    log.close()
    assert path.read_text() == line(ENTRY)
    assert (tmp_path / "access.log.1").read_text() == ""


def test_a_full_disk_costs_lines_that_are_counted_and_one_complaint(caplog: pytest.LogCaptureFixture) -> None:
    """In the reference it costs the answer (D3)."""
    log = AccessLog(Path("/dev/full"))
    with caplog.at_level(logging.ERROR):
        log.start()
        for _ in range(200):
            log.write(ENTRY)
        log.close()
    assert log.dropped == 200
    assert [record.getMessage() for record in caplog.records] == [
        "the access log /dev/full cannot be written: [Errno 28] No space left on device"
    ]


def test_half_a_line_is_ended_before_the_next_one(tmp_path: Path) -> None:
    """A disk that fills up takes the first bytes of a write; a reader must not take two lines for one."""
    path = tmp_path / "access.log"
    text = line(ENTRY)
    script = (
        "import datetime, resource, signal, sys, pathlib, time\n"
        "from mm_redirector.access_log import AccessLog, Entry\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "entry = Entry(datetime.date(2026, 11, 22), '89.160.20.113', 'SE', 'alias', 'x86_64')\n"
        "def wait(look):\n"
        "    end = time.monotonic() + 20\n"
        "    while not look(): assert time.monotonic() < end; time.sleep(0.01)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "log = AccessLog(path, interval=0.01)\n"
        "for _ in range(3): log.write(entry)\n"
        "log.start()\n"
        "wait(lambda: log.dropped == 2)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "log.write(entry)\n"
        "log.close()\n"
    )
    environ = surroundings()
    subprocess.run([sys.executable, "-c", script, path, str(len(text) + 30)], env=environ, check=True)
    assert path.read_text() == text + text[:30] + "\n" + text


def test_a_log_that_cannot_be_opened_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "folder" / "access.log"
    log = logging_to(path)
    log.write(ENTRY)
    eventually(lambda: log.dropped == 1)
    assert caplog.text.count("cannot be written") == 1
    path.parent.mkdir()
    eventually(path.exists)
    log.write(ENTRY)
    log.close()
    assert path.read_text() == line(ENTRY)


def test_a_log_that_cannot_be_opened_again_is_complained_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old file goes on taking the lines meanwhile."""
    path = tmp_path / "folder" / "access.log"
    path.parent.mkdir()
    log = logging_to(path)
    eventually(path.exists)
    path.parent.rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "access.log"
    for number in range(1, 6):
        log.write(ENTRY)
        eventually(lambda wanted=number: moved.read_text().count("\n") == wanted)
    log.close()
    assert caplog.text.count("cannot be written") == 1


def test_a_disk_that_hangs_costs_lines_and_neither_answers_nor_memory(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)  # opening it hangs until somebody reads
    log = AccessLog(path, limit=100)
    log.start()
    for _ in range(150):
        log.write(ENTRY)
    assert log.dropped == 50
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log.close()
    assert os.read(reader, 1 << 20).decode() == line(ENTRY) * 100
    os.close(reader)


def test_several_writers_keep_their_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    logs = [logging_to(path) for _ in range(3)]
    for _ in range(500):
        for log in logs:
            log.write(ENTRY)
    for log in logs:
        log.close()
    assert path.read_text() == line(ENTRY) * 1500


FULL = Entry(
    1795390175.25, "2001:db8::1", "SE", "fedora-44", "x86_64", "GET", 200, 31000, "/metalink", "libdnf", 0.000125, 1221,
    "METALINK", "COUNTRY", "mirror.example", "https", "success",
)  # fmt: skip


def test_a_json_line_has_ecs_names() -> None:
    assert json.loads(json_line(FULL)) == {
        "@timestamp": "2026-11-22T23:29:35.250Z",
        "client.address": "2001:db8::1",
        "client.ip": "2001:db8::1",
        "client.geo.country_iso_code": "SE",
        "client.as.number": 1221,
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.response.body.bytes": 31000,
        "url.path": "/metalink",
        "user_agent.original": "libdnf",
        "event.duration": 125000,
        "mirrormanager.repo": "fedora-44",
        "mirrormanager.arch": "x86_64",
        "mirrormanager.kind": "METALINK",
        "mirrormanager.tier": "COUNTRY",
        "mirrormanager.host": "mirror.example",
        "mirrormanager.protocol": "https",
        "event.outcome": "success",
    }


def test_what_is_unknown_is_left_out_of_a_json_line() -> None:
    read = json.loads(json_line(Entry(0, "unknown", "", "", "")))
    assert "client.ip" not in read  # a collector would refuse what is no address
    assert read["client.address"] == "unknown"
    assert not {name for name in read if name.startswith(("mirrormanager", "client.geo", "client.as", "url"))}


ANYTHING = st.text(st.characters())  # halves of surrogate pairs too


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING)
def test_no_value_breaks_a_json_line(repo: str, path: str, agent: str, address: str) -> None:
    text = json_line(FULL._replace(repo=repo, path=path, agent=agent, address=address))
    assert len(text.splitlines()) == 1
    assert text.isascii()
    assert json.loads(text)["mirrormanager.kind"] == "METALINK"
    json.dumps(json.loads(text), ensure_ascii=False).encode()  # what strict readers of JSON demand


def test_wsgis_latin_1_is_read_as_the_utf_8_that_it_was() -> None:
    read = json.loads(json_line(FULL._replace(path="/caf\u00c3\u00a9", agent="\u00ff")))
    assert read["url.path"] == "/café"
    assert read["user_agent.original"] == "\N{REPLACEMENT CHARACTER}"


def test_a_line_is_not_endless() -> None:
    assert len(json_line(FULL._replace(path="x" * 60_000, agent="y" * 60_000))) < 3000


def test_the_day_is_that_of_utc() -> None:
    assert "DATE: 2026-11-22;" in line(FULL)
    assert "DATE: 2026-11-23;" in line(FULL._replace(when=FULL.when + 3600))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:2:3::4", "2001:db8:1::"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("2002:c000:24d::1", "2002:c000:200::"),  # 6to4: 192.0.2.77 is in the first 48 bits
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136::"),  # Teredo: the client is in the last 32
        ("client-17.example", ""),  # who knows what it tells
    ],
)
def test_an_address_can_be_truncated_to_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize("form", ["classic", "json"])
def test_with_networks_no_whole_address_reaches_the_disk(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "access.log"
    log = logging_to(path, form=form, networks=True)
    log.write(FULL._replace(address="192.0.2.77"))
    log.close()
    assert "192.0.2.0" in path.read_text()
    assert "192.0.2.77" not in path.read_text()


def test_remembering_a_request_costs_the_request_almost_nothing(tmp_path: Path) -> None:
    """Under 1.5 microseconds here; the limit is for a machine that does much else."""
    log = AccessLog(tmp_path / "access.log", limit=10_000_000)
    start = time.process_time()
    for _ in range(50_000):
        log.write(ENTRY)
    assert (time.process_time() - start) / 50_000 < 15e-6


def logged_requests(log_all: bool, *urls: str, **headers: str) -> list[Entry]:
    entries: list[Entry] = []
    ask = client(log=entries.append, log_all=log_all)
    for url in urls:
        ask(url, **headers)
    return entries


def test_the_classic_log_has_answered_repository_requests_only() -> None:
    urls = ["/mirrorlist?repo=fedora-44&arch=x86_64", f"/mirrorlist?path={OS}", "/mirrorlist?repo=x&arch=y", "/"]
    assert [entry.repo for entry in logged_requests(False, *urls)] == ["fedora-44"]


def test_the_json_log_has_every_request_with_its_outcome() -> None:
    urls = ["/metalink?repo=fedora-44&arch=x86_64", f"/redirect/{OS}/", "/mirrorlist?repo=x&arch=y", "/"]
    found = logged_requests(True, *urls, User_Agent="libdnf")
    assert [(entry.status, entry.kind, entry.tier) for entry in found] == [
        (200, "metalink", "country"), (302, "redirect", "country"), (404, "mirrorlist", ""), (404, "", ""),
    ]  # fmt: skip
    assert (found[0].host, found[0].repo, found[0].country, found[0].agent) == ("host0", "fedora-44", "SE", "libdnf")
    assert all(entry.size > 0 for entry in found if entry.status != 302)


def test_the_json_log_names_the_address_of_a_refused_client() -> None:
    (entry,) = logged_requests(True, "/mirrorlist?repo=x&arch=y")
    assert entry.address == IN_SWEDEN
