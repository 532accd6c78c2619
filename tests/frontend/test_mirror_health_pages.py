"""Uptime and load of mirrors: the figures of a slow, obvious count; sorted as asked for; private mirrors never."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import make_sessions
from mm_lib.model.hosts import HostCategory
from mm_lib.model.state import Health, HealthChange
from mm_lib.services.load import By, load
from mm_lib.services.uptime import DAYS, history, outages, quarantined, uptimes
from tests.frontend import statistics_world
from tests.frontend.statistics_world import (
    DAY,
    HISTORY,
    HOUR,
    NOW,
    OFFERED,
    PLACES,
    PRIVATE,
    QUARANTINED,
    YOUNG,
    asked,
    database,
)
from tests.frontend.world import SETTINGS, counting_queries, settings, text

HEALTH, LOAD = "/statistics/health", "/statistics/load"
PUBLIC = {place[0]: place for place in PLACES}


@pytest.fixture(scope="module")
def made(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with database(sqlite_template, tmp_path_factory.mktemp("health")) as made:
        yield made


@pytest.fixture(scope="module")
def client(made: Engine) -> FlaskClient:
    return create_app(SETTINGS, made).test_client()


def slow_uptime(name: str, days: int) -> float:
    """Hour by hour."""
    hours = 24 * min(days, YOUNG[1] if name == YOUNG[0] else 400)
    up = 0
    for hour in range(hours):
        states = [health for ago, health in HISTORY.get(name, ()) if 24 * ago > hour]
        up += not states or states[-1] != "quarantined"
    return up / hours


def check_uptimes(session: Session) -> None:
    found = {one.name: one for one in uptimes(session, NOW)}
    assert found.keys() == {*PUBLIC, QUARANTINED}
    for name, one in found.items():
        assert one.shares == pytest.approx((slow_uptime(name, 30), slow_uptime(name, 90))), name


def test_uptime_is_the_share_of_hours_out_of_quarantine(made: Engine) -> None:
    with make_sessions(made)() as session:
        check_uptimes(session)


def test_uptime_and_load_are_the_same_on_both_databases(session: Session) -> None:
    statistics_world.build(session)
    check_uptimes(session)
    assert load(session, OFFERED, By.ASN).requests == sum(OFFERED[name] for name in OFFERED if name in PUBLIC)


def test_what_the_database_sums_up_is_what_is_counted_change_by_change(session: Session) -> None:
    """Of a year in which every mirror changed all the time, on both databases; also of a day that is over."""
    statistics_world.build(session)
    draw = random.Random(8)
    ids = session.execute(select(HostCategory.id, HostCategory.created_at)).all()
    moments = sorted(NOW - draw.random() * 360 * DAY for _ in range(400))
    for at in moments:
        id_, since = draw.choice(ids)
        if at > since:
            session.add(HealthChange(host_category_id=id_, at=at, health=draw.choice(list(Health))))
            session.flush()
    for end in (NOW, NOW - 50 * DAY):
        before, during = history(session, end - 90 * DAY, end)
        for one in uptimes(session, end):
            (id_, since), *others = session.execute(
                select(HostCategory.id, HostCategory.created_at).where(HostCategory.host_id == one.id)
            ).all()
            assert not others
            changes = during.get(id_, [])
            first = before[id_].health if id_ in before else Health.ACTIVE
            starts = [max(end - days * DAY, since) for days in DAYS]
            shares = [1 - quarantined(first, changes, start, end) / (end - start).total_seconds() for start in starts]
            assert one.shares == pytest.approx(shares, abs=1e-9)
            assert one.outages == outages(first, changes)


def test_quarantines_that_began_in_the_period_are_counted(client: FlaskClient) -> None:
    found = client.get(f"{HEALTH}?format=json").get_json()["mirrors"]
    assert {one["name"]: one["outages_90"] for one in found if one["outages_90"]} == {
        "ber.example.org": 1,
        "tyo.example.org": 2,
        QUARANTINED: 1,
    }


@pytest.mark.parametrize("path", [HEALTH, LOAD, f"{LOAD}?by=countries", f"{LOAD}?by=asns"])
@pytest.mark.parametrize("form", ["html", "json", "csv"])
def test_private_mirrors_are_in_no_form_of_any_page(client: FlaskClient, path: str, form: str) -> None:
    answer = client.get(f"{path}{'&' if '?' in path else '?'}format={form}")
    assert answer.status_code == 200
    assert PRIVATE not in answer.text


def test_the_worst_uptime_comes_first_unless_another_order_is_asked_for(client: FlaskClient) -> None:
    rows = client.get(f"{HEALTH}?format=json").get_json()["mirrors"]
    assert rows[0]["name"] == QUARANTINED
    assert [row["uptime_30"] for row in rows] == sorted(row["uptime_30"] for row in rows)
    rows = list(csv.DictReader(io.StringIO(client.get(f"{HEALTH}?sort=name&format=csv").text)))
    assert [row["name"] for row in rows] == sorted([*PUBLIC, QUARANTINED])
    assert 'aria-sort="ascending"><a href="/statistics/health?sort=name">' in client.get(f"{HEALTH}?sort=name").text


@pytest.mark.parametrize("ago", [1, 7, 20, 45])
def test_a_day_that_is_over_shows_how_mirrors_were_then(client: FlaskClient, ago: int) -> None:
    """Hour by hour, without what happened since."""
    day = (datetime.now(UTC) - ago * DAY).date()
    end = datetime.combine(day, time(), UTC) + DAY
    found = client.get(f"{HEALTH}?until={day}&format=json").get_json()
    assert found["until"] == str(day)
    rows = {row["name"]: row for row in found["mirrors"]}
    for name in HISTORY.keys() - {YOUNG[0]}:

        def state(at: datetime, name: str = name) -> str:
            return ["active", *(health for days, health in HISTORY[name] if NOW - days * DAY <= at)][-1]

        assert rows[name]["health"] == state(end)
        away = sum(state(end - (hour + 0.5) * HOUR) == "quarantined" for hour in range(720))
        assert rows[name]["uptime_30"] == pytest.approx(1 - away / 720, abs=1 / 720)


def test_a_mirror_that_came_later_was_not_there_then(client: FlaskClient) -> None:
    day = (NOW - (YOUNG[1] + 2) * DAY).date()
    names = {row["name"] for row in client.get(f"{HEALTH}?until={day}&format=json").get_json()["mirrors"]}
    assert names == {*PUBLIC, QUARANTINED} - {YOUNG[0]}


def test_the_permanent_link_names_the_day(client: FlaskClient) -> None:
    assert f'?sort=uptime_30&amp;until={datetime.now(UTC).date()}">Permanent link' in client.get(HEALTH).text
    assert '?sort=name&amp;until=2026-01-02">Permanent link' in client.get(f"{HEALTH}?sort=name&until=2026-01-02").text


def test_the_page_says_how_uptime_is_computed(client: FlaskClient) -> None:
    assert "the share of that in which the category was not in quarantine" in text(client.get(HEALTH))


def offered(days: range) -> Counter[str]:
    found: Counter[str] = Counter()
    for days_ago in days:
        found += asked(OFFERED, days_ago)
    return found


@pytest.mark.parametrize("by", ["hosts", "countries", "asns"])
def test_load_is_what_the_last_seven_days_offered(client: FlaskClient, by: str) -> None:
    groups = {
        "hosts": {name: [name] for name in PUBLIC},
        "countries": {place[1]: [name for name in PUBLIC if PUBLIC[name][1] == place[1]] for place in PLACES},
        "asns": {"AS64500": ["ber.example.org", "fra.example.org"], "AS64501": ["fra.example.org"]},
    }[by]
    requests = offered(range(1, 8))
    public = sum(requests[name] for name in PUBLIC)
    found = client.get(f"{LOAD}?by={by}&format=json").get_json()
    assert (found["requests"], found["requests_to_others"]) == (public, requests.total() - public)
    rows = {row["name"]: row for row in found["rows"]}
    width = sum(place[4] for place in PLACES) + 100  # and the one in quarantine
    for name, members in groups.items():
        number, mbps = sum(requests[one] for one in members), sum(PUBLIC[one][4] for one in members)
        assert (rows[name]["requests"], rows[name]["bandwidth_mbps"]) == (number, mbps)
        assert rows[name]["ratio"] == pytest.approx(number / public / (mbps / width), abs=1e-4)


def test_other_days_can_be_asked_for(client: FlaskClient) -> None:
    day = (NOW - 5 * DAY).date()
    rows = client.get(f"{LOAD}?since={day}&until={day}&format=json").get_json()["rows"]
    assert rows[0]["requests"] == asked(OFFERED, 5)["nyc.example.org"]


@pytest.mark.parametrize(("sort", "key"), [("bandwidth", "bandwidth_mbps"), ("ratio", "ratio"), ("x", "requests")])
def test_load_is_sorted_as_asked_for(client: FlaskClient, sort: str, key: str) -> None:
    answer = client.get(f"{LOAD}?sort={sort}&format=csv")
    values = [float(row[key]) for row in csv.DictReader(io.StringIO(answer.text))]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


@pytest.mark.parametrize("path", [HEALTH, LOAD])
def test_a_page_asks_few_questions(client: FlaskClient, made: Engine, path: str) -> None:
    with counting_queries(made) as statements:
        client.get(path)
    assert len(statements) < 30


@pytest.mark.parametrize("path", [HEALTH, LOAD, "/maps", "/propagation/"])
def test_without_any_data_each_page_says_so(sqlite_template: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "empty.sqlite").write_bytes(sqlite_template.read_bytes())
    configured = SETTINGS.model_copy(
        update={"database": SETTINGS.database.model_copy(update={"url": f"sqlite:///{tmp_path}/empty.sqlite"})}
    )
    client = create_app(configured).test_client()
    answer = client.get(path)
    assert answer.status_code == 200
    assert any(f"{word} " in text(answer) for word in ("no", "No", "Nothing"))
    assert client.get(f"{path}?format=json").status_code == 200


@pytest.mark.parametrize("path", [HEALTH, "/maps", "/propagation/"])
def test_a_page_is_made_once_for_all_readers(made: Engine, path: str) -> None:
    client = create_app(settings(cache_seconds=60), made).test_client()
    first = client.get(path).data
    with counting_queries(made) as statements:
        assert client.get(path).data == first
    assert statements == []
