"""The pages of propagation: figures as they are kept, the slowest mirrors named; private ones never."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, select

from mm_frontend.app import create_app
from mm_frontend.statistics import propagation
from mm_lib.database import make_engine, make_sessions
from mm_lib.model.content import Product, Repository, Version
from mm_lib.model.statistics import PropagationStatistic, PropagationVersion
from mm_lib.services.propagation import FOLLOWED, Alarm, overview
from mm_lib.settings import DatabaseSettings
from tests.frontend import statistics_world
from tests.frontend.statistics_world import DAY, NOW, PRIVATE, database
from tests.frontend.world import SETTINGS, counting_queries, text
from tests.postgres import Postgres

UPDATES, SECRET = "/propagation/1", "/propagation/2"


@pytest.fixture(scope="module")
def engine(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with database(sqlite_template, tmp_path_factory.mktemp("propagation")) as engine:
        yield engine


@pytest.fixture(scope="module")
def client(engine: Engine) -> FlaskClient:
    return create_app(SETTINGS, engine).test_client()


def test_old_addresses_lead_here(client: FlaskClient) -> None:
    assert client.get("/propagation").status_code == 308
    assert client.get("/propgation").location == "/propagation/"


def test_the_list_has_the_last_measurement_of_public_repositories_only(client: FlaskClient) -> None:
    (found,) = client.get("/propagation/?format=json").get_json()["repositories"]
    assert (found["prefix"], found["product"], found["version"]) == ("updates-released-f44", "Fedora", "44")
    assert found["main"] is True
    assert found["at"] == NOW.isoformat()
    assert found["mirrors"] == sum(found[age] for age in ("same_day", "one_day", "two_days", "older", "unknown"))


def test_a_product_that_no_database_can_be_asked_for_is_none(postgres: Postgres) -> None:
    """SQLite looks for a NUL; PostgreSQL does not."""
    engine = make_engine(DatabaseSettings(url=postgres.url(postgres.create("migrated"))))
    try:
        assert create_app(SETTINGS, engine).test_client().get("/propagation/?product=%00").status_code == 200
    finally:
        engine.dispose()


def test_what_is_not_there_and_what_is_hidden_is_not_found(client: FlaskClient) -> None:
    assert client.get(SECRET).status_code == 404
    assert "Repository not found" in client.get("/propagation/999").text


@pytest.mark.parametrize(("question", "days"), [("", 7), (f"?since={(NOW - 2 * DAY).date()}", 3)])
def test_the_history_is_every_measurement_of_the_days_asked_for(
    client: FlaskClient, engine: Engine, question: str, days: int
) -> None:
    found = client.get(f"{UPDATES}{question or '?'}&format=json").get_json()["history"]
    first = NOW.date() - (days - 1) * DAY
    with make_sessions(engine)() as session:
        rows = session.scalars(select(PropagationStatistic).where(PropagationStatistic.repository_id == 1)).all()
        kept = {row.at.isoformat(): row.same_day for row in rows if row.at.date() >= first}
    assert {one["at"]: one["same_day"] for one in found} == kept


def test_each_version_says_how_long_it_took(client: FlaskClient) -> None:
    newest, before, _ = client.get(f"{UPDATES}?format=json").get_json()["versions"]
    assert (newest["mirrors_50_seconds"], newest["mirrors_80_seconds"]) == (7200, None)
    assert (before["mirrors_80_seconds"], before["mirrors_95_seconds"]) == (28800, 34200)
    assert (newest["late"], before["late"]) == (True, False)


def test_a_late_version_is_told(client: FlaskClient) -> None:
    assert "The newest version is late: 60 of 100 mirrors have it, 2 days after it came out." in text(
        client.get(UPDATES)
    )
    assert "▲ late" in text(client.get("/propagation/"))


@pytest.mark.parametrize(
    ("age", "reached", "percent", "rings"),
    [
        (timedelta(hours=25), 79, 80, True),
        (timedelta(hours=25), 80, 80, False),
        (timedelta(hours=23), 0, 80, False),
        (timedelta(hours=25), 0, 0, False),
        (FOLLOWED, 0, 80, False),
    ],
)
def test_a_version_is_late_when_too_few_mirrors_have_it_in_time(
    age: timedelta, reached: int, percent: float, rings: bool
) -> None:
    row = PropagationVersion(published_at=NOW - age, mirrors=100, mirrors_reached=reached)
    assert Alarm(percent, 24).rings(row, NOW) is rings


def test_the_slowest_mirrors_are_named_first_and_private_ones_never(client: FlaskClient) -> None:
    found = client.get(f"{UPDATES}?format=json").get_json()["mirrors"]
    names = ("syd.example.org", "sao.example.org", "par.example.org", "ber.example.org")
    assert [(one["host"], one["lag_seconds"]) for one in found] == list(
        zip(names, (None, 400_000, 90_000, 0), strict=True)
    )
    assert client.get(found[0]["page"]).status_code == 200
    for form in ("", "?format=json", "?format=csv&table=mirrors"):
        assert PRIVATE not in client.get(f"{UPDATES}{form}").text


@pytest.mark.parametrize("table", ["history", "versions", "mirrors"])
def test_every_table_is_a_spreadsheet_with_the_figures_of_the_twin(client: FlaskClient, table: str) -> None:
    answer = client.get(f"{UPDATES}?format=csv&table={table}")
    assert answer.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    twin = client.get(f"{UPDATES}?format=json").get_json()[table]
    assert rows == [{name: "" if one[name] is None else str(one[name]) for name in rows[0]} for one in twin]


def test_of_a_version_the_repository_of_most_mirrors_on_average_comes_first_as_main(
    sqlite_template: Path, tmp_path: Path
) -> None:
    with database(sqlite_template, tmp_path) as engine, make_sessions(engine)() as session:
        first = session.get_one(Repository, 1)
        second = Repository(
            prefix="a-smaller-one",
            version_id=first.version_id,
            arch_id=first.arch_id,
            category_id=first.category_id,
            directory_id=first.directory_id,
        )
        session.add(second)
        session.flush()
        # At the last moment more mirrors have it, on average fewer.
        for hours, number in ((0, 500), (4, 1), (8, 1), (12, 1), (16, 1), (20, 1), (24, 1), (28, 1)):
            counts = {"same_day": number, "one_day": 0, "two_days": 0, "older": 0, "unknown": 0}
            session.add(PropagationStatistic(repository_id=second.id, at=NOW - timedelta(hours=hours), **counts))
        session.flush()
        found = overview(session, Alarm(80, 24), NOW)
    shown = [(one.repository.prefix, one.main) for one in found]
    assert shown == [("updates-released-f44", True), ("a-smaller-one", False)]
    assert found[1].mirrors_mean == pytest.approx(507 / 8)


def test_versions_are_listed_as_on_other_pages_the_highest_number_first(sqlite_template: Path, tmp_path: Path) -> None:
    with database(sqlite_template, tmp_path) as engine, make_sessions(engine)() as session:
        first = session.get_one(Repository, 1)
        for name in ("9", "rawhide", "43"):
            version = Version(product_id=session.get_one(Version, first.version_id).product_id, name=name)
            columns = {key: getattr(first, key) for key in ("arch_id", "category_id", "directory_id")}
            other = Repository(prefix=f"f{name}", version=version, **columns)
            session.add(other)
            session.flush()
            ages = {"same_day": 1, "one_day": 0, "two_days": 0, "older": 0, "unknown": 0}
            session.add(PropagationStatistic(repository_id=other.id, at=NOW, mirrors_mean=1.0, **ages))
        session.flush()
        found = overview(session, Alarm(80, 24), NOW)
    assert [one.repository.version for one in found] == ["rawhide", "44", "43", "9"]


def test_the_list_is_a_spreadsheet(client: FlaskClient) -> None:
    (row,) = csv.DictReader(io.StringIO(client.get("/propagation/?format=csv").text))
    assert (row["repository"], row["late"]) == ("updates-released-f44", "True")
    assert datetime.fromisoformat(row["at"]) == NOW


@pytest.mark.parametrize("path", ["/propagation/", UPDATES])
def test_a_page_asks_few_questions_and_is_sent_once(client: FlaskClient, engine: Engine, path: str) -> None:
    with counting_queries(engine) as statements:
        answer = client.get(path)
    assert len(statements) < 30
    assert client.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_the_permanent_link_names_the_days(client: FlaskClient) -> None:
    assert f"{UPDATES}?since={NOW.date() - 6 * DAY}&amp;until={NOW.date()}" in client.get(UPDATES).text


def test_of_many_repositories_the_list_shows_main_and_late_ones_and_all_of_a_product_that_is_asked_for(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagation, "MANY", 2)
    with database(sqlite_template, tmp_path) as engine, make_sessions(engine)() as session:
        first = session.get_one(Repository, 1)
        names = ("category_id", "version_id", "arch_id", "directory_id")
        same = {name: getattr(first, name) for name in names}
        epel = Product(name="EPEL", versions=[Version(name="9")])
        session.add(epel)
        session.flush()
        for prefix, published in (("quiet", timedelta(hours=1)), ("slow", timedelta(hours=30)), ("epel9", timedelta())):
            other = Repository(prefix=prefix, **same)
            other.version_id = epel.versions[0].id if prefix == "epel9" else first.version_id
            session.add(other)
            session.flush()
            counts = {"same_day": 1, "one_day": 0, "two_days": 0, "older": 0, "unknown": 0}
            session.add(PropagationStatistic(repository_id=other.id, at=NOW, **counts))
            seen = {"published_at": NOW - published, "measured_at": NOW, "mirrors": 4, "mirrors_reached": 1}
            session.add(PropagationVersion(repository_id=other.id, timestamp=1, **seen))
        session.commit()
        client = create_app(SETTINGS, engine).test_client()
        shown = text(client.get("/propagation/"))
        assert "updates-released-f44" in shown
        assert "slow x86_64" in shown
        assert "quiet x86_64" not in shown
        assert "epel9 x86_64" in shown
        assert "Show all 3 rows" in shown
        whole = text(client.get("/propagation/?product=Fedora"))
        assert "quiet x86_64" in whole
        assert "epel9" not in whole
        assert len(client.get("/propagation/?product=EPEL&format=json").get_json()["repositories"]) == 1
        assert text(client.get("/propagation/?product=none")) == shown


def test_the_list_is_the_same_on_both_databases(database_url: str) -> None:
    engine = make_engine(DatabaseSettings(url=database_url))
    with make_sessions(engine)() as session:
        statistics_world.build(session)
        (found,) = overview(session, Alarm(80, 24), NOW, "Fedora")
        rows = select(PropagationVersion).where(PropagationVersion.repository_id == 1)
        newest = session.scalars(rows.order_by(PropagationVersion.timestamp)).all()[-1]
    engine.dispose()
    assert found.newest is not None
    assert (found.newest.published_at, found.newest.mirrors_reached) == (newest.published_at, newest.mirrors_reached)
    assert (found.newest.mirrors_seconds[0], found.newest.late) == (newest.mirrors_50, True)
    assert found.ages.at == NOW


def test_a_mean_that_was_kept_with_the_measurement_is_the_one_that_counts(engine: Engine) -> None:
    with make_sessions(engine)() as session:
        newest = session.scalars(select(PropagationStatistic).where(PropagationStatistic.repository_id == 1)).all()[-1]
        newest.mirrors_mean = 12.5
        session.flush()
        (found,) = overview(session, Alarm(80, 24), NOW)
        session.rollback()
    assert found.mirrors_mean == 12.5
