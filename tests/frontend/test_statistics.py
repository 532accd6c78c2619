"""The statistics pages: their figures are those of the logs, in every form, for every period."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from html import unescape
from pathlib import Path
from typing import IO, Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_frontend.statistics import documents
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.statistics import AccessDimension, AccessStatistic, StatisticLevel
from mm_lib.settings import DatabaseSettings, StatisticsSettings
from mm_lib.statistics import figures
from mm_lib.statistics.figures import Known, Span
from mm_lib.statistics.ingest import Ingest
from mm_lib.statistics.reading import Log
from tests import factories
from tests.frontend.world import SETTINGS
from tests.lib.statistics_logs import asking, json_lines, slow_count

DAYS = ("2025-01-02", "2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02")
REQUESTS = list(asking(5000, seed=21, days=DAYS))
MINIMUM = 5


@pytest.fixture(scope="module")
def engine(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for all tests, which only look."""
    path = tmp_path_factory.mktemp("figures") / "figures.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))

    @contextmanager
    def working() -> Iterator[Session]:
        with make_sessions(engine)() as session, transaction(session):
            yield session

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        yield io.BytesIO(json_lines(REQUESTS))

    Ingest(working, StatisticsSettings(minimum_requests=MINIMUM)).read(Log("log", opened))
    with working() as session:
        for number in range(6):  # mirror6 has gone
            factories.host(session, f"mirror{number}.example.org", private=number == 5)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def client(engine: Engine) -> FlaskClient:
    return create_app(SETTINGS, engine).test_client()


def twin(client: FlaskClient, path: str) -> dict[str, Any]:
    answer = client.get(f"{path}{'&' if '?' in path else '?'}format=json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def expected(dimension: str, first: str, last: str) -> Counter[str]:
    """Name -> requests, by the slow count."""
    found: Counter[str] = Counter()
    for (day, counted, name), numbers in slow_count(REQUESTS, MINIMUM, full=True).items():
        if counted == dimension and first <= day <= last:
            unnamed = name in ("mirror5.example.org", "mirror6.example.org")
            found["other" if unnamed else name] += numbers["requests"]
    return found


@pytest.mark.parametrize(
    ("path", "dimension", "first", "last"),
    [
        ("/statistics", "countries", "2026-03-02", "2026-03-02"),
        ("/statistics/2026-02-28", "countries", "2026-02-28", "2026-02-28"),
        ("/statistics/2026-02-28/archs", "archs", "2026-02-28", "2026-02-28"),
        ("/statistics/2026-02-28/repositories?period=week", "repositories", "2026-02-23", "2026-03-01"),
        ("/statistics/2026-02-28/hosts?period=month", "hosts", "2026-02-01", "2026-02-28"),
        ("/statistics/2026-02-28/clients?period=year", "clients", "2026-01-01", "2026-12-31"),
        ("/statistics/2026-02-28/asns?period=month", "asns", "2026-02-01", "2026-02-28"),
        ("/statistics/2025-01-01/tiers?until=2026-03-01", "tiers", "2025-01-01", "2026-03-01"),
    ],
)
def test_figures_of_a_period_are_those_of_a_slow_count(
    client: FlaskClient, path: str, dimension: str, first: str, last: str
) -> None:
    found = twin(client, path)
    assert (found["dimension"], found["first_day"], found["last_day"]) == (dimension, first, last)
    assert {row["name"]: row["requests"] for row in found["rows"]} == expected(dimension, first, last)
    assert found["requests"] == expected("all", first, last)[""]


def test_no_form_names_a_private_mirror_or_one_that_has_gone(client: FlaskClient) -> None:
    """Who has gone may have been private."""
    page = "/statistics/2026-02-28/hosts?period=month&rows=all"
    for form in ("", "&format=json", "&format=csv"):
        text = client.get(f"{page}{form}").text
        assert "mirror4.example.org" in text
        assert "mirror5" not in text
        assert "mirror6" not in text


def test_shares_are_of_all_requests(client: FlaskClient) -> None:
    found = twin(client, "/statistics/2026-02-28/archs")
    assert sum(row["share"] for row in found["rows"]) == pytest.approx(1)
    for row in found["rows"]:
        assert row["share"] == pytest.approx(row["requests"] / found["requests"])


def test_periods_are_compared_with_the_time_before(client: FlaskClient) -> None:
    found = twin(client, "/statistics/2026-03-01/archs")
    before = expected("archs", "2026-02-28", "2026-02-28")
    assert {row["name"]: row["requests_before"] for row in found["rows"]} == before
    assert found["requests_before"] == before.total()


def test_the_shares_that_moved_most_come_first(client: FlaskClient) -> None:
    movers = [abs(row["change"]) for row in twin(client, "/statistics/2026-03-01/repositories")["top_movers"]]
    assert movers
    assert movers == sorted(movers, reverse=True)


@pytest.mark.parametrize("path", ["/statistics/yesterday", "/statistics/2026-02-30", "/statistics/0001-01-01"])
def test_a_day_that_is_none_is_the_last_complete_one(client: FlaskClient, path: str) -> None:
    assert twin(client, path)["first_day"] == "2026-03-02"


def test_a_category_that_does_not_exist_is_the_countries(client: FlaskClient) -> None:
    assert twin(client, "/statistics/2026-02-28/planets")["dimension"] == "countries"


def test_a_time_without_figures_is_said_to_have_none(client: FlaskClient) -> None:
    assert "Nothing is known of this time." in client.get("/statistics/2019-01-01").text


def test_the_spreadsheet_has_every_row(client: FlaskClient) -> None:
    answer = client.get("/statistics/2026-02-28/repositories?format=csv")
    assert answer.mimetype == "text/csv"
    rows = {row["name"]: int(row["requests"]) for row in csv.DictReader(io.StringIO(answer.text))}
    assert rows == expected("repositories", "2026-02-28", "2026-02-28")


@pytest.mark.parametrize(("table", "part"), [("over_time", "over_time"), ("movers", "top_movers")])
def test_each_table_of_the_page_is_a_spreadsheet_with_the_figures_of_the_twin(
    client: FlaskClient, table: str, part: str
) -> None:
    address = "/statistics/2026-02-28?period=day"
    page = client.get(address)
    link = next(one for one in re.findall(r'href="([^"]+)"', page.text) if f"table={table}" in one)
    rows = list(csv.DictReader(io.StringIO(client.get(unescape(link)).text)))
    figures = twin(client, address)[part]
    assert rows == [{name: str(value) for name, value in one.items()} for one in figures]
    assert rows


def test_the_form_leads_to_the_permanent_address(client: FlaskClient) -> None:
    answer = client.get("/statistics?day=2026-02-28&dimension=archs&period=month&until=&compare=year")
    assert answer.status_code == 302
    assert answer.location == "/statistics/2026-02-01/archs?period=month&compare=year"


def test_charts_have_their_tables_and_scripts_come_from_files_of_ours_only(client: FlaskClient) -> None:
    answer = client.get("/statistics/2026-02-28")
    tables = set(re.findall(r'<table class="numbers" id="([^"]+)"', answer.text))
    assert set(re.findall(r'data-table="([^"]+)"', answer.text)) == tables
    assert "<script>" not in answer.text
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"


def test_pages_without_charts_allow_no_scripts(client: FlaskClient) -> None:
    assert "script-src" not in client.get("/privacy").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "incomplete"),
    [
        ("/statistics/2026-02-27", True),
        ("/statistics/2026-02-20?until=2026-03-02", True),
        ("/statistics/2026-03-01", True),  # the day before it is missing
        ("/statistics/2026-03-01?compare=none", False),
        ("/statistics/2026-03-02", False),
        ("/statistics/2026-02-01?period=month", False),
        ("/statistics/2025-01-01?until=2026-02-28", False),
    ],
)
def test_figures_that_lack_days_which_have_expired_say_so(
    engine: Engine, tmp_path: Path, path: str, incomplete: bool
) -> None:
    copy = tmp_path / "expired.sqlite"
    with closing(sqlite3.connect(str(engine.url.database))) as whole, closing(sqlite3.connect(copy)) as part:
        whole.backup(part)
    expired = make_engine(DatabaseSettings(url=f"sqlite:///{copy}"))
    with make_sessions(expired)() as session, transaction(session):
        old = AccessStatistic.start < date(2026, 3, 1)
        session.execute(delete(AccessStatistic).where(AccessStatistic.level == StatisticLevel.DAY, old))
    client = create_app(SETTINGS, expired).test_client()
    assert twin(client, path)["incomplete"] is incomplete
    assert ("some days are missing" in client.get(path).text) is incomplete
    expired.dispose()


def test_without_any_figures_the_page_says_so(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    empty = create_app(SETTINGS, engine).test_client()
    assert "Nothing has been counted yet" in empty.get("/statistics").text
    assert empty.get("/statistics?format=json").get_json() == {"rows": []}
    assert empty.get("/statistics?format=csv").text.splitlines() == [",".join(documents.COLUMNS)]
    engine.dispose()


@pytest.mark.parametrize(
    ("longer", "start", "days"),
    [
        (StatisticLevel.MONTH, date(2026, 2, 1), 28),  # days of this very month have expired
        (StatisticLevel.YEAR, date(2025, 1, 1), 365),  # months have expired
    ],
)
def test_clients_per_day_are_of_all_days_of_a_period_though_some_have_expired(
    engine: Engine, tmp_path: Path, longer: StatisticLevel, start: date, days: int
) -> None:
    copy = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(str(engine.url.database))) as whole, closing(sqlite3.connect(copy)) as part:
        whole.backup(part)
    expired = make_engine(DatabaseSettings(url=f"sqlite:///{copy}"))
    since = {"day": date(2026, 2, 28), "week": date(2026, 2, 23), "month": date(2026, 2, 1)}
    since["year"] = start.replace(month=1)
    with make_sessions(expired)() as session:
        with transaction(session):
            for level, first in since.items():
                old = (AccessStatistic.level == StatisticLevel(level), AccessStatistic.start < first)
                session.execute(delete(AccessStatistic).where(*old))
        clients = session.get_one(AccessStatistic, (longer, AccessDimension.ALL, start, "")).clients
    client = create_app(SETTINGS, expired).test_client()
    found = twin(client, f"/statistics/{start}?period={longer.value}")["clients_per_day"]
    expired.dispose()
    assert found == round(clients / days, 1)


def test_a_mirror_that_is_called_other_is_among_the_other_mirrors(engine: Engine) -> None:
    """Its requests, or theirs, would be lost."""
    day = date(2026, 2, 28)
    before = expected("hosts", day.isoformat(), day.isoformat())["other"]
    with make_sessions(engine)() as session:
        factories.host(session, "other")
        key = {"level": StatisticLevel.DAY, "dimension": AccessDimension.HOST, "start": day, "name": "other"}
        session.add(AccessStatistic(**key, requests=7, clients=1))
        session.flush()
        found = figures.read(session, AccessDimension.HOST, Span(day, day), None, Known(day, day, day))
        session.rollback()
    assert {row.name: row.requests for row in found.rows}["other"] == before + 7
