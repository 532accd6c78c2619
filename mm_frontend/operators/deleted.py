"""What was deleted and can be brought back: sites, hosts, and what belongs to them."""

from __future__ import annotations

from flask import current_app, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _

from mm_frontend.db import session
from mm_frontend.guards import Who, may, reached, the_viewer
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.details import RESOLVER
from mm_frontend.operators.forms import ConfirmForm
from mm_frontend.operators.pages import carried_out, me, now, saved, unlimited
from mm_frontend.operators.sites import back_to_site, may_there, the_site
from mm_frontend.settings import crawler, frontend
from mm_lib.model.accounts import AuditEvent
from mm_lib.services import access, deleted_parts, deletion, membership, probes
from mm_lib.services.access import AUDIT
from mm_lib.services.deleted_parts import Part, Person
from mm_lib.services.host_details import Limits

# Table -> what its rows are called, and the name's place in that.
_LABELS = {
    "host_acl_address": (_("the address %(address)s"), "address"),
    "host_asn": ("AS%(asn)s", "asn"),
    "host_category": (_("the category %(name)s"), "name"),
    "host_category_url": (_("the URL %(url)s"), "url"),
    "host_country": (_("the country %(country)s"), "country"),
    "host_netblock": (_("the network %(netblock)s"), "netblock"),
    "maintenance": (_("the maintenance from %(starts_at)s UTC"), "starts_at"),
    "site_member": (_("the member %(name)s"), "name"),
}


@blueprint.get("/deleted")
def deleted() -> ResponseReturnValue:
    """What one deleted and may bring back; administrators see all."""
    roles = membership.roles(session(), the_viewer().user_id)
    sites = None if may(AUDIT) else list(roles)
    page = deleted_parts.page(session(), now(), sites, request.args.get("page", 1, int), frontend().page_size)
    return render_template(
        "operators/deleted.html",
        rows=deletion.list_deleted(session(), now(), sites),
        page=page,
        link=lambda number: url_for("operators.deleted", page=number),
        named=_named,
        may_restore=lambda row: may_there(access.OWN if row.is_site else access.CHANGE, roles.get(row.site_id)),
        may_bring_back=lambda part: may_there(_who(part), roles.get(part.site_id)),
    )


def _who(part: Part) -> Who:
    if part.by_administrators:
        return access.ADMINISTER
    return access.OWN if part.by_owners else access.CHANGE


def _named(part: Part) -> str:
    """What it is, in the words of the page that asked before it went."""
    label, placeholder = _LABELS[part.kind]
    return str(label) % {placeholder: part.name}


@blueprint.post("/deleted/site/<int:deleted_site_id>/restore")
def restore_site(deleted_site_id: int) -> ResponseReturnValue:  # noqa: ARG001  the guard has it
    """Bring a site back."""
    found, form = the_site(), ConfirmForm()
    if carried_out(form, lambda database: deletion.restore_site(database, found)):
        return saved(gettext("%(name)s is back, with its hosts.", name=found.name), back_to_site()[0])
    return saved(" ".join(form.form_errors), url_for("operators.deleted"))


@blueprint.post("/deleted/host/<int:deleted_host_id>/restore")
def restore_host(deleted_host_id: int) -> ResponseReturnValue:
    """Bring a host back."""
    host, form = reached().host, ConfirmForm()
    assert host is not None
    if carried_out(form, lambda database: deletion.restore_host(database, host)):
        return saved(gettext("%(name)s is back.", name=host.name), url_for("operators.host", host_id=deleted_host_id))
    return saved(" ".join(form.form_errors), url_for("operators.deleted"))


@blueprint.post("/deleted/part/<int:deleted_part_id>/restore")
def restore_part(deleted_part_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Bring back what belonged to a host or site, by the rules for making it."""
    event, host, form = reached().the("deleted_part_id", AuditEvent), reached().host, ConfirmForm()
    person = Person(
        name=me(),
        unlimited=unlimited(),
        owner=may(access.OWN),
        limits=Limits(frontend().max_netblock_ipv4, frontend().max_netblock_ipv6),
        resolve=current_app.config.get(RESOLVER, probes.resolve),
        local=crawler().private_mirrors,
        now=now(),
    )
    if carried_out(form, lambda database: deleted_parts.bring_back(database, event, person)):
        target = url_for("operators.host", host_id=host.id) if host else back_to_site()[0]
        return saved(gettext("It is back."), target)
    return saved(" ".join(form.form_errors), url_for("operators.deleted"))
