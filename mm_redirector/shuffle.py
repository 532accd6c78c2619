"""Random order in which a host stands first with a chance that is proportional to its weight.

Drawing without replacement, each time with probability weight / sum of the weights that are left, is done by one
exponential variate per host, divided by its weight, and sorting by that (Efraimidis and Spirakis, 2006).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import blake2b
from itertools import compress
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mm_redirector.memory import Memory

Numbers = NDArray[np.float64]  # one per host, by number
Hosts = NDArray[np.intp]  # numbers of hosts
Nearness = Callable[[Hosts], Numbers]  # hosts -> factors in (0, 1]

POOLS = 1_024  # that are known
READY = 128  # of them, 12 bytes per host each; a country with few hosts needs none, and continents share theirs
AHEAD = 4096  # variates, made in 20 microseconds
SPARE = 2  # variates, and half as many again as hosts are wanted: so many are often enough
FEW = 12  # of fewer hosts Python finds the order sooner than numpy does
MANY = 256  # of fewer it is quicker to sort all than to find the best first

_TRUTH = bytes.maketrans(b"01", b"\x00\x01")


def members(mask: int) -> list[int]:
    """The hosts of a mask, lowest number first."""
    return list(compress(range(mask.bit_length()), bin(mask)[:1:-1].encode().translate(_TRUTH)))


def numbers(mask: int) -> Hosts:
    """The same as members() for computing with them."""
    size = mask.bit_length()
    octets = np.frombuffer(mask.to_bytes((size + 7) // 8, "little"), np.uint8)
    flags = np.unpackbits(octets, count=size, bitorder="little")
    return flags.view(np.bool_).nonzero()[0]  # of truths it is found three times faster


class Random:
    """Standard exponential variates, made many at once: to ask numpy for a few costs as much as for hundreds.

    Each is handed out once, whichever threads ask.
    """

    __slots__ = ("_ahead", "_given", "_lock", "_made", "_random")

    def __init__(self, random: np.random.Generator, ahead: int = AHEAD) -> None:
        self._random = random
        self._ahead = ahead
        self._lock = Lock()
        self._made = np.empty(0)
        self._given = 0

    def variates(self, number: int) -> Numbers:
        """So many. The array is not to be changed."""
        with self._lock:
            start = self._given
            if self._made.size - start < number:
                # A new array: whoever was given a part of the old one may still need it.
                self._made = self._random.standard_exponential(max(number, self._ahead))
                start = 0
            self._given = start + number
            return self._made[start : start + number]


class Pool:
    """Hosts of which a few may be drawn."""

    __slots__ = ("mask", "octets", "prepared")

    def __init__(self, mask: int) -> None:
        self.mask = mask
        self.octets = (mask.bit_length() + 7) // 8  # that a mask of some of them has
        self.prepared: tuple[NDArray[np.uint32], Numbers] | None = None  # the hosts, and where the piece of each ends


class Law:
    """The weights of all hosts, by number, and what was made of them to draw from."""

    __slots__ = ("_pools", "_ready", "weights")

    def __init__(self, weights: Numbers) -> None:
        self.weights = weights
        self._pools: Memory[int, Pool] = Memory(POOLS)
        self._ready: deque[Pool] = deque()

    def pool(self, mask: int) -> Pool:
        """These hosts; the same ones have one pool."""
        found = self._pools.get(mask)
        if found is None:
            found = Pool(mask)
            self._pools.keep(mask, found)
        return found

    def draw(self, pool: Pool, variates: Numbers) -> list[int]:
        """A host for each variate, whatever was drawn before, in a time that hardly grows with their number.

        A variate v is exponential, so exp(-v) is uniform: the hosts cut the line of variates into pieces that are as
        likely as their weights.
        """
        hosts, edges = pool.prepared or self._prepare(pool)
        drawn: list[int] = hosts.take(edges.searchsorted(variates)).tolist()
        return drawn

    def _prepare(self, pool: Pool) -> tuple[NDArray[np.uint32], Numbers]:
        hosts = numbers(pool.mask)
        behind = self.weights.take(hosts)[::-1].cumsum()[::-1]  # the weight of each and of those that follow it
        pool.prepared = found = hosts.astype(np.uint32), -np.log(behind[1:] / behind[0])
        # Clients may ask for ever other sets of hosts. (A pool must not know what knows it: an index that is done with
        # goes by its references, for the garbage collector does not look at it.)
        self._ready.append(pool)
        if len(self._ready) > READY:
            self._ready.popleft().prepared = None
        return found


class Draw:
    """How hosts are put in order for one client: anew for each request."""

    __slots__ = ("_random", "_whole", "nearness")

    def __init__(self, random: Random, nearness: Nearness | None = None) -> None:
        self._random = random
        self._whole = nearness is not None  # each host has a key that depends on the client
        self.nearness = nearness

    def first(self, mask: int, most: int, law: Law | None, pool: Pool | None = None, tries: int = 0) -> list[int]:
        """At most so many of the hosts, by weight; no law: all have the same, and nearness does not count either.

        From a pool that has them, and perhaps others, they are drawn one by one at first: the same law, for whoever
        may not be drawn (again) is passed over. What so many tries do not find is found by putting the rest in order.
        """
        if self._whole:
            return self._in_order(mask, most, law)
        if law is None or pool is None:
            return (self._few if mask.bit_count() < FEW else self._in_order)(mask, most, law)
        found: list[int] = []
        while tries > 0 and len(found) < most:
            number = min(most + most // 2 + SPARE, tries)
            tries -= number
            octets = mask.to_bytes(pool.octets, "little")
            for host in dict.fromkeys(law.draw(pool, self._random.variates(number))):
                if octets[host >> 3] >> (host & 7) & 1:
                    found.append(host)
                    if len(found) == most:
                        return found
            mask &= ~union([1 << host for host in found])
        return found + self._in_order(mask, most - len(found), law)

    def _few(self, mask: int, most: int, law: Law | None) -> list[int]:
        """As _in_order(), where a dozen calls of numpy take longer."""
        hosts: list[int] = []
        while mask:
            hosts.append(mask.bit_length() - 1)
            mask ^= 1 << hosts[-1]
        keys: list[float] = self._random.variates(len(hosts)).tolist()
        if law is not None:
            keys = [key / law.weights.item(host) for key, host in zip(keys, hosts, strict=True)]
        return [host for _, host in sorted(zip(keys, hosts, strict=True))[:most]]

    def _in_order(self, mask: int, most: int, law: Law | None) -> list[int]:
        hosts = numbers(mask)
        keys = self._variates(hosts)
        if law is not None:
            keys = keys / law.weights.take(hosts)
            if self.nearness is not None:
                keys /= self.nearness(hosts)
        if hosts.size > MANY and most < hosts.size:
            best = keys.argpartition(most)[:most]
            hosts, keys = hosts[best], keys[best]
        order: list[int] = hosts.take(keys.argsort()[:most]).tolist()
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
        self._whole = True

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
