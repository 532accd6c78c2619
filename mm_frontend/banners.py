"""The messages at the top of a page, read once in a while: a page must neither wait for them nor fail without them."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Flask, current_app, g
from sqlalchemy.exc import SQLAlchemyError

from mm_frontend.db import forget as give_up
from mm_frontend.db import session
from mm_frontend.guards import viewer
from mm_frontend.settings import brand, frontend
from mm_lib.model.accounts import Role
from mm_lib.model.banners import Audience, Level
from mm_lib.services import banners, membership
from mm_lib.services.banners import Message

log = logging.getLogger(__name__)

LONGEST = 5.0  # seconds that other processes go on with what they know
_KEY = "mm_banners"


class _Known(NamedTuple):
    at: float
    messages: tuple[Message, ...]


def register(app: Flask) -> None:
    """Each application keeps its own."""
    app.extensions[_KEY] = None


def forget() -> None:
    """They have changed: read them again."""
    current_app.extensions[_KEY] = None


def shown() -> tuple[Message, ...]:
    """What the reader of this page is told, the configured message first; the same throughout a request."""
    if "banners" not in g:
        g.banners = _shown()
    found: tuple[Message, ...] = g.banners
    return found


def _shown() -> tuple[Message, ...]:
    configured = (Message(brand().banner, Level.NOTICE),) if brand().banner else ()
    messages = _not_over()
    return configured + (banners.due(messages, datetime.now(UTC), _audiences(messages)) if messages else ())


def _not_over() -> tuple[Message, ...]:
    known: _Known | None = current_app.extensions[_KEY]
    if known is not None and time.monotonic() - known.at < min(frontend().cache_seconds, LONGEST):
        return known.messages
    if g.get("database_down"):
        return known.messages if known else ()
    started = time.monotonic()
    try:
        known = _Known(started, banners.not_over(session(), datetime.now(UTC)))
    except SQLAlchemyError as error:  # whatever is wrong is told elsewhere; here it would spoil the page that tells it
        log.info("the banners could not be read: %s", error)
        give_up()
        return known.messages if known else ()
    current_app.extensions[_KEY] = known
    return known.messages


def _audiences(messages: tuple[Message, ...]) -> set[Audience]:
    person = viewer()
    if person is None:
        return {Audience.ALL}
    if person.role is Role.ADMIN:
        return set(Audience)
    found = {Audience.ALL, Audience.SIGNED_IN}
    asked_for = any(message.audience is Audience.OPERATORS for message in messages)
    if asked_for and membership.roles(session(), person.user_id):
        found.add(Audience.OPERATORS)
    return found
