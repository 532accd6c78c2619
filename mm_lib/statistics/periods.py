"""Days, weeks, months and years as periods with a first and a last day."""

from __future__ import annotations

from datetime import date, timedelta

from mm_lib.model.statistics import StatisticLevel

ONE_DAY = timedelta(days=1)


def start_of(level: StatisticLevel, day: date) -> date:
    """The first day of the period that a day is in. Weeks begin on Monday."""
    if level is StatisticLevel.WEEK:
        return day - timedelta(days=day.weekday())
    if level is StatisticLevel.MONTH:
        return day.replace(day=1)
    return day.replace(month=1, day=1) if level is StatisticLevel.YEAR else day


def next_start(level: StatisticLevel, start: date) -> date:
    """The first day of the next period."""
    if level is StatisticLevel.DAY:
        return start + ONE_DAY
    if level is StatisticLevel.WEEK:
        return start + 7 * ONE_DAY
    # From the 1st, so many days lead into the next month or year, and never beyond.
    return start_of(level, start + (31 if level is StatisticLevel.MONTH else 366) * ONE_DAY)


def previous_start(level: StatisticLevel, start: date) -> date:
    """The first day of the period before."""
    return start_of(level, start - ONE_DAY)


def pieces(first: date, last: date) -> list[tuple[StatisticLevel, date]]:
    """Whole years, months, weeks and days that make up a range, as few as possible."""
    found = []
    day = first
    while day <= last:
        level = next(level for level in _LONGEST_FIRST if _fits(level, day, last))
        found.append((level, day))
        day = next_start(level, day)
    return found


_LONGEST_FIRST = (StatisticLevel.YEAR, StatisticLevel.MONTH, StatisticLevel.WEEK, StatisticLevel.DAY)


def _fits(level: StatisticLevel, day: date, last: date) -> bool:
    """Whether a period begins on this day and ends in time. A week must not hide the beginning of a month."""
    end = next_start(level, day) - ONE_DAY
    hides = level is StatisticLevel.WEEK and end.month != day.month
    return start_of(level, day) == day and end <= last and not hides
