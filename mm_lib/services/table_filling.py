"""How rows of a table may be made, changed and removed, and the plain way where no use case has rules of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import UniqueConstraint, inspect, select
from sqlalchemy.orm import Session

from mm_lib.model.base import Base
from mm_lib.services import table_reading
from mm_lib.services.errors import AlreadyExists
from mm_lib.services.host_details import Resolve
from mm_lib.services.tables import Table

Values = Mapping[str, Any]  # attribute -> value; links are ids


class By(NamedTuple):
    """Who changes something, when, and how names are looked up."""

    name: str
    now: datetime
    resolve: Resolve


Clean = Mapping[str, Callable[[str, Any], Any]]


@dataclass(frozen=True)
class Writer:
    """How rows of a table are made, changed and removed. None: not here."""

    new: str = ""  # what is filled when one is made; empty: none is made here
    change: str = ""  # what can be changed later
    required: str = ""
    add: Callable[[Session, Values, By], Base] | None = None
    edit: Callable[[Session, Any, Values, By], None] | None = None
    remove: Callable[[Session, Any, By], None] | None = None
    clean: Clean = field(default_factory=dict)  # for the plain way
    kept_together: bool = False  # not removed while anything would go with it
    note: str = ""  # for people, on its forms


def fill(session: Session, table: Table, row: Base, values: Values, clean: Clean) -> None:
    """Set values, cleaned. Raises InvalidValue, and AlreadyExists when another row has what may be there only once."""
    with session.no_autoflush:
        for name, value in values.items():
            setattr(row, name, clean[name](name, value) if name in clean and value is not None else value)
        _refuse_taken(session, table, row)


def _refuse_taken(session: Session, table: Table, row: Base) -> None:
    mapper = inspect(table.model)
    constraints = [
        each for each in getattr(mapper.local_table, "constraints", ()) if isinstance(each, UniqueConstraint)
    ]
    uniques: list[list[Any]] = [list(constraint.columns) for constraint in constraints]
    uniques += [[column] for column in mapper.local_table.columns if column.unique]
    uniques += [list(mapper.primary_key)] if len(mapper.primary_key) > 1 else []
    for columns in uniques:
        names = sorted(mapper.get_property_by_column(column).key for column in columns)
        values = {name: getattr(row, name) for name in names}
        if None in values.values():
            continue
        same = session.scalars(select(table.model).filter_by(**values)).first()
        if same is not None and same is not row:
            label = table_reading.title(session, table, key_of_row(table, same))
            raise AlreadyExists(f"There is {label} already; a second {table.one} cannot be the same.")


def key_of_row(table: Table, row: Base) -> str:
    """The primary key as an address has it."""
    return table_reading.key_of([getattr(row, attribute.key) for attribute in table.primary])
