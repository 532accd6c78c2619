"""Private mirrors tell what they carry: what report_mirror sends to a server that is not an old one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from mm_frontend.api.calling import caller, now
from mm_frontend.api.models import Input, Name, Output, ShortText, clean
from mm_frontend.api.operation import operation
from mm_frontend.api.problems import Problem
from mm_frontend.db import session
from mm_frontend.site_opening import CALLS_PER_ADDRESS, open_site
from mm_lib.model.base import State
from mm_lib.model.sites import Site
from mm_lib.rules.checkin import MAX_BODY, MAX_PASSWORD, MAX_PATHS, Report, name_of, password_of
from mm_lib.services import access, checkin, tokens
from mm_lib.services.access import CHANGE, EVERYBODY
from mm_lib.services.checkin import WrongPassword
from mm_lib.services.errors import InvalidValue
from mm_lib.services.tokens import Scope

Path = Annotated[str, Field(max_length=4096)]


class CheckIn(Input):
    """What a private mirror carries, and whose it is."""

    host: Name = Field(description="As it is called on the server.")
    site: ShortText = Field("", description="Its site; with a site's token it goes without saying.")
    password: Annotated[str, Field(max_length=MAX_PASSWORD), AfterValidator(clean)] = Field(
        "", description="The site's, instead of a token."
    )
    active: bool | None = Field(None, description="Switches the host on or off; without it, it stays as it is.")
    categories: dict[ShortText, Annotated[list[Path], Field(max_length=MAX_PATHS)]] = Field(
        {}, description="Each category with all of its directories, as paths below its top directory, which is ''."
    )


class CountedOut(Output):
    """What became of a category's directories."""

    name: str
    updated: int = Field(description="That were there before, too.")
    added: int
    removed: int
    unknown: int = Field(description="That the master does not have.")


class CheckedInOut(Output):
    """What became of a report."""

    host: str
    state: State
    checked_in_at: datetime
    categories: list[CountedOut]
    ignored: list[str] = Field(description="Categories that the host does not carry here.")


@operation(
    "POST",
    "/checkin",
    tag="check-in",
    summary="Report what a private mirror carries",
    scope=Scope.CHECKIN,
    who=EVERYBODY,  # who has no token proves itself in the body
    body=CheckIn,
    answer=CheckedInOut,
    max_body=MAX_BODY,
    limit=CALLS_PER_ADDRESS,
    problems=("unauthenticated", "not-allowed", "not-found", "too-large"),
)
def check_in(body: CheckIn) -> CheckedInOut:
    """A directory that is not in the report counts as gone. The body may be packed: `Content-Encoding: gzip`."""
    trees: dict[str, list[str]] = {}
    for name, paths in body.categories.items():
        trees.setdefault(name.lower(), []).extend(paths)
    report = Report(host=name_of(body.host), active=body.active, trees=trees)
    done = checkin.check_in(session(), _site(body), report, now())
    return CheckedInOut(
        host=done.host,
        state=done.state,
        checked_in_at=done.at,
        categories=[
            CountedOut(
                name=one.category, updated=one.updated, added=one.added, removed=one.removed, unknown=one.unknown
            )
            for one in done.categories
        ],
        ignored=done.ignored,
    )


def _site(body: CheckIn) -> Site:
    """Whose mirror it is: of the token, of the person who may change it, or of name and password."""
    found, name = caller(), name_of(body.site)
    if found is None:
        try:
            return open_site(session(), name, password_of(body.password), now())
        except WrongPassword as error:
            raise Problem("unauthenticated", str(error)) from None
    if found.bearer is not None and found.bearer.site_id is not None:
        own = session().get_one(Site, found.bearer.site_id)
        if name not in ("", own.name):
            raise InvalidValue("site", "is not the one that the token belongs to")
        return own
    site = checkin.find_site(session(), name)
    standings = (
        tokens.standings(session(), found.bearer, site)
        if found.bearer
        else access.standings(session(), found.user_id, found.role, site)
    )
    if site is None or not CHANGE & standings:
        raise Problem("not-allowed", "You may not check in for this site: only those who may change it do.")
    return site
