"""The passwords that sites' mirrors check in with: shown once, kept as argon2id, changed with an overlap."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.database import begin
from mm_lib.model.sites import Site, SitePassword
from mm_lib.services.errors import InvalidValue

OVERLAP = timedelta(days=14)  # time to bring the new one to all mirrors of a site
MAX_OVERLAP_DAYS = 90
MIN_LENGTH, MAX_LENGTH = 8, 1024  # of one that mirrors have already: they go on to work
AT_ONCE = 2  # passwords of a site that work, while it is being changed
_BYTES = 24  # of randomness in one that we make


def change(session: Session, site: Site, now: datetime, *, overlap: timedelta = OVERLAP, password: str = "") -> str:
    """Give a site a new password and return it; the one before works for `overlap` longer. Raises InvalidValue.

    `password` is one that mirrors have already, from another installation; otherwise one is made.
    """
    if password and not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidValue("password", f"must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    if not timedelta() <= overlap <= timedelta(days=MAX_OVERLAP_DAYS):
        raise InvalidValue("overlap", f"must be 0 to {MAX_OVERLAP_DAYS} days")
    # Two people at the same moment would each keep the one that was there: the second waits until the first is done.
    begin(session)
    session.scalar(select(Site.id).where(Site.id == site.id).with_for_update())
    new = password or secrets.token_urlsafe(_BYTES)
    kept = _newest(session, site, now) if overlap else None
    for row in _all(session, site):
        if row is not kept:
            session.delete(row)
    if kept is not None:
        kept.expires_at = min(kept.expires_at or now + overlap, now + overlap)
    session.add(SitePassword(site_id=site.id, password_hash=_hasher().hash(new), created_at=now))
    session.flush()
    return new


def withdraw(session: Session, site: Site) -> int:
    """From now on no password opens the site; how many there were."""
    rows = _all(session, site)
    for row in rows:
        session.delete(row)
    session.flush()
    return len(rows)


def current(session: Session, site: Site, now: datetime) -> list[SitePassword]:
    """Those that work, the newest first: two while it is being changed."""
    return [row for row in _all(session, site) if row.expires_at is None or row.expires_at > now]


def matches(session: Session, site: Site | None, password: str, now: datetime) -> bool:
    """Whether the password opens the site.

    A refusal always costs as many hashes, so the time that it takes does not tell whether there is such a site.
    """
    stored = [row.password_hash for row in current(session, site, now)] if site is not None else []
    nobody = [_hash_of_nobody()] * (AT_ONCE - len(stored))
    return any(_is_of(hash_, password) for hash_ in (*stored, *nobody))


def _all(session: Session, site: Site) -> list[SitePassword]:
    query = select(SitePassword).where(SitePassword.site_id == site.id)
    return list(session.scalars(query.order_by(SitePassword.id.desc())))


def _newest(session: Session, site: Site, now: datetime) -> SitePassword | None:
    return next(iter(current(session, site, now)), None)


def _is_of(stored: str, password: str) -> bool:
    try:
        return _hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    """argon2id: sites may have brought along passwords that people made up."""
    return PasswordHasher()


@cache
def _hash_of_nobody() -> str:
    return _hasher().hash(secrets.token_hex(16))
