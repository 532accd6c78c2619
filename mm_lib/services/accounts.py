"""Local accounts and sign-ins: make, find and list users, check passwords, keep sign-ins on the server."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from email_validator import EmailNotValidError, validate_email
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import LoginSession, Role, User
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound

MIN_PASSWORD = 12
MAX_PASSWORD = 1024  # longer ones only serve to keep the server busy
SEEN_EVERY = timedelta(minutes=5)  # how exactly "last seen" is kept: a write per page would be a waste

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")


class Refusal(StrEnum):
    """Why a sign-in was refused. For the log only: the person must not learn which names exist."""

    UNKNOWN_NAME = "unknown name"
    NO_LOCAL_PASSWORD = "signs in elsewhere"  # noqa: S105 - a reason, not a password
    WRONG_PASSWORD = "wrong password"  # noqa: S105
    DISABLED = "account is disabled"


class SignInRefused(NotAllowed):
    """Name and password do not open an account. The message is the same for every reason."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__("User name and password do not match an account.")
        self.reason = reason


@dataclass(frozen=True)
class SignedIn:
    """Who is signed in, as a program may remember it for one request."""

    sign_in_id: int
    user_id: int
    name: str
    display_name: str
    email: str
    role: Role
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class SignIn:
    """One of a user's sign-ins, for the list where they can be ended."""

    id: int
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    user_agent: str


def find_user(session: Session, name: str) -> User:
    """The user of that name. Raises NotFound."""
    user = _named(session, name)
    if user is None:
        raise NotFound(f"There is no user {name!r}. `mm-admin user list` shows them.")
    return user


def create_user(
    session: Session,
    name: str,
    password: str | None,
    *,
    role: Role = Role.USER,
    email: str = "",
    display_name: str = "",
) -> User:
    """Make a user; without a password only another source can sign them in. Raises AlreadyExists, InvalidValue."""
    name = _checked_name(name)
    address = _checked_email(email)
    if session.scalar(select(User.id).where(User.name == name)):
        raise AlreadyExists(f"There is a user {name!r} already.")
    user = User(name=name, role=role, email=address, display_name=display_name.strip())
    if password is not None:
        user.password_hash = _hasher().hash(_checked_password(password, name, address))
    session.add(user)
    session.flush()
    return user


def set_password(session: Session, name: str, password: str) -> None:
    """Change a user's password and end all of their sign-ins. Raises NotFound, InvalidValue."""
    user = find_user(session, name)
    user.password_hash = _hasher().hash(_checked_password(password, user.name, user.email))
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
    session.flush()


def list_users(session: Session) -> list[dict[str, Any]]:
    """Every user, without secrets."""
    return [
        {
            "id": user.id,
            "name": user.name,
            "display_name": user.display_name,
            "email": user.email,
            "role": user.role.value,
            "active": user.active,
            "local": user.password_hash is not None,
            "last_login_at": user.last_login_at,
        }
        for user in session.scalars(select(User).order_by(User.name))
    ]


def authenticate(session: Session, name: str, password: str, now: datetime) -> User:
    """The user whom name and password belong to. Raises SignInRefused.

    Every refusal costs one password hash, so that the time it takes does not tell which names exist.
    """
    user = _named(session, name)
    stored = user.password_hash if user is not None else None
    matches = _matches(stored or _hash_of_nobody(), password)
    if user is None:
        raise SignInRefused(Refusal.UNKNOWN_NAME)
    if stored is None:
        raise SignInRefused(Refusal.NO_LOCAL_PASSWORD)
    if not matches:
        raise SignInRefused(Refusal.WRONG_PASSWORD)
    if not user.active:
        raise SignInRefused(Refusal.DISABLED)
    if _hasher().check_needs_rehash(stored):
        user.password_hash = _hasher().hash(_normal(password))
    user.last_login_at = now
    session.flush()
    return user


def start_sign_in(
    session: Session, user_id: int, now: datetime, lifetime: timedelta, *, address: str = "", user_agent: str = ""
) -> str:
    """Remember a sign-in; returns the token for the cookie. Expired sign-ins of everybody are forgotten here."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    session.add(
        LoginSession(
            user_id=user_id,
            token_hash=_token_hash(token),
            created_at=now,
            seen_at=now,
            expires_at=now + lifetime,
            address=address[:64],
            user_agent=user_agent[:200],
        )
    )
    session.flush()
    return token


def find_sign_in(session: Session, token: str, now: datetime) -> SignedIn | None:
    """Whom a cookie's token signs in; none when it is unknown, expired, or its user was disabled."""
    query = (
        select(LoginSession, User)
        .join(User, LoginSession.user_id == User.id)
        .where(LoginSession.token_hash == _token_hash(token), LoginSession.expires_at > now, User.active)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    sign_in, user = row
    return SignedIn(
        sign_in_id=sign_in.id,
        user_id=user.id,
        name=user.name,
        display_name=user.display_name,
        email=user.email,
        role=user.role,
        seen_at=sign_in.seen_at,
        expires_at=sign_in.expires_at,
    )


def note_seen(session: Session, sign_in_id: int, now: datetime) -> None:
    """The sign-in is in use."""
    sign_in = session.get(LoginSession, sign_in_id)
    if sign_in is not None:
        sign_in.seen_at = now
        session.flush()


def list_sign_ins(session: Session, user_id: int, now: datetime) -> list[SignIn]:
    """A user's sign-ins, the one used last first."""
    query = (
        select(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.expires_at > now)
        .order_by(LoginSession.seen_at.desc(), LoginSession.id.desc())
    )
    return [
        SignIn(row.id, row.created_at, row.seen_at, row.expires_at, row.address, row.user_agent)
        for row in session.scalars(query)
    ]


def end_sign_in(session: Session, user_id: int, sign_in_id: int) -> None:
    """End one of the user's own sign-ins. Raises NotFound, also when it is somebody else's."""
    ended = session.execute(
        delete(LoginSession)
        .where(LoginSession.id == sign_in_id, LoginSession.user_id == user_id)
        .returning(LoginSession.id)
    )
    if ended.one_or_none() is None:
        raise NotFound("There is no such sign-in of yours; it has ended already.")


def _named(session: Session, text: str) -> User | None:
    name = _folded(text)
    # What cannot be a name is not looked for: PostgreSQL takes no zero bytes, for example.
    return session.scalar(select(User).where(User.name == name)) if _NAME.fullmatch(name) else None


def _folded(name: str) -> str:
    """Phones like to begin a name with a capital; names are in lower case."""
    return name.strip().lower()


def _checked_name(text: str) -> str:
    name = _folded(text)
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            "name", "must be 2 to 64 characters: letters a to z, digits, dot, hyphen, underscore; the first no sign"
        )
    return name


def _checked_email(text: str) -> str:
    if not text.strip():
        return ""
    try:
        # Whether the domain receives mail now says little, and a check must not need the network.
        return validate_email(text.strip(), check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise InvalidValue("email", str(error)) from None


def _checked_password(password: str, name: str, email: str) -> str:
    normal = _normal(password)
    if len(normal) < MIN_PASSWORD:
        raise InvalidValue("password", f"must have at least {MIN_PASSWORD} characters")
    if len(normal) > MAX_PASSWORD:
        raise InvalidValue("password", f"must have at most {MAX_PASSWORD} characters")
    if normal.lower() in (name, email.lower()) or len(set(normal)) < 4:
        raise InvalidValue("password", "is too easy to guess")
    return normal


def _normal(password: str) -> str:
    """The same characters typed on another keyboard are the same password (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


def _matches(stored: str, password: str) -> bool:
    if len(password) > MAX_PASSWORD:
        password = ""  # no password is empty: refused, for the price of one hash
    try:
        return _hasher().verify(stored, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    """argon2id with the parameters of RFC 9106 for machines with little memory."""
    return PasswordHasher()


@cache
def _hash_of_nobody() -> str:
    return _hasher().hash(secrets.token_hex(16))


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
