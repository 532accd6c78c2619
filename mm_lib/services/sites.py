"""Sites and their members: make, find and list them."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.hosts import Host
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.rules import urls
from mm_lib.services.content import clean_name, clean_text
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound


def find_site(session: Session, name: str) -> Site:
    """The site of that name. Raises NotFound."""
    site = session.scalar(select(Site).where(Site.name == name))
    if site is None:
        raise NotFound(f"There is no site {name!r}. `mm-admin site list` shows them.")
    return site


def add_site(session: Session, name: str, *, org_url: str = "", private: bool = False, created_by: str = "") -> Site:
    """Make a site. Raises AlreadyExists, InvalidValue."""
    site = Site(created_by=created_by, state_by=created_by)
    set_fields(session, site, name=name, org_url=org_url, private=private)
    session.add(site)
    session.flush()
    return site


class SiteFields(TypedDict, total=False):
    """What can be changed of a site; what is left out stays as it is."""

    name: str
    org_url: str
    private: bool
    all_sites_can_pull: bool
    downstream_comments: str
    weekly_report: bool


def set_fields(session: Session, site: Site, **fields: Unpack[SiteFields]) -> None:
    """Change a site. Raises AlreadyExists, InvalidValue."""
    if "name" in fields:
        site.name = _free_name(session, site, fields["name"])
    if "org_url" in fields:
        site.org_url = _org_url(fields["org_url"])
    if "downstream_comments" in fields:
        site.downstream_comments = clean_text("downstream_comments", fields["downstream_comments"])
    site.private = fields.get("private", site.private)
    site.all_sites_can_pull = fields.get("all_sites_can_pull", site.all_sites_can_pull)
    site.weekly_report = fields.get("weekly_report", site.weekly_report)


def _free_name(session: Session, site: Site, text: str) -> str:
    """Names that differ in capitals or blanks only would be taken for one another."""
    name = " ".join(clean_name("name", text).split())
    with session.no_autoflush:
        same = session.execute(select(Site.id, Site.name).where(func.lower(Site.name) == name.lower())).all()
    taken = [known for id_, known in same if id_ != site.id]
    if taken:
        raise AlreadyExists(f"There is a site {taken[0]!r} already.")
    return name


def _org_url(text: str) -> str:
    if not text.strip():
        return ""
    try:
        return urls.normalise(text, ("https", "http"))
    except ValueError as error:
        raise InvalidValue("org_url", str(error)) from None


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
