"""People whom other sources know: a directory or an OpenID provider. Who they are here, and what they may do.

A person is who the source's stable subject says, never who has the same name: two sources may each have an "ada".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mm_lib.model.accounts import GroupMember, Identity, Role, User
from mm_lib.model.sites import SiteMember
from mm_lib.services import accounts, sign_ins
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.membership import stronger

MAX_TEXT = 255  # characters kept of what a source says


@dataclass(frozen=True)
class Person:
    """Somebody as a source knows them."""

    issuer: str
    subject: str
    name: str
    display_name: str = ""
    email: str = ""
    groups: frozenset[str] = frozenset()


class GroupRules(Protocol):
    """What a source's groups mean here."""

    @property
    def required_groups(self) -> list[str]:
        """Only members of one of these sign in; none: everybody does."""

    @property
    def admin_groups(self) -> list[str]:
        """Members are administrators."""

    @property
    def auditor_groups(self) -> list[str]:
        """Members are auditors."""


def role_of(groups: frozenset[str], rules: GroupRules, normal: Callable[[str], str] = str) -> Role:
    """What a member of these groups may do. Raises NotAllowed for somebody who must not sign in."""

    def member(wanted: Iterable[str]) -> bool:
        return any(normal(group) in groups for group in wanted)

    if rules.required_groups and not member(rules.required_groups):
        raise NotAllowed("Your account is in none of the groups that may sign in here.")
    if member(rules.admin_groups):
        return Role.ADMIN
    return Role.AUDITOR if member(rules.auditor_groups) else Role.USER


def enter(session: Session, person: Person, now: datetime) -> Identity:
    """The identity of a person who has just signed in elsewhere, with its user, made when it is new.

    Raises NotAllowed when the user is disabled.
    """
    identity = _find(session, person) or _make(session, person)
    user = identity.user
    if not user.active:
        raise NotAllowed("This account is disabled. An administrator can say why.")
    if user.password_hash is None:  # the source is where name and address are looked after
        user.display_name = person.display_name[:MAX_TEXT].strip() or user.display_name
        accounts.change_email(user, _address(person.email) or user.email)
    user.last_login_at = now
    session.flush()
    return identity


def _find(session: Session, person: Person) -> Identity | None:
    return session.scalar(select(Identity).where(Identity.issuer == person.issuer, Identity.subject == person.subject))


def _make(session: Session, person: Person) -> Identity:
    try:
        with session.begin_nested():
            user = accounts.create_user(session, free_name(session, person.name), None, email=_address(person.email))
            identity = Identity(user_id=user.id, issuer=person.issuer, subject=person.subject, user=user)
            session.add(identity)
        return identity
    except IntegrityError:  # signed in twice at the same moment: the other one made it
        found = _find(session, person)
        if found is None:
            raise
        return found


def free_name(session: Session, wanted: str) -> str:
    """A name for a new user, as much like the wanted one as names may be, that nobody has."""
    base = re.sub(r"[^a-z0-9._-]+", "-", wanted.split("@", maxsplit=1)[0].lower()).strip("-._")[:56]
    base = base if len(base) >= accounts.MIN_NAME else f"user-{base}".rstrip("-")
    # `_` is a wildcard of LIKE: it finds too many names, never too few.
    taken = set(session.scalars(select(User.name).where(User.name.like(f"{base}%"))))
    candidates = (base if number == 1 else f"{base}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in candidates if name not in taken)


def _address(text: str) -> str:
    """The mail address; empty when the source has none that can be used."""
    try:
        return accounts.checked_email(text)
    except InvalidValue:
        return ""


def list_identities(session: Session) -> list[dict[str, Any]]:
    """Who signs in from where."""
    query = select(Identity, User.name).join(User, User.id == Identity.user_id).order_by(User.name, Identity.id)
    return [
        {"user": name, "issuer": row.issuer, "subject": row.subject, "since": row.created_at}
        for row, name in session.execute(query)
    ]


def link(session: Session, name: str, into: str) -> int:
    """Two users are one person: `into` gets the other's sign-in sources, sites and groups; the other is disabled.

    Only an administrator may say so. Returns how many sources there are now. Raises NotFound, InvalidValue.
    """
    other, user = accounts.find_user(session, name), accounts.find_user(session, into)
    if other.id == user.id:
        raise InvalidValue("into", "is the same user")
    for identity in list(other.identities):
        identity.came_from_id = identity.came_from_id or other.id
        identity.user = user
    _move_memberships(session, other, user)
    accounts.disable(session, other)
    return len(user.identities)


def find_identity(session: Session, identity_id: int) -> Identity:
    """Raises NotFound."""
    identity = session.get(Identity, identity_id)
    if identity is None:
        raise NotFound("There is no such sign-in source of a user.")
    return identity


def known_as(session: Session, issuer: str, subject: str) -> Identity:
    """The identity of somebody at a source. Raises NotFound."""
    found = session.scalar(select(Identity).where(Identity.issuer == issuer, Identity.subject == subject))
    if found is None:
        raise NotFound(f"Nobody signs in as {subject} at {issuer}. `mm-admin user identities` shows who does.")
    return found


def tell_apart(session: Session, identity: Identity) -> User:
    """It was another person after all: the source opens the account again that it came from, or a new one.

    Sites and groups stay where they are. Raises NotAllowed when the account would be left without a way in.
    """
    user = identity.user
    if len(user.identities) == 1 and user.password_hash is None:
        raise NotAllowed(f"{user.name} signs in by nothing else. There is nobody to tell apart.")
    former = session.get(User, identity.came_from_id) if identity.came_from_id else None
    if former is None or former.id == user.id:
        former = accounts.create_user(session, free_name(session, user.name), None)
    former.active = True
    identity.user, identity.came_from_id = former, None
    sign_ins.end_of_identity(session, identity.id)
    session.flush()
    return former


def _move_memberships(session: Session, other: User, user: User) -> None:
    """Where both are members of a site the stronger role counts, so that no site loses its owner."""
    kinds: tuple[tuple[type[SiteMember] | type[GroupMember], str], ...]
    kinds = ((SiteMember, "site_id"), (GroupMember, "group_id"))
    for kind, key in kinds:
        own: Any = select(kind).where(kind.user_id == user.id)
        theirs = {getattr(membership, key): membership for membership in session.scalars(own)}
        query: Any = select(kind).where(kind.user_id == other.id)  # of either; their common base has no user
        memberships: Sequence[SiteMember | GroupMember] = session.scalars(query).all()
        for membership in memberships:
            kept = theirs.get(getattr(membership, key))
            if kept is None:
                membership.user_id = user.id
                continue
            if isinstance(kept, SiteMember) and isinstance(membership, SiteMember):
                kept.role = stronger(kept.role, membership.role)
            session.delete(membership)
