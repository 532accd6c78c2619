"""What templates work with: the brand, who is signed in, addresses of static files, values as people read them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from flask import Flask, url_for

from mm_frontend.guards import here, viewer
from mm_lib.services.geodata import attribution
from mm_lib.services.mirrors import MirrorCategory, country_names
from mm_lib.settings import FrontendSettings, GeoSettings

_STATIC = Path(__file__).parent / "static"


def register(app: Flask, settings: FrontendSettings, geo: GeoSettings) -> None:
    """Give the templates their words."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        asset=asset,
        here=here,
        brand=settings.site_name,
        contact=settings.contact,
        attribution=partial(attribution, geo),  # asked at each page: the file may be replaced by another
        contact_link=contact_link(settings.contact),
    )
    app.jinja_env.filters.update(
        bandwidth=bandwidth,
        country=lambda code: country_names().get(code, code),
        freshness=freshness,
        ago=lambda moment: ago(moment, datetime.now(UTC)),
        moment=lambda value: value.strftime("%Y-%m-%d %H:%M UTC"),
    )
    app.context_processor(_per_request)


def _per_request() -> dict[str, Any]:
    return {"viewer": viewer()}


@cache
def _fingerprint(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers may keep it for a year."""
    return url_for("static", filename=name, v=_fingerprint(name))


def contact_link(contact: str) -> str:
    """Where the footer's contact leads: a page, a mailbox, or nowhere."""
    if contact.startswith(("https://", "http://")):
        return contact
    return f"mailto:{contact}" if "@" in contact else ""


def bandwidth(mbps: int) -> str:
    """10000 -> "10 Gbit/s"."""
    return f"{mbps / 1000:g} Gbit/s" if mbps >= 1000 else f"{mbps} Mbit/s"


def freshness(category: MirrorCategory) -> str:
    """How much of a category a mirror has as the master has it. Never rounded up to all of it."""
    if category.always_up_to_date:
        return "always current"
    total = max(category.directories_total, 1)
    if category.directories_up_to_date >= total:
        return "in sync"
    return f"{max(1, 100 * category.directories_up_to_date // total)} % in sync"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, in the unit that says it best."""
    minutes = int((now - moment).total_seconds()) // 60
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    hours = minutes // 60
    return f"{hours} h ago" if hours < 48 else f"{hours // 24} days ago"
