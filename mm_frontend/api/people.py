"""Who is to come into a site: invitations by mail, and requests to join."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Literal

from flask import Response, after_this_request
from pydantic import Field

from mm_frontend.api.calling import me, now
from mm_frontend.api.models import Address, Input, MemberOut, Output, member_out
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, some
from mm_frontend.api.sites import READ, WRITE, the_site
from mm_frontend.db import session
from mm_frontend.guards import may, reached
from mm_frontend.operators.members import INVITATIONS, link_of, write_invitation
from mm_lib.model.sites import MemberRole, SiteInvitation, SiteJoinRequest
from mm_lib.services import invitations, membership
from mm_lib.services.access import CHANGE, OWN
from mm_lib.services.errors import InvalidValue

INVITED, ASKING = "invitations", "requests to join"
_INVITATIONS, _REQUESTS = "/sites/<int:site_id>/invitations", "/sites/<int:site_id>/requests"
_INVITATION, _REQUEST = f"{_INVITATIONS}/<int:invitation_id>", f"{_REQUESTS}/<int:request_id>"


class InvitationOut(Output):
    """Whoever reads this mailbox may become a member."""

    id: int
    email: str
    role: MemberRole
    invited_by: str
    created_at: datetime
    expires_at: datetime


class InvitationMade(InvitationOut):
    """A new invitation."""

    link: str = Field(description="What the mail has. It works once, and is shown only now.")


class InvitationNew(Input):
    """Somebody who is to become a member."""

    email: Address
    role: MemberRole = MemberRole.ADMIN


class RequestOut(Output):
    """Somebody who would like to become a member."""

    id: int
    user: str
    display_name: str
    message: str
    created_at: datetime


class Welcome(Input):
    """As what somebody comes in."""

    role: Literal["viewer", "admin"]


def _the_invitation() -> SiteInvitation:
    return reached().the("invitation_id", SiteInvitation)


def _the_request() -> SiteJoinRequest:
    return reached().the("request_id", SiteJoinRequest)


def _asking(row: SiteJoinRequest) -> RequestOut:
    names = {"user": row.user.name, "display_name": row.user.display_name}
    return RequestOut(id=row.id, message=row.message, created_at=row.created_at, **names)


@operation(
    "GET",
    _INVITATIONS,
    tag=INVITED,
    summary="List a site's invitations",
    scope=READ,
    who=CHANGE,
    query=PageQuery,
    answer=Page[InvitationOut],
)
def list_invitations(query: PageQuery) -> Page[InvitationOut]:
    """Those that can still be used."""
    rows = membership.list_invitations(session(), the_site(), now())
    return some(rows, query, InvitationOut.model_validate, lambda row: row.id)


@operation("GET", _INVITATION, tag=INVITED, summary="Show an invitation", scope=READ, who=CHANGE, answer=InvitationOut)
def show_invitation() -> InvitationOut:
    """Without its link."""
    return InvitationOut.model_validate(_the_invitation())


@operation(
    "POST",
    _INVITATIONS,
    tag=INVITED,
    summary="Invite somebody",
    scope=WRITE,
    who=CHANGE,
    person=True,
    body=InvitationNew,
    answer=InvitationMade,
    at=lambda made: f"/sites/{the_site().id}/invitations/{made.id}",
    limit=INVITATIONS,
    secret=True,
)
def invite(body: InvitationNew) -> InvitationMade:
    """By mail, where mail is set up. Another one to the same address takes the place of the first."""
    database, by = session(), me()
    try:
        row, token = membership.invite(database, the_site(), body.email, body.role, by=by, by_owner=may(OWN), now=now())
    except InvalidValue as error:
        raise InvalidValue("email", error.message) from None
    address, link = row.email, link_of(token)

    @after_this_request
    def write(response: Response) -> Response:
        """Only when it is in the database: a link that opens nothing helps nobody."""
        if response.status_code == HTTPStatus.CREATED:
            write_invitation(address, link, by=by)
        return response

    return InvitationMade(**InvitationOut.model_validate(row).model_dump(), link=link)


@operation(
    "DELETE",
    _INVITATION,
    tag=INVITED,
    summary="Withdraw an invitation",
    scope=WRITE,
    who=CHANGE,
    person=True,
    current=show_invitation,
)
def withdraw_invitation() -> None:
    """Its link opens nothing any more."""
    invitations.withdraw(session(), _the_invitation(), the_site())


@operation(
    "GET",
    _REQUESTS,
    tag=ASKING,
    summary="List who would like to join a site",
    scope=READ,
    who=CHANGE,
    query=PageQuery,
    answer=Page[RequestOut],
)
def list_requests(query: PageQuery) -> Page[RequestOut]:
    """The first first."""
    return some(membership.list_requests(session(), the_site()), query, _asking, lambda row: row.id)


@operation("GET", _REQUEST, tag=ASKING, summary="Show a request to join", scope=READ, who=CHANGE, answer=RequestOut)
def show_request() -> RequestOut:
    """One request."""
    return _asking(_the_request())


@operation(
    "POST",
    f"{_REQUEST}/accept",
    tag=ASKING,
    summary="Let somebody in",
    scope=WRITE,
    who=CHANGE,
    person=True,
    body=Welcome,
    answer=MemberOut,
)
def accept_request(body: Welcome) -> MemberOut:
    """They become a member; make them the owner afterwards, if they are to be."""
    member = membership.answer(session(), _the_request(), the_site(), MemberRole(body.role))
    assert member is not None  # with a role somebody is let in
    return member_out(member)


@operation(
    "DELETE",
    _REQUEST,
    tag=ASKING,
    summary="Decline a request to join",
    scope=WRITE,
    who=CHANGE,
    person=True,
    current=show_request,
)
def decline_request() -> None:
    """They may ask again."""
    membership.answer(session(), _the_request(), the_site(), None)
