"""The settings as they count, for people: where each comes from, no secret among them, and what is unsafe."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from mm_lib.settings import Settings, sections

HIDDEN = "(hidden)"
NOTHING = "none"
_TELLING = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)  # in the query of an address
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Setting:
    """One key."""

    key: str  # with its section
    value: str
    default: str
    source: str  # default, a file, or an environment variable
    description: str

    @property
    def changed(self) -> bool:
        """Whether something sets it."""
        return self.source != "default"


@dataclass(frozen=True)
class SettingsSection:
    """A section of the file."""

    name: str
    description: str
    settings: tuple[Setting, ...]


def effective(settings: Settings) -> list[SettingsSection]:
    """Every section with all of its keys, in the order of the file."""
    return [
        SettingsSection(name, (kind.__doc__ or "").strip(), tuple(_settings(settings, name, getattr(settings, name))))
        for name, kind in sections()
    ]


def _settings(settings: Settings, prefix: str, section: BaseModel) -> Iterator[Setting]:
    for name, info in type(section).model_fields.items():
        value, key = getattr(section, name), f"{prefix}.{name}"
        source = settings.source(".".join(key.split(".")[:2]))
        if isinstance(value, dict) and any(isinstance(each, BaseModel) for each in value.values()):
            for each, nested in value.items():
                yield from _settings(settings, f"{key}.{each}", nested)
            continue
        default = info.get_default(call_default_factory=True) if not info.is_required() else None
        yield Setting(key, shown(value), shown(default), source, info.description or "")


def shown(value: Any) -> str:
    """A value as text; a secret only as being there."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(shown(each) for each in value)
    return without_password(str(value))


def without_password(text: str) -> str:
    """An address without the password that it may hold; any other text as it is."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN
    before, at, host = parts.netloc.rpartition("@")
    user, colon, _ = before.partition(":")
    netloc = f"{user}{colon}{HIDDEN if colon else ''}{at}{host}"
    query = re.sub(r"([^&=]+)=[^&]*", _hide_telling, parts.query)
    more = f"{'?' if query else ''}{query}{'#' if parts.fragment else ''}{parts.fragment}"
    return f"{parts.scheme}://{netloc}{parts.path}{more}"  # urlunsplit would drop slashes where no host is named


def _hide_telling(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN}" if _TELLING.search(match[1]) else match[0]


# -- what is unsafe


@dataclass(frozen=True)
class UnsafeValue:
    """A value that somebody should think about."""

    key: str
    text: str


Check = Callable[[Settings], bool]
_CHECKS: Iterable[tuple[str, Check, str]] = (
    (
        "frontend.https",
        lambda all_: not all_.frontend.https,
        "Cookies are sent over http, too: whoever listens takes over sign-ins. For a look on a local machine only.",
    ),
    (
        "frontend.trusted_proxies",
        lambda all_: all_.frontend.public_url.startswith("https:") and all_.frontend.trusted_proxies == 0,
        "No reverse proxy is trusted: behind one, all people share one address, and one limit for tries.",
    ),
    (
        "login.limits_storage",
        lambda all_: all_.login.limits_storage.startswith("memory:") and all_.frontend.workers > 1,
        "Each process counts tries of passwords for itself, so there are as many more of them as there are processes.",
    ),
    (
        "login.admin_code",
        lambda all_: all_.login.local and not all_.login.admin_code,
        "A password alone opens the accounts of administrators.",
    ),
    (
        "ldap.start_tls",
        lambda all_: not all_.ldap.start_tls and any(each.startswith("ldap:") for each in all_.ldap.servers),
        "Passwords travel to the directory in clear.",
    ),
    (
        "mail.security",
        lambda all_: all_.mail.security == "none" and bool(all_.mail.server) and all_.mail.server not in _LOOPBACK,
        "Mails, with their links that open accounts, travel to the mail server in clear.",
    ),
    (
        "amqp.url",
        lambda all_: bool(all_.amqp.url) and _in_clear(all_.amqp.url.get_secret_value()),  # type: ignore[union-attr]
        "Messages and the password travel to the broker in clear.",
    ),
    (
        "outbox.private_webhooks",
        lambda all_: all_.outbox.private_webhooks,
        "Whoever looks after a site can have this machine send requests to addresses of your own network.",
    ),
    (
        "crawler.private_mirrors",
        lambda all_: all_.crawler.private_mirrors,
        "The crawler asks addresses of your own network for whoever enters them.",
    ),
    (
        "redirector.allow_ip_parameter",
        lambda all_: all_.redirector.allow_ip_parameter,
        "Clients choose the address that they are judged by: they can look at answers for networks of others.",
    ),
    (
        "redirector.explain",
        lambda all_: all_.redirector.explain == "public",
        "Everybody can ask why mirrors are in an answer, private ones included.",
    ),
    (
        "redirector.cache_public_key",
        lambda all_: (
            any(each.startswith("http:") for each in all_.redirector.cache_urls)
            and all_.redirector.cache_public_key is None
        ),
        "The cache is fetched over http and no signature is asked for: whoever sits in between chooses the mirrors.",
    ),
    ("log.level", lambda all_: all_.log.level == "DEBUG", "The log tells more than it should for long."),
    (
        "database.url",
        lambda all_: all_.database.url.startswith("sqlite") and bool(all_.frontend.public_url),
        "SQLite is for a first look and small installations: one writer at a time, one machine, no job queue.",
    ),
)


def _in_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "amqp" and parts.hostname not in _LOOPBACK


def warnings(settings: Settings) -> list[UnsafeValue]:
    """What is unsafe as it is set."""
    found = [UnsafeValue(key, text) for key, unsafe, text in _CHECKS if unsafe(settings)]
    return found + [
        UnsafeValue(str(path), "Everybody on this machine can read this file, and it holds secrets.")
        for path in _readable_by_all(settings)
    ]


def _readable_by_all(settings: Settings) -> list[Path]:
    keys = [each for section in effective(settings) for each in section.settings if each.value == HIDDEN]
    names = {each.source.removeprefix("file ") for each in keys if each.source.startswith("file /")}
    names |= {each.source.rpartition(": ")[2] for each in keys if each.source.startswith("file of ")}
    return [path for path in map(Path, sorted(names)) if path.is_file() and path.stat().st_mode & 0o004]
