"""Networks that stand for something, and what an address stands for."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Generic, TypeVar

Address = IPv4Address | IPv6Address
Value = TypeVar("Value")

_SIX_TO_FOUR = 0x2002  # first 16 bits: RFC 3056
_TEREDO = 0x20010000  # first 32 bits: RFC 4380
_NAT64 = 0x0064_FF9B << 64  # first 96 bits: RFC 6052
IPV4_NETWORK, IPV6_NETWORK = 24, 48  # prefix lengths of "the network of a client"


def parse(text: str) -> Address | None:
    """The address, without a port or a zone; IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4. None if it is no address."""
    try:
        if ":" not in text:
            return IPv4Address(text)
        if text.startswith("["):
            text = text[1:].partition("]")[0]
        elif text.count(":") == 1:
            return IPv4Address(text.partition(":")[0])
        address = IPv6Address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a 6to4, Teredo or NAT64 address carries."""
    number = int(address)
    if number >> 112 == _SIX_TO_FOUR:
        return IPv4Address(number >> 80 & 0xFFFFFFFF)
    if number >> 96 == _TEREDO:
        return IPv4Address(~number & 0xFFFFFFFF)
    return IPv4Address(number & 0xFFFFFFFF) if number >> 32 == _NAT64 else None


def network_of(address: Address) -> str:
    """The network of a client, by which it keeps its order of mirrors: /24 or /48."""
    length = _network_length(address)
    return f"{int(address) >> (address.max_prefixlen - length):x}/{length}"


def first_of_network(address: Address) -> str:
    """The lowest address in the network of a client."""
    return str(ip_network(f"{address}/{_network_length(address)}", strict=False).network_address)


def _network_length(address: Address) -> int:
    return IPV4_NETWORK if isinstance(address, IPv4Address) else IPV6_NETWORK


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
        number = int(address)
        return [table[number >> shift] for shift, table in self._tables[address.version] if (number >> shift) in table]
