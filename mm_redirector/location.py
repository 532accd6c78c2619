"""Where the client is: its country, its place, its network, and the netblocks that hosts claimed."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mm_redirector.address import Address, embedded, network_of, parse
from mm_redirector.index import Claim, Index, Vector, vector
from mm_redirector.query import Reason, Refusal


class GeoSource(Protocol):
    """What is known about addresses from outside of the cache."""

    def country(self, address: str) -> str:
        """ISO code in capitals; "" if unknown."""

    def place(self, address: str) -> tuple[float, float] | None:
        """Latitude and longitude in degrees of the client's city; None where only the country is known."""

    def asn(self, address: str) -> int | None:
        """The autonomous system that announces the address."""


class ClientLocation(NamedTuple):
    """Where one client is."""

    address: str  # "" if unknown
    outer: Address | None  # the same, or the IPv4 address behind a tunnel
    country: str  # "" if unknown
    continent: str
    place: Vector | None  # on the unit sphere
    asn: int | None
    netblocks: tuple[Claim, ...]  # claimed by hosts around the client, most specific first


NOWHERE = ClientLocation("", None, "", "", None, None, ())


def locate(
    address: str, chosen: bool, index: Index, geo: GeoSource, *, coarsely: bool = False
) -> ClientLocation | Refusal:
    """Where an address is.

    An address that the client chose must be one. One that the connection or a proxy gave may be missing (a Unix
    socket) or odd ("unknown"): such a client is served as one of whom nothing is known. Coarsely: its whole network
    stands at one place, so that all of it gets one order.
    """
    parsed = parse(address)
    if parsed is None:
        return Refusal(Reason.BAD_ADDRESS, "Cannot parse client IP address. Aborting.") if chosen else NOWHERE
    # An address without colons was plain IPv4. Writing others anew costs a little, and tells one from the other.
    text = str(parsed) if ":" in address else address
    overrides = index.netblock_countries.matches(parsed)
    netblocks = index.netblocks.matches(parsed)
    # Behind a tunnel the client stands where its IPv4 address is. Its network is that address's, too: all clients
    # behind NAT64 share one /48.
    outer, where = parsed, text
    if parsed.version == 6 and (inner := embedded(parsed)):
        outer, where = inner, str(inner)
        overrides = overrides or index.netblock_countries.matches(inner)
        netblocks += index.netblocks.matches(inner)
    country = overrides[0].upper() if overrides else geo.country(where)
    place = geo.place(str(network_of(outer)) if coarsely else where)
    return ClientLocation(
        text,
        outer,
        country,
        index.continent_of.get(country, ""),
        vector(*place) if place else None,
        geo.asn(where),
        netblocks,
    )
