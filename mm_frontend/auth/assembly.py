"""All about signing in, put into the application."""

from __future__ import annotations

from flask import Flask

from mm_frontend.auth import local, openid, session, sources, views
from mm_frontend.auth.blueprint import blueprint
from mm_lib.settings import Settings

PAGES = (views, local, openid)  # importing them puts their views on the blueprint


def register(app: Flask, configured: Settings) -> None:
    """Know who is signed in, and show the pages. Raises SettingsError when something that is set up is missing."""
    session.register(app)
    sources.register(app, configured)
    app.register_blueprint(blueprint)
