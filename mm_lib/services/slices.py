"""Parts of long tables for programs: so many rows after one id, so that no page skips or repeats anything."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

AnySelect = TypeVar("AnySelect", bound=Select[*tuple[Any, ...]])


class Slice(NamedTuple):
    """Rows after this id (None: from the beginning), and how many."""

    after: int | None
    limit: int

    def of(self, query: AnySelect, column: InstrumentedAttribute[int], *, newest_first: bool = False) -> AnySelect:
        """The query for these rows only, by id."""
        if self.after is not None:
            query = query.where(column < self.after if newest_first else column > self.after)
        return query.order_by(column.desc() if newest_first else column).limit(self.limit)
