"""Changes of the registry as values: shown before they are made, made in one transaction, kept as an event, undone.

An operation reads the database and returns a Plan; apply() makes it true and writes the AuditEvent. A change names its
row by a key and holds the values before and after (None: there is no such row), so an event can be undone as long as
every row still is as the event left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from mm_lib.model.accounts import AuditEvent, User
from mm_lib.model.base import Base, UtcDateTime
from mm_lib.model.content import Category, FileDetail, Product, Repository, RepositoryRedirect, Version
from mm_lib.model.hosts import HostNetblock
from mm_lib.services.audit import told_otherwise
from mm_lib.services.errors import NotFound, ServiceError

Values = dict[str, Any]

_TABLES: dict[str, type[Base]] = {
    "category": Category,
    "file": FileDetail,
    "netblock": HostNetblock,
    "product": Product,
    "redirect": RepositoryRedirect,
    "repository": Repository,
}


class ChangedMeanwhile(ServiceError):
    """A row is not as the change expects it."""


@dataclass(frozen=True)
class Change:
    """One row: `key` finds it among the `kind`; `was` and `becomes` hold the columns that change."""

    kind: str
    key: Values
    was: Values | None
    becomes: Values | None
    what: str  # the row, for people
    shown: tuple[str, str]  # before and after, for people

    def __str__(self) -> str:
        return f"{self.what}: {self.shown[0]} -> {self.shown[1]}"

    def reverse(self) -> Change:
        """What takes it back."""
        return Change(self.kind, self.key, self.becomes, self.was, self.what, (self.shown[1], self.shown[0]))


@dataclass(frozen=True)
class Plan:
    """What an operation is going to do, and what it leaves alone and why."""

    action: str
    subject: str
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def apply(session: Session, plan: Plan, actor: str) -> int | None:
    """Make a plan true and record it; the event's id, None when nothing changes. Raises ChangedMeanwhile."""
    if not plan.changes:
        return None
    with told_otherwise(session):
        for change in plan.changes:
            _apply(session, change)
    event = AuditEvent(
        actor_id=session.scalar(select(User.id).where(User.name == actor)),
        actor=actor,
        action=plan.action,
        object_type=plan.changes[0].kind,
        object_name=plan.subject,
        before={"changes": [_side(change, change.was, 0) for change in plan.changes]},
        after={"changes": [_side(change, change.becomes, 1) for change in plan.changes]},
    )
    session.add(event)
    session.flush()
    return event.id


def undo(session: Session, event_id: int) -> Plan:
    """The plan that takes an event back. Raises NotFound."""
    event = session.get(AuditEvent, event_id)
    if event is None:
        raise NotFound(f"There is no event {event_id}. `mm-admin events` shows them.")
    before, after = ((side or {}).get("changes") for side in (event.before, event.after))
    if before is None or after is None:
        raise NotFound(f"Event {event_id} ({event.action}) is not one that can be undone.")
    changes = [_from_sides(*sides).reverse() for sides in zip(before, after, strict=True)]
    return Plan(f"undo {event_id}", f"{event.action} {event.object_name}", changes[::-1])


def list_events(session: Session, limit: int) -> list[dict[str, Any]]:
    """The newest events first."""
    events = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit))
    return [
        {
            "id": event.id,
            "at": event.at,
            "actor": event.actor,
            "action": event.action,
            "subject": event.object_name,
            "changes": len((event.after or {}).get("changes", ())) or 1,
        }
        for event in events
    ]


def edit(kind: str, row: Base, what: str, values: Values, shown: tuple[str, str]) -> Change:
    """A change of some columns of a row that has an id."""
    was = {name: getattr(row, name) for name in values}
    return Change(kind, {"id": getattr(row, "id")}, was, values, what, shown)  # noqa: B009 # Base has no id


def _apply(session: Session, change: Change) -> None:
    table = _TABLES[change.kind]
    row = session.scalars(select(table).filter_by(**change.key).with_for_update()).one_or_none()
    if not _is_as(row, change.was):
        raise ChangedMeanwhile(
            f"{change.what} is not {change.shown[0]!r} any more: something else changed it. Nothing was changed."
        )
    if change.becomes is None:
        _refuse_loss(session, change, row)
        session.delete(row)
    elif row is None:
        session.add(table(**change.key, **change.becomes))
    else:
        for name, value in change.becomes.items():
            setattr(row, name, value)
    try:
        session.flush()
    except IntegrityError as error:
        raise ChangedMeanwhile(f"{change.what}: what it belongs to is gone, or its place is taken.") from error


def _refuse_loss(session: Session, change: Change, row: Base | None) -> None:
    """Whatever belongs to a product goes with it, and no event could bring that back."""
    if isinstance(row, Product):
        for table in (Version, Category):
            if session.scalars(select(table.id).where(table.product_id == row.id)).first():
                raise ChangedMeanwhile(f"{change.what} has versions or categories by now.")


def _is_as(row: Base | None, values: Values | None) -> bool:
    if row is None or values is None:
        return row is None and values is None
    return all(getattr(row, name) == value for name, value in values.items())


# -- as JSON


def _side(change: Change, values: Values | None, index: int) -> dict[str, Any]:
    return {
        "kind": change.kind,
        "key": change.key,
        "what": change.what,
        "shown": change.shown[index],
        "values": values and {name: _to_json(value) for name, value in values.items()},
    }


def _from_sides(before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    was, becomes = (_from_json(side["kind"], side["values"]) for side in (before, after))
    return Change(before["kind"], before["key"], was, becomes, before["what"], (before["shown"], after["shown"]))


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def _from_json(kind: str, values: Mapping[str, Any] | None) -> Values | None:
    if values is None:
        return None
    columns = _TABLES[kind].__table__.columns
    return {name: _restored(columns[name].type, value) for name, value in values.items()}


def _restored(kind: TypeEngine[Any], value: Any) -> Any:
    if isinstance(kind, UtcDateTime) and value is not None:
        return datetime.fromisoformat(value)
    return bytes.fromhex(value) if isinstance(kind, LargeBinary) and value is not None else value


def names(rows: Iterable[str]) -> str:
    """Some names in a message."""
    return ", ".join(sorted(rows)) or "none"
