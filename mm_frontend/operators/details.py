"""What belongs to a host: categories with their URLs, networks, countries, addresses, maintenance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

from flask import current_app, flash
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from wtforms import SelectChoice

from mm_frontend.db import Work, session
from mm_frontend.guards import reached
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.forms import (
    AclForm,
    AsnForm,
    CategoryEditForm,
    CategoryForm,
    ConfirmForm,
    CountryForm,
    MaintenanceForm,
    NameForm,
    NetblockForm,
    UrlForm,
)
from mm_frontend.operators.hosts import back_to_host, the_host
from mm_frontend.operators.pages import carried_out, form_page, me, now, removal, saved, unlimited, with_values
from mm_frontend.settings import crawler, everything, frontend
from mm_lib.model.base import Base
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    HostAclAddress,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostNetblock,
    Maintenance,
)
from mm_lib.services import doctor, host_details, hosts, maintenance, probes
from mm_lib.services.host_details import Limits

RESOLVER = "OPERATORS_RESOLVER"  # in the application's configuration: how DNS names are looked up


def _drop(row: Base, what: str, goes_with: dict[str, int] | None = None) -> ResponseReturnValue:
    return removal(
        ConfirmForm(),
        what,
        back_to_host(),
        lambda database: host_details.remove(database, row, unlimited=unlimited()),
        goes_with=goes_with,
    )


# -- networks


@blueprint.route("/host/<int:host_id>/netblock/new", methods=["GET", "POST"])
def new_netblock(host_id: int) -> ResponseReturnValue:  # noqa: ARG001  the guard has it
    """Prefer the host for the clients of a network."""
    return _netblock(NetblockForm(), None, gettext("New network"))


@blueprint.route("/host/<int:host_id>/host_netblock/<int:netblock_id>", methods=["GET", "POST"])
def edit_netblock(host_id: int, netblock_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Change a network."""
    row = reached().the("netblock_id", HostNetblock)
    return _netblock(with_values(NetblockForm(), row), row, gettext("Change %(netblock)s", netblock=row.netblock))


def _netblock(form: NetblockForm, row: HostNetblock | None, title: str) -> ResponseReturnValue:
    limits = None if unlimited() else Limits(frontend().max_netblock_ipv4, frontend().max_netblock_ipv6)
    resolve = current_app.config.get(RESOLVER, probes.resolve)

    def change(database: Work) -> None:
        text, name = form.netblock.data, form.name.data or ""
        host_details.save_netblock(database, the_host(), row, text, name, limits=limits, resolve=resolve)

    if carried_out(form, change):
        return saved(gettext("Saved the network."), back_to_host()[0])
    return form_page(form, title, back_to_host(), intro=gettext("Clients of this network get the host first."))


@blueprint.route("/host/<int:host_id>/host_netblock/<int:netblock_id>/delete", methods=["GET", "POST"])
def drop_netblock(host_id: int, netblock_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Remove a network."""
    row = reached().the("netblock_id", HostNetblock)
    return _drop(row, gettext("the network %(netblock)s", netblock=row.netblock))


@blueprint.route("/host/<int:host_id>/asn/new", methods=["GET", "POST"])
def new_asn(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Prefer the host for the clients of another autonomous system."""
    form = AsnForm()

    def change(database: Work) -> None:
        hosts.add_asn(database, the_host(), form.asn.data, AsnKind.PEER, form.name.data or "")

    if carried_out(form, change):
        return saved(gettext("Added AS%(asn)s.", asn=form.asn.data), back_to_host()[0])
    return form_page(
        form,
        gettext("New peer"),
        back_to_host(),
        intro=gettext("Clients of this autonomous system get the host first."),
    )


@blueprint.route("/host/<int:host_id>/host_asn/<int:asn_id>", methods=["GET", "POST"])
def edit_asn(host_id: int, asn_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Change the name of an autonomous system."""
    row = reached().the("asn_id", HostAsn)
    form = with_values(NameForm(), row)
    if carried_out(form, lambda database: host_details.rename_asn(database, row, form.name.data or "")):
        return saved(gettext("Saved AS%(asn)s.", asn=row.asn), back_to_host()[0])
    return form_page(form, gettext("Change AS%(asn)s", asn=row.asn), back_to_host())


@blueprint.route("/host/<int:host_id>/host_asn/<int:asn_id>/delete", methods=["GET", "POST"])
def drop_asn(host_id: int, asn_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Remove an autonomous system."""
    row = reached().the("asn_id", HostAsn)
    return _drop(row, f"AS{row.asn}")


@blueprint.route("/host/<int:host_id>/country/new", methods=["GET", "POST"])
def new_country(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Limit the host to a country, or let it count for one more."""
    form = CountryForm()

    def change(database: Work) -> None:
        hosts.add_country(database, the_host(), form.country.data, CountryKind(form.kind.data))

    if carried_out(form, change):
        return saved(gettext("Added %(country)s.", country=form.country.data.upper()), back_to_host()[0])
    return form_page(form, gettext("New country"), back_to_host())


@blueprint.route("/host/<int:host_id>/host_country/<int:country_id>", methods=["GET", "POST"])
def edit_country(host_id: int, country_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Change a country, or what it means."""
    row = reached().the("country_id", HostCountry)
    form, was = with_values(CountryForm(), row), row.country

    def change(database: Work) -> None:
        hosts.change_country(database, the_host(), row, form.country.data, CountryKind(form.kind.data))

    if carried_out(form, change):
        return saved(gettext("Saved %(name)s.", name=row.country), back_to_host()[0])
    return form_page(form, gettext("Change %(name)s", name=was), back_to_host())


@blueprint.route("/host/<int:host_id>/host_country/<int:country_id>/delete", methods=["GET", "POST"])
def drop_country(host_id: int, country_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Remove a country."""
    row = reached().the("country_id", HostCountry)
    return _drop(row, gettext("the country %(country)s", country=row.country))


@blueprint.route("/host/<int:host_id>/host_acl_ip/new", methods=["GET", "POST"])
def new_acl(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Let a machine pull from the master."""
    form = AclForm()
    if carried_out(form, lambda database: host_details.add_acl_address(database, the_host(), form.address.data)):
        return saved(gettext("Added the address."), back_to_host()[0])
    return form_page(
        form, gettext("New address"), back_to_host(), intro=gettext("It may pull from the master servers.")
    )


@blueprint.route("/host/<int:host_id>/host_acl_ip/<int:acl_id>", methods=["GET", "POST"])
def edit_acl(host_id: int, acl_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Let another machine pull from the master instead."""
    row = reached().the("acl_id", HostAclAddress)
    form, was = with_values(AclForm(), row), row.address

    def change(database: Work) -> None:
        host_details.change_acl_address(database, the_host(), row, form.address.data)

    if carried_out(form, change):
        return saved(gettext("Saved %(name)s.", name=row.address), back_to_host()[0])
    intro = gettext("It may pull from the master servers.")
    return form_page(form, gettext("Change %(name)s", name=was), back_to_host(), intro=intro)


@blueprint.route("/host/<int:host_id>/host_acl_ip/<int:acl_id>/delete", methods=["GET", "POST"])
def drop_acl(host_id: int, acl_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Let a machine no longer pull from the master."""
    row = reached().the("acl_id", HostAclAddress)
    return _drop(row, gettext("the address %(address)s", address=row.address))


# -- categories and URLs


@blueprint.route("/host/<int:host_id>/category/new", methods=["GET", "POST"])
def new_category(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Let the host carry a category."""
    form = CategoryForm()
    choices = host_details.category_choices(session(), the_host(), unlimited())
    form.category_id.choices = [SelectChoice(str(category.id), category.name) for category in choices]
    if not unlimited():
        del form.always_up_to_date

    def change(database: Work) -> None:
        always = bool(form.always_up_to_date.data) if unlimited() else False
        host_details.add_category(
            database, the_host(), form.category_id.data, always_up_to_date=always, unlimited=unlimited()
        )

    if carried_out(form, change):
        return saved(gettext("Added the category. Now say where it is."), back_to_host()[0])
    intro = "" if choices else gettext("It carries every category that there is for it.")
    return form_page(form, gettext("New category"), back_to_host(), intro=intro, submit=gettext("Add"))


@blueprint.route("/host/<int:host_id>/category/<int:carried_id>", methods=["GET", "POST"])
def edit_category(host_id: int, carried_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Change how a category is treated."""
    row = reached().the("carried_id", HostCategory)
    form = with_values(CategoryEditForm(), row)

    def change(database: Work) -> None:
        always = form.always_up_to_date.data
        host_details.edit_category(database, row, always_up_to_date=always, unlimited=unlimited())

    if carried_out(form, change):
        return saved(gettext("Saved %(name)s.", name=row.category.name), back_to_host()[0])
    return form_page(form, gettext("Change %(name)s", name=row.category.name), back_to_host())


@blueprint.route("/host/<int:host_id>/category/<int:carried_id>/delete", methods=["GET", "POST"])
def drop_category(host_id: int, carried_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Let the host no longer carry a category."""
    row = reached().the("carried_id", HostCategory)
    return _drop(row, gettext("the category %(name)s", name=row.category.name), {"URLs": len(row.urls)})


@blueprint.route("/host/<int:host_id>/category/<int:carried_id>/url/new", methods=["GET", "POST"])
def new_url(host_id: int, carried_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Say where a category is."""
    return _url(UrlForm(), None, gettext("New URL"))


@blueprint.route("/host/<int:host_id>/category/<int:carried_id>/url/<int:url_id>", methods=["GET", "POST"])
def edit_url(host_id: int, carried_id: int, url_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Change a URL."""
    row = reached().the("url_id", HostCategoryUrl)
    return _url(with_values(UrlForm(), row), row, gettext("Change a URL"))


def _url(form: UrlForm, row: HostCategoryUrl | None, title: str) -> ResponseReturnValue:
    carried = reached().the("carried_id", HostCategory)
    if not unlimited():
        del form.private  # private URLs are the administrators' to make

    def change(database: Work) -> None:
        private = form.private.data if unlimited() else None
        local = unlimited() or crawler().private_mirrors
        host_details.save_url(
            database, carried, row, form.url.data, private=private, local=local, unlimited=unlimited()
        )

    if carried_out(form, change):
        _hint()
        return saved(gettext("Saved the URL. Check now to see what is found there."), back_to_host()[0])
    intro = gettext("Where %(host)s has %(category)s.", host=the_host().name, category=carried.category.name)
    return form_page(form, title, back_to_host(), intro=intro)


def _hint() -> None:
    """Say what DNS and the country data make of the host's addresses. It is saved all the same: they may be wrong."""
    try:
        asked = probes.make(everything().geo, None, timeout=1.0)
    except probes.DatabaseUnusable:
        return
    resolve = current_app.config.get(RESOLVER, probes.resolve)
    for hint in doctor.hints(the_host(), replace(asked, resolve=resolve)):
        flash(gettext("Please look again: %(hint)s.", hint=hint))


@blueprint.route("/host/<int:host_id>/category/<int:carried_id>/url/<int:url_id>/delete", methods=["GET", "POST"])
def drop_url(host_id: int, carried_id: int, url_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Remove a URL."""
    row = reached().the("url_id", HostCategoryUrl)
    return _drop(row, gettext("the URL %(url)s", url=row.url))


# -- maintenance


@blueprint.route("/host/<int:host_id>/maintenance/new", methods=["GET", "POST"])
def new_maintenance(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Announce when the host is not to be handed out."""
    return _maintenance(MaintenanceForm(), None, gettext("Announce maintenance"))


@blueprint.route("/host/<int:host_id>/maintenance/<int:maintenance_id>", methods=["GET", "POST"])
def edit_maintenance(host_id: int, maintenance_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Move a window, or end it early."""
    row = reached().the("maintenance_id", Maintenance)
    return _maintenance(with_values(MaintenanceForm(), row), row, gettext("Change maintenance"))


def _maintenance(form: MaintenanceForm, row: Maintenance | None, title: str) -> ResponseReturnValue:
    def change(database: Work) -> None:
        window = (form.starts_at.data.replace(tzinfo=UTC), form.ends_at.data.replace(tzinfo=UTC))
        reason = form.reason.data or ""
        if row is None:
            maintenance.announce(database, the_host(), *window, reason=reason, by=me(), now=now())
        else:
            maintenance.change(database, row, *window, reason=reason, now=now())

    if carried_out(form, change):
        return saved(gettext("Saved the maintenance window."), back_to_host()[0])
    intro = gettext(
        "Between these moments clients are not sent to %(name)s, and nobody takes that for a failure.",
        name=the_host().name,
    )
    return form_page(form, title, back_to_host(), intro=intro)


@blueprint.route("/host/<int:host_id>/maintenance/<int:maintenance_id>/delete", methods=["GET", "POST"])
def drop_maintenance(host_id: int, maintenance_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Call maintenance off."""
    row = reached().the("maintenance_id", Maintenance)
    return _drop(row, gettext("the maintenance from %(starts_at)s UTC", starts_at=f"{row.starts_at:%Y-%m-%d %H:%M}"))
