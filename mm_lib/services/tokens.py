"""API tokens: what a program proves itself with. Made for a user or a site, shown once, kept as a hash.

A token may do what its owner may, and of that only what its scopes say. What a user may do beyond the own sites takes
one of the scopes for administration, too; a site's token speaks for its site alone, and for no person.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from mm_lib.model.accounts import ApiToken, Role, User
from mm_lib.model.sites import Site
from mm_lib.services import access
from mm_lib.services.access import Standing
from mm_lib.services.content import clean_name
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.sign_ins import token_hash

USER_PREFIX, SITE_PREFIX = "mmu_", "mms_"  # so that people, and programs that look for leaked secrets, know them
USED_EVERY = timedelta(minutes=1)  # how exactly "last used" is kept: a write per request would be a waste
MAX_TOKENS = 50  # of one user or site
LONGEST = timedelta(days=366)
KEPT = timedelta(days=30)  # how long a list still shows what has ended
_RANKS = (Role.USER, Role.AUDITOR, Role.ADMIN)


class Scope(StrEnum):
    """What a token is good for."""

    REGISTRY_READ = "registry:read"
    REGISTRY_WRITE = "registry:write"
    CHECKIN = "checkin"
    CRAWLS_READ = "crawls:read"
    STATISTICS_READ = "statistics:read"
    ADMIN_READ = "admin:read"
    ADMIN_WRITE = "admin:write"


ABOUT = {
    Scope.REGISTRY_READ: "read sites, hosts and what belongs to them",
    Scope.REGISTRY_WRITE: "change sites, hosts and what belongs to them",
    Scope.CHECKIN: "report what a private mirror carries",
    Scope.CRAWLS_READ: "read what crawls found, and why a host is (not) served",
    Scope.STATISTICS_READ: "read statistics that are not public",
    Scope.ADMIN_READ: "read what only administrators and auditors may, in every site",
    Scope.ADMIN_WRITE: "do what only administrators may, in every site",
}
OF_SITES = tuple(scope for scope in Scope if scope not in (Scope.ADMIN_READ, Scope.ADMIN_WRITE))


@dataclass(frozen=True)
class Bearer:
    """Who comes with a token, as a program may remember it for one request."""

    token_id: int
    token_name: str
    scopes: frozenset[Scope]
    user_id: int | None
    site_id: int | None
    name: str  # of the user, or of the site
    role: Role  # what its user may do beyond the own sites, as far as the token's scopes say so
    expires_at: datetime | None = None  # None: when it is revoked

    @property
    def label(self) -> str:
        """Who did it, for the audit log."""
        kind = f"{self.name} by" if self.user_id is not None else f"site {self.name} by"
        return f"{kind} token {self.token_name}"


def make(
    session: Session,
    owner: User | Site,
    name: str,
    scopes: Iterable[str],
    *,
    by: str,
    role: Role,
    now: datetime,
    lifetime: timedelta | None,
) -> tuple[ApiToken, str]:
    """A new token, and its text, which nobody can find out later. `lifetime` None: until it is revoked.

    `role` is what whoever makes it may do at this moment. Raises InvalidValue, NotAllowed.
    """
    chosen = _checked_scopes(owner, scopes, role)
    if lifetime is not None and not timedelta() < lifetime <= LONGEST:
        raise InvalidValue("days", f"must be 1 to {LONGEST.days}")
    session.execute(delete(ApiToken).where(_of(owner), _ended_before(now - KEPT)))
    in_use = session.scalar(select(func.count()).select_from(ApiToken).where(_of(owner), _alive(now))) or 0
    if in_use >= MAX_TOKENS:
        raise NotAllowed(f"There are {MAX_TOKENS} tokens. Revoke those that nothing uses any more first.")
    text = (USER_PREFIX if isinstance(owner, User) else SITE_PREFIX) + secrets.token_urlsafe(32)
    token = ApiToken(
        user_id=owner.id if isinstance(owner, User) else None,
        site_id=owner.id if isinstance(owner, Site) else None,
        name=clean_name("name", name),
        token_hash=token_hash(text),
        scopes=[scope.value for scope in chosen],
        role=role if isinstance(owner, User) else Role.USER,
        created_by=by,
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
    )
    session.add(token)
    session.flush()
    return token, text


def _checked_scopes(owner: User | Site, scopes: Iterable[str], role: Role) -> list[Scope]:
    possible = choices(owner, role)
    wanted = set(scopes)
    if not wanted:
        raise InvalidValue("scopes", "choose at least one: what the token is good for")
    if not wanted <= {scope.value for scope in possible}:
        raise InvalidValue("scopes", "contains one that you cannot give")
    return [scope for scope in possible if scope.value in wanted]


def choices(owner: User | Site, role: Role) -> tuple[Scope, ...]:
    """The scopes that a new token of this owner may have, made by somebody with this role."""
    if isinstance(owner, Site) or role is Role.USER:
        return OF_SITES
    return tuple(Scope) if role is Role.ADMIN else (*OF_SITES, Scope.ADMIN_READ)


def find(session: Session, text: str, now: datetime) -> Bearer | None:
    """Who comes with this token; None when it is unknown, has expired or was revoked, or its owner is gone."""
    if not text.isascii() or not text.startswith((USER_PREFIX, SITE_PREFIX)):
        return None
    query = (
        select(ApiToken, User, Site)
        .outerjoin(User, (ApiToken.user_id == User.id) & User.active)
        .outerjoin(Site, (ApiToken.site_id == Site.id) & Site.deleted_at.is_(None))
        .where(ApiToken.token_hash == token_hash(text), _alive(now))
    )
    row: Any = session.execute(query).one_or_none()  # Any: outer joins, of which SQLAlchemy's types know nothing
    if row is None or (row[1] or row[2]) is None:
        return None
    token, user, site = row
    scopes = frozenset(Scope(scope) for scope in token.scopes if scope in set(Scope))
    return Bearer(
        token_id=token.id,
        token_name=token.name,
        scopes=scopes,
        user_id=token.user_id,
        site_id=token.site_id,
        name=user.name if user else site.name,
        role=_role(min(user.role, token.role, key=_RANKS.index), scopes) if user else Role.USER,
        expires_at=token.expires_at,
    )


def _role(role: Role, scopes: frozenset[Scope]) -> Role:
    """As much of a role as the scopes let through."""
    if Scope.ADMIN_WRITE in scopes:
        return role
    return min(role, Role.AUDITOR, key=_RANKS.index) if Scope.ADMIN_READ in scopes else Role.USER


def standings(session: Session, bearer: Bearer, site: Site | None) -> frozenset[Standing]:
    """What a token is towards a site (None: in general), as access.standings() says of people."""
    if bearer.user_id is not None:
        return access.standings(session, bearer.user_id, bearer.role, site)
    own = site is not None and site.id == bearer.site_id
    return frozenset({Standing.ANYBODY, Standing.ADMIN} if own else {Standing.ANYBODY})


def note_used(session: Session, bearer: Bearer, now: datetime) -> bool:
    """Remember that the token is in use; whether there was anything to write."""
    stale = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - USED_EVERY)
    if session.scalar(select(ApiToken.id).where(ApiToken.id == bearer.token_id, stale)) is None:
        return False
    # Not through the row: that it is used is nothing for the audit log.
    session.execute(update(ApiToken).where(ApiToken.id == bearer.token_id, stale).values(last_used_at=now))
    return True


def list_tokens(session: Session, owner: User | Site, now: datetime) -> Sequence[ApiToken]:
    """The owner's tokens, the newest first; those that ended lately as well, so that one sees why a program fails."""
    query = select(ApiToken).where(_of(owner), ~_ended_before(now - KEPT)).order_by(ApiToken.id.desc())
    return session.scalars(query).all()


def list_all(session: Session, now: datetime) -> list[dict[str, Any]]:
    """Every token that opens something, with its owner."""
    owner = func.coalesce(User.name, Site.name)
    query = select(ApiToken, owner).outerjoin(User, ApiToken.user_id == User.id)
    query = query.outerjoin(Site, ApiToken.site_id == Site.id).where(_alive(now)).order_by(ApiToken.id)
    columns = ("id", "name", "scopes", "created_by", "created_at", "expires_at", "last_used_at")
    return [
        {"owner": name, **{column: getattr(row, column) for column in columns}} for row, name in session.execute(query)
    ]


def find_any(session: Session, token_id: int) -> ApiToken:
    """A token of whomever. Raises NotFound."""
    token = session.get(ApiToken, token_id) if 0 < token_id <= access.LARGEST_ID else None
    if token is None:
        raise NotFound("There is no such token. `mm-admin token list` shows them.")
    return token


def find_own(session: Session, owner: User | Site, token_id: int) -> ApiToken:
    """One of the owner's tokens. Raises NotFound."""
    query = select(ApiToken).where(_of(owner), ApiToken.id == token_id)
    token = session.scalar(query) if token_id <= access.LARGEST_ID else None
    if token is None:
        raise NotFound("There is no such token.")
    return token


def revoke(session: Session, token: ApiToken, now: datetime) -> None:
    """The token opens nothing any more."""
    if token.revoked_at is None:
        token.revoked_at = now
        session.flush()


def has_ended(token: ApiToken, now: datetime) -> bool:
    """Whether it opens nothing any more."""
    return token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now)


def _of(owner: User | Site) -> ColumnElement[bool]:
    return ApiToken.user_id == owner.id if isinstance(owner, User) else ApiToken.site_id == owner.id


def _alive(now: datetime) -> ColumnElement[bool]:
    return ApiToken.revoked_at.is_(None) & (ApiToken.expires_at.is_(None) | (ApiToken.expires_at > now))


def _ended_before(then: datetime) -> ColumnElement[bool]:
    # Each half is false, not unknown, where there is no such moment.
    revoked = ApiToken.revoked_at.is_not(None) & (ApiToken.revoked_at <= then)
    return revoked | (ApiToken.expires_at.is_not(None) & (ApiToken.expires_at <= then))
