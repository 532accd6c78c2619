"""Random order in which a host stands first with a chance that is proportional to its weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import log

Random = Callable[[], float]  # uniform in [0, 1), as random.random


def weighted(hosts: Iterable[int], inverse_weights: Sequence[float], random: Random) -> list[int]:
    """Draw without replacement, each time with probability weight / sum of the weights that are left.

    One exponential variate per host, divided by its weight, then a sort: the order is distributed exactly as the
    draws would be (Efraimidis and Spirakis, 2006), but costs n log n instead of n squared.
    """
    # 1 - random() is never 0, so log() always has a value.
    return sorted(hosts, key=lambda host: log(1.0 - random()) * inverse_weights[host], reverse=True)


def uniform(hosts: Iterable[int], random: Random) -> list[int]:
    """Every order is equally likely."""
    return sorted(hosts, key=lambda _: random())
