"""Sites and their members: make, find and list them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.hosts import Host
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.rules import urls
from mm_lib.services.content import clean_name
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound


def find_site(session: Session, name: str) -> Site:
    """The site of that name. Raises NotFound."""
    site = session.scalar(select(Site).where(Site.name == name))
    if site is None:
        raise NotFound(f"There is no site {name!r}. `mm-admin site list` shows them.")
    return site


def add_site(session: Session, name: str, *, org_url: str = "", private: bool = False, created_by: str = "") -> Site:
    """Make a site. Raises AlreadyExists, InvalidValue."""
    name = clean_name("name", name)
    if session.scalar(select(Site.id).where(Site.name == name)):
        raise AlreadyExists(f"There is a site {name!r} already.")
    site = Site(name=name, org_url=_org_url(org_url), private=private, created_by=created_by, state_by=created_by)
    session.add(site)
    session.flush()
    return site


def _org_url(text: str) -> str:
    if not text.strip():
        return ""
    try:
        return urls.normalise(text, ("https", "http"))
    except ValueError as error:
        raise InvalidValue("url", str(error)) from None


def add_member(session: Session, site: str, user: str, role: MemberRole = MemberRole.ADMIN) -> SiteMember:
    """Let a user speak for a site. Raises NotFound, AlreadyExists."""
    owner = find_site(session, site)
    person = session.scalar(select(User).where(User.name == user))
    if person is None:
        raise NotFound(f"There is no user {user!r}. `mm-admin user list` shows them.")
    if session.scalar(select(SiteMember.id).where(SiteMember.site_id == owner.id, SiteMember.user_id == person.id)):
        raise AlreadyExists(f"{user} is a member of {site} already.")
    member = SiteMember(site=owner, user=person, role=role)
    session.add(member)
    session.flush()
    return member


def list_sites(session: Session) -> list[dict[str, Any]]:
    """Sites with the number of their hosts."""
    rows = session.execute(select(Site, func.count(Host.id)).outerjoin(Host).group_by(Site.id).order_by(Site.name))
    return [
        {
            "id": site.id,
            "name": site.name,
            "org_url": site.org_url,
            "private": site.private,
            "state": site.state.value,
            "state_reason": site.state_reason,
            "hosts": n,
        }
        for site, n in rows
    ]
