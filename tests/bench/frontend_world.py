"""What a front end has after years, in a database: mirrors, people, crawls and changes, and a host with one of each."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model import tables
from mm_lib.model.accounts import AuditEvent, Role, User
from mm_lib.model.banners import Banner
from mm_lib.model.content import FileDetail, Repository, Version
from mm_lib.model.geography import CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.hosts import CountryKind, Host, HostCategory, HostCategoryUrl, Maintenance
from mm_lib.model.sites import MemberRole, Site, SiteJoinRequest, SiteMember
from mm_lib.model.state import CrawlResult, CrawlRun, Job, JobState, RepositoryMirrorState, RunKind
from mm_lib.rules.netblocks import parse_network
from mm_lib.services import host_details, hosts, membership, schema
from mm_lib.services.accounts import create_user
from mm_lib.settings import DatabaseSettings
from tests.bench.bench_publish import Filling
from tests.bench.world import world

SEED = 44
PEOPLE = {"member": Role.USER, "administrator": Role.ADMIN}
PASSWORD = "correct horse battery"
NOW = datetime.now(UTC)
SIZE = {"hosts": 600, "private": 100, "directories": 150_000, "repositories": 500, "distinct_masks": 2_000}
RUNS, EVENTS, JOBS, USERS = 20, 100_000, 2_000, 1_500

Rows = Iterator[dict[str, Any]]


def fill(url: str) -> dict[str, Any]:
    """Make the schema and all that is in it; the values that routes ask for, by their names."""
    engine = make_engine(DatabaseSettings(url=url))
    schema.upgrade(engine)
    with make_sessions(engine)() as session, transaction(session):
        cache = world(SEED, **SIZE)
        Filling(session, cache).run()
        _set_sequences(session)
        _versions(session)
        session.execute(
            insert(User), [{"name": f"user{number}", "email": f"u{number}@example.org"} for number in range(USERS)]
        )
        for table, rows in (
            (CrawlRun, _runs()),
            (CrawlResult, _results(session)),
            (RepositoryMirrorState, _freshness(session)),
            (AuditEvent, _events(session)),
            (Job, _jobs(session)),
        ):
            for part in iter(lambda rows=rows: list(islice(rows, 5_000)), []):
                session.execute(insert(table), part)
        _set_sequences(session)
        values = _one_of_each(session)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))  # as autovacuum does sooner or later
    engine.dispose()
    return values


def _set_sequences(session: Session) -> None:
    """Rows were put in with their ids."""
    for table in tables.metadata.sorted_tables:
        if "id" in table.c and (largest := session.scalar(select(func.max(table.c.id)))):
            session.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), largest)))


def _versions(session: Session) -> None:
    """A repository belongs to the version that its name says."""
    prefixes = dict(session.execute(select(Repository.id, Repository.prefix)).tuples().all())
    of = {id_: (re.findall(r"\d+", prefix or "") or ["44"])[-1] for id_, prefix in prefixes.items()}
    known = dict(session.execute(select(Version.name, Version.id)).tuples().all())
    for name in sorted(set(of.values()) - set(known)):
        row = Version(product_id=1, name=name)
        session.add(row)
        session.flush()
        known[name] = row.id
    rows = [{"id": id_, "version_id": known[name]} for id_, name in of.items()]
    session.execute(update(Repository), rows)


def _runs() -> Rows:
    for number in range(RUNS):
        at = NOW - timedelta(hours=6 * number)
        yield {
            "kind": RunKind.MIRRORS,
            "started_at": at,
            "finished_at": at,
            "outcome": "done",
            "counts": {"asked": 700},
        }


def _results(session: Session) -> Rows:
    runs = session.scalars(select(CrawlRun.id)).all()
    for carried in session.scalars(select(HostCategory.id)).all():
        for number, run in enumerate(runs):
            yield {
                "run_id": run,
                "host_category_id": carried,
                "started_at": NOW - timedelta(hours=6 * number),
                "seconds": 60.0,
                "outcome": "asked",
                "reason": "29,800 of 30,000 directories are up to date",
                "counts": {"ok": 29_800, "stale": 200},
            }


def _freshness(session: Session) -> Rows:
    rng = random.Random(SEED)
    newest = dict(
        session.execute(
            select(Repository.id, func.max(FileDetail.id))
            .join(FileDetail, FileDetail.directory_id == Repository.directory_id, isouter=True)
            .group_by(Repository.id)
        )
        .tuples()
        .all()
    )
    of: dict[int, list[int]] = {}
    for id_, category in session.execute(select(Repository.id, Repository.category_id)):
        of.setdefault(category, []).append(id_)
    for carried, category in session.execute(select(HostCategory.id, HostCategory.category_id)).all():
        for repository in of.get(category, ()):
            yield {
                "host_category_id": carried,
                "repository_id": repository,
                "file_detail_id": newest[repository],
                "verdict": rng.choice(("ok", "ok", "ok", "alternate", "stale")),
                "lag_seconds": rng.choice((0, 0, 7_200, 90_000)),
                "checked_at": NOW,
            }


def _events(session: Session) -> Rows:
    sites = session.scalars(select(Site.id)).all()
    for number in range(EVENTS):
        yield {
            "at": NOW - timedelta(minutes=5 * number),
            "actor": f"user{number % USERS}",
            "site_id": sites[number % len(sites)],
            "action": "change host",
            "object_type": "host",
            "object_id": number % 700 + 1,
            "object_name": f"mirror{number % 700}",
            "before": {"comment": ""},
            "after": {"comment": "new disks"},
        }


def _jobs(session: Session) -> Rows:
    carried = session.scalars(select(HostCategory.id)).all()
    for number in range(JOBS):
        at = NOW - timedelta(minutes=number)
        yield {
            "kind": "check",
            "host_category_id": carried[number % len(carried)],
            "state": JobState.DONE,
            "requested_by": "user1",
            "created_at": at,
            "finished_at": at,
            "result": {"text": "30,000 of 30,000 directories are up to date"},
        }


def _override(text: str) -> NetblockCountry:
    found = parse_network(text)
    bounds = {"first_address": found.first, "last_address": found.last}
    return NetblockCountry(netblock=found.text, country="DE", family=found.family, **bounds)


def _one_of_each(session: Session) -> dict[str, Any]:
    """The public host that carries most gets one of everything that a host and its site can have."""
    carries = select(HostCategory.host_id).group_by(HostCategory.host_id).order_by(func.count().desc())
    public = carries.join(Host).where(~Host.private)
    host = session.get_one(Host, session.scalars(public.limit(1)).one())
    people = {name: create_user(session, name, PASSWORD, role=role) for name, role in PEOPLE.items()}
    member = SiteMember(site_id=host.site_id, user_id=people["member"].id, role=MemberRole.OWNER)
    guests = [session.get_one(User, number) for number in range(1, 12)]
    request = SiteJoinRequest(site_id=host.site_id, user_id=guests[0].id)
    window = Maintenance(host_id=host.id, starts_at=NOW + timedelta(days=1), ends_at=NOW + timedelta(days=2))
    session.add_all([member, request, window])
    session.add_all(SiteMember(site_id=host.site_id, user_id=guest.id, role=MemberRole.VIEWER) for guest in guests[1:])
    session.add_all(_override(f"198.51.100.{number}/32") for number in range(50))
    session.add_all([EmbargoedCountry(country="KP"), CountryContinent(country="TR", continent="EU")])
    invitation, token = membership.invite(
        session, host.site, "new@example.org", MemberRole.ADMIN, by="member", by_owner=True, now=NOW
    )
    banner = Banner(text="Maintenance on Sunday")
    session.add(banner)
    session.flush()
    carried = host.categories[0]
    return {
        "site_id": host.site_id,
        "host_id": host.id,
        "mirror_id": host.id,
        "member_id": member.id,
        "request_id": request.id,
        "maintenance_id": window.id,
        "invitation_id": invitation.id,
        "carried_id": carried.id,
        "url_id": session.scalars(
            select(HostCategoryUrl.id).where(HostCategoryUrl.host_category_id == carried.id)
        ).first(),
        "netblock_id": hosts.add_netblock(session, host, "203.0.113.0/24").id,
        "asn_id": hosts.add_asn(session, host, 64500).id,
        "country_id": hosts.add_country(session, host, "FR", CountryKind.EXTRA).id,
        "acl_id": host_details.add_acl_address(session, host, "192.0.2.7").id,
        "user_id": people["member"].id,
        "banner_id": banner.id,
        "override_id": 1,
        "repository_id": 1,
        "crawl_id": session.scalars(select(CrawlResult.id).where(CrawlResult.host_category_id == carried.id)).first(),
        "token": token,
        "country": host.country,
    }
