"""The front end's settings, where a view can reach them."""

from __future__ import annotations

from flask import Flask, current_app

from mm_lib.settings import BrandSettings, CrawlerSettings, FrontendSettings, LoginSettings, Settings

_KEY = "MIRRORMANAGER_SETTINGS"


def put(app: Flask, settings: Settings) -> None:
    """Give the application its settings."""
    app.config[_KEY] = settings


def frontend() -> FrontendSettings:
    """The current application's settings."""
    return _settings().frontend


def brand() -> BrandSettings:
    """Whose pages these are."""
    return _settings().brand


def crawler() -> CrawlerSettings:
    """How mirrors are asked."""
    return _settings().crawler


def login() -> LoginSettings:
    """How people sign in with accounts of this installation."""
    return _settings().login


def everything() -> Settings:
    """All settings."""
    return _settings()


def _settings() -> Settings:
    found = current_app.config[_KEY]
    assert isinstance(found, Settings)
    return found
