"""One's own sites: list, make, change, switch, delete and bring back."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _

from mm_frontend.db import Work, session
from mm_frontend.guards import Who, may, reached, the_viewer
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.forms import ConfirmForm, SiteForm
from mm_frontend.operators.pages import (
    carried_out,
    form_page,
    me,
    now,
    removal,
    saved,
    switching,
    unlimited,
    with_values,
)
from mm_frontend.settings import frontend
from mm_lib.model.sites import MemberRole, Site
from mm_lib.services import access, approvals, deletion, host_details, membership, overview, sites
from mm_lib.services.access import AUDIT

_WAITS = _("It waits until an administrator has looked at it; you get a mail then. You can add its hosts meanwhile.")


def the_site() -> Site:
    """The site that the page is about."""
    site = reached().site
    assert site is not None
    return site


def back_to_site() -> tuple[str, str]:
    """Address and name of the site's page."""
    return url_for("operators.site", site_id=the_site().id), the_site().name


@blueprint.get("/site/mine")
def mine() -> ResponseReturnValue:
    """One's own sites with their hosts."""
    return _list(gettext("My sites"), [row["site"] for row in membership.my_sites(session(), the_viewer().user_id)])


@blueprint.get("/admin/all_sites")
def all_sites() -> ResponseReturnValue:
    """Every site with its hosts, for administrators and auditors."""
    if not may(AUDIT):
        flash(gettext("The list of all sites is for administrators."))
        return redirect(url_for("public.start"))
    asked = "".join(filter(str.isprintable, request.args.get("q", "").strip()))[:100]
    page = overview.find_sites(session(), asked, request.args.get("page", 1, int), frontend().page_size)

    def link(number: int) -> str:
        return url_for("operators.all_sites", q=asked or None, page=number)

    return _list(gettext("All sites"), page.sites, page=page, asked=asked, site_link=link)


def _list(title: str, found: list[Site], **more: object) -> str:
    roles = membership.roles(session(), the_viewer().user_id)
    return render_template(
        "operators/sites.html",
        title=title,
        sites=found,
        hosts=overview.sites_with_hosts(session(), found),
        roles=roles,
        may_change=lambda site_id: may_there(access.CHANGE, roles.get(site_id)),
        **more,
    )


def may_there(who: Who, role: MemberRole | None) -> bool:
    """Whether the viewer, who has this role in a site, is among those who may there."""
    return may(who) or bool(who & access.of_member(role))


@blueprint.route("/site/new", methods=["GET", "POST"])
def new_site() -> ResponseReturnValue:
    """Make a site and become its owner."""
    form, made = SiteForm(), []
    waits = frontend().approve_sites and not unlimited()

    def change(database: Work) -> None:
        site = sites.add_site(database, form.name.data, created_by=me())
        sites.set_fields(database, site, **_fields(form))
        membership.add(database, site, me(), MemberRole.OWNER, by_owner=True)
        if waits:
            approvals.submit(database, site, me())
        made.append(site.id)

    if carried_out(form, change):
        made_it = gettext("The site is there, and you are its owner.")
        then = _WAITS if waits else gettext("Now add its hosts.")
        return saved(f"{made_it} {then}", _page(made[0]))
    intro = gettext("An administrator looks at it before it is used.") if waits else ""
    return form_page(
        form,
        gettext("New site"),
        (url_for("operators.mine"), gettext("My sites")),
        intro=intro,
        submit=gettext("Make the site"),
    )


def _page(site_id: int) -> str:
    return url_for("operators.site", site_id=site_id)


def _fields(form: SiteForm) -> sites.SiteFields:
    return {
        "name": form.name.data,
        "org_url": form.org_url.data,
        "private": form.private.data,
        "all_sites_can_pull": form.all_sites_can_pull.data,
        "downstream_comments": form.downstream_comments.data or "",
        "weekly_report": form.weekly_report.data,
    }


@blueprint.get("/site/<int:site_id>")
def site(site_id: int) -> ResponseReturnValue:  # noqa: ARG001  the guard has it
    """A site with its hosts and members."""
    found = the_site()
    return render_template(
        "operators/site.html",
        site=found,
        hosts=overview.sites_with_hosts(session(), [found])[found.id],
        members=membership.members(session(), found),
        invitations=membership.list_invitations(session(), found, now()),
        requests=membership.list_requests(session(), found),
        may_change=may(access.CHANGE),
        may_own=may(access.OWN),
        is_member=may(access.MEMBER),
        unlimited=unlimited(),
    )


@blueprint.post("/site/<int:site_id>", endpoint="edit_site")
@blueprint.route("/site/<int:site_id>/edit", methods=["GET", "POST"])
def edit_site(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Change a site."""
    found, form = the_site(), with_values(SiteForm(), the_site())

    def change(database: Work) -> None:
        was_private = found.private
        sites.set_fields(database, found, **_fields(form))
        database.flush()
        if found.private != was_private:
            hosts = overview.sites_with_hosts(database, [found])[found.id]
            host_details.forget_content(database, [host.id for host in hosts])

    if carried_out(form, change):
        return saved(gettext("Saved %(name)s.", name=found.name), back_to_site()[0])
    return form_page(form, gettext("Change %(name)s", name=found.name), back_to_site())


@blueprint.route("/site/<int:site_id>/state", methods=["GET", "POST"])
def site_state(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Switch a site with all its hosts on or off."""
    return switching(the_site(), back_to_site())


@blueprint.route("/site/<int:site_id>/drop", methods=["GET", "POST"])
def drop_site(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Delete a site with its hosts."""
    found = the_site()
    return removal(
        ConfirmForm(),
        gettext("the site %(name)s", name=found.name),
        back_to_site(),
        lambda database: deletion.delete_site(database, found, me(), now(), unlimited=unlimited()),
        goes_with=deletion.what_goes_with_site(session(), found),
        note=gettext("You can bring it back for %(days)s days.", days=deletion.KEPT.days),
        leads_to=url_for("operators.deleted"),
    )
