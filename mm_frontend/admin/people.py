"""Users: find them, change what they may do, close and open their accounts, and link two accounts of one person."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import HiddenField, SelectChoice, SelectField
from wtforms.validators import InputRequired

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.pages import confirmation, form_page
from mm_frontend.db import Work, session
from mm_frontend.guards import the_viewer
from mm_frontend.operators.pages import carried_out, now, saved
from mm_frontend.settings import frontend
from mm_lib.model.accounts import Role, User
from mm_lib.services import accounts, identities, people, second_factor
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.people import PeopleFilter

ROLES = {
    Role.USER: "User: the own sites",
    Role.AUDITOR: "Auditor: reads everything, changes nothing",
    Role.ADMIN: "Administrator: may do everything",
}
STATES = {"active": True, "disabled": False}


class RoleForm(FlaskForm):  # type: ignore[misc]
    """What somebody may do beyond the own sites."""

    role = SelectField("Role", choices=[SelectChoice(role.value, name) for role, name in ROLES.items()])


class LinkForm(FlaskForm):  # type: ignore[misc]
    """Which two, as the page showed them."""

    closed = HiddenField(validators=[InputRequired()])
    kept = HiddenField(validators=[InputRequired()])


def _page(user: User) -> tuple[str, str]:
    return url_for("admin.user", user_id=user.id), user.name


@blueprint.get("/users")
def user_list() -> ResponseReturnValue:
    """Search for users."""
    asked = {name: request.args.get(name, "").strip() for name in ("text", "role", "state")}
    role = Role(asked["role"]) if asked["role"] in set(Role) else None
    wanted = PeopleFilter(asked["text"], role, STATES.get(asked["state"]))
    page = people.page(session(), wanted, request.args.get("page", 1, int), frontend().page_size)

    def link(number: int) -> str:
        filters: dict[str, Any] = {name: value for name, value in asked.items() if value}
        return url_for("admin.user_list", **filters, page=number)

    return render_template("admin/users.html", page=page, asked=asked, link=link, roles=ROLES, states=STATES)


@blueprint.get("/users/<int:user_id>")
def user(user_id: int) -> ResponseReturnValue:
    """One user with all that belongs to them."""
    found = people.find(session(), user_id)
    return render_template(
        "admin/user.html",
        user=found,
        has=people.belongings(session(), found, now()),
        roles=ROLES,
        candidates=people.candidates(session(), found),
        oneself=found.id == the_viewer().user_id,
    )


@blueprint.route("/users/<int:user_id>/role", methods=["GET", "POST"])
def user_role(user_id: int) -> ResponseReturnValue:
    """Give somebody more rights, or less."""
    found, form = people.find(session(), user_id), RoleForm()
    if not form.is_submitted():
        form.role.data = found.role.value

    def change(database: Work) -> None:
        people.set_role(database, found, Role(form.role.data), the_viewer().user_id)

    if carried_out(form, change):
        return saved(f"{found.name} is {found.role.value}.", _page(found)[0])
    intro = "Groups of a directory or provider may give more, for as long as somebody is signed in from there."
    return form_page(form, f"Role of {found.name}", _page(found), intro=intro)


@blueprint.route("/users/<int:user_id>/state", methods=["GET", "POST"])
def user_state(user_id: int) -> ResponseReturnValue:
    """Close an account, or open it again."""
    found = people.find(session(), user_id)
    on = request.form.get("on", "") == "1" if request.method == "POST" else not found.active
    follows = (
        ["They can sign in again."]
        if on
        else ["They are signed out everywhere and cannot sign in.", "Their sites, hosts and API tokens stay."]
    )
    word = "Enable" if on else "Disable"
    return confirmation(
        f"{word} {found.name}?",
        word,
        _page(found),
        lambda database: people.set_active(database, found, on, the_viewer().user_id),
        done=f"{found.name} is {'enabled' if on else 'disabled'}.",
        follows=follows,
        danger=not on,
        values={"on": "1" if on else "0"},
    )


@blueprint.route("/users/<int:user_id>/sign-ins/end", methods=["GET", "POST"])
def end_user_sign_ins(user_id: int) -> ResponseReturnValue:
    """Sign somebody out everywhere."""
    found = people.find(session(), user_id)
    return confirmation(
        f"End all sign-ins of {found.name}?",
        "End them",
        _page(found),
        lambda database: people.end_sign_ins(database, found),
        done=f"{found.name} is signed out everywhere.",
    )


@blueprint.route("/users/<int:user_id>/code/off", methods=["GET", "POST"])
def reset_user_code(user_id: int) -> ResponseReturnValue:
    """Device and recovery codes are lost."""
    found = people.find(session(), user_id)
    follows = ["Their password alone opens the account.", "They are signed out everywhere."]
    return confirmation(
        f"Ask {found.name} for no one-time codes any more?",
        "Switch them off",
        _page(found),
        lambda database: second_factor.switch_off(database, found),
        done=f"One-time codes of {found.name} are off.",
        follows=["Be sure that it is really they who ask for it.", *follows],
    )


@blueprint.route("/users/<int:user_id>/mail/confirm", methods=["GET", "POST"])
def confirm_user_mail(user_id: int) -> ResponseReturnValue:
    """An administrator knows that the address is theirs."""
    found = people.find(session(), user_id)
    return confirmation(
        f"Is {found.email or 'no address'} the address of {found.name}?",
        "Yes, it is theirs",
        _page(found),
        lambda database: people.confirm_address(database, found, request.form.get("email", ""), now()),
        done=f"The address of {found.name} counts as confirmed.",
        follows=["Accounts with the same confirmed address are suggested for linking."],
        danger=False,
        values={"email": found.email},
    )


# -- two accounts of one person


@blueprint.route("/users/<int:user_id>/link", methods=["GET", "POST"])
def link_users(user_id: int) -> ResponseReturnValue:
    """Two accounts are one person's: choose the other one, see what would happen, confirm."""
    found, form = people.find(session(), user_id), LinkForm()
    if request.method == "GET" and not request.args.get("other"):
        return _choose(found, "")
    try:
        closed, kept = _both(found, form)
        effect = people.link_effect(session(), closed, kept, now())
    except (InvalidValue, NotFound) as error:
        return _choose(found, str(error))

    def change(database: Work) -> None:
        if closed.id == the_viewer().user_id:
            raise NotAllowed("That would close your own account. Keep it, or let another administrator do it.")
        identities.link(database, closed.name, kept.name)

    if carried_out(form, change):
        return saved(f"{closed.name} and {kept.name} are one: {kept.name}.", _page(kept)[0])
    form.closed.data, form.kept.data = closed.name, kept.name
    other = kept if closed is found else closed
    return form_page(
        form,
        f"Make {closed.name} and {kept.name} one?",
        _page(found),
        template="admin/link.html",
        submit=f"Yes, keep {kept.name} and close {closed.name}",
        effect=effect,
        accounts=[(each, people.belongings(session(), each, now())) for each in (kept, closed)],
        swap=url_for(
            "admin.link_users", user_id=found.id, other=other.name, keep="this" if kept is not found else "other"
        ),
    )


def _both(found: User, form: LinkForm) -> tuple[User, User]:
    """The account that is closed and the one that is kept. Raises NotFound, InvalidValue."""
    if request.method == "POST":
        closed, kept = (accounts.find_user(session(), field.data or "") for field in (form.closed, form.kept))
        if found.id not in (closed.id, kept.id):
            raise InvalidValue("other", "begin again: this is another user's page")
        return closed, kept
    other = accounts.find_user(session(), request.args["other"])
    return (other, found) if request.args.get("keep") != "other" else (found, other)


def _choose(found: User, problem: str) -> ResponseReturnValue:
    page = render_template(
        "admin/link_choose.html",
        user=found,
        back=_page(found),
        problem=problem,
        typed=request.args.get("other", ""),
        candidates=people.candidates(session(), found),
    )
    return page, 422 if problem else 200


@blueprint.route("/identities/<int:identity_id>/apart", methods=["GET", "POST"])
def tell_apart(identity_id: int) -> ResponseReturnValue:
    """What was linked is two people after all."""
    identity = identities.find_identity(session(), identity_id)
    owner, became = identity.user, []
    answer = confirmation(
        f"Take {identity.subject} away from {owner.name}?",
        "Tell them apart",
        _page(owner),
        lambda database: became.append(identities.tell_apart(database, identity)),
        done=f"{identity.subject} has an account of its own again.",
        follows=[
            f"Who signs in as {identity.subject} at {identity.issuer} gets the account of before, or a new one.",
            f"Sites and groups stay with {owner.name}: make the other one a member where that is right.",
            "Sign-ins that were made that way end.",
        ],
    )
    if became:
        flash(f"That account is {became[0].name}.")
        return redirect(_page(became[0])[0])
    return answer
