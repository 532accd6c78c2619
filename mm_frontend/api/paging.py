"""Long lists page by page: a cursor says where the next page begins, whatever was added or removed meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, Field

from mm_frontend.api.problems import Problem
from mm_lib.services.access import LARGEST_ID
from mm_lib.services.slices import Slice

Item = TypeVar("Item", bound=BaseModel)
Row = TypeVar("Row")
MOST, USUAL = 500, 100


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(USUAL, ge=1, le=MOST, description="How many at most.")
    cursor: str = Field("", max_length=200, description="From the member next of the page before.")


class Page(BaseModel, Generic[Item]):
    """Some of a list, in an order that stays the same."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the page that follows; null: this is the last one.")


def wanted(query: PageQuery) -> Slice:
    """What to read: one more than the page holds, to see whether there are more. Raises Problem."""
    return Slice(_read(query.cursor) if query.cursor else None, query.limit + 1)


def page(rows: Sequence[Row], query: PageQuery, show: Callable[[Row], Item], key: Callable[[Row], int]) -> Page[Item]:
    """The page of rows that were read as wanted() says; `key` is what they are ordered by."""
    shown = rows[: query.limit]
    more = len(rows) > query.limit
    return Page(items=[show(row) for row in shown], next=_write(key(shown[-1])) if more else None)


def some(rows: Sequence[Row], query: PageQuery, show: Callable[[Row], Item], key: Callable[[Row], int]) -> Page[Item]:
    """A page of a list that is small enough to be read whole."""
    wanted_ = wanted(query)
    ordered = sorted(rows, key=key)
    after = [row for row in ordered if wanted_.after is None or key(row) > wanted_.after]
    return page(after[: wanted_.limit], query, show, key)


def _list() -> str:
    """Whose cursor it is: one of another list, or of another thing's list, leads nowhere."""
    return request.path


def _write(after: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([_list(), after]).encode()).decode().rstrip("=")


def _read(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        path, after = json.loads(text)
    except (binascii.Error, ValueError, TypeError):
        raise Problem("cursor") from None
    if path != _list() or type(after) is not int or not 0 <= after <= LARGEST_ID:
        raise Problem("cursor")
    return after
