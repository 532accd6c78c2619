"""Rows of tables made, changed and removed by administrators: each by the use case that has the rules for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mm_lib.model.base import Base
from mm_lib.services import table_reading
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.table_filling import By, Values, Writer, fill, key_of_row
from mm_lib.services.table_writers import WRITERS
from mm_lib.services.tables import Table


def writer(table: Table) -> Writer:
    """How its rows are changed. One that is read only has nothing in it."""
    return WRITERS.get(table.model, Writer())


def may_add(table: Table) -> bool:
    """Whether rows are made here."""
    return bool(writer(table).new)


def add(session: Session, table: Table, values: Values, by: By) -> str:
    """Make a row; its key. Raises InvalidValue, AlreadyExists, NotAllowed, NotFound."""
    how = writer(table)
    if not how.new:
        raise NotAllowed(f"{table.title} are not made here.")
    _refuse_others(values, how.new)
    for name in how.required.split():
        if values.get(name) in (None, ""):
            raise InvalidValue(name, "must have a value")
    with _told_readably(table):
        row = how.add(session, values, by) if how.add else _plain_add(session, table, values, how)
        session.flush()
    return key_of_row(table, row)


def edit(session: Session, table: Table, key: str, values: Values, by: By) -> None:
    """Change a row. Raises InvalidValue, AlreadyExists, NotAllowed, NotFound."""
    how = writer(table)
    if not how.change:
        raise NotAllowed(f"{table.title} are not changed here.")
    _refuse_others(values, how.change)
    for name in how.required.split():
        if name in values and values[name] in (None, ""):
            raise InvalidValue(name, "must have a value")
    row = load(session, table, key)
    with _told_readably(table):
        if how.edit:
            how.edit(session, row, values, by)
        else:
            fill(session, table, row, values, how.clean)
        session.flush()


def remove(session: Session, table: Table, key: str, by: By) -> None:
    """Remove a row. Raises NotAllowed, NotFound."""
    how = writer(table)
    if how.remove is None:
        raise NotAllowed(f"{table.title} are not removed here.")
    if how.kept_together and (held := what_goes_with(session, table, key)):
        belongs = ", ".join(f"{name}: {number}" for name, number in held.items())
        raise NotAllowed(f"Remove what belongs to it first: {belongs}.")
    how.remove(session, load(session, table, key), by)
    session.flush()


def what_goes_with(session: Session, table: Table, key: str) -> dict[str, str]:
    """What a removal takes along, by table."""
    return {
        each.table.title.lower(): f"{each.number.number}{'' if each.number.exact else ' and more'}"
        for each in table_reading.referrers(session, table, key)
        if each.goes_with_it
    }


def load(session: Session, table: Table, key: str) -> Base:
    """The row itself; not a deleted one. Raises NotFound."""
    row = session.scalar(select(table.model).where(table_reading.is_key(table, key)))
    if row is None:
        raise NotFound(f"There is no such {table.one}. It may have been deleted.")
    return row


def _refuse_others(values: Values, possible: str) -> None:
    for name in values:
        if name not in possible.split():
            raise InvalidValue(name, "cannot be set here")


def _plain_add(session: Session, table: Table, values: Values, how: Writer) -> Base:
    row = table.model()
    fill(session, table, row, values, how.clean)
    session.add(row)
    return row


@contextmanager
def _told_readably(table: Table) -> Iterator[None]:
    """What the database refuses becomes a refusal that says so; the transaction cannot go on after it."""
    try:
        yield
    except IntegrityError as error:
        raise InvalidValue(table.one, f"the database refuses it: {str(error.orig).strip()}") from error
