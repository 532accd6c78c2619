"""Where the client is: its country, its network, and the netblocks that hosts claimed."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from mm_redirector.index import Address, Index
from mm_redirector.query import Reason, Refusal


class GeoSource(Protocol):
    """What is known about addresses from outside of the cache."""

    def country(self, address: str) -> str:
        """ISO code in capitals; "" if unknown."""

    def asn(self, address: str) -> int | None:
        """The autonomous system that announces the address."""


@dataclass(frozen=True, slots=True)
class ClientLocation:
    """Where one client is."""

    address: str  # "" if unknown
    country: str  # "" if unknown
    continent: str
    asn: int | None
    netblocks: tuple[int, ...]  # masks of the hosts that claimed a netblock around the client, most specific first


NOWHERE = ClientLocation("", "", "", None, ())


def locate(address: str, chosen: bool, index: Index, geo: GeoSource) -> ClientLocation | Refusal:
    """Where an address is.

    An address that the client chose must be one. One that the connection or a proxy gave may be missing (a Unix
    socket) or odd ("unknown"): such a client is served as one of whom nothing is known.
    """
    parsed = parse(address)
    if parsed is None:
        return Refusal(Reason.BAD_ADDRESS, "Cannot parse client IP address. Aborting.") if chosen else NOWHERE
    text = str(parsed)
    overrides = index.netblock_countries.matches(parsed)
    country = (overrides[0] if overrides else geo.country(text)).upper()
    return ClientLocation(
        address=text,
        country=country,
        continent=index.continent_of.get(country, ""),
        asn=geo.asn(text),
        netblocks=tuple(index.netblocks.matches(parsed)),
    )


def parse(text: str) -> Address | None:
    """The address, without a port or a zone; IPv4 in IPv6 (::ffff:192.0.2.1) is IPv4."""
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
