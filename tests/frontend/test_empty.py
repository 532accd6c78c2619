"""A new installation: pages that say what to do next."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.frontend.world import headline, text


def test_start_page_of_an_empty_registry_says_what_comes_first(client: FlaskClient) -> None:
    assert "Nothing is mirrored yet" in text(client.get("/"))


def test_list_of_an_empty_registry_says_when_mirrors_appear(client: FlaskClient) -> None:
    page = client.get("/mirrors")
    assert headline(page) == "No mirrors"
    assert "There are no public mirrors yet" in text(page)
