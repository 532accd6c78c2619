"""Deleted sites and hosts are out of sight: no query finds them, unless it says that it looks for them.

One rule for all queries: the cache, the crawler, the pages and whatever is written next cannot forget it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from mm_lib.model.hosts import Host
from mm_lib.model.sites import Site

_OPTION = "with_deleted"
WITH_DELETED: dict[str, Any] = {_OPTION: True}  # execution options of a query that looks for deleted rows as well

# Made once: making them takes longer than many a query.
_HIDDEN = tuple(with_loader_criteria(table, table.deleted_at.is_(None), include_aliases=True) for table in (Site, Host))


@event.listens_for(Session, "do_orm_execute")
def _hide(state: ORMExecuteState) -> None:
    if state.is_select and not state.is_column_load and not state.execution_options.get(_OPTION):
        state.statement = state.statement.options(*_HIDDEN)
