"""A database with a row or more in every table, for the tests of tables, on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pyroaring import BitMap
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, transaction
from mm_lib.model import accounts, banners, content, geography, hosts, outbox, sites, state, statistics
from mm_lib.model.base import Base
from mm_lib.services import deletion, host_details, membership, webhooks
from mm_lib.services import hosts as host_services
from mm_lib.services.accounts import create_user
from mm_lib.settings import DatabaseSettings
from tests import factories
from tests.conftest import TEMPLATE
from tests.factories import NOW
from tests.postgres import Postgres

HASH = "a" * 64
HOSTS = 20


@contextmanager
def database(kind: str, postgres: Any, template: Path, folder: Path) -> Iterator[Engine]:
    """An engine on a migrated database of this kind, for as long as the block runs."""
    if kind == "sqlite":
        shutil.copy(template, folder / "tables.sqlite")
        url = f"sqlite:///{folder / 'tables.sqlite'}"
    else:
        server: Postgres = postgres
        url = server.url(server.create(TEMPLATE))
    engine = make_engine(DatabaseSettings(url=url))
    yield engine
    engine.dispose()


def build(session: Session) -> None:
    """One row of everything, and some more where a test looks for some among others."""
    with transaction(session):
        ada, bert = (create_user(session, name, None, email=f"{name}@example.org") for name in ("ada", "bert"))
        linux, epel = factories.category(session), factories.category(session, "Fedora EPEL", "pub/epel")
        tree = [factories.directory(session, linux, f"releases/{n}") for n in range(40, 45)]
        repository = factories.repository(session, tree[4], "fedora-44")
        factories.repository(session, tree[3], None)
        file = factories.file_detail(session, tree[4], 1)
        made = [factories.host(session, f"m{n:02}.example.org", bandwidth=100 + n) for n in range(HOSTS)]
        made[0].site.org_url = "https://www.example.edu"
        host = made[0]
        carried = factories.carries(session, host, linux, tree[:3])
        factories.carries(session, made[1], epel)
        host_services.add_netblock(session, host, "192.0.2.0/24", "campus")
        host_services.add_asn(session, host, 64500)
        host_services.add_country(session, host, "FR", hosts.CountryKind.ALLOWED)
        host_details.add_acl_address(session, host, "192.0.2.7")
        gone = factories.host(session, "gone.example.org")
        factories.carries(session, gone, epel)
        deletion.delete_host(session, gone, "test", NOW)
        membership.invite(session, host.site, "new@example.org", sites.MemberRole.ADMIN, by="a", by_owner=True, now=NOW)
        webhooks.add_webhook(session, "https://hooks.example.org/in?token=hush")
        others = _others(
            host,
            carried=carried,
            repository=repository,
            directory=tree[4],
            file=file,
            ada=ada,
            bert=bert,
            upstream=made[1].site,
        )
        for row in others:
            session.add(row)
            session.flush()


def _others(
    host: hosts.Host,
    *,
    carried: hosts.HostCategory,
    repository: content.Repository,
    directory: content.Directory,
    file: content.FileDetail,
    ada: accounts.User,
    bert: accounts.User,
    upstream: sites.Site,
) -> Iterator[Base]:
    later, owner = NOW + timedelta(days=1), {"user_id": ada.id}
    of = {"host_category_id": carried.id}
    yield content.RepositoryRedirect(from_prefix="rawhide", to_prefix="fedora-44")
    yield content.RepositoryRule(category_id=directory.category_id, position=1, pattern="releases/(?P<version>[^/]+)")
    yield hosts.DirectoryHost(directory_id=directory.id, host_id=host.id)
    place = hosts.Location(id=9007, name="cloud-eu")
    yield place
    yield hosts.HostLocation(location_id=9007, host_id=host.id)
    yield hosts.Maintenance(host_id=host.id, starts_at=NOW, ends_at=later, reason="new disks")
    yield sites.SiteMember(site_id=host.site_id, **owner, role=sites.MemberRole.OWNER)
    yield sites.SiteJoinRequest(site_id=host.site_id, user_id=bert.id)
    yield sites.SitePassword(site_id=host.site_id, password_hash="$argon2id$hush")
    yield sites.SiteUpstream(upstream_id=upstream.id, downstream_id=host.site_id)
    yield geography.CountryContinent(country="TR", continent="EU")
    yield geography.EmbargoedCountry(country="KP")
    yield geography.NetblockCountry(
        netblock="198.51.100.0/24",
        country="FR",
        family=4,
        first_address=b"\xc6\x33\x64\0",
        last_address=b"\xc6\x33\x64\xff",
    )
    yield accounts.Identity(id=9005, **owner, issuer="https://id.example.org", subject="1")
    yield accounts.Group(id=9003, name="mirrors")
    yield accounts.GroupMember(group_id=9003, **owner)
    yield accounts.LoginSession(**owner, token_hash=HASH, expires_at=later, id_token="hush")
    yield accounts.AccountToken(
        purpose=accounts.TokenPurpose.RESET, **owner, email="ada@example.org", token_hash=HASH, expires_at=later
    )
    yield accounts.SecondFactor(**owner, secret="hush")
    yield accounts.RecoveryCode(**owner, code_hash=HASH)
    yield accounts.ApiToken(**owner, name="script", token_hash=HASH)
    yield accounts.KeptAnswer(key_hash=HASH, request_hash=HASH, status=200, body="hush", expires_at=later)
    yield accounts.AuditEvent(actor="ada", action="change host", object_type="host", object_name="m00", after={"a": 1})
    yield state.HostCategoryCrawl(**of, ask_again=BitMap([1, 2]).serialize(), sampled=b"", unknown=BitMap().serialize())
    yield state.CrawlSchedule(**of, tier=state.CrawlTier.FULL, interval_seconds=60, next_due_at=later)
    yield state.HealthChange(**of, health=state.Health.SUSPECT, reason="slow")
    yield state.RepositoryMirrorState(
        **of, repository_id=repository.id, file_detail_id=file.id, verdict="ok", checked_at=NOW
    )
    yield state.CrawlRun(id=9009, kind=state.RunKind.MIRRORS, started_at=NOW)
    yield state.CrawlResult(run_id=9009, **of, started_at=NOW, seconds=1.5, outcome="ok")
    yield state.Job(kind="crawl", **of)
    yield outbox.Event(id=9004, kind="host.updated", host_id=host.id, payload={"a": "=1"})
    yield outbox.Delivery(event_id=9004, channel=outbox.Channel.MAIL, target="ada@example.org", next_try_at=NOW)
    yield banners.Banner(text="Hello", starts_at=NOW)
    yield statistics.AccessStatistic(
        level=statistics.StatisticLevel.DAY,
        dimension=statistics.AccessDimension.REPOSITORY,
        start=date(2026, 11, 20),
        name="a/b,c",
        requests=7,
        clients=1,
    )
    yield statistics.AccessDay(day=date(2026, 11, 20), salt=b"hush", touched_at=NOW)
    yield statistics.AccessTally(
        day=date(2026, 11, 20), dimension=statistics.AccessDimension.ALL, name="", requests=1, clients=1, sketch=b"hush"
    )
    yield statistics.AccessLogRead(head=1, length=2, digest=HASH, name="access.log", lines=3, malformed=0, read_at=NOW)
    yield statistics.PropagationVersion(
        repository_id=repository.id, timestamp=2**32, published_at=NOW, measured_at=NOW, mirrors=2, mirrors_reached=1
    )
    yield statistics.PropagationStatistic(
        repository_id=repository.id, at=NOW, same_day=1, one_day=0, two_days=0, older=0, unknown=0
    )
