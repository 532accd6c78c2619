"""The form for a row of any table, made from the table's description."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import request
from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, HiddenField, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import Length

from mm_frontend.db import Work
from mm_lib.services import table_changes, table_links, table_reading
from mm_lib.services.errors import InvalidValue
from mm_lib.services.table_links import Link
from mm_lib.services.table_values import value_of
from mm_lib.services.tables import Column, Kind, Table

MOST = 10_000  # characters of a field
_LONG = frozenset({"comment", "downstream_comments"})
_HINTS = {
    Kind.TIME: "As 2026-11-30 12:00, in UTC.",
    Kind.DAY: "As 2026-11-30.",
    Kind.DATA: "JSON.",
    Kind.NUMBER: "A number, as 1.5.",
}


class LookupField(StringField):  # type: ignore[misc]
    """A row of another table by its name: all are offered where they are few, else the server looks for them."""

    offered: Sequence[Link] = ()
    found: Sequence[Link] | None = None  # what a search found; None: nothing was looked for
    target: str = ""


class RowForm(FlaskForm):  # type: ignore[misc]
    """The fields of a row; `seen` is what it was like when the form was made."""

    seen = HiddenField()


def make(session: Work, table: Table, names: Sequence[str], current: Mapping[str, Any] | None) -> RowForm:
    """The form with these columns; `current` has the values of a row that there is."""
    how = table_changes.writer(table)
    fields = {name: _field(table.columns[name]) for name in names}
    form: RowForm = type("FilledRowForm", (RowForm,), fields)()
    for name in names:
        column, field = table.columns[name], form[name]
        field.flags.required = name in how.required.split()
        if isinstance(field, LookupField):
            field.target, field.offered = column.target, table_links.few(session, column.target)
        if not form.is_submitted():
            field.data = _said(column, current[name] if current else _default(table, column))
    if not form.is_submitted():
        form.seen.data = fingerprint(table, current)
    return form


def fingerprint(table: Table, current: Mapping[str, Any] | None) -> str:
    """What a row is like in the columns that can be changed."""
    names = table_changes.writer(table).change.split()
    told = {name: table_reading.as_text(table.columns[name], current[name]) for name in names} if current else {}
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def values_of(session: Work, table: Table, form: RowForm) -> dict[str, Any]:
    """What was filled in; what cannot be used is said at its field."""
    found = {}
    for field in _columns(form):
        column = table.columns[field.name]
        try:
            if isinstance(field, LookupField):
                found[column.name] = _looked_up(session, column, field)
            else:
                found[column.name] = value_of(table, column, field.data)
        except InvalidValue as error:
            field.errors = [*field.errors, error.message.capitalize() + "."]
    return found


def _columns(form: RowForm) -> list[Field]:
    return [field for field in form if field.type not in ("CSRFTokenField", "HiddenField")]


def look_for(session: Work, form: RowForm, name: str) -> None:
    """Find rows for a look-up, for people to choose from."""
    for field in (each for each in form if isinstance(each, LookupField) and each.name == name):
        field.found = table_links.candidates(session, field.target, (field.data or "").strip())


def _looked_up(session: Work, column: Column, field: LookupField) -> int | None:
    chosen = request.form.get(f"{field.name}-chosen", "")
    text = f"#{chosen}" if chosen else (field.data or "").strip()
    if not text:
        if column.nullable:
            return None
        raise InvalidValue(column.name, "choose one")
    found = table_links.named(session, column.target, text)
    if found is None:
        field.found = table_links.candidates(session, column.target, text)
        raise InvalidValue(column.name, "choose which one is meant" if field.found else "nothing is called so")
    return found


def _field(column: Column) -> Any:
    more: dict[str, Any] = {
        "description": " ".join(filter(None, (_sentence(column.help), _HINTS.get(column.kind, "")))),
    }
    if column.kind is Kind.LINK:
        return LookupField(column.label, [Length(max=MOST)], **more)
    if column.kind is Kind.YES_NO and not column.nullable:
        return BooleanField(column.label, **more)
    if column.kind in (Kind.YES_NO, Kind.CHOICE):
        possible = column.choices or ("yes", "no")
        choices = [SelectChoice("", "Not known" if column.kind is Kind.YES_NO else "Choose")]
        choices += [SelectChoice(value, value) for value in possible]
        return SelectField(column.label, choices=choices, validate_choice=False, **more)
    long = column.kind is Kind.DATA or column.name in _LONG
    return (TextAreaField if long else StringField)(column.label, [Length(max=MOST)], **more)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _default(table: Table, column: Column) -> Any:
    """What the model begins with; an address may fill a form in advance."""
    if column.name in request.args:
        return request.args[column.name][:MOST]
    default = table.attribute(column.name).property.columns[0].default
    value = default.arg if default is not None and default.is_scalar else None
    return getattr(value, "value", value)


def _said(column: Column, value: Any) -> Any:
    """As a field holds it."""
    if column.kind is Kind.YES_NO and not column.nullable:
        return bool(value)
    if value is None:
        return ""
    if isinstance(value, Link):
        return value.text
    if column.kind is Kind.DATA:
        return json.dumps(value, indent=2, ensure_ascii=False)
    if column.kind is Kind.TIME and not isinstance(value, str):
        return f"{value:%Y-%m-%d %H:%M}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
