"""What a report is made of, before it becomes Markdown, HTML or PDF: text, lists, tables and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of short facts."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text; `numbers` are the places of columns that stand at the right."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Chart:
    """Numbers to be drawn, and in words what can be seen."""

    caption: str
    labels: tuple[str, ...]
    values: tuple[int, ...]
    alternative: str
    bars: bool = False  # beside each other by name; else a line over time


Block: TypeAlias = Text | Bullets | Table | Chart


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it; level 2 is the highest."""

    title: str
    level: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report. It bears the end of its period, not the moment when it was made: same data, same report."""

    title: str
    ends_at: datetime
    introduction: tuple[Block, ...]
    sections: tuple[Section, ...] = field(default=())

    @property
    def charts(self) -> list[Chart]:
        """All of them, in order."""
        blocks = [*self.introduction, *(block for section in self.sections for block in section.blocks)]
        return [block for block in blocks if isinstance(block, Chart)]


def number(value: int) -> str:
    """As people read it."""
    return f"{value:,}"


def percent(share: float | None) -> str:
    """A share; nothing known is a dash. What is not all is never rounded up to 100."""
    if share is None:
        return "–"
    return f"{min(share, 0.999) if share < 1 else share:.1%}".replace("%", " %")


def change(now: int, before: int | None) -> str:
    """How much more or less than before, in per cent."""
    if before is None:
        return "–"
    if before == 0:
        return "new" if now else "–"
    return f"{(now - before) / before:+.1%}".replace("%", " %")


def duration(seconds: float | None) -> str:
    """Minutes, hours or days, as fine as measurements are."""
    if seconds is None:
        return "not reached"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"


def days(first: date, last: date) -> str:
    """A period in words."""
    return first.isoformat() if first == last else f"{first} to {last}"


def chart(caption: str, unit: str, points: Sequence[tuple[str, int]], *, bars: bool = False) -> Chart:
    """A chart that says in words where it is lowest and highest."""
    low, high = min(points, key=lambda point: point[1]), max(points, key=lambda point: point[1])
    kind = "Bar chart" if bars else "Line chart"
    told = f"{kind}: {caption}. Lowest: {number(low[1])} {unit} ({low[0]}). Highest: {number(high[1])} ({high[0]})."
    return Chart(caption, tuple(name for name, _ in points), tuple(value for _, value in points), told, bars)
