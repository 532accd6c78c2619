"""Links that are mailed: they prove that somebody reads an address, work once, and for a limited time.

Nobody learns from them which names or addresses have an account: whoever asks gets the same answer, and the mail
tells the owner of the address.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import AccountToken, TokenPurpose, User
from mm_lib.services import accounts
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.sign_ins import token_hash

MAX_OPEN = 3  # links for one purpose and address that work at the same time


def offer_account(session: Session, address: str, now: datetime, lifetime: timedelta) -> str | None:
    """A token for making an account with this address; None when it has one, or enough links. Raises InvalidValue."""
    email = accounts.checked_email(address)
    if not email:
        raise InvalidValue("email", "Enter your mail address.")
    _forget_expired(session, now)
    if user_of_address(session, email) is not None:
        return None
    return _make(session, TokenPurpose.REGISTER, email, None, (now, lifetime))


def offer_password(
    session: Session, name_or_address: str, now: datetime, lifetime: timedelta
) -> tuple[User, str] | None:
    """The local account and a token for a new password of it; None when there is no such account."""
    _forget_expired(session, now)
    user = accounts.named(session, name_or_address) or user_of_address(session, name_or_address.strip())
    if user is None or not user.active or not user.email or user.password_hash is None:
        return None
    token = _make(session, TokenPurpose.RESET, user.email, user.id, (now, lifetime))
    return (user, token) if token else None


def offer_address(session: Session, user: User, address: str, now: datetime, lifetime: timedelta) -> str | None:
    """A token for another mail address of this local account; None when another account has it, or enough links.

    Raises InvalidValue.
    """
    email = accounts.checked_email(address)
    if not email or email.lower() == user.email.lower():
        raise InvalidValue("email", "Enter another mail address than the one that you have.")
    _forget_expired(session, now)
    if user_of_address(session, email) is not None:
        return None
    return _make(session, TokenPurpose.ADDRESS, email, user.id, (now, lifetime))


def user_of_address(session: Session, email: str) -> User | None:
    """The active local account with this address, if there is exactly one."""
    local = select(User).where(func.lower(User.email) == email.lower(), User.password_hash.is_not(None), User.active)
    found = session.scalars(local.limit(2)).all() if email.isprintable() else []
    return found[0] if len(found) == 1 else None


def look(session: Session, token: str, purpose: TokenPurpose, now: datetime) -> AccountToken:
    """The link with this token, which still works. Raises NotFound."""
    query = select(AccountToken).where(
        AccountToken.token_hash == token_hash(token), AccountToken.purpose == purpose, AccountToken.expires_at > now
    )
    found = session.scalar(query)
    if found is None:
        raise NotFound("This link does not work any more: it was used, or is too old. Ask for a new one.")
    return found


def make_account(
    session: Session, token: str, now: datetime, name: str, password: str, *, display_name: str = ""
) -> User:
    """Use a link: the account of whoever reads the address. Raises NotFound, AlreadyExists, InvalidValue."""
    link = look(session, token, TokenPurpose.REGISTER, now)
    user = accounts.create_user(session, name, password, email=link.email, display_name=display_name)
    user.email_confirmed_at = now
    _use(session, link)
    return user


def change_password(session: Session, token: str, now: datetime, password: str) -> User:
    """Use a link: a new password, and the end of all sign-ins. Raises NotFound, InvalidValue."""
    link = look(session, token, TokenPurpose.RESET, now)
    user = session.get_one(User, link.user_id)
    if not user.active or user.email != link.email:  # what the link proved is not so any more
        raise NotFound("This link does not work any more. Ask for a new one.")
    accounts.change_password(session, user, password)
    user.email_confirmed_at = now
    _use(session, link)
    return user


def look_at_address(session: Session, token: str, now: datetime) -> tuple[AccountToken, User]:
    """The link to another mail address, and whose it becomes. Raises NotFound."""
    link = look(session, token, TokenPurpose.ADDRESS, now)
    user = session.get_one(User, link.user_id)
    taken = user_of_address(session, link.email)
    if not user.active or user.password_hash is None or taken not in (None, user):
        raise NotFound("This link does not work any more. Ask for a new one.")
    return link, user


def change_address(session: Session, token: str, now: datetime) -> tuple[User, str]:
    """Use a link: another mail address; the user, and the address until now. Raises NotFound."""
    link, user = look_at_address(session, token, now)
    before, user.email, user.email_confirmed_at = user.email, link.email, now
    _use(session, link)
    return user, before


def _make(
    session: Session, purpose: TokenPurpose, email: str, user_id: int | None, times: tuple[datetime, timedelta]
) -> str | None:
    """None when the address has enough links already: nobody's mailbox is flooded."""
    now, lifetime = times
    same = select(func.count()).where(
        AccountToken.purpose == purpose, func.lower(AccountToken.email) == email.lower(), AccountToken.expires_at > now
    )
    if (session.scalar(same) or 0) >= MAX_OPEN:
        return None
    token = secrets.token_urlsafe(32)
    session.add(
        AccountToken(
            purpose=purpose,
            user_id=user_id,
            email=email,
            token_hash=token_hash(token),
            created_at=now,
            expires_at=now + lifetime,
        )
    )
    session.flush()
    return token


def _use(session: Session, link: AccountToken) -> None:
    """This link, and the others that were sent for the same, work no more."""
    same = (AccountToken.purpose == link.purpose, AccountToken.email == link.email)
    used = session.scalars(delete(AccountToken).where(*same).returning(AccountToken.id)).all()
    if link.id not in used:
        raise NotFound("This link was used at the same moment.")
    session.flush()


def _forget_expired(session: Session, now: datetime) -> None:
    session.execute(delete(AccountToken).where(AccountToken.expires_at <= now))
