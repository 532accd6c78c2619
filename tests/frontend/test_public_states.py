"""Public pages of a registry that is empty, or was changed."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_frontend.app import create_app
from mm_lib.database import transaction
from mm_lib.model.content import Product, Repository
from tests.frontend.world import headline, settings, text


def test_start_page_of_an_empty_registry_says_what_comes_first(client: FlaskClient) -> None:
    assert "Nothing is mirrored yet" in text(client.get("/"))


def test_list_of_an_empty_registry_says_when_mirrors_appear(client: FlaskClient) -> None:
    page = client.get("/mirrors")
    assert headline(page) == "No mirrors"
    assert "There are no public mirrors yet" in text(page)


@pytest.mark.usefixtures("registry")
def test_matrix_hides_products_that_are_not_public(client: FlaskClient, session: Session) -> None:
    with transaction(session):
        session.query(Product).filter_by(name="EPEL").update({"public": False})
    assert "EPEL" not in text(client.get("/"))


@pytest.mark.usefixtures("registry")
def test_the_example_asks_for_a_repository_that_is_switched_on(engine: Engine, session: Session) -> None:
    app = create_app(settings(redirector_url="https://mirrors.example.org/"), engine)
    assert "https://mirrors.example.org/metalink?repo=epel-7&arch=x86_64" in text(app.test_client().get("/"))
    with transaction(session):
        session.query(Repository).update({"enabled": False})
    assert "metalink" not in text(app.test_client().get("/"))
