"""The page that the crawler's User-Agent leads to."""

from __future__ import annotations

from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from mm_frontend.app import create_app
from mm_lib.settings import USER_AGENT, Settings, load
from tests.frontend.world import SETTINGS, links, text


def page(engine: Engine, **crawler: float) -> str:
    values = {"frontend": SETTINGS.frontend.model_dump(), "crawler": crawler}
    app: Flask = create_app(Settings.model_validate(values), engine)
    return " ".join(text(app.test_client().get("/crawler")).split())


def test_every_page_leads_to_what_the_crawler_does(client: FlaskClient) -> None:
    assert "/crawler" in links(client.get("/"))


def test_the_page_names_the_limits_that_are_set(engine: Engine) -> None:
    told = page(engine)
    assert USER_AGENT in told
    for line in (
        "At most 2 connections at once",
        "At most 10 requests per second",
        "One request every 15 minutes",
        "every 10 minutes to 2 hours until you have it",
        "Every 1 hour to 8 hours",
        "It stops 1 hour after it began",
        "every 12 hours only. After 4 failures in a row it is switched off",
        "write to help@example.org",
    ):
        assert line in told
    told = page(engine, connections_per_host=1, requests_per_second=0.5, tries=1, metadata_minutes=7.5)
    for line in (
        "At most 1 connection at once",
        "At most 0.5 requests per second",
        "is asked 1 time at most",
        "every 7.5",
    ):
        assert line in told


def test_the_user_agent_names_the_page_where_the_front_end_has_a_public_address(tmp_path: Path) -> None:
    config = tmp_path / "mirrormanager.toml"
    config.write_text('[frontend]\npublic_url = "https://mirrors.example.org/"\n')
    assert load(config, {}).crawler.user_agent == f"{USER_AGENT} (+https://mirrors.example.org/crawler)"
    config.write_text('[crawler]\nuser_agent = "ours/1"\n[frontend]\npublic_url = "https://mirrors.example.org"\n')
    assert load(config, {}).crawler.user_agent == "ours/1"
    config.write_text("")
    assert load(config, {}).crawler.user_agent == USER_AGENT
