"""Who speaks for a site: members and their roles, invitations by mail, requests to join, leaving, a new owner.

A site that has an owner always keeps one. Only owners (and administrators) make, change and remove owners.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.sites import MemberRole, Site, SiteInvitation, SiteJoinRequest, SiteMember
from mm_lib.services import accounts, audit, invitations
from mm_lib.services.content import clean_email, clean_text
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound
from mm_lib.services.sign_ins import token_hash

VALID = timedelta(days=7)
_ROLES = tuple(MemberRole)  # the strongest first
MAX_WAITING = 50  # invitations of one site: more are no invitations but a mailing


def members(session: Session, site: Site) -> list[SiteMember]:
    """Owners first, then by name."""
    query = select(SiteMember).where(SiteMember.site_id == site.id).options(joinedload(SiteMember.user))
    return sorted(session.scalars(query), key=lambda member: (_ROLES.index(member.role), member.user.name))


def stronger(one: MemberRole, other: MemberRole) -> MemberRole:
    """The role that may do more."""
    return min(one, other, key=_ROLES.index)


def add(session: Session, site: Site, name: str, role: MemberRole, by_owner: bool) -> SiteMember:
    """Make a user a member. Raises InvalidValue for an unknown one, AlreadyExists, NotAllowed."""
    _refuse_owner(role, by_owner)
    user = accounts.named(session, name)
    if user is None or not user.active:
        raise InvalidValue("who", f"there is no user {name.strip()!r}; give an e-mail address to invite somebody new")
    return _join(session, site, user.id, user.name, role)


def _join(session: Session, site: Site, user_id: int, name: str, role: MemberRole) -> SiteMember:
    if session.scalar(select(SiteMember.id).where(SiteMember.site_id == site.id, SiteMember.user_id == user_id)):
        raise AlreadyExists(f"{name} is a member of {site.name} already.")
    member = SiteMember(site_id=site.id, user_id=user_id, role=role)
    session.add(member)
    for request in session.scalars(
        select(SiteJoinRequest).where(SiteJoinRequest.site_id == site.id, SiteJoinRequest.user_id == user_id)
    ):
        session.delete(request)
    session.flush()
    return member


def set_role(session: Session, member: SiteMember, role: MemberRole) -> None:
    """Give a member another role; for owners to do. Raises NotAllowed for the last owner."""
    if role is not MemberRole.OWNER:
        _keep_an_owner(session, member)
    if _ROLES.index(role) > _ROLES.index(member.role):
        _withdraw_invitations_by(session, member)
    member.role = role
    session.flush()


def remove(session: Session, member: SiteMember, by_owner: bool) -> None:
    """End a membership. Raises NotAllowed for the last owner, or when an owner's ends by somebody who is none."""
    _refuse_owner(member.role, by_owner)
    _end(session, member)


def leave(session: Session, site: Site, user_id: int) -> None:
    """End one's own membership. Raises NotFound, NotAllowed for the last one who could change anything."""
    member = _membership(session, site, user_id)
    if member is None:
        raise NotFound(f"You are no member of {site.name}.")
    _end(session, member)


def _end(session: Session, member: SiteMember) -> None:
    _keep_an_owner(session, member)
    _withdraw_invitations_by(session, member)
    session.delete(member)
    session.flush()


def transfer(session: Session, site: Site, to: SiteMember, user_id: int) -> None:
    """Make another member the owner; whoever was it becomes an admin. Raises NotAllowed for a stranger."""
    if to.site_id != site.id:
        raise NotAllowed("Only a member of the site can become its owner.")
    current = _membership(session, site, user_id)
    to.role = MemberRole.OWNER
    if current is not None and current is not to:
        _withdraw_invitations_by(session, current)
        current.role = MemberRole.ADMIN
    session.flush()


def _membership(session: Session, site: Site, user_id: int) -> SiteMember | None:
    return session.scalar(select(SiteMember).where(SiteMember.site_id == site.id, SiteMember.user_id == user_id))


def _withdraw_invitations_by(session: Session, member: SiteMember) -> None:
    invitations.withdraw_all_by(session, member.user, session.get_one(Site, member.site_id))


def _refuse_owner(role: MemberRole, by_owner: bool) -> None:
    if role is MemberRole.OWNER and not by_owner:
        raise NotAllowed("Only an owner of the site can make or remove owners.")


def _keep_an_owner(session: Session, leaving: SiteMember) -> None:
    """A site without anybody who may change it would be nobody's."""
    if leaving.role is MemberRole.VIEWER:
        return
    roles = session.execute(
        # Locked: two owners who leave at the same moment must see each other.
        select(SiteMember.id, SiteMember.role).where(SiteMember.site_id == leaving.site_id).with_for_update()
    ).all()
    others = [role for id_, role in roles if id_ != leaving.id]
    needed = (MemberRole.OWNER,) if leaving.role is MemberRole.OWNER else (MemberRole.OWNER, MemberRole.ADMIN)
    if not any(role in needed for role in others):
        raise NotAllowed("The last owner of a site stays: make somebody else the owner first, or delete the site.")


# -- invitations


def invite(
    session: Session, site: Site, email: str, role: MemberRole, *, by: str, by_owner: bool, now: datetime
) -> tuple[SiteInvitation, str]:
    """Invite whoever reads this mailbox; the invitation and the token for the mail. A second one replaces the first.

    Raises InvalidValue, NotAllowed.
    """
    _refuse_owner(role, by_owner)
    address = clean_email("who", email)
    if not address:
        raise InvalidValue("who", "enter a user name or an e-mail address")
    session.execute(delete(SiteInvitation).where(SiteInvitation.expires_at <= now))
    waiting = list_invitations(session, site, now)
    if len(waiting) >= MAX_WAITING:
        raise NotAllowed(f"{MAX_WAITING} invitations are waiting. Withdraw some first.")
    for old in waiting:
        if old.email == address:
            session.delete(old)
    session.flush()
    token = secrets.token_urlsafe(32)
    row = SiteInvitation(
        site_id=site.id, email=address, role=role, token_hash=token_hash(token), invited_by=by, expires_at=now + VALID
    )
    session.add(row)
    session.flush()
    audit.note(session, "invite to site", site, {}, {"email": address, "role": role.value})
    return row, token


def list_invitations(session: Session, site: Site, now: datetime) -> list[SiteInvitation]:
    """Those that can still be used."""
    query = select(SiteInvitation).where(SiteInvitation.site_id == site.id, SiteInvitation.expires_at > now)
    return list(session.scalars(query.order_by(SiteInvitation.id)))


def find_invitation(session: Session, token: str, now: datetime) -> tuple[SiteInvitation, Site]:
    """The invitation of a mailed token, and its site. Raises NotFound when it was used, withdrawn or expired."""
    row = session.execute(
        select(SiteInvitation, Site)
        .join(Site, Site.id == SiteInvitation.site_id)
        .where(SiteInvitation.token_hash == token_hash(token), SiteInvitation.expires_at > now)
    ).one_or_none()
    if row is None:
        raise NotFound("This invitation was used, withdrawn, or is older than a week. Ask for another one.")
    return row[0], row[1]


def accept(session: Session, invitation: SiteInvitation, site: Site, user_id: int, name: str) -> SiteMember:
    """Become a member. Raises AlreadyExists, NotFound when somebody else used it at the same moment."""
    role = invitation.role
    taken = delete(SiteInvitation).where(SiteInvitation.id == invitation.id).returning(SiteInvitation.id)
    if not session.scalars(taken).all():
        raise NotFound("This invitation was used or withdrawn at the same moment.")
    return _join(session, site, user_id, name, role)


# -- requests to join


def ask_to_join(session: Session, name: str, user_id: int, message: str) -> Site | None:
    """Ask the people of a site to be let in; None when there is no such site, which nobody needs to be told."""
    text = clean_text("message", message, 500)
    wanted = " ".join(name.split()).lower()
    if not wanted.isprintable():  # no site has such a name, and databases refuse to look for some
        return None
    site = session.scalar(select(Site).where(func.lower(Site.name) == wanted))
    if site is None or _membership(session, site, user_id):
        return None
    known = session.scalar(
        select(SiteJoinRequest).where(SiteJoinRequest.site_id == site.id, SiteJoinRequest.user_id == user_id)
    )
    if known is None:
        session.add(SiteJoinRequest(site_id=site.id, user_id=user_id, message=text))
    else:
        known.message = text
    session.flush()
    return site


def list_requests(session: Session, site: Site) -> Sequence[SiteJoinRequest]:
    """Who waits to be let in, the first first."""
    query = select(SiteJoinRequest).where(SiteJoinRequest.site_id == site.id).options(joinedload(SiteJoinRequest.user))
    return session.scalars(query.order_by(SiteJoinRequest.id)).all()


def answer(session: Session, request: SiteJoinRequest, site: Site, role: MemberRole | None) -> SiteMember | None:
    """Let somebody in as viewer or admin, or (None) not; the member. Raises NotAllowed for an owner."""
    if role is MemberRole.OWNER:
        raise NotAllowed("Let them in as admin, then make them the owner.")
    user = request.user
    if role is None:
        audit.note(session, "decline to join", site, {"user": user.name}, {})
        session.delete(request)
        session.flush()
        return None
    return _join(session, site, user.id, user.name, role)


def my_sites(session: Session, user_id: int) -> list[dict[str, Any]]:
    """The sites that a user is a member of, by name, with the role."""
    query = (
        select(Site, SiteMember.role)
        .join(SiteMember, SiteMember.site_id == Site.id)
        .where(SiteMember.user_id == user_id)
        .order_by(Site.name)
    )
    return [{"site": site, "role": role} for site, role in session.execute(query)]


def roles(session: Session, user_id: int) -> dict[int, MemberRole]:
    """What a user is in which sites, deleted ones as well."""
    query = select(SiteMember.site_id, SiteMember.role).where(SiteMember.user_id == user_id)
    return {row.site_id: row.role for row in session.execute(query)}
