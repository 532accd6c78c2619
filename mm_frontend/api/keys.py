"""What programs and mirrors prove themselves with: check-in passwords of sites, API tokens of sites and of oneself.

Secrets are told once, in the answer that makes them. What a token makes is never worth more than the token itself: it
has no scope that the token lacks, and no token that it makes lives longer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from mm_frontend.api.calling import me, now, the_caller
from mm_frontend.api.models import Input, Name, Output
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, some
from mm_frontend.api.problems import Problem
from mm_frontend.api.sites import READ, WRITE, the_site
from mm_frontend.db import session
from mm_frontend.guards import reached
from mm_lib.model.accounts import ApiToken, User
from mm_lib.model.sites import Site
from mm_lib.services import accounts, site_passwords, tokens
from mm_lib.services.access import CHANGE, SIGNED_IN
from mm_lib.services.site_passwords import MAX_OVERLAP_DAYS
from mm_lib.services.tokens import LONGEST, Scope

PASSWORDS, TOKENS = "check-in passwords", "tokens"
_PASSWORDS, _OF_SITE, _MINE = "/sites/<int:site_id>/checkin-passwords", "/sites/<int:site_id>/tokens", "/me/tokens"
_ONE_OF_SITE, _ONE_OF_MINE = f"{_OF_SITE}/<int:token_id>", f"{_MINE}/<int:own_token_id>"


class PasswordOut(Output):
    """A password that mirrors of a site may check in with: when it was made and ends, never itself."""

    id: int
    created_at: datetime
    expires_at: datetime | None


class PasswordNew(Input):
    """A new password."""

    overlap_days: int = Field(
        ge=0, le=MAX_OVERLAP_DAYS, description="How much longer the one before works; 0: it ends at once."
    )


class PasswordMade(Output):
    """The new password, and which work now."""

    password: str = Field(description="Shown only now.")
    working: list[PasswordOut]


class TokenOut(Output):
    """A token: what it is good for, never itself."""

    id: int
    name: str
    scopes: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class TokenMade(TokenOut):
    """A new token."""

    token: str = Field(description="What programs send. Shown only now.")


class TokenNew(Input):
    """What a token is to be good for."""

    name: Name
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    days: Annotated[int, Field(ge=1, le=LONGEST.days)] | None = Field(
        90, description="How long; null: until it is revoked. Never longer than the token that makes it."
    )


def _lend(scopes: list[Scope]) -> None:
    """Refuse to give what the caller does not have. Raises Problem."""
    for scope in scopes:
        if not the_caller().has(scope):
            raise Problem("scope", f"A token that lacks {scope.value} cannot give it.", scope=scope.value)


# -- check-in passwords


def _working() -> list[PasswordOut]:
    return [PasswordOut.model_validate(row) for row in site_passwords.current(session(), the_site(), now())]


@operation(
    "GET",
    _PASSWORDS,
    tag=PASSWORDS,
    summary="List a site's check-in passwords",
    scope=READ,
    who=CHANGE,
    query=PageQuery,
    answer=Page[PasswordOut],
)
def list_passwords(query: PageQuery) -> Page[PasswordOut]:
    """Those that work: two while it is being changed."""
    return some(_working(), query, lambda row: row, lambda row: row.id)


@operation(
    "POST",
    _PASSWORDS,
    tag=PASSWORDS,
    summary="Make a new check-in password",
    scope=WRITE,
    who=CHANGE,
    person=True,
    body=PasswordNew,
    answer=PasswordMade,
    secret=True,
)
def make_password(body: PasswordNew) -> PasswordMade:
    """The one before works for the overlap. As it lets mirrors check in, a token needs the scope `checkin`, too."""
    _lend([Scope.CHECKIN])
    overlap = timedelta(days=body.overlap_days)
    password = site_passwords.change(session(), the_site(), now(), overlap=overlap)
    return PasswordMade(password=password, working=_working())


@operation(
    "DELETE",
    _PASSWORDS,
    tag=PASSWORDS,
    summary="Withdraw a site's check-in passwords",
    scope=WRITE,
    who=CHANGE,
    person=True,
)
def withdraw_passwords() -> None:
    """All: no mirror of the site can check in until it has a new one, or a token."""
    site_passwords.withdraw(session(), the_site())


# -- tokens


def _list(owner: User | Site, query: PageQuery) -> Page[TokenOut]:
    rows = tokens.list_tokens(session(), owner, now())
    return some(rows, query, TokenOut.model_validate, lambda row: row.id)


def _make(owner: User | Site, body: TokenNew) -> TokenMade:
    caller, moment = the_caller(), now()
    _lend(body.scopes)
    ends = caller.bearer.expires_at if caller.bearer else None
    limits = [timedelta(days=body.days)] if body.days is not None else []
    limits += [ends - moment] if ends is not None else []
    row, text = tokens.make(
        session(),
        owner,
        body.name,
        body.scopes,
        by=me(),
        role=caller.role,
        now=moment,
        lifetime=min(limits, default=None),
    )
    return TokenMade(**TokenOut.model_validate(row).model_dump(), token=text)


def _myself() -> User:
    user_id = the_caller().user_id
    assert user_id is not None  # people only
    return accounts.active_user(session(), user_id)


def _the_token() -> ApiToken:
    return reached().the("token_id", ApiToken)


@operation(
    "GET",
    _OF_SITE,
    tag=TOKENS,
    summary="List a site's tokens",
    scope=READ,
    who=CHANGE,
    query=PageQuery,
    answer=Page[TokenOut],
)
def list_site_tokens(query: PageQuery) -> Page[TokenOut]:
    """Those that ended in the last 30 days as well."""
    return _list(the_site(), query)


@operation("GET", _ONE_OF_SITE, tag=TOKENS, summary="Show a site's token", scope=READ, who=CHANGE, answer=TokenOut)
def show_site_token() -> TokenOut:
    """Without its text."""
    return TokenOut.model_validate(_the_token())


@operation(
    "POST",
    _OF_SITE,
    tag=TOKENS,
    summary="Make a token of a site",
    scope=WRITE,
    who=CHANGE,
    person=True,
    body=TokenNew,
    answer=TokenMade,
    at=lambda made: f"/sites/{the_site().id}/tokens/{made.id}",
    secret=True,
)
def make_site_token(body: TokenNew) -> TokenMade:
    """It acts for the site. A token can give only scopes that it has, and no longer than it lives itself."""
    return _make(the_site(), body)


@operation("DELETE", _ONE_OF_SITE, tag=TOKENS, summary="Revoke a site's token", scope=WRITE, who=CHANGE, person=True)
def revoke_site_token() -> None:
    """Programs that use it are refused from then on."""
    tokens.revoke(session(), _the_token(), now())


@operation(
    "GET",
    _MINE,
    tag=TOKENS,
    summary="List one's own tokens",
    scope=READ,
    who=SIGNED_IN,
    person=True,
    query=PageQuery,
    answer=Page[TokenOut],
)
def list_my_tokens(query: PageQuery) -> Page[TokenOut]:
    """Those that ended in the last 30 days as well."""
    return _list(_myself(), query)


@operation(
    "GET",
    _ONE_OF_MINE,
    tag=TOKENS,
    summary="Show a token of one's own",
    scope=READ,
    who=SIGNED_IN,
    person=True,
    answer=TokenOut,
)
def show_my_token(own_token_id: int) -> TokenOut:
    """Without its text."""
    return TokenOut.model_validate(tokens.find_own(session(), _myself(), own_token_id))


@operation(
    "POST",
    _MINE,
    tag=TOKENS,
    summary="Make a token of one's own",
    scope=WRITE,
    who=SIGNED_IN,
    person=True,
    body=TokenNew,
    answer=TokenMade,
    at=lambda made: f"/me/tokens/{made.id}",
    secret=True,
)
def make_my_token(body: TokenNew) -> TokenMade:
    """It acts for oneself. A token can give only scopes that it has, and no longer than it lives itself."""
    return _make(_myself(), body)


@operation(
    "DELETE", _ONE_OF_MINE, tag=TOKENS, summary="Revoke a token of one's own", scope=WRITE, who=SIGNED_IN, person=True
)
def revoke_my_token(own_token_id: int) -> None:
    """Programs that use it are refused from then on."""
    tokens.revoke(session(), tokens.find_own(session(), _myself(), own_token_id), now())
