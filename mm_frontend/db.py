"""A database session per request: Flask-SQLAlchemy over mm_lib's own tables and engine."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session

from mm_lib.database import make_sessions
from mm_lib.model import tables
from mm_lib.services.schema import SchemaState, current_revision

# What SQLAlchemy raises when the database cannot be reached, is not set up, or has no connection to spare.
UNAVAILABLE = (OperationalError, InterfaceError, NoConnectionFree)

Work = Session  # what services work with, for views that hand it on

_ENGINE = "SQLALCHEMY_ENGINE"


class Database(SQLAlchemy):
    """Works on the engine that it is given, so that engines are made in one place (mm_lib.database)."""

    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:  # noqa: ARG002
        engine = app.config[_ENGINE]
        assert isinstance(engine, Engine)
        return engine


db = Database(metadata=tables.metadata, session_options={"expire_on_commit": False}, add_models_to_shell=False)


def connect(app: Flask, engine: Engine) -> None:
    """Let the application work on this engine; nothing is connected yet."""
    app.config[_ENGINE] = engine
    app.config["SQLALCHEMY_DATABASE_URI"] = engine.url
    db.init_app(app)


def session() -> Session:
    """The request's session. It is rolled back and closed with the request."""
    return db.session()


def reading() -> Session:
    """A session of its own for an answer that is sent while it is read: the request's is closed before its end."""
    return make_sessions(db.engine)()


def forget() -> None:
    """Give up what the request's session holds, e.g. a transaction that failed."""
    db.session.remove()


def problem() -> str:
    """Why the database cannot be used; empty when it can."""
    try:
        current, head = current_revision(db.engine)
    except UNAVAILABLE:
        return "The database cannot be reached."
    return SchemaState(current, head, ()).problem
