"""API tokens, one's own and those of a site: list, make (shown once), revoke."""

from __future__ import annotations

from datetime import timedelta

from flask import make_response, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from wtforms import SelectChoice

from mm_frontend.auth.blueprint import keep_nowhere
from mm_frontend.db import Work, session
from mm_frontend.guards import reached, the_viewer
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.forms import ConfirmForm, TokenForm
from mm_frontend.operators.pages import carried_out, me, now, removal
from mm_frontend.operators.sites import back_to_site, the_site
from mm_lib.model.accounts import ApiToken, User
from mm_lib.model.sites import Site
from mm_lib.services import accounts, membership, tokens

Owner = User | Site


def _myself() -> User:
    return accounts.active_user(session(), the_viewer().user_id)


def _mine() -> tuple[str, str]:
    return url_for("operators.my_tokens"), gettext("Your API tokens")


def _of_site() -> tuple[str, str]:
    return url_for("operators.site_tokens", site_id=the_site().id), gettext(
        "API tokens of %(name)s", name=the_site().name
    )


@blueprint.get("/account/tokens")
def my_tokens() -> ResponseReturnValue:
    """What programs of one's own prove themselves with."""
    back = (url_for("auth.account"), "Account")
    return _list(_myself(), _mine()[1], back, url_for("operators.new_my_token"))


@blueprint.get("/site/<int:site_id>/tokens")
def site_tokens(site_id: int) -> ResponseReturnValue:
    """What programs of a site prove themselves with."""
    new = url_for("operators.new_site_token", site_id=site_id)
    return _list(the_site(), _of_site()[1], back_to_site(), new)


def _list(owner: Owner, title: str, back: tuple[str, str], new: str) -> str:
    members = {row.user.name for row in membership.members(session(), owner)} if isinstance(owner, Site) else None
    return render_template(
        "operators/tokens.html",
        title=title,
        back=back,
        new=new,
        tokens=tokens.list_tokens(session(), owner, now()),
        has_ended=lambda token: tokens.has_ended(token, now()),
        members=members,
    )


@blueprint.route("/account/tokens/new", methods=["GET", "POST"])
def new_my_token() -> ResponseReturnValue:
    """Make a token that acts for oneself."""
    return _new(_myself(), _mine())


@blueprint.route("/site/<int:site_id>/tokens/new", methods=["GET", "POST"])
def new_site_token(site_id: int) -> ResponseReturnValue:  # noqa: ARG001  the guard has it
    """Make a token that acts for the site."""
    return _new(the_site(), _of_site())


def _new(owner: Owner, back: tuple[str, str]) -> ResponseReturnValue:
    form, role, made = TokenForm(), the_viewer().role, []
    form.scopes.choices = [
        SelectChoice(scope.value, f"{scope.value}: {tokens.ABOUT[scope]}") for scope in tokens.choices(owner, role)
    ]

    def change(database: Work) -> None:
        lifetime = timedelta(days=form.days.data) if form.days.data else None
        name, scopes = form.name.data, form.scopes.data
        made.append(tokens.make(database, owner, name, scopes, by=me(), role=role, now=now(), lifetime=lifetime))

    if carried_out(form, change):
        token, text = made[0]
        return keep_nowhere(make_response(render_template("operators/token.html", token=token, text=text, back=back)))
    title = gettext("New token") if isinstance(owner, User) else gettext("New token of %(name)s", name=owner.name)
    page = render_template("operators/token_new.html", form=form, title=title, back=back)
    return page, 422 if form.errors else 200


@blueprint.route("/account/tokens/<int:own_token_id>/revoke", methods=["GET", "POST"])
def revoke_my_token(own_token_id: int) -> ResponseReturnValue:
    """One's own token opens nothing any more."""
    return _revoke(tokens.find_own(session(), _myself(), own_token_id), _mine())


@blueprint.route("/site/<int:site_id>/tokens/<int:token_id>/revoke", methods=["GET", "POST"])
def revoke_site_token(site_id: int, token_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """A token of the site opens nothing any more."""
    return _revoke(reached().the("token_id", ApiToken), _of_site())


def _revoke(token: ApiToken, back: tuple[str, str]) -> ResponseReturnValue:
    return removal(
        ConfirmForm(),
        gettext("the token %(name)s", name=token.name),
        back,
        lambda database: tokens.revoke(database, token, now()),
        note=gettext("Programs that use it are refused from then on."),
    )
