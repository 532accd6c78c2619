"""Networks that stand for something."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from heapq import merge
from typing import Generic, TypeVar

from mm_lib.cache.table import Pause, resting, unhurried
from mm_redirector.address import Address, network

Value = TypeVar("Value")
BITS = {4: 32, 6: 128}
SORTED_AT_ONCE = 500  # networks, in a fifth of a millisecond


class NetblockTable(Generic[Value]):
    """Networks and what they stand for.

    Networks contain each other or have nothing in common, so their edges cut all addresses into intervals, each with
    the networks around it: a question is one binary search, however many lengths of prefixes there are.
    """

    def __init__(self, entries: Mapping[str, Value], pause: Pause = unhurried) -> None:
        self.unreadable: list[str] = []
        found: dict[int, dict[tuple[int, int], Value]] = {4: {}, 6: {}}  # version -> (first, last address) -> value
        for text, value in resting(entries.items(), pause):
            parsed = network(text)
            if parsed is None:
                self.unreadable.append(text)
                continue
            version, number, length = parsed
            shift = BITS[version] - length
            first = number >> shift << shift
            found[version][first, first + (1 << shift) - 1] = value
        self._starts: dict[int, list[int]] = {}
        self._values: dict[int, list[tuple[Value, ...]]] = {}
        for version, networks in found.items():
            self._starts[version], self._values[version] = _intervals(networks, pause)

    def pieces(self) -> list[object]:
        """What there is much of."""
        return [around for values in self._values.values() for around in values]

    def matches(self, address: Address) -> tuple[Value, ...]:
        """The values of all networks that contain the address, most specific first."""
        version, number = address
        return self._values[version][bisect_right(self._starts[version], number) - 1]


def _intervals(networks: Mapping[tuple[int, int], Value], pause: Pause) -> tuple[list[int], list[tuple[Value, ...]]]:
    """Where each interval starts, and the values of the networks around it, most specific first."""
    starts: list[int] = [0]
    values: list[tuple[Value, ...]] = [()]

    def begin(start: int, around: tuple[Value, ...]) -> None:
        if start == starts[-1]:  # more than one network begins or ends here: the last word counts
            values[-1] = around
        else:
            starts.append(start)
            values.append(around)

    open_ones: list[tuple[int, tuple[Value, ...]]] = []  # last address, and what holds inside; the innermost is last
    for (first, last), value in resting(_ordered(networks, pause), pause):
        while open_ones and open_ones[-1][0] < first:
            end, _ = open_ones.pop()
            begin(end + 1, open_ones[-1][1] if open_ones else ())
        inside = (value, *(open_ones[-1][1] if open_ones else ()))
        begin(first, inside)
        open_ones.append((last, inside))
    while open_ones:
        end, _ = open_ones.pop()
        begin(end + 1, open_ones[-1][1] if open_ones else ())
    return starts, values


def _ordered(networks: Mapping[tuple[int, int], Value], pause: Pause) -> Iterator[tuple[tuple[int, int], Value]]:
    """From the lowest address on, the widest first. Nobody gets the interpreter while a list is sorted: in parts."""
    items = list(networks.items())
    parts = []
    for start in range(0, len(items), SORTED_AT_ONCE):
        pause()
        parts.append(sorted(items[start : start + SORTED_AT_ONCE], key=_edges))
    return merge(*parts, key=_edges)


def _edges(item: tuple[tuple[int, int], object]) -> tuple[int, int]:
    (first, last), _ = item
    return first, -last
