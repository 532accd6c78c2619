"""Mailed invitations to a site that are worth nothing any more."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.sites import Site, SiteInvitation
from mm_lib.services import audit


def withdraw(session: Session, invitation: SiteInvitation, site: Site) -> None:
    """The mailed link opens nothing any more."""
    audit.note(session, "withdraw invitation", site, {"email": invitation.email}, {})
    session.delete(invitation)
    session.flush()


def withdraw_all_by(session: Session, user: User, site: Site | None = None) -> None:
    """Whoever may invite no more, to a site or at all, has nobody come in any more, least of all oneself again."""
    made = select(SiteInvitation, Site).join(Site, Site.id == SiteInvitation.site_id)
    made = made.where(SiteInvitation.invited_by == user.name)
    if site is not None:
        made = made.where(Site.id == site.id)
    for invitation, of in session.execute(made).all():
        withdraw(session, invitation, of)
