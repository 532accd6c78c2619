"""Networks that stand for something."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Generic, TypeVar

from mm_redirector.address import Address

Value = TypeVar("Value")


class NetblockTable(Generic[Value]):
    """Networks and what they stand for: one dictionary per prefix length, so a question costs no scan."""

    def __init__(self, entries: Mapping[str, Value]) -> None:
        self.unreadable: list[str] = []
        tables: dict[int, dict[int, dict[int, Value]]] = {4: {}, 6: {}}  # version -> bits of the host part -> network
        for text, value in entries.items():
            try:
                network = ip_network(text, strict=False)
            except ValueError:
                self.unreadable.append(text)
                continue
            shift = network.max_prefixlen - network.prefixlen
            tables[network.version].setdefault(shift, {})[int(network.network_address) >> shift] = value
        self._tables = {version: sorted(by_shift.items()) for version, by_shift in tables.items()}

    def matches(self, address: Address) -> list[Value]:
        """The values of all networks that contain the address, most specific first."""
        version, number = address
        return [table[number >> shift] for shift, table in self._tables[version] if (number >> shift) in table]
