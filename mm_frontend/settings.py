"""The front end's settings, where a view can reach them."""

from __future__ import annotations

from flask import Flask, current_app

from mm_lib.settings import FrontendSettings

_KEY = "FRONTEND_SETTINGS"


def put(app: Flask, settings: FrontendSettings) -> None:
    """Give the application its settings."""
    app.config[_KEY] = settings


def frontend() -> FrontendSettings:
    """The current application's settings."""
    found = current_app.config[_KEY]
    assert isinstance(found, FrontendSettings)
    return found
