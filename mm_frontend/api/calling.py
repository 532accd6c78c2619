"""Who calls the API: a program with a token, or a person in a browser; and whether they may do what they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from flask import current_app, g, request

from mm_frontend.api.problems import Problem
from mm_frontend.db import session
from mm_frontend.guards import UNSEEN, viewer
from mm_frontend.security import csrf
from mm_lib.database import transaction
from mm_lib.model.accounts import Role
from mm_lib.model.sites import Site
from mm_lib.services import access, audit, tokens
from mm_lib.services.access import EVERYBODY, Reached, Standing
from mm_lib.services.errors import NotFound
from mm_lib.services.tokens import Bearer, Scope

Who = frozenset[Standing]
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """Who asks. A browser session has no scopes: it may do what its person may."""

    name: str  # of the user or site, as "made by" keeps it
    label: str  # with the token, as the audit log keeps it
    user_id: int | None  # None: a site's token
    role: Role
    bearer: Bearer | None = None

    def has(self, scope: Scope) -> bool:
        """Whether the scopes cover it."""
        return self.bearer is None or scope in self.bearer.scopes


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def caller() -> Caller | None:
    """Who asks; None: nobody that we know."""
    found: Caller | None = g.get("api_caller")
    return found


def the_caller() -> Caller:
    """Who asks, where the table of who may lets nobody else in."""
    found = caller()
    assert found is not None
    return found


def me() -> str:
    """Who does it, by name."""
    return the_caller().name


def identify() -> None:
    """Find out who asks, and sign what they change. Raises Problem for a token that opens nothing."""
    kind, _, text = request.headers.get("Authorization", "").strip().partition(" ")
    # Others, such as Basic, are for a proxy before us, which leaves them in: they say nothing here.
    g.api_caller = _bearer(text.strip()) if kind.lower() == "bearer" else _person()
    found = caller()
    if found is not None:
        audit.sign(session(), audit.Actor(found.label, found.user_id, request.remote_addr or ""))


def _bearer(text: str) -> Caller:
    bearer = tokens.find(session(), text, now())
    if bearer is None:
        raise Problem("unauthenticated", "This token opens nothing: it is not known, has ended or was revoked.")
    with transaction(session()):
        tokens.note_used(session(), bearer, now())
    return Caller(bearer.name, bearer.label, bearer.user_id, bearer.role, bearer)


def _person() -> Caller | None:
    person = viewer()
    if person is None:
        return None
    if request.method not in _SAFE and current_app.config["WTF_CSRF_ENABLED"]:
        csrf.protect()  # a page of somebody else could send this
    return Caller(person.name, person.name, person.user_id, person.role)


def permit(who: Who, scope: Scope | None, *, person: bool = False) -> None:
    """Find what the request is about, for guards.reached(), and whether this may be done with it.

    Raises Problem, NotFound. `scope` None: no scope is needed, for everybody may. `person`: no token of a site may.
    """
    found = caller()
    if found is None and who != EVERYBODY:
        raise Problem("unauthenticated")
    if found is not None and scope is not None and not found.has(scope):
        raise Problem("scope", f"This takes the scope {scope.value}.", scope=scope.value)
    if person and (found is None or found.user_id is None):
        raise Problem("person-needed")
    g.reached = _reach(found)
    g.standings = _standings(found, g.reached.site)
    if g.reached.site is not None and not access.SEE & g.standings:
        raise Problem("not-found", UNSEEN)
    if not who & g.standings:
        raise Problem("not-allowed", _why_not(who))


def _reach(found: Caller | None) -> Reached:
    """What is meant. Strangers are told the same of what is not there and of what others have. Raises NotFound."""
    try:
        return access.reach(session(), request.view_args or {})
    except NotFound:
        if found is not None and found.role is not Role.USER:
            raise
        raise Problem("not-found", UNSEEN) from None


def _standings(found: Caller | None, site: Site | None) -> frozenset[Standing]:
    if found is None:
        return frozenset({Standing.ANYBODY})
    if found.bearer is None:
        return access.standings(session(), found.user_id, found.role, site)
    # A site's token is no person, but it is known: what is for whoever signed in is for it, unless people are meant.
    return tokens.standings(session(), found.bearer, site) | {Standing.SIGNED_IN}


def _why_not(who: Who) -> str:
    if who == access.ADMINISTER:
        return "Only administrators may do this; with a token, one that has the scope admin:write."
    if who == access.AUDIT:
        return "Only administrators and auditors may see this; with a token, one that has the scope admin:read."
    return "You may not do this with this site. Members see it; only some may change it."
