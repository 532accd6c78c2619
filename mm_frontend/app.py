"""The front end, assembled."""

from __future__ import annotations

from flask import Flask
from sqlalchemy import Engine

from mm_frontend import db, errors, guards, language, metrics, security, settings, theme
from mm_frontend.admin import views as admin
from mm_frontend.api import views as api
from mm_frontend.auth import assembly as auth
from mm_frontend.checkin import views as checkin
from mm_frontend.data import views as data
from mm_frontend.guards import count_tries
from mm_frontend.operators import views as operators
from mm_frontend.public import branding, files, health
from mm_frontend.public import views as public
from mm_frontend.statistics import maps, mirror_health, propagation
from mm_frontend.statistics import views as statistics
from mm_lib.database import make_engine
from mm_lib.settings import Settings, require_secret


def create_app(configured: Settings, engine: Engine | None = None) -> Flask:
    """The application. Raises SettingsError without a good secret key. Nothing is connected yet."""
    app = Flask(__name__)
    app.secret_key = require_secret(configured)
    settings.put(app, configured)

    db.connect(app, engine or make_engine(configured.database))
    metrics.register(app)
    security.harden(app, configured.frontend)
    auth.register(app, configured)
    count_tries(app, configured.login.limits_storage)
    guards.register(app)
    errors.register(app)
    language.register(app)
    theme.register(app, configured)

    app.register_blueprint(public.blueprint, seconds=configured.frontend.cache_seconds)
    app.register_blueprint(data.blueprint, seconds=configured.frontend.cache_seconds)
    for part in (files, branding, health, operators, admin, checkin, statistics, propagation, maps, mirror_health):
        app.register_blueprint(part.blueprint)
    api.register(app)
    return app
