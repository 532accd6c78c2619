"""Which days a report is about, when nobody says or somebody does."""

from __future__ import annotations

from datetime import date

from mm_lib.model.statistics import StatisticLevel
from mm_lib.reports.distribution import Period
from mm_lib.services.errors import InvalidValue
from mm_lib.statistics import figures
from mm_lib.statistics.figures import Span
from mm_lib.statistics.periods import ONE_DAY


def period(level: StatisticLevel, since: date | None, until: date | None, today: date) -> Period:
    """The last one that is over; or from one day to another, both included. Raises InvalidValue."""
    if since is None and until is None:
        span = figures.around(level, figures.around(level, today).first - ONE_DAY)
        return Period(level.value, span, figures.before(span, level))
    # One end alone: the period of this length that begins or ends there.
    first = since or figures.around(level, until or today).first
    last = until or min(figures.around(level, first).last, today - ONE_DAY)
    if last >= today:
        raise InvalidValue("until", f"{last} is not over; a report is about whole days (UTC)")
    if first > last:
        raise InvalidValue("since", f"{first} is after {last}")
    span = Span(first, last)
    whole = figures.around(level, first) == span
    return Period(level.value if whole else "period", span, figures.before(span, level if whole else None))


def steps(level: StatisticLevel, span: Span) -> tuple[StatisticLevel, date]:
    """What charts show: of a day its month of days, of a week eight weeks, of a year its months."""
    if level is StatisticLevel.YEAR:
        return StatisticLevel.MONTH, span.first.replace(day=1)
    back = 30 if level is StatisticLevel.DAY else 56
    return StatisticLevel.DAY, min(span.first, span.last - (back - 1) * ONE_DAY)
