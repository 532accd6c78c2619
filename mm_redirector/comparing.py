"""Who stands first in an answer before and after, how likely, and how far away: for many clients at once.

Few pairs of tiers answer most requests: all clients of a pair go through numpy together. Hosts have numbers in one list
of both sides' hosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm_redirector.selection import EARTH_RADIUS_KM, fading
from mm_redirector.shuffle import Hosts, Numbers

Truths = NDArray[np.bool_]

AT_ONCE = 1 << 16  # clients times hosts: what fits into the caches of a processor


@dataclass(frozen=True, slots=True, eq=False)
class First:
    """The first tier of an answer that has anybody."""

    hosts: Hosts
    weights: Numbers
    weighed: bool  # nearness counts as well
    near: bool


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What one side knows about distances."""

    places: Numbers  # of each host on the unit sphere, three numbers; NaN: not known
    half_at_km: float | None  # where a host is drawn half as often as one next door; None: nearness does not count

    def same(self, other: Ground) -> bool:
        """Whether all clients have the same distances and nearness."""
        return self.half_at_km == other.half_at_km and np.array_equal(self.places, other.places, equal_nan=True)


class Moves(NamedTuple):
    """What changes, one entry per row."""

    moved: Numbers  # the chance that another host stands first
    kilometres: Numbers  # before and after: to whoever stands first, on average; NaN: not known


class Rows(NamedTuple):
    """Requests of one country's clients that stand at one place and get one pair: each array has one entry per row."""

    pairs: NDArray[np.intp]
    places: NDArray[np.intp]  # by number; 0: not known
    requests: Numbers


class _Pair(NamedTuple):
    """The two tiers side by side; None: nobody answers."""

    firsts: tuple[First | None, First | None]
    hosts: Hosts  # of both
    weights: tuple[Numbers, Numbers]  # 0 for hosts that only the other one has
    alike: bool


class _Distances(NamedTuple):
    """Between clients (rows) and hosts (columns)."""

    kilometres: Numbers  # 0 where they are not known
    known: Numbers  # 1 or 0 for each host
    nearness: Numbers | None  # factors; None: nearness does not count


class _Outcome(NamedTuple):
    """Of clients that get one pair, on one side."""

    chances: Numbers  # clients by hosts; one row where all clients have the same
    kilometres: Numbers  # as in Moves


class Comparison:
    """Compares what two sides answer."""

    def __init__(self, before: Ground, after: Ground) -> None:
        self._grounds = (before, after)
        self._same_ground = before.same(after)
        self._numbers: dict[tuple[First | None, First | None], int] = {}
        self._pairs: list[_Pair] = []
        self.shares = np.zeros((2, len(before.places)))  # before and after: requests that get the host first

    def number(self, before: First | None, after: First | None) -> int:
        """Of the pair; None: nobody answers."""
        number = self._numbers.get((before, after))
        if number is None:
            number = self._numbers[before, after] = len(self._pairs)
            self._pairs.append(_side_by_side(before, after))
        return number

    def forget(self) -> None:
        """Numbers that were given so far are not used any more."""
        self._numbers.clear()
        self._pairs.clear()

    def answered(self) -> Truths:
        """Before and after: of every pair, whether anybody answers."""
        return np.array([[first is not None for first in pair.firsts] for pair in self._pairs]).T

    def near(self) -> Truths:
        """The same: whether the first tier is near."""
        return np.array([[first is not None and first.near for first in pair.firsts] for pair in self._pairs]).T

    def compare(self, rows: Rows, places: Numbers) -> Moves:
        """Count shares, and tell the rest row by row. Rows are sorted by pair, then by place; `places` has a point on
        the unit sphere for every number of a place.
        """
        moves = Moves(np.zeros(rows.pairs.size), np.full((2, rows.pairs.size), np.nan))
        for part in self._parts(rows):
            pair, requests = self._pairs[rows.pairs[part.start]], rows.requests[part]
            clients = places[rows.places[part]] if rows.places[part.start] else None
            outcomes = self._outcomes(pair, clients)
            for side, (chances, kilometres) in enumerate(outcomes):
                sums = requests @ chances if len(chances) == requests.size else requests.sum() * chances[0]
                self.shares[side, pair.hosts] += sums
                moves.kilometres[side, part] = kilometres
            moves.moved[part] = _moved(*outcomes)
        return moves

    def _parts(self, rows: Rows) -> Iterator[slice]:
        """Rows of one pair, all with places or all without, not too many at once; none where nobody ever answers."""
        starts = np.flatnonzero(np.diff(rows.pairs * 2 + (rows.places != 0), prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], rows.pairs.size], strict=True):
            if size := self._pairs[rows.pairs[start]].hosts.size:
                step = max(1, AT_ONCE // size)
                yield from (slice(part, min(part + step, end)) for part in range(start, end, step))

    def _outcomes(self, pair: _Pair, clients: Numbers | None) -> tuple[_Outcome, _Outcome]:
        """Before and after; what is the same on both sides is computed once."""
        before, after = self._grounds
        distances = _distances(before, pair.hosts, clients)
        outcome = _outcome(pair, 0, distances)
        if self._same_ground and pair.alike:
            return outcome, outcome
        if not self._same_ground:
            distances = _distances(after, pair.hosts, clients)
        return outcome, _outcome(pair, 1, distances)


def _side_by_side(before: First | None, after: First | None) -> _Pair:
    firsts = (before, after)
    hosts = np.unique(np.concatenate([first.hosts for first in firsts if first] or [np.zeros(0, np.intp)]))
    weights = (np.zeros(hosts.size), np.zeros(hosts.size))
    for first, laid in zip(firsts, weights, strict=True):
        if first:
            laid[np.searchsorted(hosts, first.hosts)] = first.weights
    weighed = {first.weighed for first in firsts if first}
    return _Pair(firsts, hosts, weights, len(weighed) == 1 and np.array_equal(*weights))


def _distances(ground: Ground, hosts: Hosts, clients: Numbers | None) -> _Distances | None:
    if clients is None:
        return None
    there = ground.places[hosts]
    known = ~np.isnan(there[:, 0])
    kilometres = np.arccos(np.clip(clients @ there.T, -1.0, 1.0)) * EARTH_RADIUS_KM
    nearness = None if ground.half_at_km is None else fading(kilometres, ground.half_at_km)
    return _Distances(np.where(known, kilometres, 0.0), known.astype(np.float64), nearness)


def _outcome(pair: _Pair, side: int, distances: _Distances | None) -> _Outcome:
    """Weight, times nearness where that counts, over the sum of it."""
    first, weights = pair.firsts[side], pair.weights[side][np.newaxis]
    if first is None:
        return _Outcome(weights, np.array(np.nan))
    if first.weighed and distances and distances.nearness is not None:
        weights = weights * distances.nearness
    chances = weights / weights.sum(axis=1, keepdims=True)
    if distances is None:
        return _Outcome(chances, np.array(np.nan))
    sums = np.einsum("ij,ij->i", np.broadcast_to(chances, distances.kilometres.shape), distances.kilometres)
    known = np.broadcast_to(chances @ distances.known, sums.shape)
    return _Outcome(chances, np.divide(sums, known, out=np.full(sums.size, np.nan), where=known > 0))


def _moved(before: _Outcome, after: _Outcome) -> Numbers:
    """The chance that another host stands first, for every client, or for all of them."""
    if after is before:
        return np.zeros(1)
    difference = after.chances - before.chances
    gained, lost = np.maximum(difference, 0.0).sum(axis=1), np.maximum(-difference, 0.0).sum(axis=1)
    moved: Numbers = np.maximum(gained, lost)
    return moved
