"""What MirrorManager's two addresses for programs told, in its own shape, for programs that still ask there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.accounts import User
from mm_lib.model.content import Repository
from mm_lib.model.hosts import Host
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services.errors import NotFound

_SPEAKERS = (MemberRole.OWNER, MemberRole.ADMIN)


def mirror_admins(session: Session, name: str = "") -> list[str]:
    """Who speaks for a host or site of this name (of any), by name. Raises NotFound."""
    speaks = select(User.name).join(SiteMember, SiteMember.user_id == User.id).where(SiteMember.role.in_(_SPEAKERS))
    speaks = speaks.join(Site, Site.id == SiteMember.site_id)
    if not name:
        return sorted(set(session.scalars(speaks)))
    site = _site(session, name)
    found = set(session.scalars(speaks.where(SiteMember.site_id == site.id)))
    return sorted(found | ({site.created_by} if site.created_by else set()))


def _site(session: Session, name: str) -> Site:
    """A host's name is looked for first; the one that was made first counts."""
    if name.isprintable():  # else databases refuse to look
        hosts = select(Site).join(Host, Host.site_id == Site.id).where(Host.name == name).order_by(Host.id).limit(1)
        sites = select(Site).where(Site.name == name).limit(1)
        found = session.scalar(hosts) or session.scalar(sites)
        if found is not None:
            return found
    raise NotFound(f"There is neither a host nor a site {name!r}.")


def repositories(session: Session) -> list[dict[str, Any]]:
    """Every repository that can be asked for, also those that are switched off; where it is serves as its name."""
    query = select(Repository).where(Repository.prefix.is_not(None)).options(joinedload(Repository.directory))
    return [
        {
            str(row.prefix): {
                "name": row.directory.path if row.directory else row.prefix,
                "directory": row.directory.path if row.directory else None,
            }
        }
        for row in session.scalars(query.order_by(Repository.prefix, Repository.arch_id))
    ]
