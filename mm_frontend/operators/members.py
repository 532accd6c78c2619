"""Who speaks for a site: add, invite, let in, change, hand over and leave."""

from __future__ import annotations

from flask import abort, flash, make_response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_babel import lazy_gettext as _
from wtforms import SelectChoice

from mm_frontend.auth import mail
from mm_frontend.auth.blueprint import keep_nowhere
from mm_frontend.db import Work, session
from mm_frontend.guards import limiter, may, reached, the_viewer
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.forms import ConfirmForm, JoinForm, MemberForm, RoleForm, TransferForm
from mm_frontend.operators.pages import carried_out, form_page, me, now, removal, saved
from mm_frontend.operators.sites import back_to_site, the_site
from mm_frontend.settings import frontend
from mm_lib.model.sites import MemberRole, SiteInvitation, SiteJoinRequest, SiteMember
from mm_lib.services import invitations, membership
from mm_lib.services.access import MEMBER, OWN

INVITATIONS = "30 per hour"
REQUESTS = "10 per hour"
_SAME_ANSWER = _("Your request was sent, if there is a site of that name. Its members decide.")


@blueprint.route("/site/<int:site_id>/admin/new", methods=["GET", "POST"])
@limiter.limit(INVITATIONS, methods=["POST"])
def add_member(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Make a user a member, or invite somebody by mail."""
    form, site = MemberForm(), the_site()
    links: list[str] = []

    def change(database: Work) -> None:
        role = MemberRole(form.role.data)
        if "@" not in form.who.data:
            membership.add(database, site, form.who.data, role, by_owner=may(OWN))
            return
        _, token = membership.invite(database, site, form.who.data, role, by=me(), by_owner=may(OWN), now=now())
        links.append(link_of(token))

    if carried_out(form, change):
        if not links:
            return saved(gettext("%(who)s is a member now.", who=form.who.data.strip()), back_to_site()[0])
        write_invitation(form.who.data.strip(), links[0], by=me())
        page = render_template("operators/invited.html", site=site, email=form.who.data.strip(), link=links[0])
        return keep_nowhere(make_response(page))
    return form_page(form, gettext("Add a member"), back_to_site(), submit=gettext("Add or invite"))


def link_of(token: str) -> str:
    """What an invited person opens."""
    path = url_for("operators.invitation", token=token)
    return (
        f"{frontend().public_url.rstrip('/')}{path}"
        if frontend().public_url
        else url_for("operators.invitation", token=token, _external=True)
    )


def write_invitation(address: str, link: str, *, by: str) -> None:
    """The link is mailed at once and kept nowhere: whoever has it can use it."""
    if mail.is_set_up():
        name = the_site().name
        opening = gettext(
            "%(me)s invites you to look after the mirrors of %(name)s. To become a member, open:", me=by, name=name
        )
        closing = gettext("The link works once, for a week. If you do not know what this is about, do nothing.")
        mail.send(address, gettext("Invitation to %(name)s", name=name), f"{opening}\n\n{link}\n\n{closing}\n")


@blueprint.route("/invitation/<token>", methods=["GET", "POST"])
@limiter.limit(REQUESTS, methods=["POST"])
def invitation(token: str) -> ResponseReturnValue:
    """Accept an invitation that came by mail."""
    row, site = membership.find_invitation(session(), token, now())
    form, person, told = ConfirmForm(), the_viewer(), {"by": row.invited_by, "role": row.role.value}
    if carried_out(form, lambda database: membership.accept(database, row, site, person.user_id, person.name)):
        return saved(
            gettext("You are a member of %(name)s now.", name=site.name), url_for("operators.site", site_id=site.id)
        )
    page = render_template("operators/invitation.html", form=form, site=site, **told)
    return page, 422 if form.errors else 200


@blueprint.route("/site/<int:site_id>/invitation/<int:invitation_id>/delete", methods=["GET", "POST"])
def withdraw_invitation(site_id: int, invitation_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Make a mailed invitation void."""
    row, site = reached().the("invitation_id", SiteInvitation), the_site()
    return removal(
        ConfirmForm(),
        gettext("the invitation of %(email)s", email=row.email),
        back_to_site(),
        lambda database: invitations.withdraw(database, row, site),
    )


@blueprint.route("/site/<int:site_id>/admin/<int:member_id>/delete", methods=["GET", "POST"])
def remove_member(site_id: int, member_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """End a membership."""
    member = reached().the("member_id", SiteMember)
    return removal(
        ConfirmForm(),
        gettext("%(name)s from the members", name=member.user.name),
        back_to_site(),
        lambda database: membership.remove(database, member, by_owner=may(OWN)),
    )


@blueprint.route("/site/<int:site_id>/admin/<int:member_id>/role", methods=["GET", "POST"])
def member_role(site_id: int, member_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Give a member another role."""
    member = reached().the("member_id", SiteMember)
    form = RoleForm(role=member.role.value)
    if carried_out(form, lambda database: membership.set_role(database, member, MemberRole(form.role.data))):
        return saved(
            gettext("%(name)s is %(role)s now.", name=member.user.name, role=member.role.value), back_to_site()[0]
        )
    return form_page(form, gettext("Role of %(name)s", name=member.user.name), back_to_site())


@blueprint.route("/site/<int:site_id>/transfer", methods=["GET", "POST"])
def transfer(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Make another member the owner."""
    site, form = the_site(), TransferForm()
    others = {row.id: row for row in membership.members(session(), site) if row.user_id != the_viewer().user_id}
    form.to.choices = [SelectChoice(str(id_), row.user.name) for id_, row in others.items()]
    if carried_out(
        form, lambda database: membership.transfer(database, site, others[form.to.data], the_viewer().user_id)
    ):
        return saved(gettext("%(name)s is the owner now.", name=others[form.to.data].user.name), back_to_site()[0])
    stays = " " + gettext("You stay as an admin.") if may(MEMBER) else ""
    intro = gettext("The new owner may do everything with the site.") + stays
    return form_page(
        form, gettext("Hand %(name)s over", name=site.name), back_to_site(), intro=intro, submit=gettext("Hand over")
    )


@blueprint.route("/site/<int:site_id>/leave", methods=["GET", "POST"])
def leave(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """End one's own membership."""
    site = the_site()
    return removal(
        ConfirmForm(),
        gettext("yourself from the members of %(name)s", name=site.name),
        back_to_site(),
        lambda database: membership.leave(database, site, the_viewer().user_id),
        leads_to=url_for("operators.mine"),
    )


@blueprint.route("/site/join", methods=["GET", "POST"])
@limiter.limit(REQUESTS, methods=["POST"])
def ask_to_join() -> ResponseReturnValue:
    """Ask the members of a site to be let in."""
    form = JoinForm()

    def change(database: Work) -> None:
        membership.ask_to_join(database, form.site.data, the_viewer().user_id, form.message.data or "")

    if carried_out(form, change):
        return saved(_SAME_ANSWER, url_for("operators.mine"))
    return form_page(
        form, gettext("Ask to join a site"), (url_for("operators.mine"), gettext("My sites")), submit=gettext("Ask")
    )


@blueprint.post("/site/<int:site_id>/join/<int:request_id>/<decision>")
def answer_request(site_id: int, request_id: int, decision: str) -> ResponseReturnValue:  # noqa: ARG001
    """Let somebody in who asked, or not."""
    roles = {"viewer": MemberRole.VIEWER, "admin": MemberRole.ADMIN, "decline": None}
    if decision not in roles:
        abort(404)
    row, site, form = reached().the("request_id", SiteJoinRequest), the_site(), ConfirmForm()
    name = row.user.name
    if carried_out(form, lambda database: membership.answer(database, row, site, roles[decision])):
        flash(
            gettext("%(name)s was not let in.", name=name)
            if decision == "decline"
            else gettext("%(name)s is %(role)s now.", name=name, role=decision)
        )
    else:
        flash(" ".join(form.form_errors))
    return redirect(back_to_site()[0])
