"""The operators' world as programs see it: a token for everybody, and one of everything that the API shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher, profiles
from flask import Flask
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.accounts import Role, User
from mm_lib.model.content import Category, Directory
from mm_lib.model.sites import Site
from mm_lib.model.state import CrawlResult, CrawlRun, RepositoryMirrorState, RunKind
from mm_lib.model.statistics import AccessDimension, AccessStatistic, PropagationStatistic, StatisticLevel
from mm_lib.services import accounts, tokens
from mm_lib.settings import DatabaseSettings
from tests import factories
from tests.frontend import operators_world, world
from tests.frontend.operators_world import NOW, PEOPLE, Registry

API = "/api/v1"
DAY = date(2026, 11, 1)


class ApiWorld:
    """An application, what is in it, and how to ask it."""

    def __init__(self, app: Flask, engine: Engine, registry: Registry, texts: dict[str, str]) -> None:
        self.app, self.engine, self.ids, self.others = app, engine, registry.ids, registry.others
        self.texts = texts  # the token of each person, with all scopes that it can have
        self._client = app.test_client()

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """A request of a program."""
        text = self.texts.get(who, "")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if text:
            given["Authorization"] = f"Bearer {text}"
        return self._client.open(f"{API}{path}", method=method, json=body, headers=given)

    def token(self, person: str, *scopes: str) -> str:
        """Another token, known by the name that is returned."""
        name = f"{person} {' '.join(scopes)}"
        if name not in self.texts:
            with make_sessions(self.engine)() as session, transaction(session):
                self.texts[name] = make_token(session, person, scopes)
        return name

    def path(self, text: str, **other: int) -> str:
        """The path with the numbers of what there is."""
        return text.format(**{**self.ids, **other})


def make_token(session: Session, person: str, scopes: Iterable[str] | None = None) -> str:
    """For a user, or for "site"."""
    if person == "site":
        site = session.scalars(select(Site).where(Site.name == "Example University")).one()
        chosen, owner, role = tokens.OF_SITES, site, Role.USER
    else:
        owner = session.scalars(select(User).where(User.name == person)).one()
        role = owner.role
        chosen = tokens.choices(owner, role)
    wanted = list(scopes) if scopes is not None else [scope.value for scope in chosen]
    return tokens.make(session, owner, "test", wanted, by="test", role=role, now=NOW, lifetime=timedelta(days=30))[1]


def _token_of_owner(session: Session) -> int:
    """One that nobody uses."""
    make_token(session, "owner", ["checkin"])
    owner = session.scalars(select(User).where(User.name == "owner")).one()
    return tokens.list_tokens(session, owner, NOW)[0].id


@contextmanager
def opened(template: Path, folder: Path) -> Iterator[ApiWorld]:
    """An application on a database of its own."""
    path = folder / "api.sqlite"
    shutil.copy(template, path)
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(engine)() as session, _quick_hashes():
        registry = operators_world.build(session)
        with transaction(session):
            _add_content(session, registry)
            texts = {person: make_token(session, person) for person in (*PEOPLE[1:], "site")}
            registry.ids["own_token_id"] = _token_of_owner(session)
    app = create_app(world.SETTINGS, engine)
    enabled, guards.limiter.enabled = guards.limiter.enabled, False
    try:
        yield ApiWorld(app, engine, registry, texts)
    finally:
        guards.limiter.enabled = enabled
        engine.dispose()


@contextmanager
def _quick_hashes() -> Iterator[None]:
    """As for every test, but here a module begins before its first test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_hasher", lambda: PasswordHasher.from_parameters(profiles.CHEAPEST))
        yield


def _add_content(session: Session, registry: Registry) -> None:
    linux = session.scalars(select(Category).where(Category.name == "Fedora Linux")).one()
    directory = factories.directory(session, linux, "releases/44/Everything/x86_64/os")
    repository = factories.repository(session, directory, "fedora-44")
    detail = factories.file_detail(session, directory, 1_790_000_000)
    run = CrawlRun(kind=RunKind.MIRRORS, started_at=NOW, finished_at=NOW, outcome="done", counts={"hosts": 2})
    session.add(run)
    session.flush()
    ids = (registry.ids, registry.others)
    for of in ids:
        carried_id = of["carried_id"]
        crawl = CrawlResult(
            run_id=run.id,
            host_category_id=carried_id,
            started_at=NOW,
            seconds=1.5,
            outcome="asked",
            counts={"ok": 1},
            evidence=[{"url": "https://m.example.org/linux", "verdict": "ok"}],
        )
        fresh = RepositoryMirrorState(
            host_category_id=carried_id,
            repository_id=repository.id,
            file_detail_id=detail.id,
            verdict="ok",
            lag_seconds=0,
            checked_at=NOW,
        )
        session.add_all([crawl, fresh])
        session.flush()
        _make_current(session, carried_id, directory)
        of |= {"crawl_id": crawl.id, "repository_id": repository.id, "mirror_id": of["host_id"]}
    session.add(
        PropagationStatistic(repository_id=repository.id, at=NOW, same_day=2, one_day=0, two_days=0, older=0, unknown=0)
    )
    figures = ((AccessDimension.COUNTRY, "DE"), (AccessDimension.HOST, "m.example.org"))
    for dimension, name in figures:
        session.add(
            AccessStatistic(
                level=StatisticLevel.DAY, dimension=dimension, start=NOW.date(), name=name, requests=7, clients=3
            )
        )


def _make_current(session: Session, carried_id: int, directory: Directory) -> None:
    from pyroaring import BitMap

    from mm_lib.model.state import HostCategoryState, StateSource

    session.add(
        HostCategoryState(
            host_category_id=carried_id,
            up_to_date=BitMap([directory.id]).serialize(),
            directories_up_to_date=1,
            directories_total=1,
            established_at=NOW,
            source=StateSource.CRAWL,
        )
    )
