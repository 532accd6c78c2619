"""Networks that stand for something, and what an address stands for."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Generic, TypeVar

Address = IPv4Address | IPv6Address
Value = TypeVar("Value")

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
IPV4_NETWORK, IPV6_NETWORK = 24, 48  # prefix lengths of "the network of a client"


def parse(text: str) -> Address | None:
    """The address, without a port or a zone; IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4. None if it is no address."""
    if ":" not in text:  # most
        try:
            return IPv4Address(text)
        except ValueError:
            return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that a 6to4 (RFC 3056), Teredo (RFC 4380) or NAT64 (RFC 6052) address carries."""
    if isinstance(address, IPv4Address):
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


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
