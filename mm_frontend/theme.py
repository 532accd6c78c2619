"""What templates work with: the brand, who is signed in, addresses of static files, values as people read them."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache, partial
from math import ceil
from pathlib import Path
from typing import Any

from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.numbers import format_decimal, format_percent, get_decimal_symbol
from babel.units import format_unit
from flask import Flask, url_for
from flask_babel import gettext
from markupsafe import Markup

from mm_frontend import banners, language
from mm_frontend.guards import here, viewer
from mm_lib.services.geodata import attribution
from mm_lib.services.mirrors import MirrorCategory, country_names
from mm_lib.settings import BrandSettings, Settings

_STATIC = Path(__file__).parent / "static"


def register(app: Flask, configured: Settings) -> None:
    """Give the templates their words."""
    contact = configured.frontend.contact
    banners.register(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        asset=asset,
        here=here,
        brand=configured.frontend.site_name,
        branding=configured.brand,
        brand_version=_version(configured.brand),
        contact=contact,
        attribution=partial(attribution, configured.geo),  # asked at each page: the file may be replaced by another
        contact_link=contact_link(contact),
        language=language.current,
        messages_shown=banners.shown,
        languages=language.names(),
        switch_link=language.switch_link,
        translated=language.translated,
    )
    app.jinja_env.filters.update(
        bandwidth=bandwidth,
        duration=duration,
        number=number,
        fixed=fixed,
        percent=percent,
        day=day,
        minute=minute,
        country=lambda code: country_names(language.current()).get(code, code),
        freshness=freshness,
        breakable=breakable,
        ago=lambda moment: ago(moment, datetime.now(UTC)),
        moment=moment,
    )
    app.context_processor(_per_request)


def _per_request() -> dict[str, Any]:
    return {"viewer": viewer()}


def _version(settings: BrandSettings) -> str:
    """Changes with the colours and the logo, so that browsers may keep them."""
    logo = settings.logo.read_bytes() if settings.logo and settings.logo.is_file() else b""
    return hashlib.sha256(settings.model_dump_json().encode() + logo).hexdigest()[:12]


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


def number(value: float) -> str:
    """With the separators of the reader's language."""
    return _number(value, language.current())


@lru_cache(1 << 14)
def _number(value: float, of: str) -> str:
    return str(format_decimal(value, locale=of))


@cache
def _decimal_sign(of: str) -> str:
    return str(get_decimal_symbol(of))


def fixed(value: float, digits: int = 2, signed: bool = False) -> str:
    """A number below a thousand with so many digits after the decimal sign; tables have thousands of them."""
    return f"{value:{'+' if signed else ''}.{digits}f}".replace(".", _decimal_sign(language.current()))


def percent(share: float, digits: int = 1, signed: bool = False) -> str:
    """0.25 -> "25.0 %"."""
    return f"{fixed(100 * share, digits, signed)} %"


def breakable(name: str) -> Markup:
    """A long name that goes on in the next line after a dot, rather than within a word."""
    return Markup(".<wbr>").join(name.split("."))


def bandwidth(mbps: int) -> str:
    """10000 -> "10 Gbit/s"."""
    return f"{number(mbps / 1000)} Gbit/s" if mbps >= 1000 else f"{number(mbps)} Mbit/s"


def duration(minutes: float) -> str:
    """90 -> "90 minutes", 120 -> "2 hours"."""
    value, unit = (minutes / 60, "hour") if minutes % 60 == 0 else (minutes, "minute")
    return str(format_unit(value, f"duration-{unit}", locale=language.current()))


def freshness(category: MirrorCategory) -> str:
    """How much of a category a mirror has as the master has it."""
    if category.always_up_to_date:
        return str(gettext("always current"))
    if category.percent == 100:
        return str(gettext("in sync"))
    return str(
        gettext("%(percent)s in sync", percent=format_percent(category.percent / 100, locale=language.current()))
    )


@lru_cache(1 << 12)
def _day(value: date, of: str) -> str:
    return str(format_date(value, "medium", locale=of))


def day(value: date) -> str:
    """A date."""
    return _day(value, language.current())


def minute(value: datetime) -> str:
    """A date with its time, for columns whose head says UTC."""
    moment_ = value.astimezone(UTC)
    return f"{day(moment_.date())}, {format_time(moment_, 'short', tzinfo=UTC, locale=language.current())}"


def moment(value: datetime) -> str:
    """A date with its time, in UTC."""
    return f"{format_datetime(value, 'medium', tzinfo=UTC, locale=language.current())} UTC"


def ago(past: datetime, now: datetime) -> str:
    """How long ago, in the unit that says it best."""
    seconds = max((now - past).total_seconds(), 0)
    if seconds < 60:
        return str(gettext("just now"))
    return _ago(ceil(seconds), language.current())


@lru_cache(1 << 12)
def _ago(seconds: int, of: str) -> str:
    return str(format_timedelta(timedelta(seconds=-seconds), add_direction=True, locale=of))
