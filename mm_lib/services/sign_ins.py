"""Sign-ins that are kept on the server: start, find, list and end them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import Identity, LoginSession, Role, User
from mm_lib.services.errors import NotFound

SEEN_EVERY = timedelta(minutes=5)  # how exactly "last seen" is kept: a write per page would be a waste

_RANKS = (Role.USER, Role.AUDITOR, Role.ADMIN)


@dataclass(frozen=True)
class Source:
    """How somebody signed in, and what that is worth."""

    name: str  # local, ldap, or oidc.PROVIDER
    identity_id: int | None = None
    role: Role = Role.USER  # what the groups there give, for as long as this sign-in
    strong: bool = True  # false: too weak for more than a user's rights, whoever gave them
    provider_session: str = ""
    id_token: str = ""


LOCAL = Source("local")


@dataclass(frozen=True)
class SignedIn:
    """Who is signed in, as a program may remember it for one request."""

    sign_in_id: int
    user_id: int
    name: str
    display_name: str
    email: str
    role: Role  # what they may do now
    seen_at: datetime
    expires_at: datetime
    source: str
    waiting_role: Role = Role.USER  # what they might do, had they signed in with a second factor


@dataclass(frozen=True)
class SignIn:
    """One of a user's sign-ins, for the list where they can be ended."""

    id: int
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    user_agent: str
    source: str


def stronger(one: Role, other: Role) -> Role:
    """The role that may do more."""
    return max(one, other, key=_RANKS.index)


def start(
    session: Session,
    user_id: int,
    now: datetime,
    lifetime: timedelta,
    *,
    address: str = "",
    user_agent: str = "",
    source: Source = LOCAL,
) -> str:
    """Remember a sign-in; returns the token for the cookie. Expired sign-ins of everybody are forgotten here."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    session.add(
        LoginSession(
            user_id=user_id,
            identity_id=source.identity_id,
            token_hash=token_hash(token),
            created_at=now,
            seen_at=now,
            expires_at=now + lifetime,
            address=address[:64],
            user_agent=user_agent[:200],
            source=source.name,
            role=source.role,
            strong=source.strong,
            provider_session=source.provider_session,
            id_token=source.id_token,
        )
    )
    session.flush()
    return token


def find(session: Session, token: str, now: datetime, idle: timedelta) -> SignedIn | None:
    """Whom a cookie's token signs in; none when it is unknown, expired, was idle too long, or its user is disabled."""
    query = (
        select(LoginSession, User)
        .join(User, LoginSession.user_id == User.id)
        .where(LoginSession.token_hash == token_hash(token), _alive(now, idle), User.active)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    sign_in, user = row
    role = stronger(user.role, sign_in.role)
    return SignedIn(
        sign_in_id=sign_in.id,
        user_id=user.id,
        name=user.name,
        display_name=user.display_name,
        email=user.email,
        role=role if sign_in.strong else Role.USER,
        seen_at=sign_in.seen_at,
        expires_at=sign_in.expires_at,
        source=sign_in.source,
        waiting_role=Role.USER if sign_in.strong else role,
    )


def note_seen(session: Session, sign_in_id: int, now: datetime) -> None:
    """The sign-in is in use."""
    sign_in = session.get(LoginSession, sign_in_id)
    if sign_in is not None:
        sign_in.seen_at = now
        session.flush()


def list_own(session: Session, user_id: int, now: datetime, idle: timedelta) -> list[SignIn]:
    """A user's sign-ins, the one used last first."""
    query = (
        select(LoginSession)
        .where(LoginSession.user_id == user_id, _alive(now, idle))
        .order_by(LoginSession.seen_at.desc(), LoginSession.id.desc())
    )
    return [
        SignIn(row.id, row.created_at, row.seen_at, row.expires_at, row.address, row.user_agent, row.source)
        for row in session.scalars(query)
    ]


def end(session: Session, user_id: int, sign_in_id: int) -> None:
    """End one of the user's own sign-ins. Raises NotFound, also when it is somebody else's."""
    if not _delete(session, LoginSession.id == sign_in_id, LoginSession.user_id == user_id):
        raise NotFound("There is no such sign-in of yours; it has ended already.")


def end_others(session: Session, user_id: int, kept: int) -> int:
    """End all of the user's sign-ins but this one; how many there were."""
    return _delete(session, LoginSession.user_id == user_id, LoginSession.id != kept)


def end_all(session: Session, user_id: int) -> int:
    """End all of a user's sign-ins; how many there were."""
    return _delete(session, LoginSession.user_id == user_id)


def end_of_identity(session: Session, identity_id: int) -> int:
    """End all sign-ins that were made by one source; how many there were."""
    return _delete(session, LoginSession.identity_id == identity_id)


def forget(session: Session, token: str) -> None:
    """The cookie with this token is replaced: what it opened is over."""
    _delete(session, LoginSession.token_hash == token_hash(token))


def end_at_provider(session: Session, issuer: str, *, subject: str = "", provider_session: str = "") -> int:
    """The provider says that a person signed out there: in one of its sessions, or (without one) everywhere."""
    known = select(Identity.id).where(Identity.issuer == issuer)
    if subject:
        known = known.where(Identity.subject == subject)
    conditions: list[ColumnElement[bool]] = [LoginSession.identity_id.in_(known)]
    if provider_session:
        conditions.append(LoginSession.provider_session == provider_session)
    return _delete(session, *conditions) if subject or provider_session else 0


def hint(session: Session, sign_in_id: int) -> str:
    """The ID token that tells a provider who signs out; empty when there is none."""
    sign_in = session.get(LoginSession, sign_in_id)
    return sign_in.id_token if sign_in else ""


def token_hash(token: str) -> str:
    """As the database knows a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _alive(now: datetime, idle: timedelta) -> ColumnElement[bool]:
    return (LoginSession.expires_at > now) & (LoginSession.seen_at > now - idle)


def _delete(session: Session, *conditions: ColumnElement[bool]) -> int:
    return len(session.scalars(delete(LoginSession).where(*conditions).returning(LoginSession.id)).all())
