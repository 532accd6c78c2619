"""Networks that stand for something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from mm_lib.cache.table import Pause, unhurried
from mm_redirector.address import Address, network

Value = TypeVar("Value")
BITS = {4: 32, 6: 128}


class NetblockTable(Generic[Value]):
    """Networks and what they stand for: one dictionary per prefix length, so a question costs no scan."""

    def __init__(self, entries: Mapping[str, Value], pause: Pause = unhurried) -> None:
        self.unreadable: list[str] = []
        tables: dict[int, dict[int, dict[int, Value]]] = {4: {}, 6: {}}  # version -> bits of the host part -> network
        for text, value in entries.items():
            pause()
            found = network(text)
            if found is None:
                self.unreadable.append(text)
                continue
            version, number, length = found
            shift = BITS[version] - length
            tables[version].setdefault(shift, {})[number >> shift] = value
        self._tables = {version: sorted(by_shift.items()) for version, by_shift in tables.items()}

    def matches(self, address: Address) -> list[Value]:
        """The values of all networks that contain the address, most specific first."""
        version, number = address
        return [table[number >> shift] for shift, table in self._tables[version] if (number >> shift) in table]
