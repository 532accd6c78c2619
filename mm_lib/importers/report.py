"""What became of everything that an import was given: taken, changed, unchanged, repaired or refused, and why.

Things are counted by kind ("host", "url", "host_category_dir"); whatever was repaired or refused is a note, too, that
says where it stands in the source and why, so that nothing is dropped without a word. An importer fills one Report;
cli commands print it with `rows()`, `note_rows()` or `as_json()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SHOWN_ALIKE = 20  # notes with the same reason on a terminal; JSON has all


class Outcome(StrEnum):
    """What became of one thing."""

    TAKEN = "taken"  # new in the registry
    CHANGED = "changed"  # was there and is different now
    UNCHANGED = "unchanged"  # was there as it is in the source
    REPAIRED = "repaired"  # could not be taken as it stood; the note says what was taken instead
    REFUSED = "refused"  # not taken; the note says why


@dataclass(frozen=True)
class Note:
    """Something that was repaired or refused."""

    outcome: Outcome
    kind: str  # what it is: "host", "url", "country"
    where: str  # in the source: "file:line", "table id"
    subject: str  # whose, as people know it: a host's name, a URL
    reason: str


@dataclass
class Report:
    """What an import did, or would do."""

    counts: dict[str, Counter[Outcome]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def count(self, outcome: Outcome, kind: str, number: int = 1) -> None:
        """So many things of a kind had this outcome."""
        self.counts.setdefault(kind, Counter())[outcome] += number

    def repaired(self, kind: str, where: str, subject: str, reason: str) -> None:
        """Something was taken in another form. It is counted once more where it is taken."""
        self._note(Outcome.REPAIRED, kind, where, subject, reason)

    def refused(self, kind: str, where: str, subject: str, reason: str) -> None:
        """Something was not taken."""
        self._note(Outcome.REFUSED, kind, where, subject, reason)

    def add(self, note: Note) -> None:
        """Keep a note that somebody else made."""
        self._note(note.outcome, note.kind, note.where, note.subject, note.reason)

    def _note(self, outcome: Outcome, kind: str, where: str, subject: str, reason: str) -> None:
        self.count(outcome, kind)
        self.notes.append(Note(outcome, kind, where, subject, reason))

    def total(self, outcome: Outcome) -> int:
        """How many things had this outcome."""
        return sum(counter[outcome] for counter in self.counts.values())

    def rows(self) -> list[dict[str, Any]]:
        """A row per kind, for cli.common.show()."""
        return [
            {"kind": kind, **{outcome.value: counter[outcome] for outcome in Outcome}}
            for kind, counter in self.counts.items()
        ]

    def note_rows(self) -> list[dict[str, Any]]:
        """A row per note, for cli.common.show(); of many with one reason only the first, and how many more."""
        return list(self._note_rows())

    def _note_rows(self) -> Iterator[dict[str, Any]]:
        alike = Counter((note.outcome, note.kind, note.reason) for note in self.notes)
        shown: Counter[tuple[Outcome, str, str]] = Counter()
        for note in self.notes:
            key = (note.outcome, note.kind, note.reason)
            shown[key] += 1
            if shown[key] <= SHOWN_ALIKE:
                yield asdict(note)
            elif shown[key] == SHOWN_ALIKE + 1:
                more = f"and {alike[key] - SHOWN_ALIKE} more"
                yield {"outcome": note.outcome, "kind": note.kind, "where": "", "subject": more, "reason": note.reason}

    def as_json(self) -> Mapping[str, Any]:
        """Everything, for a program."""
        counts = {
            kind: {outcome.value: counter[outcome] for outcome in Outcome} for kind, counter in self.counts.items()
        }
        return {"counts": counts, "notes": [asdict(note) for note in self.notes]}


COUNT_COLUMNS = ("kind", *(outcome.value for outcome in Outcome))
NOTE_COLUMNS = ("outcome", "kind", "where", "subject", "reason")
