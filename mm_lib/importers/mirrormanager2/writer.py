"""Rows into our tables: those that are new are added, those that differ are changed, and nothing is taken away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from mm_lib.importers.report import Outcome, Report
from mm_lib.model.base import Base

BATCH = 2_000
Key = tuple[Any, ...]
Values = dict[str, Any]


class Writer:
    """Works on a session's connection: tens of thousands of rows are no objects."""

    def __init__(self, session: Session, report: Report) -> None:
        self.session = session
        self.report = report

    @property
    def connection(self) -> Connection:
        """The session's connection, with everything of the session written to it."""
        self.session.flush()
        return self.session.connection()

    def known(self, model: type[Base], *names: str) -> list[Any]:
        """These columns of all rows that are not deleted."""
        table = _table(model)
        query = select(*(table.c[name] for name in names))
        return list(
            self.connection.execute(query.where(table.c.deleted_at.is_(None)) if "deleted_at" in table.c else query)
        )

    def ids(self, model: type[Base], *key: str) -> dict[Key, int]:
        """The number of each row by its key."""
        return {tuple(row[1:]): row[0] for row in self.known(model, "id", *key)}

    def put(
        self, kind: str, model: type[Base], key: Sequence[str], rows: Iterable[Values], keep: Sequence[str] = ()
    ) -> None:
        """Rows that all have the same columns. Those in `keep` are set when a row is new, and left alone afterwards."""
        rows = list(rows)
        if not rows:
            return
        table, values = _table(model), [name for name in rows[0] if name not in (*key, *keep)]
        primary = [column.name for column in table.primary_key]
        there = {tuple(row[: len(key)]): row[len(key) :] for row in self.known(model, *key, *values, *primary)}
        new, changed, same, met = [], [], 0, set[Key]()
        for row in rows:
            of = tuple(row[name] for name in key)
            if of in met:
                self.report.refused(kind, kind, str(of[-1]), "another has its name when both are written properly")
                continue
            met.add(of)
            before = there.get(of)
            if before is None:
                new.append(row)
            elif list(before[: len(values)]) != [row[name] for name in values]:
                identity = dict(zip((f"_{name}" for name in primary), before[len(values) :], strict=True))
                changed.append({name: row[name] for name in values} | identity)
            else:
                same += 1
        self.insert(model, new)
        self._update(table, values, primary, changed)
        for outcome, number in ((Outcome.TAKEN, len(new)), (Outcome.CHANGED, len(changed)), (Outcome.UNCHANGED, same)):
            self.report.count(outcome, kind, number)

    def insert(self, model: type[Base], rows: Iterable[Values]) -> None:
        """Add rows that all have the same columns."""
        rest = iter(rows)
        while batch := list(islice(rest, BATCH)):
            self.connection.execute(insert(_table(model)), batch)

    def _update(self, table: Table, values: Sequence[str], primary: Sequence[str], rows: list[Values]) -> None:
        if not rows:
            return
        query = update(table).values({name: bindparam(name) for name in values})
        self.connection.execute(query.where(*(table.c[name] == bindparam(f"_{name}") for name in primary)), rows)


class Keys(dict[Key, str]):
    """Keys that were met in the source, each with where: of two rows with one key only the first can be taken."""

    def __init__(self, report: Report, kind: str) -> None:
        super().__init__()
        self._report, self._kind = report, kind

    def free(self, key: Key, where: str, subject: str) -> bool:
        """Whether nobody had it before; else it is reported."""
        if key in self:
            self._report.refused(self._kind, where, subject, f"is there twice; {self[key]} was taken")
            return False
        self[key] = where
        return True


def _table(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


Ids = Mapping[int, int]  # number in the source -> number with us
