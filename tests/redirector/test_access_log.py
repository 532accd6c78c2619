"""One line per answered repository request."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.access_log import AccessLog, Entry, line
from tests.redirector.world import IN_SWEDEN, NOWHERE, OS, client

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
    assert entry == Entry(DAY, IN_SWEDEN, "SE", "rawhide", "x86_64")
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


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    log = AccessLog(path)
    log.write(ENTRY)
    log.close()
    assert path.read_text() == "before\n" + line(ENTRY)


def test_a_log_that_was_moved_away_is_opened_again(tmp_path: Path) -> None:
    """The reference goes on writing to the old file (D11)."""
    path = tmp_path / "access.log"
    log = AccessLog(path)
    path.rename(tmp_path / "access.log.1")
    log.write(ENTRY)
    log.refresh()
    log.write(ENTRY)
    log.close()
    assert path.read_text() == (tmp_path / "access.log.1").read_text() == line(ENTRY)


def test_a_full_disk_costs_the_line_and_one_complaint(caplog: pytest.LogCaptureFixture) -> None:
    """In the reference it costs the answer (D3)."""
    log = AccessLog(Path("/dev/full"))
    with caplog.at_level(logging.ERROR):
        log.write(ENTRY)
        log.write(ENTRY)
    log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "the access log /dev/full cannot be written: [Errno 28] No space left on device"
    ]


def test_a_log_that_cannot_be_opened_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "folder" / "access.log"
    log = AccessLog(path)
    log.write(ENTRY)
    assert "cannot be written" in caplog.text
    path.parent.mkdir()
    log.refresh()
    log.write(ENTRY)
    log.close()
    assert path.read_text() == line(ENTRY)
