"""Check-ins as a client writes them that knows only frontend.md 4.2, and a private mirror that may send them."""

from __future__ import annotations

import base64
import bz2
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from mm_lib.model.hosts import Host
from mm_lib.services import site_passwords
from tests import factories

SITE, HOST, PASSWORD = "Example University", "mirror.example.edu", "correct horse battery"
TOPDIR = "pub/fedora/linux"
DIRECTORIES = ("", "releases", "releases/44", "releases/44/Everything", "updates")


def config(**categories: list[str]) -> dict[str, Any]:
    """The payload of a client; `categories` are lower-case names, with _ for a blank, and their directories."""
    sections = {
        name.replace("_", " "): {"enabled": "1", "dirtree": {path: {} for path in paths}}
        for name, paths in categories.items()
    }
    return {
        "version": 0,
        "global": {"enabled": "1", "server": "https://mirrors.example.org/xmlrpc"},
        "site": {"enabled": "1", "name": SITE, "password": PASSWORD},
        "host": {"enabled": "1", "name": HOST},
        "stats": {},
        **sections,
    }


def encoded(payload: Any) -> str:
    """The argument of the call."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return base64.urlsafe_b64encode(bz2.compress(text)).decode("ascii")


def registry(session: Session) -> Host:
    """A private host that carries Fedora Linux, of a site with a password."""
    host = factories.host(session, HOST, private=True)
    host.site.name = SITE
    linux = factories.category(session, "Fedora Linux", TOPDIR)
    for path in DIRECTORIES:
        factories.directory(session, linux, path)
    factories.carries(session, host, linux)
    site_passwords.change(session, host.site, datetime.now(UTC), password=PASSWORD)
    session.flush()
    return host
