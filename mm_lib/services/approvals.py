"""New sites that wait until an administrator has looked at them: nothing of them is served or crawled before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.base import State
from mm_lib.model.hosts import Host
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services import hosts, outbox
from mm_lib.services.content import clean_text
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.outbox import Kind

WAITS = "new sites are looked at before they are used; you get a mail when an administrator has decided"
APPROVED, DECLINED = "approved", "not accepted"


@dataclass(frozen=True)
class Waiting:
    """A site in the queue, with what helps to decide."""

    site: Site
    owners: Sequence[User]
    hosts: int


def submit(session: Session, site: Site, by: str) -> None:
    """Put a new site into the queue."""
    hosts.set_state(session, site, State.WAITING, WAITS, by)


def queue(session: Session) -> list[Waiting]:
    """Those that wait, the first first."""
    sites = session.scalars(select(Site).where(Site.state == State.WAITING).order_by(Site.state_since, Site.id)).all()
    ids = [site.id for site in sites]
    counted = dict(
        session.execute(select(Host.site_id, func.count()).where(Host.site_id.in_(ids)).group_by(Host.site_id)).all()
    )
    owners: dict[int, list[User]] = defaultdict(list)
    query = select(SiteMember.site_id, User).join(User, User.id == SiteMember.user_id)
    for site_id, user in session.execute(query.where(SiteMember.site_id.in_(ids), SiteMember.role == MemberRole.OWNER)):
        owners[site_id].append(user)
    return [Waiting(site, owners[site.id], counted.get(site.id, 0)) for site in sites]


def count(session: Session) -> int:
    """How many wait."""
    return session.scalar(select(func.count(Site.id)).where(Site.state == State.WAITING)) or 0


def find(session: Session, site_id: int) -> Site:
    """One that waits. Raises NotFound, also when somebody has decided meanwhile."""
    site = session.scalar(select(Site).where(Site.id == site_id, Site.state == State.WAITING))
    if site is None:
        raise NotFound("No such site waits. Somebody may have decided about it already.")
    return site


def approve(session: Session, site: Site, note: str, by: str) -> None:
    """Let a site take part, and tell its people. Raises NotAllowed when somebody else has decided."""
    _decide(session, site, State.ACTIVE, (APPROVED, clean_text("note", note, 500)), by)


def decline(session: Session, site: Site, reason: str, by: str) -> None:
    """Refuse a site, and tell its people why. It stays, switched off. Raises InvalidValue, NotAllowed."""
    text = clean_text("reason", reason, 500)
    if not text:
        raise InvalidValue("reason", "say why; it is mailed to the people of the site")
    _decide(session, site, State.ADMIN_DISABLED, (DECLINED, text), by)


def _decide(session: Session, site: Site, state: State, told: tuple[str, str], by: str) -> None:
    session.refresh(site, with_for_update=True)
    if site.state is not State.WAITING:
        raise NotAllowed(f"{site.name} does not wait any more: {site.state_by} decided ({site.state_reason}).")
    hosts.set_state(session, site, state, ": ".join(filter(None, told)), by)
    kind = Kind.SITE_APPROVED if state is State.ACTIVE else Kind.SITE_DECLINED
    payload = {"agent": by, "reason": told[1], "site": outbox.site_body(session, site)}
    outbox.emit(session, kind, payload, site_id=site.id)
