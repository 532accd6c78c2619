"""Users and local accounts: make, find, change and list them, check passwords."""

from __future__ import annotations

import re
import secrets
import unicodedata
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from email_validator import EmailNotValidError, validate_email
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import Role, User
from mm_lib.services import invitations, sign_ins
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound

MIN_NAME = 2
MIN_PASSWORD = 12
MAX_PASSWORD = 1024  # longer ones only serve to keep the server busy

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


def find_user(session: Session, name: str) -> User:
    """The user of that name. Raises NotFound."""
    user = named(session, name)
    if user is None:
        raise NotFound(f"There is no user {name!r}. `mm-admin user list` shows them.")
    return user


def active_user(session: Session, user_id: int) -> User:
    """The user with this id. Raises NotAllowed when it is disabled or gone."""
    user = session.get(User, user_id)
    if user is None or not user.active:
        raise NotAllowed("This account is disabled. An administrator can say why.")
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
    name = checked_name(name)
    address = checked_email(email)
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
    change_password(session, find_user(session, name), password)


def change_password(session: Session, user: User, password: str) -> None:
    """Give a user a new password and end all of their sign-ins. Raises InvalidValue."""
    user.password_hash = _hasher().hash(_checked_password(password, user.name, user.email))
    sign_ins.end_all(session, user.id)
    session.flush()


def set_user(
    session: Session, name: str, *, role: Role | None = None, email: str | None = None, active: bool | None = None
) -> User:
    """Change what is given; a user that is disabled loses all sign-ins. Raises NotFound, InvalidValue."""
    user = find_user(session, name)
    if role is not None:
        user.role = role
    if email is not None:
        change_email(user, checked_email(email))
    if active is False:
        disable(session, user)
    elif active:
        user.active = True
    session.flush()
    return user


def disable(session: Session, user: User) -> None:
    """Let a user in no more, nor anybody by their invitations; all of their sign-ins end."""
    user.active = False
    sign_ins.end_all(session, user.id)
    invitations.withdraw_all_by(session, user)
    session.flush()


def change_email(user: User, address: str) -> None:
    """Give a user an address that nobody has confirmed yet."""
    if address != user.email:
        user.email, user.email_confirmed_at = address, None


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
    user = named(session, name)
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


def named(session: Session, text: str) -> User | None:
    """The user of that name, if there is one."""
    name = _folded(text)
    # What cannot be a name is not looked for: PostgreSQL takes no zero bytes, for example.
    return session.scalar(select(User).where(User.name == name)) if _NAME.fullmatch(name) else None


def _folded(name: str) -> str:
    """Phones like to begin a name with a capital; names are in lower case."""
    return name.strip().lower()


def checked_name(text: str) -> str:
    """The user name in its usual form. Raises InvalidValue."""
    name = _folded(text)
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            "name", "must be 2 to 64 characters: letters a to z, digits, dot, hyphen, underscore; the first no sign"
        )
    return name


def checked_email(text: str) -> str:
    """The address in its usual form; empty stays empty. Raises InvalidValue."""
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
