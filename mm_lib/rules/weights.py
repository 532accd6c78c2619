"""What a mirror's bandwidth is multiplied by: slow start, and the share of its country that one mirror may get."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TypeVar

Key = TypeVar("Key")


def slow_start(ages: Mapping[Key, float], full_after: float, floor: float) -> dict[Key, float]:
    """Key -> factor: `floor` at age 0, growing evenly to 1 at `full_after` (0: all are 1).

    When all are new there is nobody to take the load off them: all are 1 then too.
    """
    if full_after <= 0 or all(age < full_after for age in ages.values()):
        return dict.fromkeys(ages, 1.0)
    return {key: _ramp(age, full_after, floor) for key, age in ages.items()}


def _ramp(age: float, full_after: float, floor: float) -> float:
    if age >= full_after:
        return 1.0
    return floor + (1 - floor) * max(age, 0.0) / full_after


def shares(weights: Mapping[Key, float], max_share: float, floor: float) -> dict[Key, float]:
    """Key -> factor that holds large weights down until none has more than `max_share` of their sum.

    Water-filling: every weight above a level is cut to it. Of n weights one has 1/n at least, so that is the least cap.
    No factor is below `floor`: what is taken from a large one goes to small ones, which must be able to carry it. Where
    the floor holds, a share may stay above the cap. Raising a weight never lowers its own share.
    """
    level = cap_level([weight for weight in weights.values() if weight > 0], max_share)
    return {key: max(level / weight, floor) if weight > level else 1.0 for key, weight in weights.items()}


def cap_level(weights: list[float], max_share: float) -> float:
    """The highest level that is at most its share of the sum when every weight above it is cut to it.

    With k weights cut and `rest` the sum of the others, level = cap * (k * level + rest).
    """
    ordered = sorted(weights, reverse=True)
    if not ordered:
        return 0.0
    cap = max(max_share, 1 / len(ordered))
    most = ceil(1 / cap - 1e-9) - 1  # so many can be cut: with one more, the shares of these alone would exceed 1
    rest = sum(ordered)
    for cut in range(most):
        level = cap * rest / (1 - cut * cap)
        if ordered[cut] <= level:
            return level
        rest -= ordered[cut]
    # Exactly it is never below the largest that is not cut; in floating point it may be by a hair.
    return max(cap * rest / (1 - most * cap), ordered[most])
