"""What the engine says while it asks a mirror, for those who want to follow: an operator's question, the host's log."""

from __future__ import annotations

from typing import Protocol


class Notes(Protocol):
    """Hears of each decision, in the order in which they are made.

    Events and their fields (all values are strings or numbers, as a person reads them):
    `asked` (method, url), `answered` (url, found), `judged` (directory: its id, verdict, url, expected, found),
    `protocol` (url, reason: from here on this URL is asked, in this way), `failed` (reason,
    mostly url: the next is tried), `listed` (url, entries, directories), `stopped` (reason), `redirected` (url, to).
    """

    def note(self, event: str, **fields: object) -> None:
        """Take one down. It must be quick and must not raise: the crawl of this mirror waits for it."""


class NoNotes:
    """Nobody wants to know."""

    def note(self, event: str, **fields: object) -> None:
        """Forget it."""


NO_NOTES = NoNotes()


class BothNotes:
    """Two who hear the same."""

    def __init__(self, first: Notes, second: Notes) -> None:
        self._first = first
        self._second = second

    def note(self, event: str, **fields: object) -> None:
        """Tell both."""
        self._first.note(event, **fields)
        self._second.note(event, **fields)
