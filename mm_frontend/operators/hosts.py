"""A host: its page in parts, and making, changing, switching and deleting it."""

from __future__ import annotations

from flask import flash, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from mm_frontend.db import Work, session
from mm_frontend.guards import may, reached
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.forms import ConfirmForm, HostForm
from mm_frontend.operators.pages import carried_out, form_page, me, now, removal, saved, switching, unlimited
from mm_frontend.operators.sites import back_to_site, the_site
from mm_frontend.settings import frontend
from mm_lib.model.hosts import AsnKind, Host
from mm_lib.services import access, deletion, host_details, hosts, jobs, maintenance, overview
from mm_lib.services.hosts import HostFields

_FAMILIES = {"": None, "yes": True, "no": False}


def the_host() -> Host:
    """The host that the page is about."""
    host = reached().host
    assert host is not None
    return host


def back_to_host() -> tuple[str, str]:
    """Address and name of the host's page."""
    return url_for("operators.host", host_id=the_host().id), the_host().name


@blueprint.get("/host/<int:host_id>")
def host(host_id: int) -> ResponseReturnValue:  # noqa: ARG001  the guard has it
    """Everything about a host."""
    found = the_host()
    return render_template(
        "operators/host.html",
        host=found,
        part="host",
        categories=overview.categories(session(), found),
        fresh=overview.freshness(overview.repositories(session(), found)),
        acl=host_details.list_acl_addresses(session(), found),
        windows=maintenance.list_windows(session(), found, now()),
        resting=maintenance.current(session(), found, now()),
        embargoed=host_details.is_embargoed(session(), found.country),
        checks=[check for check in jobs.list_checks(session(), found, 10) if check.state in jobs.OPEN],
        may_change=may(access.CHANGE),
        unlimited=unlimited(),
        confirm=ConfirmForm(),
    )


@blueprint.get("/host/<int:host_id>/repositories")
def host_repositories(host_id: int) -> ResponseReturnValue:
    """How fresh each repository is, those that are behind first."""
    found, size = overview.worst_first(overview.repositories(session(), the_host())), 4 * frontend().page_size
    pages = max(1, -(-len(found) // size))
    number = min(max(1, request.args.get("page", 1, int)), pages)
    return render_template(
        "operators/repositories.html",
        host=the_host(),
        part="repositories",
        rows=found[(number - 1) * size : number * size],
        total=len(found),
        number=number,
        pages=pages,
        link=lambda page: url_for("operators.host_repositories", host_id=host_id, page=page),
    )


@blueprint.route("/host/<int:site_id>/new", methods=["GET", "POST"])
def new_host(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Make a host of a site."""
    site, form, made = the_site(), HostForm(), []

    def change(database: Work) -> None:
        host = hosts.add_host(
            database, site.name, form.name.data, bandwidth_mbps=form.bandwidth_mbps.data, created_by=me()
        )
        host_details.edit_host(database, host, form.asn.data, **_fields(form))
        made.append(host)

    if carried_out(form, change):
        _hint(made[0])
        return saved(gettext("The host is there. Now say what it carries, and where."), _page(made[0].id))
    return form_page(
        form, gettext("New host of %(name)s", name=site.name), back_to_site(), submit=gettext("Make the host")
    )


@blueprint.post("/host/<int:host_id>", endpoint="edit_host")
@blueprint.route("/host/<int:host_id>/edit", methods=["GET", "POST"])
def edit_host(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Change a host."""
    found = the_host()
    form = HostForm()
    if not form.is_submitted():
        form.process(obj=found, **_shown(found))

    def change(database: Work) -> None:
        host_details.edit_host(database, found, form.asn.data, **_fields(form))

    if carried_out(form, change):
        _hint(found)
        return saved(gettext("Saved %(name)s.", name=found.name), back_to_host()[0])
    return form_page(form, gettext("Change %(name)s", name=found.name), back_to_host())


def _shown(host: Host) -> dict[str, object]:
    """What a form shows in another way than the table has it."""
    names = {value: name for name, value in _FAMILIES.items()}
    own = [row.asn for row in host.asns if row.kind is AsnKind.OWN]
    return {
        "has_ipv4": names[host.has_ipv4],
        "has_ipv6": names[host.has_ipv6],
        "asn": own[0] if own else None,
        "country": host.country or "",
    }


def _fields(form: HostForm) -> HostFields:
    place = None if form.latitude.data is None else (form.latitude.data, form.longitude.data)
    return {
        "name": form.name.data,
        "country": form.country.data,
        "bandwidth_mbps": form.bandwidth_mbps.data,
        "max_connections": form.max_connections.data,
        "private": form.private.data,
        "crawl_private": form.crawl_private.data,
        "asn_clients": form.asn_clients.data,
        "has_ipv4": _FAMILIES.get(form.has_ipv4.data),
        "has_ipv6": _FAMILIES.get(form.has_ipv6.data),
        "coordinates": place,
        "comment": form.comment.data or "",
        "robot_email": form.robot_email.data or "",
    }


def _hint(host: Host) -> None:
    if host_details.is_embargoed(session(), host.country):
        flash(gettext("Mirrors in that country are not used here: clients will not be sent to this host."))


def _page(host_id: int) -> str:
    return url_for("operators.host", host_id=host_id)


@blueprint.route("/host/<int:host_id>/state", methods=["GET", "POST"])
def host_state(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Switch a host on or off, also one that the crawler switched off."""
    return switching(the_host(), back_to_host())


@blueprint.route("/host/<int:host_id>/drop", methods=["GET", "POST"])
def drop_host(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Delete a host."""
    found = the_host()
    return removal(
        ConfirmForm(),
        gettext("the host %(name)s", name=found.name),
        back_to_host(),
        lambda database: deletion.delete_host(database, found, me(), now(), unlimited=unlimited()),
        goes_with=deletion.what_goes_with_host(session(), found),
        note=gettext("You can bring it back for %(days)s days.", days=deletion.KEPT.days),
        leads_to=back_to_site()[0],
    )
