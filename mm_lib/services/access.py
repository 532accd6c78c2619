"""Who may do what with which site: one set of rules for the pages, the API and whatever is written next.

Somebody has standings: those of the account, and those in the site that a thing belongs to. Each use case names the
standings that may; a thing is found only below the parents that it is asked for with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.accounts import ApiToken, Role
from mm_lib.model.base import Base
from mm_lib.model.hosts import (
    Host,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostNetblock,
    Maintenance,
)
from mm_lib.model.sites import MemberRole, Site, SiteInvitation, SiteJoinRequest, SiteMember
from mm_lib.services import deleted_parts, deletion
from mm_lib.services.errors import NotFound

Row = TypeVar("Row", bound=Base)
LARGEST_ID = 2**31 - 1  # that the database's columns hold


class Standing(StrEnum):
    """What somebody is: in general, and towards a site."""

    ANYBODY = "anybody"
    SIGNED_IN = "signed in"
    VIEWER = "viewer"
    ADMIN = "admin"
    OWNER = "owner"
    AUDITOR = "auditor"
    SUPER = "super-administrator"


EVERYBODY = frozenset(Standing)
SIGNED_IN = EVERYBODY - {Standing.ANYBODY}
SEE = frozenset({Standing.VIEWER, Standing.ADMIN, Standing.OWNER, Standing.AUDITOR, Standing.SUPER})
MEMBER = frozenset({Standing.VIEWER, Standing.ADMIN, Standing.OWNER})
CHANGE = frozenset({Standing.ADMIN, Standing.OWNER, Standing.SUPER})
OWN = frozenset({Standing.OWNER, Standing.SUPER})
AUDIT = frozenset({Standing.AUDITOR, Standing.SUPER})
ADMINISTER = frozenset({Standing.SUPER})

_OF_ROLE = {Role.ADMIN: Standing.SUPER, Role.AUDITOR: Standing.AUDITOR}
_OF_MEMBER = {
    MemberRole.VIEWER: Standing.VIEWER,
    MemberRole.ADMIN: Standing.ADMIN,
    MemberRole.OWNER: Standing.OWNER,
}
_BELOW_SITE: Mapping[str, type[Base]] = {
    "member_id": SiteMember,
    "invitation_id": SiteInvitation,
    "request_id": SiteJoinRequest,
    "token_id": ApiToken,
}
_BELOW_HOST: Mapping[str, type[Base]] = {
    "carried_id": HostCategory,
    "netblock_id": HostNetblock,
    "asn_id": HostAsn,
    "country_id": HostCountry,
    "acl_id": HostAclAddress,
    "maintenance_id": Maintenance,
}
_DELETED = frozenset({"deleted_site_id", "deleted_host_id", "deleted_part_id"})
IDS = frozenset({"site_id", "host_id", "url_id", *_DELETED, *_BELOW_SITE, *_BELOW_HOST})
# What only administrators and auditors ask for: the services look for it.
_BEYOND_SITES = frozenset(
    {
        "waiting_id",
        "banner_id",
        "user_id",
        "identity_id",
        "override_id",
        "delivery_id",
        "job_id",
        "run_id",
        "category_id",
        "position",
    }
)


@dataclass(frozen=True)
class Reached:
    """The site that is meant, and what of it."""

    site: Site | None = None
    host: Host | None = None
    rows: Mapping[str, Base] = field(default_factory=dict)  # "netblock_id" -> the row

    def the(self, name: str, kind: type[Row]) -> Row:
        """The row that an id named."""
        row = self.rows[name]
        assert isinstance(row, kind)
        return row


def reach(session: Session, ids: Mapping[str, Any]) -> Reached:
    """What ids name, each below its parents. Raises NotFound when one is not there."""
    if any(id_ > LARGEST_ID for name, id_ in ids.items() if name in IDS | _BEYOND_SITES):
        raise _nothing("page")
    if "deleted_part_id" in ids:
        event, of_site, of_host = deleted_parts.find(session, ids["deleted_part_id"], datetime.now(UTC))
        return Reached(of_site, of_host, {"deleted_part_id": event})
    host = _find_host(session, ids)
    site = host.site if host else _find_site(session, ids)
    rows = {
        name: _below(session, table, ids[name], column, parent)
        for tables, column, parent in ((_BELOW_SITE, "site_id", site), (_BELOW_HOST, "host_id", host))
        for name, table in tables.items()
        if name in ids
    }
    if "url_id" in ids:
        rows["url_id"] = _below(session, HostCategoryUrl, ids["url_id"], "host_category_id", rows["carried_id"])
    return Reached(site, host, rows)


def lock(session: Session, reached: Reached) -> None:
    """Read once more what is meant, and let nobody else change it before the transaction ends. Raises NotFound."""
    rows = list(reached.rows.values())
    row = rows[-1] if rows else reached.host or reached.site
    if row is None:
        return
    row_id: int = row.id  # type: ignore[attr-defined]  # every row that has a number in a path has it
    key = type(row).__table__.c.id  # alone: PostgreSQL locks no rows that come by an outer join
    if session.scalar(select(key).where(key == row_id).with_for_update()) is None:
        raise _nothing("entry")
    session.refresh(row)


def _find_site(session: Session, ids: Mapping[str, Any]) -> Site | None:
    if "deleted_site_id" in ids:
        return deletion.find_deleted_site(session, ids["deleted_site_id"], datetime.now(UTC))
    return _site(session, ids["site_id"]) if "site_id" in ids else None


def _find_host(session: Session, ids: Mapping[str, Any]) -> Host | None:
    if "deleted_host_id" in ids:
        return deletion.find_deleted_host(session, ids["deleted_host_id"], datetime.now(UTC))
    return _host(session, ids["host_id"]) if "host_id" in ids else None


def _site(session: Session, id_: int) -> Site:
    site = session.scalar(select(Site).where(Site.id == id_))
    if site is None:
        raise _nothing("site")
    return site


def _host(session: Session, id_: int) -> Host:
    host = session.scalar(select(Host).join(Site).where(Host.id == id_).options(joinedload(Host.site)))
    if host is None:
        raise _nothing("host")
    return host


def _below(session: Session, table: type[Base], id_: int, column: str, parent: Any) -> Base:
    row = session.get(table, id_)
    if row is None or parent is None or getattr(row, column) != parent.id:
        raise _nothing("entry")
    return row


def _nothing(what: str) -> NotFound:
    return NotFound(f"There is no such {what}. It may have been deleted.")


def standings(session: Session, user_id: int | None, role: Role, site: Site | None) -> frozenset[Standing]:
    """What somebody is towards a site (None: in general). `user_id` None: nobody is signed in."""
    if user_id is None:
        return frozenset({Standing.ANYBODY})
    found = {Standing.ANYBODY, Standing.SIGNED_IN}
    if role in _OF_ROLE:
        found.add(_OF_ROLE[role])
    return frozenset(found | of_member(role_in(session, user_id, site.id) if site else None))


def of_member(role: MemberRole | None) -> frozenset[Standing]:
    """What a membership makes somebody towards its site; None: nothing."""
    return frozenset({_OF_MEMBER[role]}) if role else frozenset()


def role_in(session: Session, user_id: int, site_id: int) -> MemberRole | None:
    """What a user is in a site; None: no member."""
    query = select(SiteMember.role).where(SiteMember.user_id == user_id, SiteMember.site_id == site_id)
    return session.scalar(query)
