"""What a site's private mirrors check in with: the password, when it was changed, and when each mirror used it."""

from __future__ import annotations

from datetime import timedelta

from flask import make_response, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from mm_frontend.db import Work, session
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.forms import ConfirmForm, PasswordForm
from mm_frontend.operators.pages import carried_out, now, removal
from mm_frontend.operators.sites import back_to_site, the_site
from mm_frontend.settings import frontend
from mm_lib.services import overview, site_passwords


@blueprint.route("/site/<int:site_id>/check-in", methods=["GET", "POST"])
def check_in(site_id: int) -> ResponseReturnValue:  # noqa: ARG001  the guard has it
    """Set the password of a site's check-ins; it is shown once, in the answer to the form."""
    found, form, made = the_site(), PasswordForm(), []

    def change(database: Work) -> None:
        overlap = timedelta(days=form.days.data)
        made.append(site_passwords.change(database, found, now(), overlap=overlap))

    done = carried_out(form, change)
    page = render_template(
        "operators/check_in.html",
        site=found,
        form=PasswordForm(formdata=None) if done else form,
        password=made[0] if done else "",
        passwords=site_passwords.current(session(), found, now()),
        hosts=[host for host in overview.sites_with_hosts(session(), [found])[found.id] if host.private],
        server=f"{frontend().public_url}{url_for('checkin.call')}",
    )
    response = make_response(page, 422 if form.errors else 200)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.route("/site/<int:site_id>/check-in/withdraw", methods=["GET", "POST"])
def withdraw_password(site_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Let no password of a site work any more."""
    return removal(
        ConfirmForm(),
        gettext("the check-in password"),
        back_to_site(),
        lambda database: site_passwords.withdraw(database, the_site()),
        note=gettext("No mirror of the site can check in until it has a new one, or a token."),
        leads_to=url_for("operators.check_in", site_id=the_site().id),
    )
