"""Mirrors with places, a history of health and of propagation, and requests, for the pages of statistics."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.content import Category, Repository
from mm_lib.model.hosts import AsnKind, HostAsn, HostCategory
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth, RepositoryMirrorState
from mm_lib.model.statistics import (
    AccessDimension,
    AccessStatistic,
    PropagationStatistic,
    PropagationVersion,
    StatisticLevel,
)
from mm_lib.settings import DatabaseSettings
from mm_lib.statistics.periods import start_of
from tests import factories

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Name, country, latitude, longitude, Mbit/s.
PLACES = (
    ("ber.example.org", "DE", 52.52, 13.40, 10_000),
    ("fra.example.org", "DE", 50.11, 8.68, 20_000),
    ("off.example.org", "DE", 50.08, 8.78, 1000),
    ("par.example.org", "FR", 48.86, 2.35, 10_000),
    ("sao.example.org", "BR", -23.55, -46.63, 1000),
    ("syd.example.org", "AU", -33.87, 151.21, 1000),
    ("tyo.example.org", "JP", 35.68, 139.69, 10_000),
    ("nyc.example.org", "US", 40.71, -74.01, 40_000),
    ("nowhere.example.org", "US", None, None, 100),
)
PRIVATE = "private.example.org"
QUARANTINED = "quarantined.example.org"


def build(session: Session) -> None:
    """Public mirrors that are current or behind, a private one, and one in quarantine."""
    with transaction(session):
        linux = factories.category(session)
        hidden = factories.category(session, "Internal", "internal")
        hidden.public = False
        everything = factories.directory(session, linux, "releases/44/repodata")
        updates = factories.repository(session, everything, "updates-released-f44")
        secret = factories.repository(session, factories.directory(session, hidden, "x"), "internal-44")
        carried = _hosts(session, linux)
        _measured(session, updates, secret)
        old = factories.file_detail(session, everything, 1_800_000_000)
        _behind(session, carried, updates, old.id)
        _outages(session, carried)
        session.add_all(AccessStatistic(**key, requests=number, clients=1) for key, number in _rolled_up())


# Requests of a day by country and by the mirror that was offered first; every day has a few more than the one before.
COUNTRIES = {
    "US": 50_000,
    "DE": 20_000,
    "BR": 9000,
    "IN": 4000,
    "SG": 300,
    "JP": 90,
    "CN": 3000,
    "other": 60,
    "N/": 500,
}
REPOSITORIES = {"updates-released-f44": 60_000, "fedora-44": 20_000, "rawhide": 6950}
PROGRAMS = {"dnf": 80_000, "apt": 4000, "other": 2950}
OFFERED = {"nyc.example.org": 41_000, "fra.example.org": 22_000, "ber.example.org": 9000, PRIVATE: 700, "gone": 5}


def asked(of: dict[str, int], days_ago: int) -> Counter[str]:
    """What was asked for on one day."""
    return Counter({name: number + 60 - days_ago for name, number in of.items()})


def _rolled_up() -> Iterator[tuple[dict[str, object], int]]:
    sums: Counter[tuple[StatisticLevel, object, AccessDimension, str]] = Counter()
    for days_ago in range(1, 60):
        day = (NOW - days_ago * DAY).date()
        by = {AccessDimension.COUNTRY: asked(COUNTRIES, days_ago), AccessDimension.HOST: asked(OFFERED, days_ago)}
        by |= {
            AccessDimension.REPOSITORY: asked(REPOSITORIES, days_ago),
            AccessDimension.CLIENT: asked(PROGRAMS, days_ago),
        }
        by[AccessDimension.ALL] = Counter({"": by[AccessDimension.COUNTRY].total()})
        for dimension, counts in by.items():
            for level in StatisticLevel:
                for name, number in counts.items():
                    sums[level, start_of(level, day), dimension, name] += number
    for (level, start, dimension, name), number in sums.items():
        yield {"level": level, "start": start, "dimension": dimension, "name": name}, number


def _hosts(session: Session, linux: Category) -> dict[str, HostCategory]:
    found = {}
    current = [factories.directory(session, linux, "releases")]
    for name, country, latitude, longitude, bandwidth in PLACES:
        host = factories.host(session, name, country=country, bandwidth=bandwidth)
        host.latitude, host.longitude = latitude, longitude
        found[name] = factories.carries(session, host, linux, current)
    private = factories.host(session, PRIVATE, private=True)
    private.latitude, private.longitude = 1.0, 1.0
    found[PRIVATE] = factories.carries(session, private, linux, current)
    gone = factories.host(session, QUARANTINED, country="NL")
    gone.latitude, gone.longitude = 52.37, 4.90
    found[QUARANTINED] = factories.carries(session, gone, linux, current, health=Health.QUARANTINED)
    return found


def _measured(session: Session, updates: Repository, secret: Repository) -> None:
    chance = random.Random(8)
    for hours in range(0, 24 * 10, 4):
        ages = {"same_day": 60 + chance.randrange(40), "one_day": chance.randrange(30), "two_days": hours % 8}
        counts = {**ages, "older": 3 + chance.randrange(4), "unknown": 4}
        for repository in (updates, secret):
            session.add(PropagationStatistic(repository_id=repository.id, at=NOW - hours * HOUR, **counts))
    for days, reached in ((2, 60), (3, 99), (5, 97)):
        done = reached > 90
        times = {f"mirrors_{percent}": 3600 * percent // 10 if done else None for percent in (80, 90, 95)}
        session.add(
            PropagationVersion(
                repository_id=updates.id,
                timestamp=1_800_000_000 - days * 86400,
                published_at=NOW - days * DAY,
                measured_at=NOW,
                mirrors=100,
                mirrors_reached=reached,
                requests_reached=reached / 120,
                mirrors_50=7200,
                requests_50=3600,
                **times,
            )
        )


def _behind(session: Session, carried: dict[str, HostCategory], updates: Repository, old: int) -> None:
    said = {
        "ber.example.org": ("ok", 0, old),
        "par.example.org": ("alternate", 90_000, old),
        "sao.example.org": ("stale", 400_000, old),
        "syd.example.org": ("stale", None, None),
        "tyo.example.org": ("missing", None, None),
        PRIVATE: ("stale", 900_000, old),
    }
    for name, (verdict, lag, detail) in said.items():
        session.add(
            RepositoryMirrorState(
                host_category_id=carried[name].id,
                repository_id=updates.id,
                file_detail_id=detail,
                verdict=verdict,
                lag_seconds=lag,
                checked_at=NOW - HOUR,
            )
        )


# Days ago, and how the mirror was from then on; what is not here was never anything but active.
HISTORY = {
    "ber.example.org": ((100, "quarantined"), (85, "active"), (20, "suspect"), (15, "quarantined"), (12, "probation")),
    "par.example.org": ((200, "suspect"), (10, "active")),
    "tyo.example.org": ((40, "quarantined"), (25, "active"), (24, "quarantined"), (23, "active")),
    QUARANTINED: ((50, "quarantined"),),
}
YOUNG = "sao.example.org", 10  # carries its category for so many days


def _outages(session: Session, carried: dict[str, HostCategory]) -> None:
    for name, row in carried.items():
        row.created_at = row.host.created_at = NOW - (YOUNG[1] if name == YOUNG[0] else 400) * DAY
        for days, health in HISTORY.get(name, ()):
            changed = HealthChange(host_category_id=row.id, at=NOW - days * DAY, health=Health(health), reason="test")
            session.add(changed)
            now = session.get_one(HostCategoryHealth, row.id)
            now.health, now.since = changed.health, changed.at
    systems = (("ber.example.org", 64500), ("fra.example.org", 64500), ("fra.example.org", 64501))
    session.add_all(HostAsn(host_id=carried[name].host_id, asn=asn, kind=AsnKind.OWN) for name, asn in systems)


@contextmanager
def database(template: Path, folder: Path) -> Iterator[Engine]:
    """A file with all that."""
    path = folder / "world.sqlite"
    path.write_bytes(template.read_bytes())
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(engine)() as session:
        build(session)
    yield engine
    engine.dispose()
