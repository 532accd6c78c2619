"""Messages at the top of every page: list, add, change, remove."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import render_template, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import DateTimeLocalField, SelectChoice, SelectField, TextAreaField
from wtforms.validators import Length, Optional

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.pages import form_page
from mm_frontend.banners import forget
from mm_frontend.db import Work, session
from mm_frontend.operators.forms import ConfirmForm, required
from mm_frontend.operators.pages import carried_out, me, now, removal, saved, with_values
from mm_frontend.settings import brand
from mm_lib.model.banners import Audience, Banner, Level
from mm_lib.services import banners
from mm_lib.services.banners import MAX_TEXT, Message

LEVELS = {Level.NOTICE: "Notice", Level.WARNING: "Warning", Level.OUTAGE: "Outage"}
AUDIENCES = {
    Audience.ALL: "Everybody",
    Audience.SIGNED_IN: "Who is signed in",
    Audience.OPERATORS: "Members of sites",
    Audience.ADMINISTRATORS: "Administrators",
}
_MOMENT = "%Y-%m-%dT%H:%M"


class BannerForm(FlaskForm):  # type: ignore[misc]
    """A message."""

    text = TextAreaField(
        "Text", [required("a text"), Length(max=MAX_TEXT)], description="Plain text, at most 500 characters."
    )
    level = SelectField("Level", choices=[SelectChoice(level.value, name) for level, name in LEVELS.items()])
    audience = SelectField(
        "For whom",
        choices=[SelectChoice(each.value, name) for each, name in AUDIENCES.items()],
        description="Administrators see all of them.",
    )
    starts_at = DateTimeLocalField("From (UTC)", [Optional()], format=_MOMENT, description="Without: from now on.")
    ends_at = DateTimeLocalField(
        "Until (UTC)", [Optional()], format=_MOMENT, description="Without: until it is removed."
    )


def _back() -> tuple[str, str]:
    return url_for("admin.banner_list"), "Banners"


@blueprint.get("/banners")
def banner_list() -> ResponseReturnValue:
    """All of them."""
    rows, moment = banners.list_all(session()), now()
    return render_template(
        "admin/banners.html",
        rows=[(row, _phase(row, moment)) for row in rows],
        levels=LEVELS,
        audiences=AUDIENCES,
        configured=brand().banner,
    )


def _phase(row: Banner, moment: datetime) -> str:
    if row.starts_at > moment:
        return "later"
    return "over" if row.ends_at and row.ends_at <= moment else "shown"


@blueprint.route("/banners/new", methods=["GET", "POST"])
def new_banner() -> ResponseReturnValue:
    """Write one."""
    return _banner(BannerForm(), None, "New banner")


@blueprint.route("/banners/<int:banner_id>", methods=["GET", "POST"])
def edit_banner(banner_id: int) -> ResponseReturnValue:
    """Change one."""
    row = banners.find(session(), banner_id)
    return _banner(with_values(BannerForm(), row), row, "Change a banner")


def _banner(form: BannerForm, row: Banner | None, title: str) -> ResponseReturnValue:
    def change(database: Work) -> None:
        message = Message(
            form.text.data,
            Level(form.level.data),
            Audience(form.audience.data),
            _utc(form.starts_at.data),
            _utc(form.ends_at.data),
        )
        banners.save(database, row, message, by=me(), now=now())

    if carried_out(form, change):
        forget()
        return saved("Saved the banner. Public pages show it within a minute.", _back()[0])
    return form_page(form, title, _back())


def _utc(moment: Any) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


@blueprint.route("/banners/<int:banner_id>/delete", methods=["GET", "POST"])
def drop_banner(banner_id: int) -> ResponseReturnValue:
    """Remove one."""
    row = banners.find(session(), banner_id)
    answer = removal(ConfirmForm(), f"the banner “{row.text}”", _back(), lambda database: banners.remove(database, row))
    forget()
    return answer
