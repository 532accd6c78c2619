"""Which mirrors a crawl is about: what an operator, a schedule or a job chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Fraction(NamedTuple):
    """One of so many parts of all hosts, counted from 1: several machines share the work without talking."""

    part: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Fraction:
        """From P:N. Raises ValueError with a message for the person who typed it."""
        part, colon, of = text.partition(":")
        if not (colon and part.isdecimal() and of.isdecimal() and 1 <= int(part) <= int(of)):
            raise ValueError(f"{text!r} is not a part of a whole; write for example 2:3 for the second of three parts")
        return cls(int(part), int(of))

    def take(self, items: Sequence[Item]) -> Sequence[Item]:
        """Its part of the items: all parts have the same size, and the last one takes what is left over."""
        size = len(items) // self.of
        end = len(items) if self.part == self.of else self.part * size
        return items[(self.part - 1) * size : end]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which hosts and categories. Without any value: every host that takes part and is not private."""

    categories: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    host_categories: frozenset[int] = frozenset()  # their ids, for jobs; empty: all
    include_private: bool = False  # those whose owners allow it
    include_disabled: bool = False
    first_id: int = 0  # of hosts
    last_id: int = 0  # 0: no limit
    fraction: Fraction | None = None
    continents: tuple[str, ...] = ()  # two capitals; with ^ before it: not there


EVERYTHING = Selection()
