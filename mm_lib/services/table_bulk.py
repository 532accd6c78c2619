"""One thing done to many rows: what would happen is told before, and is done in one transaction or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.base import Base, State
from mm_lib.model.content import Arch, Category, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.outbox import Webhook
from mm_lib.model.sites import Site
from mm_lib.services import accounts, host_details, table_links
from mm_lib.services.access import LARGEST_ID
from mm_lib.services.errors import InvalidValue, NotFound, ServiceError
from mm_lib.services.table_filling import By
from mm_lib.services.tables import Table

MOST_ROWS = 1_000  # in one transaction


class Effect(NamedTuple):
    """What happens to a row."""

    key: str
    name: str
    text: str
    does: bool  # false: it is left alone, and the text says why


@dataclass(frozen=True)
class Given:
    """What an action needs besides the rows."""

    reason: str = ""
    category_id: int | None = None


@dataclass(frozen=True)
class Action:
    """Something that can be done to many rows."""

    label: str
    tell: Callable[
        [Session, Sequence[Any], Given, By], list[tuple[str, bool]]
    ]  # for each row: what happens, or why not
    do: Callable[[Session, Any, Given, By], object]
    needs: str = ""  # "reason" or "category"


@dataclass(frozen=True)
class Task:
    """An action on some rows."""

    table: Table
    action: Action
    keys: Sequence[str]
    given: Given
    by: By


class Stale(ServiceError):
    """What would happen is not what was shown."""


def actions(table: Table) -> Mapping[str, Action]:
    """What can be done to many rows of a table."""
    return _ACTIONS.get(table.model, {})


def find(table: Table, name: str) -> Action:
    """The action of that name. Raises NotFound."""
    if name not in actions(table):
        raise NotFound(f"There is no such thing to do with {table.title}.")
    return actions(table)[name]


def preview(session: Session, task: Task) -> list[Effect]:
    """What would happen; a few queries, however many rows there are. Raises InvalidValue."""
    rows = _load(session, task)
    names = table_links.labels(session, task.table, [row.id for row in rows])
    told = task.action.tell(session, rows, task.given, task.by)
    return [Effect(str(row.id), names[row.id], text, does) for row, (text, does) in zip(rows, told, strict=True)]


def fingerprint(effects: Sequence[Effect]) -> str:
    """What was shown, so that nothing else is done."""
    return hashlib.sha256(json.dumps(effects).encode()).hexdigest()


def carry_out(session: Session, task: Task, seen: str) -> int:
    """Do it to every row that it does something to; how many. `seen` is the fingerprint of what was shown.

    Raises Stale, ServiceError; the caller then rolls back.
    """
    if task.action.needs == "reason" and not task.given.reason.strip():
        raise InvalidValue("reason", "say why; everybody who looks after it sees it")
    if task.action.needs == "category" and task.given.category_id is None:
        raise InvalidValue("category", "choose one")
    effects = preview(session, task)
    if fingerprint(effects) != seen:
        raise Stale("Something was changed meanwhile, so nothing was done. Look again at what would happen.")
    done = {effect.key for effect in effects if effect.does}
    for row in _load(session, task):
        if str(row.id) in done:
            task.action.do(session, row, task.given, task.by)
    session.flush()
    return len(done)


def _load(session: Session, task: Task) -> Sequence[Any]:
    ids = [int(key) for key in task.keys if key.isdecimal() and int(key) <= LARGEST_ID]
    if len(ids) > MOST_ROWS:
        raise InvalidValue("rows", f"are more than {MOST_ROWS}; a filter makes them fewer")
    if not ids:
        raise InvalidValue("rows", "are none: choose some")
    column = task.table.primary[0]
    return session.scalars(select(task.table.model).where(column.in_(ids)).order_by(column)).all()


# -- what can be done


def _switch(on: bool) -> Action:
    wanted = State.ACTIVE if on else State.ADMIN_DISABLED

    def tell(_session: Session, rows: Sequence[Host | Site], _given: Given, _by: By) -> list[tuple[str, bool]]:
        return [_told(row.state) for row in rows]

    def _told(state: State) -> tuple[str, bool]:
        if state is State.WAITING:
            return "waits for approval: decide about it in the queue", False
        if state is wanted:
            return f"is {_WORDS[state]} already", False
        return f"{_WORDS[state]} → {_WORDS[wanted]}", True

    def do(session: Session, row: Host | Site, given: Given, by: By) -> None:
        host_details.switch(session, row, on=on, reason=given.reason, by=by.name, unlimited=True)

    return Action("Enable" if on else "Disable", tell, do, "reason")


_WORDS = {
    State.ACTIVE: "active",
    State.OWNER_DISABLED: "switched off by its owner",
    State.ADMIN_DISABLED: "switched off by an administrator",
    State.AUTO_DISABLED: "switched off by the crawler",
    State.WAITING: "waiting",
}


def _flag(label: str, column: str, value: bool, words: tuple[str, str]) -> Action:
    """Sets a column that is yes or no; the words are for no and yes."""

    def tell(_session: Session, rows: Sequence[Base], _given: Given, _by: By) -> list[tuple[str, bool]]:
        same, changes = f"is {words[value]} already", f"{words[not value]} → {words[value]}"
        return [(same, False) if getattr(row, column) is value else (changes, True) for row in rows]

    def do(_session: Session, row: Base, _given: Given, _by: By) -> None:
        setattr(row, column, value)

    return Action(label, tell, do)


def _user(on: bool) -> Action:
    words = ("cannot sign in", "can sign in")

    def tell(_session: Session, rows: Sequence[User], _given: Given, by: By) -> list[tuple[str, bool]]:
        return [_told(row, by) for row in rows]

    def _told(row: User, by: By) -> tuple[str, bool]:
        if row.active is on:
            return f"{words[on]} already", False
        if row.name == by.name:
            return "is you: another administrator can do that", False
        return f"{words[not on]} → {words[on]}" + ("" if on else "; every sign-in ends"), True

    def do(session: Session, row: User, _given: Given, _by: By) -> None:
        accounts.set_user(session, row.name, active=on)

    return Action("Enable" if on else "Disable", tell, do)


def _assign() -> Action:
    def tell(session: Session, rows: Sequence[Host], given: Given, _by: By) -> list[tuple[str, bool]]:
        if given.category_id is None:
            return [("gets the category that you choose", True) for _ in rows]
        category = session.get(Category, given.category_id)
        if category is None:
            raise InvalidValue("category", "is none that there is")
        query = select(HostCategory.host_id).where(
            HostCategory.category_id == category.id, HostCategory.host_id.in_([row.id for row in rows])
        )
        carrying = set(session.scalars(query))
        have, gets = (
            f"carries {category.name} already",
            f"carries {category.name} from now on; its URLs are still to be added",
        )
        return [(have, False) if row.id in carrying else (gets, True) for row in rows]

    def do(session: Session, row: Host, given: Given, _by: By) -> None:
        assert given.category_id is not None
        host_details.add_category(session, row, given.category_id, always_up_to_date=False, unlimited=True)

    return Action("Assign a category", tell, do, "category")


_SHOWN = ("hidden", "shown")
_ON = ("disabled", "enabled")
_ACTIONS: Mapping[type[Base], Mapping[str, Action]] = {
    Host: {"enable": _switch(True), "disable": _switch(False), "category": _assign()},
    Site: {"enable": _switch(True), "disable": _switch(False)},
    User: {"enable": _user(True), "disable": _user(False)},
    Repository: {
        "enable": _flag("Enable", "enabled", True, _ON),
        "disable": _flag("Disable", "enabled", False, _ON),
        "pin": _flag("Pin", "pinned", True, ("not pinned", "pinned")),
        "unpin": _flag("Unpin", "pinned", False, ("not pinned", "pinned")),
    },
    Webhook: {
        "enable": _flag("Enable", "enabled", True, _ON),
        "disable": _flag("Disable", "enabled", False, _ON),
    },
    Version: {"show": _flag("Show", "display", True, _SHOWN), "hide": _flag("Hide", "display", False, _SHOWN)},
    **{
        model: {"show": _flag("Show", "public", True, _SHOWN), "hide": _flag("Hide", "public", False, _SHOWN)}
        for model in (Product, Arch, Category)
    },
}
