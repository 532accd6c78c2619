"""Addresses of clients: as text, as numbers, and what a tunnel hides.

The C library's conversions, not ipaddress: these run in every request, and cost a tenth there.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple

_MAPPED = 0xFFFF  # first 96 bits of IPv4 in IPv6: RFC 4291, 2.5.5.2
_SIX_TO_FOUR = 0x2002  # first 16 bits: RFC 3056
_TEREDO = 0x20010000  # first 32 bits: RFC 4380
_NAT64 = 0x0064_FF9B << 64  # first 96 bits: RFC 6052
_IPV4 = 0xFFFFFFFF
NETWORK_BITS = {4: 8, 6: 80}  # of an address that tell clients of one network apart: /24 and /48


class Address(NamedTuple):
    """One IP address."""

    version: int
    number: int

    def __str__(self) -> str:
        if self.version == 4:
            return inet_ntop(AF_INET, self.number.to_bytes(4))
        return inet_ntop(AF_INET6, self.number.to_bytes(16))


def parse(text: str) -> Address | None:
    """The address, without a port or a zone; IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4. None if it is no address."""
    try:
        if ":" not in text:
            return Address(4, int.from_bytes(inet_pton(AF_INET, text)))
        if text.startswith("["):
            text = text[1:].partition("]")[0]
        elif text.count(":") == 1:
            return Address(4, int.from_bytes(inet_pton(AF_INET, text.partition(":")[0])))
        number = int.from_bytes(inet_pton(AF_INET6, text.partition("%")[0]))
    except (OSError, ValueError):  # ValueError: a NUL or another character that no address has
        return None
    return Address(4, number & _IPV4) if number >> 32 == _MAPPED else Address(6, number)


def embedded(address: Address) -> Address | None:
    """The IPv4 address that a 6to4, Teredo or NAT64 address carries."""
    if address.version == 4:
        return None
    number = address.number
    if number >> 112 == _SIX_TO_FOUR:
        return Address(4, number >> 80 & _IPV4)
    if number >> 96 == _TEREDO:
        return Address(4, ~number & _IPV4)
    return Address(4, number & _IPV4) if number >> 32 == _NAT64 else None


def network_of(address: Address) -> Address:
    """The lowest address in the network of a client, by which it keeps its order of mirrors."""
    bits = NETWORK_BITS[address.version]
    return Address(address.version, address.number >> bits << bits)


def network(text: str) -> tuple[int, int, int] | None:
    """Version, number of the address, length of the prefix; a bare address is a network of one. None if it is none."""
    base, slash, length = text.partition("/")
    version = 6 if ":" in base else 4
    most = 128 if version == 6 else 32
    try:
        number = int.from_bytes(inet_pton(AF_INET6 if version == 6 else AF_INET, base))
        bits = int(length) if slash else most
    except (OSError, ValueError):
        return None
    return (version, number, bits) if 0 <= bits <= most and (not slash or length.isdecimal()) else None
