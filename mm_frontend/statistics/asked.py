"""What a reader of the statistics asks for: addresses and form fields in, clean values out. Wrong ones never fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from mm_lib.model.statistics import AccessDimension, StatisticLevel
from mm_lib.statistics import figures
from mm_lib.statistics.figures import Span
from mm_lib.statistics.lines import YEARS

PREVIOUS, YEAR, NONE = "previous", "year", "none"
COMPARISONS = (PREVIOUS, YEAR, NONE)
RANGE = "range"
DIMENSIONS = tuple(dimension for dimension in AccessDimension if dimension is not AccessDimension.ALL)


@dataclass(frozen=True)
class Asked:
    """A page of the statistics."""

    day: date
    dimension: AccessDimension = AccessDimension.COUNTRY
    level: StatisticLevel | None = StatisticLevel.DAY  # None: a range
    until: date | None = None
    compare: str = PREVIOUS
    whole: bool = False  # every row

    @property
    def span(self) -> Span:
        """The days that it is about."""
        return Span(self.day, self.until or self.day) if self.level is None else figures.around(self.level, self.day)

    @property
    def compared(self) -> Span | None:
        """The days beside which they stand."""
        if self.compare == NONE:
            return None
        return figures.year_before(self.span) if self.compare == YEAR else figures.before(self.span, self.level)

    def values(self, **changes: Any) -> dict[str, Any]:
        """The parts of its address, with changes; without what goes without saying."""
        asked = replace(self, **changes)
        values: dict[str, Any] = {"day": asked.span.first.isoformat(), "dimension": asked.dimension.value}
        if asked.level is None and asked.until:
            values["until"] = asked.until.isoformat()
        elif asked.level is not StatisticLevel.DAY and asked.level:
            values["period"] = asked.level.value
        if asked.compare != PREVIOUS:
            values["compare"] = asked.compare
        if asked.whole:
            values["rows"] = "all"
        return values


def read(path: Mapping[str, str], arguments: Mapping[str, str], otherwise: date) -> Asked:
    """What the address means; a day that is none is the one that is shown `otherwise`."""
    named = {**arguments, **path}
    day = read_day(named.get("day", "")) or otherwise
    until = read_day(named.get("until", ""))
    period = named.get("period", "")
    level = next((level for level in StatisticLevel if level.value == period), StatisticLevel.DAY)
    ranged = until is not None and until >= day and period in ("", RANGE)
    compare = named.get("compare", "")
    return Asked(
        day=day,
        dimension=next((one for one in DIMENSIONS if one.value == named.get("dimension")), AccessDimension.COUNTRY),
        level=None if ranged else level,
        until=until if ranged else None,
        compare=compare if compare in COMPARISONS else PREVIOUS,
        whole=named.get("rows") == "all",
    )


def read_day(text: str) -> date | None:
    """The day that an address names; None: none."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.year in YEARS else None  # others are typing mistakes, and some beyond what dates can hold
