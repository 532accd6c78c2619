"""The map: who stands on it and how, marks that are not on each other; the same for programs, and without scripts."""

from __future__ import annotations

import csv
import io
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from itertools import combinations
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from mm_frontend.app import create_app
from mm_frontend.statistics.drawing import CLOSE, HEIGHT, WIDTH, ZOOMS, View, clusters, project, world
from tests.frontend.statistics_world import COUNTRIES, NOW, PLACES, PRIVATE, QUARANTINED, asked, database
from tests.frontend.world import SETTINGS, counting_queries, text

LOCATIONS = "/map/mirrors_location.txt"


@pytest.fixture(scope="module")
def engine(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with database(sqlite_template, tmp_path_factory.mktemp("map")) as engine:
        yield engine


@pytest.fixture(scope="module")
def client(engine: Engine) -> FlaskClient:
    return create_app(SETTINGS, engine).test_client()


def marks(client: FlaskClient, path: str) -> list[tuple[str, str]]:
    """Label and address of each mark."""
    found = re.findall(r'<a class="mark[^"]*" href="([^"]+)" aria-label="([^"]+)"', client.get(path).text)
    return [(unescape(label), unescape(address)) for address, label in found]


def test_the_location_file_has_the_form_of_mirrormanager(client: FlaskClient) -> None:
    answer = client.get(LOCATIONS)
    assert answer.content_type == "text/plain; charset=utf-8"
    head, *rows = answer.text.splitlines()
    assert head.split("\t") == ["lat", "lon", "title", "description", "iconSize", "iconOffset", "icon"]
    placed = [place for place in PLACES if place[2] is not None]
    assert len(rows) == len(placed) + 1  # and the one in quarantine: the file does not look whether mirrors are served
    title = '<a href="http://sao.example.org">sao.example.org</a>'
    assert f"-23.55\t-46.63\t{title}\tSite of sao.example.org\t16,16\t-8,-8\t/static/mirror.svg" in rows


@pytest.mark.parametrize("path", [LOCATIONS, "/maps", "/maps?format=json", "/maps?format=csv"])
def test_private_mirrors_are_nowhere(client: FlaskClient, path: str) -> None:
    answer = client.get(path).text
    assert "nyc.example.org" in answer
    assert PRIVATE not in answer


def test_the_twin_has_every_public_mirror_and_how_it_is(client: FlaskClient) -> None:
    found = {one["name"]: one for one in client.get("/maps?format=json").get_json()["mirrors"]}
    assert found.keys() == {place[0] for place in PLACES} | {QUARANTINED}
    assert {name for name, one in found.items() if one["service"] == "out"} == {QUARANTINED}
    assert (found["nyc.example.org"]["latitude"], found["nowhere.example.org"]["latitude"]) == (40.71, None)


def test_requests_by_country_are_those_of_the_last_seven_days_that_are_over(client: FlaskClient) -> None:
    expected: Counter[str] = Counter()
    for days_ago in range(1, 8):
        expected += asked(COUNTRIES, days_ago)
    found = client.get("/maps?format=json").get_json()
    assert (found["first_day"], found["last_day"]) == tuple(str((NOW - timedelta(days=days)).date()) for days in (7, 1))
    counted = {row["code"]: row["requests"] for row in found["countries"] if row["requests"]}
    assert counted == {code: number for code, number in expected.items() if code not in ("other", "N/")}
    us = next(row for row in found["countries"] if row["code"] == "US")
    assert us["share"] == pytest.approx(expected["US"] / expected.total())
    assert us["mirrors"] == 2


def test_other_days_can_be_asked_for(client: FlaskClient) -> None:
    day = (NOW - timedelta(days=5)).date()
    found = client.get(f"/maps?since={day}&until={day}&format=json").get_json()["countries"]
    assert next(row["requests"] for row in found if row["code"] == "US") == asked(COUNTRIES, 5)["US"]


@pytest.mark.parametrize(("table", "key"), [("", "name"), ("&table=countries", "code")])
def test_both_lists_are_spreadsheets(client: FlaskClient, table: str, key: str) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get(f"/maps?format=csv{table}").text)))
    twin = client.get("/maps?format=json").get_json()["countries" if table else "mirrors"]
    assert [row[key] for row in rows] == [one[key] for one in twin]


def test_a_mark_for_several_leads_to_larger_maps_until_each_has_its_own(client: FlaskClient) -> None:
    path = "/maps"
    for _ in ZOOMS:
        near = [(label, link) for label, link in marks(client, path) if "ber.example.org" in label]
        assert len(near) == 1
        label, path = near[0]
        if path.startswith("#"):
            break
    assert label == "ber.example.org, in sync"
    assert f'id="{path[1:]}"' in client.get("/maps").text


def test_a_mark_for_several_is_as_most_of_them_are_and_has_a_sign_of_the_worst(client: FlaskClient) -> None:
    page = client.get("/maps").text
    (mark,) = re.findall(r'<a class="mark[^"]*"[^>]*aria-label="[^"]*ber\.example\.org.*?</a>', page, re.DOTALL)
    assert 'class="mark service-full"' in mark
    assert 'aria-label="4 mirrors, 1 of them out of service: ' in mark
    assert '<g class="service-out"><path' in mark
    assert page.count("<g class=") == 1  # all others are of one kind


def test_the_lists_have_all_without_a_map_or_a_script(client: FlaskClient) -> None:
    answer = client.get("/maps")
    assert "<script" not in answer.text
    said = text(answer)
    for name, *_ in PLACES:
        assert name in said
    assert f"{QUARANTINED} Site of {QUARANTINED} Netherlands out of service" in said


def test_a_part_of_the_map_lists_what_stands_there(client: FlaskClient) -> None:
    x, y = project(151.21, -33.87)
    said = text(client.get(f"/maps?x={x}&y={y}&zoom=8"))
    assert "1 mirror here." in said
    assert "syd.example.org" in said
    assert "nyc.example.org" not in said


@pytest.mark.parametrize("question", ["zoom=3", "zoom=x&x=y", "zoom=2&x=-99999999&y=99999999"])
def test_what_is_no_part_of_the_map_does_not_fail(client: FlaskClient, question: str) -> None:
    assert client.get(f"/maps?{question}").status_code == 200


def test_the_map_asks_few_questions_and_is_sent_once(client: FlaskClient, engine: Engine) -> None:
    with counting_queries(engine) as statements:
        answer = client.get("/maps")
    assert len(statements) < 30
    assert client.get("/maps", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_the_old_address_of_the_map_leads_here(client: FlaskClient) -> None:
    assert client.get("/maps/interactive").location == "/maps"


def test_no_two_marks_are_close_and_nothing_is_lost() -> None:
    chance = random.Random(5)
    points = [(chance.randrange(2000), chance.randrange(1500)) for _ in range(300)]
    found = clusters(points, CLOSE)
    assert sorted(number for cluster in found for number in cluster.members) == list(range(300))
    assert found == clusters(points, CLOSE)
    for one, other in combinations(found, 2):
        assert math.dist(one.point, other.point) >= CLOSE
    for cluster in found:
        assert all(math.dist(points[number], cluster.point) < CLOSE for number in cluster.members)


@pytest.mark.parametrize(
    ("longitude", "latitude", "x", "y"),
    [(0, 0, 5000, 2412), (180, 0, 10_000, 2412), (-180, 0, 0, 2412), (0, 83.7, 5000, 0)],
)
def test_places_are_where_equal_earth_has_them(longitude: float, latitude: float, x: int, y: int) -> None:
    assert project(longitude, latitude) == (x, y)


def test_every_outline_lies_on_the_map_and_none_runs_across_it() -> None:
    drawn = {outline.country: outline for outline in world()}
    assert {"US", "RU", "FJ", "SG", "MT"} <= drawn.keys()
    for outline in drawn.values():
        steps = [int(step) for part in re.findall(r"l([^z]*)z", outline.path) for step in part.split()[::2]]
        assert all(abs(step) < WIDTH // 20 for step in steps), outline.country
        for x, y in re.findall(r"M(\d+) (\d+)", outline.path):
            assert int(x) <= WIDTH and int(y) <= HEIGHT


def test_a_view_stays_on_the_map() -> None:
    left, top, width, height = View(WIDTH, HEIGHT, 4).box
    assert (left + width, top + height) == (WIDTH, HEIGHT)
