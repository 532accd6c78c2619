"""New sites that wait until an administrator has looked at them."""

from __future__ import annotations

from flask import render_template, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import SelectChoice, SelectField, TextAreaField
from wtforms.validators import Length

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.pages import form_page
from mm_frontend.db import Work, session
from mm_frontend.operators.forms import required
from mm_frontend.operators.pages import carried_out, me, saved
from mm_frontend.settings import frontend
from mm_lib.services import approvals, membership, overview

APPROVE, DECLINE = "approve", "decline"


class DecisionForm(FlaskForm):  # type: ignore[misc]
    """Yes or no, and why."""

    decision = SelectField(
        "Decision",
        [required("a decision")],
        choices=[
            SelectChoice("", "Choose"),
            SelectChoice(APPROVE, "Approve: its hosts are crawled and served"),
            SelectChoice(DECLINE, "Decline: it stays switched off"),
        ],
    )
    reason = TextAreaField(
        "Message", [Length(max=500)], description="Mailed to the people of the site; needed to decline."
    )


@blueprint.get("/approvals")
def approval_queue() -> ResponseReturnValue:
    """What waits."""
    return render_template("admin/approvals.html", waiting=approvals.queue(session()), on=frontend().approve_sites)


@blueprint.route("/approvals/<int:waiting_id>", methods=["GET", "POST"])
def approval(waiting_id: int) -> ResponseReturnValue:
    """Look at a site and decide."""
    site, form = approvals.find(session(), waiting_id), DecisionForm()

    def change(database: Work) -> None:
        if form.decision.data == APPROVE:
            approvals.approve(database, site, form.reason.data or "", me())
        else:
            approvals.decline(database, site, form.reason.data or "", me())

    if carried_out(form, change):
        return saved(f"{site.name} is {site.state_reason}.", url_for("admin.approval_queue"))
    return form_page(
        form,
        site.name,
        (url_for("admin.approval_queue"), "Sites that wait"),
        template="admin/approval.html",
        submit="Decide",
        site=site,
        members=membership.members(session(), site),
        hosts=overview.sites_with_hosts(session(), [site])[site.id],
    )
