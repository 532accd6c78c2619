"""From requests to the redirector, through the rotation of its log and ingest, to the figures on the page."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.settings import DatabaseSettings, StatisticsSettings
from mm_lib.statistics.ingest import Ingest
from mm_lib.statistics.reading import logs
from mm_redirector.access_log import AccessLog, Format
from mm_redirector.app import Application
from mm_redirector.index import build
from mm_redirector.settings import BALANCED
from tests.frontend.world import SETTINGS
from tests.redirector.world import IN_AMERICA, IN_GERMANY, IN_JAPAN, IN_SWEDEN, Atlas, world

NOW = 1_790_000_000.0  # 2026-09-21
ASKED = [
    (repository, address)
    for number, (repository, address) in enumerate(
        (repository, address)
        for repository in ("fedora-44", "updates-44", "nonsense")
        for address in (IN_SWEDEN, IN_GERMANY, IN_AMERICA, IN_JAPAN)
    )
    for _ in range(number + 1)
]
COUNTRIES = {IN_SWEDEN: "SE", IN_GERMANY: "DE", IN_AMERICA: "US", IN_JAPAN: "JP"}


def environ(repository: str, address: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/mirrorlist",
        "QUERY_STRING": f"repo={repository}&arch=x86_64",
        "REMOTE_ADDR": address,
        "HTTP_USER_AGENT": "libdnf (Fedora Linux 44)",
    }


@pytest.mark.parametrize("form", ["classic", "json"])
def test_requests_become_figures_and_no_address_is_left(sqlite_template: Path, tmp_path: Path, form: Format) -> None:
    database, folder = tmp_path / "test.sqlite", tmp_path / "logs"
    database.write_bytes(sqlite_template.read_bytes())
    folder.mkdir()
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{database}"))

    @contextmanager
    def working() -> Iterator[Session]:
        with make_sessions(engine)() as session, transaction(session):
            yield session

    def ingest() -> None:
        run = Ingest(working, StatisticsSettings(minimum_requests=0))
        assert not [read for read in map(run.read, logs([folder])) if read.problem]

    log, index = AccessLog(folder / "access.log", form, networks=True, interval=0.01), build(world())
    application = Application(
        lambda: index, Atlas(), BALANCED, log=log.write, log_all=form == "json", clock=lambda: NOW
    )
    log.start()
    half = len(ASKED) // 2
    for request in ASKED[:half]:
        application.answer(environ(*request))
    log.close()
    ingest()
    (folder / "access.log.1.gz").write_bytes(gzip.compress((folder / "access.log").read_bytes()))
    (folder / "access.log").unlink()
    log = AccessLog(folder / "access.log", form, networks=True, interval=0.01)
    application._log = log.write
    log.start()
    for request in ASKED[half:]:
        application.answer(environ(*request))
    log.close()
    ingest()
    page = create_app(SETTINGS, engine).test_client().get("/statistics/2026-09-21/countries?format=json").get_json()
    engine.dispose()
    answered = [(repository, address) for repository, address in ASKED if repository != "nonsense"]
    assert page["requests"] == len(answered)
    assert {row["name"]: row["requests"] for row in page["rows"]} == Counter(
        COUNTRIES[address] for _, address in answered
    )
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everything += gzip.decompress((folder / "access.log.1.gz").read_bytes())
    assert not [address for address in COUNTRIES if f"{address};".encode() in everything]
    assert not [address for address in COUNTRIES if f'"{address}"'.encode() in everything]
