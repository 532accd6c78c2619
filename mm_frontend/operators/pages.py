"""What the pages for operators share: forms that are carried out by services, and questions before something goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_wtf import FlaskForm

from mm_frontend.db import Work, session
from mm_frontend.guards import may, the_viewer
from mm_frontend.operators.forms import SwitchForm
from mm_lib.database import transaction
from mm_lib.model.base import State
from mm_lib.model.hosts import Host
from mm_lib.model.sites import Site
from mm_lib.services import host_details
from mm_lib.services.access import ADMINISTER
from mm_lib.services.errors import InvalidValue, ServiceError

Change = Callable[[Work], object]


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def me() -> str:
    """Who does it, by name."""
    return the_viewer().name


def unlimited() -> bool:
    """Whether the rules for owners do not count."""
    return may(ADMINISTER)


def carried_out(form: FlaskForm, change: Change) -> bool:
    """Whether the form was sent, is right, and the change was made; else the form knows what is wrong."""
    if not form.validate_on_submit():
        return False
    try:
        with transaction(session()) as database:
            change(database)
    except InvalidValue as error:
        if error.field in form:
            form[error.field].errors = [*form[error.field].errors, error.message]
        else:
            form.form_errors.append(str(error))
    except ServiceError as error:
        form.form_errors.append(str(error))
    else:
        return True
    return False


def form_page(
    form: FlaskForm, title: str, back: tuple[str, str], *, intro: str = "", submit: str = ""
) -> ResponseReturnValue:
    """A page that is one form. `back` is the address and the name of where it belongs."""
    page = render_template(
        "operators/form.html", form=form, title=title, back=back, intro=intro, submit=submit or gettext("Save")
    )
    return page, 422 if form.errors else 200


def switching(thing: Host | Site, back: tuple[str, str]) -> ResponseReturnValue:
    """Switch a host or site on or off. The form says which: somebody else may have done it meanwhile."""
    form = SwitchForm()
    if not form.is_submitted():
        form.wanted.data = "off" if thing.state is State.ACTIVE else "on"
    on = form.wanted.data == "on"

    def change(database: Work) -> None:
        host_details.switch(database, thing, on=on, reason=form.reason.data, by=me(), unlimited=unlimited())

    name = thing.name
    if carried_out(form, change):
        said = gettext("%(name)s is switched on.", name=name) if on else gettext("%(name)s is switched off.", name=name)
        return saved(said, back[0])
    why = gettext("It was switched off: %(why)s", why=thing.state_reason)
    title = gettext("Switch %(name)s on", name=name) if on else gettext("Switch %(name)s off", name=name)
    intro = why if on and thing.state is not State.ACTIVE else ""
    return form_page(form, title, back, intro=intro, submit=gettext("Switch on") if on else gettext("Switch off"))


def removal(
    form: FlaskForm,
    what: str,
    back: tuple[str, str],
    change: Change,
    *,
    goes_with: Mapping[str, int] | None = None,
    note: str = "",
    leads_to: str = "",
) -> ResponseReturnValue:
    """Ask before something is removed, saying what goes with it; remove it when the answer is yes."""
    if carried_out(form, change):
        flash(gettext("Removed %(what)s.", what=what))
        return redirect(leads_to or back[0])
    counted = {name: number for name, number in (goes_with or {}).items() if number}
    page = render_template("operators/confirm.html", form=form, what=what, back=back, goes_with=counted, note=note)
    return page, 422 if form.errors else 200


def saved(message: str, target: str) -> ResponseReturnValue:
    """Say that it was done, and go on."""
    flash(message)
    return redirect(target)


def with_values(form: FlaskForm, row: Any) -> FlaskForm:
    """The form, filled with what there is when it was not sent."""
    if not form.is_submitted():
        form.process(obj=row)
    return form
