"""The cookie that keeps somebody signed in: a random token, of which the database knows only the hash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Flask, Request, Response, g, request
from flask_login import LoginManager

from mm_frontend.db import session
from mm_frontend.guards import Viewer, sign_changes
from mm_frontend.security import cookie_name
from mm_frontend.settings import frontend, login
from mm_lib.database import transaction
from mm_lib.services import sign_ins
from mm_lib.services.sign_ins import Source

_WITHOUT_VIEWER = ("static", "health.live", "health.ready")


def register(app: Flask) -> None:
    """Know who is signed in before each view runs."""
    manager = LoginManager()
    manager.session_protection = None  # sign-ins live in the database; there is no other session to protect
    manager.init_app(app, add_context_processor=False)
    manager.request_loader(load)
    app.before_request(_load_first)


def _load_first() -> None:
    """Loading notes that the sign-in is used, in a transaction of its own: not in the middle of a view's."""
    if request.endpoint not in _WITHOUT_VIEWER:
        sign_changes()


def load(asking: Request) -> Viewer | None:
    """Whom the request's cookie signs in."""
    token = asking.cookies.get(_name())
    if not token or g.get("database_down"):
        return None
    now = datetime.now(UTC)
    signed_in = sign_ins.find(session(), token, now, idle())
    if signed_in is None:
        return None
    if now - signed_in.seen_at >= min(sign_ins.SEEN_EVERY, idle() / 4):
        with transaction(session()):
            sign_ins.note_seen(session(), signed_in.sign_in_id, now)
    return Viewer(signed_in)


def lifetime() -> timedelta:
    """How long a sign-in lasts."""
    return timedelta(hours=frontend().session_hours)


def idle() -> timedelta:
    """How long a sign-in lasts that is not used."""
    return timedelta(hours=login().idle_hours)


def begin(user_id: int, source: Source) -> str:
    """Sign in, in the caller's transaction; the token for the cookie. What the browser's old cookie opened is over."""
    database = session()
    if old := request.cookies.get(_name()):
        sign_ins.forget(database, old)
    agent = request.user_agent.string
    now, address = datetime.now(UTC), request.remote_addr or ""
    return sign_ins.start(database, user_id, now, lifetime(), address=address, user_agent=agent, source=source)


def remember(response: Response, token: str) -> None:
    """Give the browser its cookie."""
    response.set_cookie(
        _name(),
        token,
        max_age=int(lifetime().total_seconds()),
        path="/",
        secure=frontend().https,
        httponly=True,
        samesite="Lax",
    )


def drop(response: Response) -> None:
    """Take the cookie back."""
    response.delete_cookie(_name(), path="/", secure=frontend().https, httponly=True, samesite="Lax")


def _name() -> str:
    return cookie_name("sign_in", frontend())
