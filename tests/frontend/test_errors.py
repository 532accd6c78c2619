"""Errors: themed pages with an id that the log has, problem+json for programs, and nothing that leaks."""

from __future__ import annotations

import json
import logging
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_frontend.errors import explain
from mm_lib.services.access import EVERYBODY
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound
from tests.frontend.world import SETTINGS, headline, sign_in, text, token


@pytest.fixture
def broken(app: Flask, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A view that fails with a secret in its message."""
    monkeypatch.setitem(guards.ENDPOINTS, "broken", EVERYBODY)

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("the password is swordfish")

    return app.test_client()


@pytest.fixture
def without_database() -> FlaskClient:
    """Nobody listens on this port."""
    engine = create_engine("postgresql+psycopg2://mm@127.0.0.1:1/none")
    return create_app(SETTINGS, engine).test_client()


def test_an_unknown_page_is_themed_and_leads_on(client: FlaskClient) -> None:
    answer = client.get("/no/such/page")
    assert answer.status_code == 404
    assert headline(answer) == "Nothing here"
    assert "Test Mirrors" in text(answer)
    assert "help@example.org" in text(answer)


def test_the_log_has_the_number_that_the_page_shows(broken: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = broken.get("/broken")
    found = re.search(r"number ([0-9A-F]{8})", text(answer))
    assert answer.status_code == 500
    assert found
    assert f"error {found[1]}: GET /broken" in caplog.text
    assert "swordfish" in caplog.text


def test_our_mistakes_do_not_show_their_insides(broken: FlaskClient) -> None:
    assert "swordfish" not in broken.get("/broken").text
    assert "swordfish" not in broken.get("/broken", headers={"Accept": "application/json"}).text


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("page", ["/login/new-password/", "/register/", "/invitation/"])
def test_tokens_of_mailed_links_are_not_in_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, page: str
) -> None:
    sign_in(client)
    for method, end in (("GET", ""), ("POST", ""), ("PUT", ""), ("GET", "/")):
        with caplog.at_level(logging.INFO):
            assert client.open(f"{page}swordfish{end}", method=method).status_code in (400, 404, 405)
        assert f"{method} {page}(hidden)" in caplog.text
    assert "swordfish" not in caplog.text


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
def test_programs_get_problem_json(client: FlaskClient, accept: str) -> None:
    answer = client.get("/no/such/page", headers={"Accept": accept})
    assert answer.mimetype == "application/problem+json"
    assert json.loads(answer.data)["status"] == 404


@pytest.mark.parametrize("accept", ["text/html,*/*;q=0.8", "*/*", "image/png", ""])
def test_everybody_else_gets_a_page(client: FlaskClient, accept: str) -> None:
    assert client.get("/no/such/page", headers={"Accept": accept}).mimetype == "text/html"


def test_a_wrong_method_says_which_are_right(client: FlaskClient) -> None:
    answer = client.put("/login", data={"csrf_token": token(client)})
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    answer = client.post("/login", data={"name": "x" * (2 << 20)})
    assert answer.status_code == 413
    assert headline(answer) == "Too much at once"


@pytest.mark.parametrize("path", ["/", "/mirrors"])
def test_without_a_database_pages_say_that_it_is_our_fault_and_for_how_long(
    without_database: FlaskClient, path: str
) -> None:
    without_database.set_cookie("mm_sign_in", "some-token")
    answer = without_database.get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "30"
    assert "The database cannot be reached right now" in text(answer)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("no such mirror"), 404),
        (NotAllowed("not yours"), 403),
        (AlreadyExists("taken"), 409),
        (InvalidValue("name", "too long"), 400),
    ],
)
def test_refusals_of_services_have_a_status_and_keep_their_message(error: Exception, status: int) -> None:
    problem = explain(error)
    assert problem.status == status
    assert problem.text == str(error)
