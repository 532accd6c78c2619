"""Hosts: list, show, make, change, switch, delete; checks on request, crawls and why a host is (not) served."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mm_frontend.api.calling import me, now
from mm_frontend.api.models import (
    CheckNew,
    Checks,
    ExplanationOut,
    HostChange,
    HostNew,
    HostOut,
    HostRepository,
    ShortText,
    Switch,
    check_out,
    explanation_out,
    host_out,
    host_repository,
)
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, page, some, wanted
from mm_frontend.api.sites import READ, WRITE, NamedQuery, the_site, unlimited, visible
from mm_frontend.db import session
from mm_frontend.guards import reached
from mm_frontend.operators.service import CHECKS, EXPLANATIONS
from mm_frontend.settings import crawler, frontend
from mm_lib.model.hosts import Host
from mm_lib.services import deletion, explanations, host_details, hosts, jobs, listings, overview
from mm_lib.services.access import CHANGE, SEE, SIGNED_IN
from mm_lib.services.errors import InvalidValue
from mm_lib.services.tokens import Scope

TAG, CRAWLS = "hosts", "crawls"


class ExplainQuery(BaseModel):
    """What a client would ask for, and from where."""

    model_config = ConfigDict(extra="forbid")

    repo: ShortText = Field("", description="Its prefix, as in repo=.")
    arch: ShortText = ""
    ip: ShortText = Field("", description="The client's address.")
    country: ShortText = Field("", description="The client's country, instead of that of its address.")


def the_host() -> Host:
    """The host that the request is about."""
    host = reached().host
    assert host is not None
    return host


@operation(
    "GET", "/hosts", tag=TAG, summary="List hosts", scope=READ, who=SIGNED_IN, query=NamedQuery, answer=Page[HostOut]
)
def list_hosts(query: NamedQuery) -> Page[HostOut]:
    """Those of all sites that the caller may see."""
    rows = listings.hosts(session(), visible(), wanted(query), name=query.name)
    return page(rows, query, host_out, lambda row: row.id)


@operation(
    "GET",
    "/sites/<int:site_id>/hosts",
    tag=TAG,
    summary="List a site's hosts",
    scope=READ,
    who=SEE,
    query=NamedQuery,
    answer=Page[HostOut],
)
def list_site_hosts(query: NamedQuery) -> Page[HostOut]:
    """Of one site."""
    rows = listings.hosts(session(), visible(), wanted(query), site_id=the_site().id, name=query.name)
    return page(rows, query, host_out, lambda row: row.id)


@operation("GET", "/hosts/<int:host_id>", tag=TAG, summary="Show a host", scope=READ, who=SEE, answer=HostOut)
def show_host() -> HostOut:
    """One host."""
    return host_out(the_host())


@operation(
    "POST",
    "/sites/<int:site_id>/hosts",
    tag=TAG,
    summary="Make a host",
    scope=WRITE,
    who=CHANGE,
    body=HostNew,
    answer=HostOut,
    at=lambda made: f"/hosts/{made.id}",
)
def make_host(body: HostNew) -> HostOut:
    """Then say what it carries, and where."""
    host = hosts.add_host(session(), the_site().name, body.name, created_by=me())
    _edit(host, body.model_dump())
    return host_out(host)


@operation(
    "PATCH",
    "/hosts/<int:host_id>",
    tag=TAG,
    summary="Change a host",
    scope=WRITE,
    who=CHANGE,
    body=HostChange,
    answer=HostOut,
    current=show_host,
)
def change_host(body: HostChange) -> HostOut:
    """What is left out stays. A change of `private` forgets which directories are up to date."""
    _edit(the_host(), body.given())
    return host_out(the_host())


def _edit(host: Host, fields: dict[str, Any]) -> None:
    asn = fields.pop("asn", None) if "asn" in fields else _UNCHANGED
    if fields.keys() & {"latitude", "longitude"}:
        place = fields.pop("latitude", host.latitude), fields.pop("longitude", host.longitude)
        if (place[0] is None) != (place[1] is None):
            raise InvalidValue("longitude", "give both latitude and longitude, or neither")
        fields["coordinates"] = None if None in place else place
    host_details.edit_fields(session(), host, **fields)
    if asn is not _UNCHANGED:
        host_details.set_own_asn(session(), host, asn)


_UNCHANGED: Any = object()


@operation(
    "PUT",
    "/hosts/<int:host_id>/state",
    tag=TAG,
    summary="Switch a host on or off",
    scope=WRITE,
    who=CHANGE,
    body=Switch,
    answer=HostOut,
    current=show_host,
)
def switch_host(body: Switch) -> HostOut:
    """Also one that the crawler switched off."""
    host = the_host()
    host_details.switch(session(), host, on=body.on, reason=body.reason, by=me(), unlimited=unlimited())
    return host_out(host)


@operation(
    "DELETE", "/hosts/<int:host_id>", tag=TAG, summary="Delete a host", scope=WRITE, who=CHANGE, current=show_host
)
def delete_host() -> None:
    """It can be brought back for 30 days."""
    deletion.delete_host(session(), the_host(), me(), now(), unlimited=unlimited())


# -- how it is doing


@operation(
    "GET",
    "/hosts/<int:host_id>/repositories",
    tag=CRAWLS,
    summary="List how fresh a host's repositories are",
    scope=Scope.CRAWLS_READ,
    who=SEE,
    query=PageQuery,
    answer=Page[HostRepository],
)
def list_host_repositories(query: PageQuery) -> Page[HostRepository]:
    """As they were when the host was last asked."""
    rows = list(enumerate(overview.repositories(session(), the_host())))
    return some(rows, query, lambda row: host_repository(row[1]), lambda row: row[0])


@operation(
    "GET",
    "/hosts/<int:host_id>/checks",
    tag=CRAWLS,
    summary="List checks that were asked for",
    scope=Scope.CRAWLS_READ,
    who=SEE,
    answer=Checks,
)
def list_checks() -> Checks:
    """The latest 20."""
    return Checks(items=[check_out(check) for check in jobs.list_checks(session(), the_host(), 20)])


@operation(
    "POST",
    "/hosts/<int:host_id>/checks",
    tag=CRAWLS,
    summary="Ask for a crawl at once",
    scope=WRITE,
    who=CHANGE,
    body=CheckNew,
    answer=Checks,
    at=lambda _made: f"/hosts/{the_host().id}/checks",
    limit=CHECKS,
)
def ask_for_check(body: CheckNew) -> Checks:
    """The crawler does it when it is its turn; those that wait already are not doubled."""
    again_after = timedelta(minutes=crawler().check_again_minutes)
    asked = jobs.request_check(session(), the_host(), body.categories, me(), again_after=again_after)
    return Checks(items=[check_out(check) for check in asked])


@operation(
    "GET",
    "/hosts/<int:host_id>/explanation",
    tag=CRAWLS,
    summary="Explain why a host is, or is not, served",
    scope=Scope.CRAWLS_READ,
    who=SEE,
    query=ExplainQuery,
    answer=ExplanationOut,
    problems=("depends",),
    limit=EXPLANATIONS,
)
def explain_host(query: ExplainQuery) -> ExplanationOut:
    """To a client of this address or country that asks for this; the redirector itself says so."""
    asked = {name: getattr(query, name).strip() for name in explanations.PARAMETERS}
    host = the_host()
    return explanation_out(explanations.explain(frontend().explain_url, asked, host.name, host.site.name))
