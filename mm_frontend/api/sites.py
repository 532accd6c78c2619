"""Sites and their members."""

from __future__ import annotations

from pydantic import Field

from mm_frontend.api.calling import me, now, the_caller
from mm_frontend.api.models import (
    MemberChange,
    MemberNew,
    MemberOut,
    ShortText,
    SiteChange,
    SiteNew,
    SiteOut,
    Switch,
    member_out,
    site_out,
)
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, page, some, wanted
from mm_frontend.db import session
from mm_frontend.guards import may, reached
from mm_frontend.settings import frontend
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services import approvals, deletion, host_details, listings, membership, overview, sites
from mm_lib.services.access import ADMINISTER, AUDIT, CHANGE, OWN, SEE, SIGNED_IN
from mm_lib.services.errors import InvalidValue
from mm_lib.services.listings import Visible
from mm_lib.services.tokens import Scope

READ, WRITE = Scope.REGISTRY_READ, Scope.REGISTRY_WRITE
TAG, MEMBERS = "sites", "members"


class NamedQuery(PageQuery):
    """Which page, and of which name."""

    name: ShortText = Field("", description="Only the one that has this name.")


def the_site() -> Site:
    """The site that the request is about."""
    site = reached().site
    assert site is not None
    return site


def visible() -> Visible:
    """Which sites the caller may see."""
    caller = the_caller()
    site_id = caller.bearer.site_id if caller.bearer else None
    return Visible(caller.user_id, site_id, everything=may(AUDIT))


def unlimited() -> bool:
    """Whether the rules for owners do not count."""
    return may(ADMINISTER)


@operation(
    "GET", "/sites", tag=TAG, summary="List sites", scope=READ, who=SIGNED_IN, query=NamedQuery, answer=Page[SiteOut]
)
def list_sites(query: NamedQuery) -> Page[SiteOut]:
    """Those that the caller is a member of; all for administrators and auditors."""
    rows = listings.sites(session(), visible(), wanted(query), query.name)
    return page(rows, query, site_out, lambda row: row.id)


@operation("GET", "/sites/<int:site_id>", tag=TAG, summary="Show a site", scope=READ, who=SEE, answer=SiteOut)
def show_site() -> SiteOut:
    """One site."""
    return site_out(the_site())


@operation(
    "POST",
    "/sites",
    tag=TAG,
    summary="Make a site",
    scope=WRITE,
    who=SIGNED_IN,
    person=True,
    body=SiteNew,
    answer=SiteOut,
    at=lambda made: f"/sites/{made.id}",
)
def make_site(body: SiteNew) -> SiteOut:
    """The caller becomes its owner. Where new sites are looked at first, it waits for that."""
    database = session()
    site = sites.add_site(database, body.name, created_by=me())
    sites.set_fields(database, site, **body.model_dump())
    membership.add(database, site, me(), MemberRole.OWNER, by_owner=True)
    if frontend().approve_sites and not unlimited():
        approvals.submit(database, site, me())
    return site_out(site)


@operation(
    "PATCH",
    "/sites/<int:site_id>",
    tag=TAG,
    summary="Change a site",
    scope=WRITE,
    who=CHANGE,
    body=SiteChange,
    answer=SiteOut,
    current=show_site,
)
def change_site(body: SiteChange) -> SiteOut:
    """What is left out stays. A change of `private` forgets which directories are up to date."""
    database, site = session(), the_site()
    was_private = site.private
    sites.set_fields(database, site, **body.given())
    database.flush()
    if site.private != was_private:
        hosts = overview.sites_with_hosts(database, [site])[site.id]
        host_details.forget_content(database, [host.id for host in hosts])
    return site_out(site)


@operation(
    "PUT",
    "/sites/<int:site_id>/state",
    tag=TAG,
    summary="Switch a site on or off",
    scope=WRITE,
    who=CHANGE,
    body=Switch,
    answer=SiteOut,
    current=show_site,
)
def switch_site(body: Switch) -> SiteOut:
    """With all its hosts."""
    site = the_site()
    host_details.switch(session(), site, on=body.on, reason=body.reason, by=me(), unlimited=unlimited())
    return site_out(site)


@operation("DELETE", "/sites/<int:site_id>", tag=TAG, summary="Delete a site", scope=WRITE, who=OWN, current=show_site)
def delete_site() -> None:
    """With its hosts. It can be brought back for 30 days."""
    deletion.delete_site(session(), the_site(), me(), now(), unlimited=unlimited())


# -- members


def the_member() -> SiteMember:
    """The member that the request is about."""
    return reached().the("member_id", SiteMember)


@operation(
    "GET",
    "/sites/<int:site_id>/members",
    tag=MEMBERS,
    summary="List a site's members",
    scope=READ,
    who=SEE,
    query=PageQuery,
    answer=Page[MemberOut],
)
def list_members(query: PageQuery) -> Page[MemberOut]:
    """Who speaks for the site."""
    return some(membership.members(session(), the_site()), query, member_out, lambda row: row.id)


@operation(
    "GET",
    "/sites/<int:site_id>/members/<int:member_id>",
    tag=MEMBERS,
    summary="Show a member",
    scope=READ,
    who=SEE,
    answer=MemberOut,
)
def show_member() -> MemberOut:
    """One member."""
    return member_out(the_member())


@operation(
    "POST",
    "/sites/<int:site_id>/members",
    tag=MEMBERS,
    summary="Add a member",
    scope=WRITE,
    who=CHANGE,
    person=True,
    body=MemberNew,
    answer=MemberOut,
    at=lambda made: f"/sites/{the_site().id}/members/{made.id}",
)
def add_member(body: MemberNew) -> MemberOut:
    """A user who has an account. Others are invited."""
    try:
        return member_out(membership.add(session(), the_site(), body.user, body.role, by_owner=may(OWN)))
    except InvalidValue:
        raise InvalidValue("user", "has no account here; invite others: POST /sites/{site_id}/invitations") from None


@operation(
    "PATCH",
    "/sites/<int:site_id>/members/<int:member_id>",
    tag=MEMBERS,
    summary="Give a member another role",
    scope=WRITE,
    who=OWN,
    person=True,
    body=MemberChange,
    answer=MemberOut,
    current=show_member,
)
def change_member(body: MemberChange) -> MemberOut:
    """For owners to do; the last one stays."""
    membership.set_role(session(), the_member(), body.role)
    return member_out(the_member())


@operation(
    "DELETE",
    "/sites/<int:site_id>/members/<int:member_id>",
    tag=MEMBERS,
    summary="End a membership",
    scope=WRITE,
    who=CHANGE,
    person=True,
    current=show_member,
)
def remove_member() -> None:
    """The last owner stays."""
    membership.remove(session(), the_member(), by_owner=may(OWN))
