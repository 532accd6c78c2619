"""A site of which everything exists once, another one, and a person of every standing towards the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent, Role, User
from mm_lib.model.content import Category
from mm_lib.model.hosts import CountryKind, Host, Maintenance
from mm_lib.model.sites import MemberRole, Site, SiteJoinRequest, SiteMember
from mm_lib.services import deletion, host_details, hosts, membership, sites, tokens
from mm_lib.services.accounts import create_user
from tests import factories
from tests.frontend import world

NOW = datetime.now(UTC)
PEOPLE = ("anonymous", "stranger", "viewer", "admin", "owner", "auditor", "super")
_ROLES = {"auditor": Role.AUDITOR, "super": Role.ADMIN}


class Registry:
    """Ids of what there is, by the names that routes use."""

    def __init__(self, site: Site, host: Host) -> None:
        self.site, self.host = site, host
        self.ids: dict[str, int] = {"site_id": site.id, "host_id": host.id}
        self.others: dict[str, int] = {}
        self.token = ""

    def again(self, session: Session) -> Registry:
        """The same in a copy of the database."""
        found = Registry(session.get_one(Site, self.site.id), session.get_one(Host, self.host.id))
        found.ids, found.others, found.token = self.ids, self.others, self.token
        return found


def build(session: Session) -> Registry:
    """Everything, in a transaction of its own."""
    with transaction(session):
        people = {
            name: create_user(session, name, world.PASSWORD, role=_ROLES.get(name, Role.USER)) for name in PEOPLE[1:]
        }
        linux = factories.category(session)
        factories.category(session, "Codecs", "codecs").admin_only = True
        factories.category(session, "Extra", "extra")
        found, found.ids = _filled(session, "Example University", "m.example.org", linux, people["owner"])
        _, found.others = _filled(session, "Other University", "m.example.net", linux, people["stranger"])
        for role in (MemberRole.VIEWER, MemberRole.ADMIN):
            for site_id in (found.site.id, found.ids["deleted_site_id"]):
                session.add(SiteMember(site_id=site_id, user_id=people[role.value].id, role=role))
    return found


def _filled(
    session: Session, name: str, host_name: str, linux: Category, owner: User
) -> tuple[Registry, dict[str, int]]:
    site = sites.add_site(session, name, org_url="https://www.example.edu", created_by="test")
    host = hosts.add_host(session, name, host_name, country="DE", bandwidth_mbps=1000)
    gone = hosts.add_host(session, name, f"gone.{host_name}")
    gone_site = sites.add_site(session, f"Gone {name}")
    for of in (site, gone_site):
        session.add(SiteMember(site_id=of.id, user_id=owner.id, role=MemberRole.OWNER))
    registry = Registry(site, host)
    guest = create_user(session, f"guest-{site.id}", world.PASSWORD)
    member = SiteMember(site_id=site.id, user_id=guest.id, role=MemberRole.VIEWER)
    asking = SiteJoinRequest(site_id=site.id, user_id=create_user(session, f"asking-{site.id}", None).id)
    window = Maintenance(host_id=host.id, starts_at=NOW + timedelta(days=1), ends_at=NOW + timedelta(days=2))
    session.add_all([member, asking, window])
    carried = factories.carries(session, host, linux, url=f"https://{host_name}/linux")
    invitation, registry.token = membership.invite(
        session, site, "new@example.org", MemberRole.ADMIN, by="owner", by_owner=True, now=NOW
    )
    rows = {
        "netblock_id": hosts.add_netblock(session, host, f"203.0.{site.id}.0/24"),
        "asn_id": hosts.add_asn(session, host, 64500),
        "country_id": hosts.add_country(session, host, "FR", CountryKind.ALLOWED),
        "acl_id": host_details.add_acl_address(session, host, "192.0.2.7"),
        "token_id": tokens.make(
            session, site, "nightly", ["checkin"], by="owner", role=Role.USER, now=NOW, lifetime=timedelta(days=9)
        )[0],
    }
    session.flush()
    removed = _removed(session, host)
    deletion.delete_host(session, gone, "test", NOW)
    deletion.delete_site(session, gone_site, "test", NOW)
    ids = {name: row.id for name, row in rows.items()} | {
        "site_id": site.id,
        "host_id": host.id,
        "member_id": member.id,
        "request_id": asking.id,
        "maintenance_id": window.id,
        "invitation_id": invitation.id,
        "carried_id": carried.id,
        "url_id": carried.urls[0].id,
        "deleted_host_id": gone.id,
        "deleted_site_id": gone_site.id,
        "deleted_part_id": removed,
    }
    return registry, ids


def _removed(session: Session, host: Host) -> int:
    """The event of something that was taken away from a host."""
    event = AuditEvent(actor="owner", site_id=host.site_id, action="remove host_acl_address")
    event.object_type, event.object_name = "host_acl_address", "192.0.2.99"
    event.before = {"host_id": host.id, "address": "192.0.2.99"}
    session.add(event)
    session.flush()
    return event.id


def signed_in(app: Flask, name: str) -> FlaskClient:
    """A browser of this person."""
    client = app.test_client()
    if name != "anonymous":
        assert world.sign_in(client, name).status_code == 302
    return client


@contextmanager
def nothing_stays(session: Session) -> Iterator[Session]:
    """Instead of transaction(): what a walk through all pages changes is taken back."""
    try:
        yield session
        session.flush()
    finally:
        session.rollback()
