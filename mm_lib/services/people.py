"""Users as administrators look after them: find, look at, change, and what linking two of them would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, selectinload

from mm_lib.model.accounts import ApiToken, Group, GroupMember, Identity, LoginSession, Role, SecondFactor, User
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services import accounts, second_factor, sign_ins
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.membership import stronger

MAX_TEXT = 100


@dataclass(frozen=True)
class PeopleFilter:
    """Which users. Empty or None: any."""

    text: str = ""  # a part of name, display name, mail address or subject
    role: Role | None = None
    active: bool | None = None


@dataclass(frozen=True)
class PeoplePage:
    """Some users, and how many there are."""

    users: Sequence[User]
    total: int
    number: int
    pages: int


def page(session: Session, wanted: PeopleFilter, number: int, size: int) -> PeoplePage:
    """Users by name. A number beyond the last page means the last one."""
    total = session.scalar(_matching(select(func.count(User.id)), wanted)) or 0
    pages = max(1, -(-total // size))
    number = min(max(1, number), pages)
    query = _matching(select(User), wanted).options(selectinload(User.identities)).order_by(User.name)
    return PeoplePage(session.scalars(query.limit(size).offset((number - 1) * size)).all(), total, number, pages)


def _matching(query: Select[Any], wanted: PeopleFilter) -> Select[Any]:
    text = wanted.text.strip()[:MAX_TEXT]
    if not text.isprintable():
        raise InvalidValue("text", "holds a control character, which nothing is found by")
    if text:
        columns = (User.name, User.display_name, User.email)
        known = select(Identity.user_id).where(Identity.subject.icontains(text, autoescape=True))
        found: list[ColumnElement[bool]] = [column.icontains(text, autoescape=True) for column in columns]
        query = query.where(or_(*found, User.id.in_(known)))
    if wanted.role is not None:
        query = query.where(User.role == wanted.role)
    return query if wanted.active is None else query.where(User.active.is_(wanted.active))


def find(session: Session, user_id: int) -> User:
    """Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


@dataclass(frozen=True)
class Belongings:
    """What an account has, and by what it is opened."""

    identities: Sequence[Identity]
    sites: Sequence[tuple[Site, MemberRole]]
    groups: Sequence[str]
    tokens: int  # of programs, that work
    sign_ins: int
    codes: bool  # one-time codes are on
    codes_left: int


def belongings(session: Session, user: User, now: datetime) -> Belongings:
    """All of it."""
    sites = select(Site, SiteMember.role).join(SiteMember, SiteMember.site_id == Site.id)
    groups = select(Group.name).join(GroupMember, GroupMember.group_id == Group.id)
    tokens = (
        ApiToken.user_id == user.id,
        ApiToken.revoked_at.is_(None),
        or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now),
    )
    open_ = (LoginSession.user_id == user.id, LoginSession.expires_at > now)
    factor = session.get(SecondFactor, user.id)
    return Belongings(
        session.scalars(select(Identity).where(Identity.user_id == user.id).order_by(Identity.id)).all(),
        [
            (site, role)
            for site, role in session.execute(sites.where(SiteMember.user_id == user.id).order_by(Site.name))
        ],
        session.scalars(groups.where(GroupMember.user_id == user.id).order_by(Group.name)).all(),
        session.scalar(select(func.count(ApiToken.id)).where(*tokens)) or 0,
        session.scalar(select(func.count(LoginSession.id)).where(*open_)) or 0,
        factor is not None and factor.confirmed_at is not None,
        second_factor.recovery_codes_left(session, user.id),
    )


# -- changes; nobody does to oneself what could lock everybody out


def set_role(session: Session, user: User, role: Role, by_id: int) -> None:
    """Give somebody the rights of this role. Raises NotAllowed for oneself."""
    _refuse_oneself(user, by_id)
    accounts.set_user(session, user.name, role=role)


def set_active(session: Session, user: User, active: bool, by_id: int) -> None:
    """Let somebody sign in, or not; then all sign-ins end. Raises NotAllowed for oneself."""
    _refuse_oneself(user, by_id)
    accounts.set_user(session, user.name, active=active)


def _refuse_oneself(user: User, by_id: int) -> None:
    if user.id == by_id:
        raise NotAllowed("Not to yourself: another administrator has to do it, so that one is always left.")


def confirm_address(session: Session, user: User, address: str, now: datetime) -> None:
    """An administrator knows that the address is theirs. Raises InvalidValue when they have none, or another by now."""
    if not user.email:
        raise InvalidValue("email", "there is no address to confirm")
    if user.email != address:
        raise InvalidValue("email", f"it is {user.email} by now; look again")
    user.email_confirmed_at = now
    session.flush()


def end_sign_ins(session: Session, user: User) -> int:
    """Sign somebody out everywhere; how many sign-ins there were."""
    return sign_ins.end_all(session, user.id)


# -- two accounts of one person


def candidates(session: Session, user: User) -> Sequence[User]:
    """Other accounts that may be the same person's: both have shown that they read the same mail address.

    Equal names say nothing: two sources may each have an "ada".
    """
    if not user.email or user.email_confirmed_at is None:
        return ()
    same = (func.lower(User.email) == user.email.lower(), User.email_confirmed_at.is_not(None))
    return session.scalars(select(User).where(*same, User.id != user.id, User.active).order_by(User.name)).all()


@dataclass(frozen=True)
class LinkEffect:
    """What linking would do to the account that is kept."""

    kept: User
    closed: User
    moves: Sequence[str]
    stays: Sequence[str]  # what does not come along


def link_effect(session: Session, closed: User, kept: User, now: datetime) -> LinkEffect:
    """In words. Raises InvalidValue for one and the same user."""
    if closed.id == kept.id:
        raise InvalidValue("other", "is the same user")
    if not kept.active:
        raise InvalidValue(
            "other", f"{kept.name} is disabled, so nobody could sign in: enable it first, or keep the other"
        )
    of_closed, of_kept = belongings(session, closed, now), belongings(session, kept, now)
    roles = {site.id: role for site, role in of_kept.sites}
    moves = [f"Signing in as {each.subject} at {each.issuer} opens {kept.name}." for each in of_closed.identities]
    for site, role in of_closed.sites:
        own = roles.get(site.id)
        best = role if own is None else stronger(role, own)
        was = "was no member" if own is None else f"was {own.value}"
        moves.append(f"{kept.name} is {best.value} of {site.name} ({was}).")
    new = sorted(set(of_closed.groups) - set(of_kept.groups))
    moves += [f"{kept.name} is in the group {name}." for name in new]
    return LinkEffect(kept, closed, moves, list(_left_behind(closed, kept, of_closed)))


def _left_behind(closed: User, kept: User, of_closed: Belongings) -> Sequence[str]:
    told = [f"{closed.name} is disabled, and its {of_closed.sign_ins} sign-ins end."]
    if closed.password_hash is not None:
        told.append(f"The password of {closed.name} opens nothing any more.")
    if of_closed.tokens:
        told.append(f"{of_closed.tokens} API tokens of {closed.name} end.")
    if closed.role is not Role.USER and closed.role is not kept.role:
        told.append(
            f"The role {closed.role.value} of {closed.name} does not move; {kept.name} stays {kept.role.value}."
        )
    return told
