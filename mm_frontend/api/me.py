"""Who the caller is, and who changed what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_wtf.csrf import generate_csrf

from mm_frontend.api.calling import the_caller
from mm_frontend.api.models import Output
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, page, wanted
from mm_frontend.api.sites import the_site
from mm_frontend.db import session
from mm_lib.model.accounts import AuditEvent, Role
from mm_lib.services import listings
from mm_lib.services.access import AUDIT, SEE, SIGNED_IN
from mm_lib.services.tokens import Scope


class Me(Output):
    """Who asks."""

    name: str
    kind: str
    role: Role
    token: str | None
    scopes: list[Scope] | None
    csrf_token: str | None


class EventOut(Output):
    """Something that was changed."""

    id: int
    at: datetime
    actor: str
    action: str
    object_type: str
    object_id: int | None
    object_name: str
    site_id: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@operation("GET", "/me", tag="caller", summary="Show who asks", scope=Scope.REGISTRY_READ, who=SIGNED_IN, answer=Me)
def show_me() -> Me:
    """With the scopes of the token, or what a browser session needs to change something."""
    caller = the_caller()
    bearer = caller.bearer
    return Me(
        name=caller.name,
        kind="user" if caller.user_id is not None else "site",
        role=caller.role,
        token=bearer.token_name if bearer else None,
        scopes=sorted(bearer.scopes) if bearer else None,
        csrf_token=None if bearer else generate_csrf(),
    )


def _event(row: AuditEvent) -> EventOut:
    return EventOut.model_validate(row)


@operation(
    "GET",
    "/sites/<int:site_id>/events",
    tag="events",
    summary="List what was changed of a site",
    scope=Scope.REGISTRY_READ,
    who=SEE,
    query=PageQuery,
    answer=Page[EventOut],
)
def list_site_events(query: PageQuery) -> Page[EventOut]:
    """By whom, with the values before and after; the newest first."""
    return page(listings.events(session(), wanted(query), the_site().id), query, _event, lambda row: row.id)


@operation(
    "GET",
    "/events",
    tag="events",
    summary="List what was changed at all",
    scope=Scope.ADMIN_READ,
    who=AUDIT,
    query=PageQuery,
    answer=Page[EventOut],
)
def list_events(query: PageQuery) -> Page[EventOut]:
    """By whom, with the values before and after; the newest first."""
    return page(listings.events(session(), wanted(query)), query, _event, lambda row: row.id)
