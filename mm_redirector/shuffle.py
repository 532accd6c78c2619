"""Random order in which a host stands first with a chance that is proportional to its weight.

Drawing without replacement, each time with probability weight / sum of the weights that are left, is done by one
exponential variate per host, divided by its weight, and sorting by that (Efraimidis and Spirakis, 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from itertools import compress
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]  # one per host, by number
Truths = NDArray[np.bool_]
Hosts = NDArray[np.intp]  # numbers of hosts
Ranks = NDArray[np.unsignedinteger] | NDArray[np.signedinteger]  # one per host, by number
Nearness = Callable[[Hosts], Numbers]  # hosts -> factors in (0, 1]

LEAST = 2.0**-60  # a variate of 0 would stand before all ranks
AHEAD = 4096  # variates, made in 20 microseconds
MANY = 256  # of fewer it is quicker to sort all than to find the best first

_TRUTH = bytes.maketrans(b"01", b"\x00\x01")


def members(mask: int) -> list[int]:
    """The hosts of a mask, lowest number first."""
    return list(compress(range(mask.bit_length()), bin(mask)[:1:-1].encode().translate(_TRUTH)))


def flags(mask: int, size: int) -> NDArray[np.uint8]:
    """1 for each of `size` hosts that is in the mask, 0 for the others."""
    octets = np.frombuffer(mask.to_bytes((size + 7) // 8, "little"), np.uint8)
    return np.unpackbits(octets, count=size, bitorder="little")


def numbers(mask: int) -> Hosts:
    """The same as members() for computing with them."""
    return flags(mask, mask.bit_length()).view(np.bool_).nonzero()[0]  # of truths it is found three times faster


class Random:
    """Standard exponential variates, made many at once: to ask numpy for a few costs as much as for hundreds.

    They are at least LEAST, and each is handed out once, whichever threads ask.
    """

    __slots__ = ("_ahead", "_left", "_lock", "_made", "_random")

    def __init__(self, random: np.random.Generator, ahead: int = AHEAD) -> None:
        self._random = random
        self._ahead = ahead
        self._lock = Lock()
        self._made = np.empty(0)
        self._left = 0

    def variates(self, number: int) -> Numbers:
        """So many. The array is not to be changed."""
        with self._lock:
            if self._left < number:
                # A new array: whoever was given a part of the old one may still need it.
                self._made = self._random.standard_exponential(max(number, self._ahead)) + LEAST
                self._left = self._made.size
            self._left -= number
            return self._made[self._left : self._left + number]


class Lots(NamedTuple):
    """What the order of hosts depends on, but for chance and the client's place; each array has one entry per host."""

    inverse: Numbers  # 1 / weight, times a power of two that keeps ranks apart
    uniform: Truths | None = None  # of whom nearness does not count; None: it counts for all
    rank: Numbers | None = None  # where there are too many ranks for powers of two

    def of(self, hosts: Hosts) -> Lots:
        """Of these hosts only, in their order."""
        return Lots(
            self.inverse.take(hosts),
            None if self.uniform is None else self.uniform.take(hosts),
            None if self.rank is None else self.rank.take(hosts),
        )


def lots(inverse_weights: Numbers, rank: Ranks, uniform: Truths | None = None) -> Lots:
    """Hosts with a lower rank (0, 1, ...) stand before those with a higher one, whatever their weights (1e-9 to 1e9).

    A variate is at least LEAST and below 64, nearness divides it by 1 to 20: the keys of one rank differ by less
    than 2**_APART, so a factor of that keeps ranks apart.
    """
    if rank.max(initial=0) >= _RANKS:
        return Lots(inverse_weights, uniform, rank.astype(np.float64))
    return Lots(inverse_weights * _FACTORS.take(rank), uniform)


_APART = 132
_RANKS = 14  # 2**(14 * _APART - _LOWEST) times any weight can be represented, and 2**-_LOWEST too
_LOWEST = 900
_FACTORS = np.ldexp(1.0, np.arange(_RANKS) * _APART - _LOWEST)


class Draw:
    """How hosts are put in order for one client: anew for each request."""

    __slots__ = ("_random", "nearness")

    def __init__(self, random: Random, nearness: Nearness | None = None) -> None:
        self._random = random
        self.nearness = nearness

    def first(self, hosts: Hosts, need: int, lots: Lots) -> list[int]:
        """At most `need` of the hosts, drawn by rank and weight; the lots are theirs."""
        inverse, uniform, rank = lots
        keys = self._variates(hosts) * inverse
        if self.nearness is not None:
            factors = self.nearness(hosts)
            keys /= factors if uniform is None else np.where(uniform, 1.0, factors)
        if rank is not None:  # keys below 1, in the same order, so that ranks keep apart
            keys /= keys + 1.0
            keys += rank
        if hosts.size > MANY and need < hosts.size:
            best = keys.argpartition(need)[:need]
            hosts, keys = hosts[best], keys[best]
        order: list[int] = hosts.take(keys.argsort()[:need]).tolist()
        return order

    def _variates(self, hosts: Hosts) -> Numbers:
        return self._random.variates(hosts.size)


class StableDraw(Draw):
    """The same order for the same seed, whichever hosts take part: rendezvous hashing by weight.

    Each host's variate depends on the seed and the host alone, so a mirror that lacks one directory does not change
    the order of the others (Thaler and Ravishankar, 1998; with weights: Schindelhauer and Schomaker, 2005).
    """

    __slots__ = ("_all",)

    def __init__(self, number: int, size: int, nearness: Nearness | None = None) -> None:
        random = Random(np.random.default_rng(number), ahead=size)  # one for each host, by its number
        super().__init__(random, nearness)
        self._all = random.variates(size)

    def _variates(self, hosts: Hosts) -> Numbers:
        return self._all.take(hosts)


def fresh() -> Random:
    """Random numbers that nobody foresees; one source per process."""
    return Random(np.random.default_rng())


def seeded(text: str) -> Random:
    """Random numbers that depend on the text only."""
    return Random(np.random.default_rng(seed(text)))


def seed(*parts: object) -> int:
    """A number that depends on all parts and on nothing else, in every process."""
    return int.from_bytes(blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest())


def union(masks: Iterable[int]) -> int:
    """The hosts that are in any of the masks."""
    found = 0
    for mask in masks:
        found |= mask
    return found
