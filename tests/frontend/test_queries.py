"""How often a page asks the database, however much there is to show: every page that can be read, new ones included."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.orm import Session

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_lib.database import make_sessions, prepare, transaction
from mm_lib.model.hosts import CountryKind, Host, HostCategoryUrl, Maintenance
from mm_lib.model.sites import MemberRole, SiteJoinRequest, SiteMember
from mm_lib.model.state import RepositoryMirrorState
from mm_lib.services import accounts, host_details, hosts, membership
from tests import factories as make
from tests.frontend import operators_world, test_who_may, world
from tests.frontend.operators_world import NOW, Registry
from tests.frontend.world import counting_queries

MANY = 35  # of everything: a query for each of them is seen
MOST = 30
PEOPLE = ("owner", "super")  # what others see is among what these see


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("queries") / "registry.sqlite"
    shutil.copy(sqlite_template, path)
    made = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    prepare(made)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def registry(engine: Engine) -> Registry:
    with make_sessions(engine)() as session:
        found = operators_world.build(session)
        with transaction(session):
            fill(session, session.get_one(Host, found.host.id))
        return found


def fill(session: Session, host: Host) -> None:
    """Many of everything that belongs to a host and its site, many other mirrors, and many people."""
    linux = host.categories[0].category
    up_to_date = [make.directory(session, linux, f"releases/{number}") for number in range(MANY)]
    repositories = [make.repository(session, up_to_date[number], f"fedora-{number}") for number in range(MANY)]
    for number in range(MANY):
        other = make.host(session, f"m{number}.example.com", country=("DE", "FR", "US")[number % 3])
        make.carries(session, other, linux, up_to_date)
        carried = make.carries(session, host, make.category(session, f"Category {number}", f"top{number}"))
        carried.urls.append(HostCategoryUrl(url=f"rsync://m.example.org/{number}"))
        row = {"host_category_id": host.categories[0].id, "verdict": "ok", "checked_at": NOW}
        session.add(RepositoryMirrorState(repository_id=repositories[number].id, **row))
        hosts.add_netblock(session, host, f"198.51.{number}.0/24")
        hosts.add_asn(session, host, 64600 + number)
        host_details.add_acl_address(session, host, f"192.0.2.{100 + number}")
        session.add(Maintenance(host_id=host.id, starts_at=NOW, ends_at=NOW.replace(year=NOW.year + 1)))
        user = accounts.create_user(session, f"person{number}", None)
        session.add(SiteMember(site_id=host.site_id, user_id=user.id, role=MemberRole.VIEWER))
        asking = accounts.create_user(session, f"asking-too{number}", None)
        session.add(SiteJoinRequest(site_id=host.site_id, user_id=asking.id))
        how = {"by": "owner", "by_owner": True, "now": NOW}
        membership.invite(session, host.site, f"new{number}@example.org", MemberRole.ADMIN, **how)  # type: ignore[arg-type]
        hosts.add_host(session, host.site.name, f"another{number}.example.org")
    for code in ("DE", "FR", "US", "GB", "ES"):
        hosts.add_country(session, host, code, CountryKind.EXTRA)


@pytest.fixture(scope="module")
def app(engine: Engine) -> Iterator[Flask]:
    app = create_app(world.SETTINGS, engine)
    guards.limiter.enabled = False
    yield app
    guards.limiter.enabled = True


@pytest.fixture(scope="module")
def people(app: Flask, registry: Registry) -> dict[str, FlaskClient]:
    return {name: operators_world.signed_in(app, name) for name in PEOPLE}


@pytest.mark.parametrize("person", PEOPLE)
def test_no_page_asks_the_database_thirty_times(
    app: Flask, engine: Engine, registry: Registry, people: dict[str, FlaskClient], person: str
) -> None:
    """A query for each thing that is listed would be more."""
    many = {}
    for method, rule, _ in test_who_may.routes(app):
        if method == "GET" and set(test_who_may.PARAMETER.findall(rule)) <= set(test_who_may.values(registry)):
            with counting_queries(engine) as statements:
                people[person].get(test_who_may.address(rule, registry)).close()
            if len(statements) >= MOST:
                many[rule] = len(statements)
    assert many == {}
