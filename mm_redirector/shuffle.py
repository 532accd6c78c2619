"""Random order in which a host stands first with a chance that is proportional to its weight.

Drawing without replacement, each time with probability weight / sum of the weights that are left, is done in two ways
that give exactly the same distribution:

- one exponential variate per host, divided by its weight, then a sort (Efraimidis and Spirakis, 2006): n log n;
- drawing from all hosts of a pool and drawing again when the host is not wanted or was drawn before: the cost depends
  on how many are needed, not on how many there are.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate, compress
from math import log
from random import Random as Generator
from typing import NamedTuple

Random = Callable[[], float]  # uniform in [0, 1), as random.random
Nearness = Callable[[int], float]  # host -> factor in (0, 1]

# Sampling pays when there is much more to choose from than is needed. How many tries it gets for each host that is
# needed and wanted; what is missing then is drawn the other way, which changes nothing but the cost.
_SAMPLE_FROM = 3
_TRIES = 1.5
_MOST_TRIES = 400
_TRUTH = bytes.maketrans(b"01", b"\x00\x01")
_NUMBERS = tuple(range(1 << 13))  # made once: making them again would cost more than the rest of members()


def members(mask: int) -> list[int]:
    """The hosts of a mask, lowest number first."""
    if not mask:
        return []
    lowest = (mask & -mask).bit_length() - 1
    flags = bin(mask >> lowest)[:1:-1].encode().translate(_TRUTH)
    numbers = _NUMBERS if mask.bit_length() <= len(_NUMBERS) else range(mask.bit_length())
    return list(compress(numbers[lowest : lowest + len(flags)], flags))


class Pool(NamedTuple):
    """Hosts with weights, prepared for sampling."""

    mask: int
    hosts: Sequence[int]
    cumulative: Sequence[float]  # sums of weights up to each host

    @classmethod
    def of(cls, mask: int, weights: Sequence[float]) -> Pool:
        """The pool of the hosts in a mask."""
        hosts = members(mask)
        return cls(mask, hosts, list(accumulate(weights[host] for host in hosts)))


class Draw:
    """How hosts are put in order for one client."""

    __slots__ = ("nearness", "random", "weights")

    def __init__(self, random: Random, weights: Sequence[float], nearness: Nearness | None = None) -> None:
        self.random = random
        self.weights = weights  # by number of the host
        self.nearness = nearness

    def uniform(self, mask: int, need: int) -> list[int]:
        """The hosts in an order that is like any other; at most `need`."""
        random = self.random
        return sorted(members(mask), key=lambda _: random())[:need]

    def weighted(self, mask: int, need: int, pool: Pool | None = None) -> list[int]:
        """At most `need` hosts of the mask, drawn by weight. The pool, if there is one, holds them all."""
        if pool is None or need * _SAMPLE_FROM >= mask.bit_count():
            return self._sort(mask)[:need]
        drawn = self._sample(mask, need, pool)
        if len(drawn) < need:
            for host in drawn:
                mask ^= 1 << host
            drawn += self._sort(mask)
        return drawn[:need]

    def _sort(self, mask: int) -> list[int]:
        random, weights, nearness = self.random, self.weights, self.nearness
        hosts = members(mask)
        # 1 - random() is never 0, so log() always has a value.
        if nearness is None:
            keys = [log(1.0 - random()) / weights[host] for host in hosts]
        else:
            keys = [log(1.0 - random()) / (weights[host] * nearness(host)) for host in hosts]
        found = dict(zip(keys, hosts, strict=True))
        if len(found) < len(hosts):  # two equal keys, once in a billion years: nobody may get lost
            return self._sort(mask)
        return [found[key] for key in sorted(found, reverse=True)]

    def _sample(self, mask: int, need: int, pool: Pool) -> list[int]:
        random, nearness = self.random, self.nearness
        _, hosts, cumulative = pool
        total, last = cumulative[-1], len(cumulative) - 1
        wanted = mask.bit_count() / len(hosts)  # a guess: hosts that are not wanted may have more or less weight
        tries = range(min(_MOST_TRIES, int(_TRIES * need / wanted) + 1))
        # Host n is wanted where byte n is 1. The bit above the highest makes the string long enough for all.
        flags = bin(mask | 2 << hosts[last])[:2:-1].encode().translate(_TRUTH)
        drawn = [hosts[bisect(cumulative, random() * total, 0, last)] for _ in tries]
        if nearness is not None:
            drawn = [host for host in drawn if random() < nearness(host)]
        return [host for host in dict.fromkeys(drawn) if flags[host]]


class StableDraw(Draw):
    """The same order for the same seed, whichever hosts take part: rendezvous hashing by weight.

    Each host's variate depends on the seed and the host alone, so a mirror that lacks one directory does not change
    the order of the others (Thaler and Ravishankar, 1998; with weights: Schindelhauer and Schomaker, 2005).
    """

    __slots__ = ("_variates",)

    def __init__(self, value: float, weights: Sequence[float], nearness: Nearness | None = None) -> None:
        random = seeded(value)
        super().__init__(random, weights, nearness)
        self._variates = [random() for _ in weights]

    def uniform(self, mask: int, need: int) -> list[int]:
        """As Draw.uniform."""
        return sorted(members(mask), key=self._variates.__getitem__)[:need]

    def weighted(self, mask: int, need: int, pool: Pool | None = None) -> list[int]:  # noqa: ARG002
        """As Draw.weighted; a pool would make the order depend on who takes part."""
        variates, weights, near = self._variates, self.weights, self.nearness or _everywhere
        hosts = members(mask)
        hosts.sort(key=lambda host: log(1.0 - variates[host]) / (weights[host] * near(host)), reverse=True)
        return hosts[:need]


def _everywhere(_host: int) -> float:
    return 1.0


def seeded(value: float | str) -> Random:
    """Random numbers that depend on the value only."""
    return Generator(value).random  # noqa: S311  # a shuffle, no secret


def seed(*parts: object) -> float:
    """A number in [0, 1) that depends on all parts and on nothing else, in every process."""
    digest = blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def union(masks: Iterable[int]) -> int:
    """The hosts that are in any of the masks."""
    found = 0
    for mask in masks:
        found |= mask
    return found
