"""The registry of the reference's front-end tests (frontend.md section 9), and what a browser does, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_lib.database import transaction
from mm_lib.model.base import State
from mm_lib.model.content import Arch, Category, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategoryUrl
from mm_lib.model.state import Health
from mm_lib.settings import Settings
from tests import factories

PASSWORD = "correct horse battery"
SETTINGS = Settings.model_validate(
    {
        "frontend": {
            "secret_key": "0123456789abcdefghijklmnopqrstuvwxyz",
            "https": False,
            "page_size": 20,
            "site_name": "Test Mirrors",
            "contact": "help@example.org",
            "cache_seconds": 0,
        }
    }
)


def settings(**changes: Any) -> Settings:
    """The tests' settings with other values for the front end."""
    return SETTINGS.model_copy(update={"frontend": SETTINGS.frontend.model_copy(update=changes)})


HIDDEN = 5  # of the 29 extra hosts: one for each reason why a host is not public


def build(session: Session) -> None:
    """Sites, hosts, products and repositories as the reference's tests have them; 26 mirrors are public."""
    with transaction(session):
        fedora, epel = Product(name="Fedora"), Product(name="EPEL")
        x86, i386, source = Arch(name="x86_64"), Arch(name="i386"), Arch(name="source", public=False)
        linux = Category(product=fedora, name="Fedora Linux", topdir="pub/fedora/linux")
        extra = Category(product=epel, name="Fedora EPEL", topdir="pub/epel")
        codecs = Category(product=fedora, name="Fedora Codecs", topdir="codecs", public=False, admin_only=True)
        session.add_all([fedora, epel, x86, i386, source, linux, extra, codecs])
        for name in ("25", "26", "27", "development"):
            version = Version(product=fedora, name=name, display_name="rawhide" if name == "development" else "")
            session.add(_repository(version, x86, linux, enabled=name != "25"))
        session.add(_repository(Version(product=fedora, name="27-alpha", display=False), x86, linux))
        session.add(_repository(Version(product=epel, name="7"), x86, extra))
        session.flush()
        _hosts(session, linux, extra, codecs)


def _repository(version: Version, arch: Arch, category: Category, enabled: bool = True) -> Repository:
    prefix = f"{version.product.name}-{version.name}".lower()
    return Repository(prefix=prefix, version=version, arch=arch, category=category, enabled=enabled)


def _hosts(session: Session, linux: Category, extra: Category, codecs: Category) -> None:
    current = [factories.directory(session, linux, "releases")]
    us = factories.host(session, "us.example.org", country="US")
    fr = factories.host(session, "fr.example.org", country="FR", bandwidth=10_000)
    us.site.org_url = "https://university.example.org"
    us.comment = "rsync is <limited>"
    for host in (us, fr):
        carried = factories.carries(session, host, linux, current, url=f"https://{host.name}/linux")
        carried.urls.append(HostCategoryUrl(url=f"rsync://{host.name}/secret", private=True))
        factories.carries(session, host, codecs, always=True, url=f"https://{host.name}/codecs")
    factories.carries(session, us, extra, always=True, url="https://us.example.org/epel")
    private = factories.host(session, "nl.example.org", country="NL", private=True)
    factories.carries(session, private, linux, current)
    factories.carries(session, factories.host(session, "hr.example.org", country="HR", site_private=True), linux)
    for number in range(29 - HIDDEN):
        factories.carries(
            session, factories.host(session, f"extra{number:02}.example.org", country="HR"), linux, current
        )
    for host in _hidden(session):
        factories.carries(
            session,
            host,
            linux,
            [] if host.name.startswith("empty") else current,
            url_private=host.name.startswith("private-url"),
            health=Health.QUARANTINED if host.name.startswith("quarantined") else Health.ACTIVE,
        )


def _hidden(session: Session) -> list[Host]:
    return [
        factories.host(session, "disabled.example.org", country="HR", state=State.OWNER_DISABLED),
        factories.host(session, "disabled-site.example.org", country="HR", site_state=State.ADMIN_DISABLED),
        factories.host(session, "empty.example.org", country="HR"),
        factories.host(session, "private-url.example.org", country="HR"),
        factories.host(session, "quarantined.example.org", country="HR"),
    ]


def text(response: TestResponse) -> str:
    """What a person reads: no tags, single blanks."""
    page = response.get_data(as_text=True).replace("<wbr>", "")
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).replace("\xa0", " ").split())


def headline(response: TestResponse) -> str:
    """The page's first heading."""
    found = re.search(r"<h1[^>]*>(.*?)</h1>", response.get_data(as_text=True), re.DOTALL)
    assert found
    return " ".join(unescape(found[1]).replace("\xa0", " ").split())


def rows(response: TestResponse) -> int:
    """How many mirrors the page lists."""
    return response.get_data(as_text=True).count('class="host"')


def links(response: TestResponse) -> list[str]:
    """Where the page leads."""
    return [unescape(link) for link in re.findall(r'href="([^"]*)"', response.get_data(as_text=True))]


def token(client: FlaskClient, path: str = "/login") -> str:
    """The CSRF token of a page's form."""
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(path).get_data(as_text=True))
    assert found, f"{path} has no form"
    return found[1]


def sign_in(client: FlaskClient, name: str = "ada", password: str = PASSWORD, path: str = "/login") -> TestResponse:
    """Fill in the sign-in form and send it."""
    return client.post(path, data={"csrf_token": token(client), "name": name, "password": password})


@contextmanager
def counting_queries(engine: Engine) -> Iterator[list[str]]:
    """The statements that the block sends."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
