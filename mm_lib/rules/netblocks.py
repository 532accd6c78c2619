"""What an operator may write for a network: CIDR, an address, address/netmask, or a DNS name. One normal form each."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# A top-level domain is never all digits: that keeps "300.1.1.1" from passing as a name.
_DNS_NAME = re.compile(rf"({_LABEL}\.)+(?!\d+$){_LABEL}")


class Netblock(NamedTuple):
    """A network in normal form with its bounds, or a DNS name without."""

    text: str
    family: int | None  # 4, 6; None for a DNS name
    first: bytes | None  # big-endian
    last: bytes | None


def parse_network(text: str) -> Netblock:
    """CIDR, address or address/netmask; host bits are cleared. Raises ValueError that says what would be right."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 192.0.2.0/24 or 2001:db8::/32") from None
    return Netblock(str(network), network.version, network.network_address.packed, network.broadcast_address.packed)


def parse_netblock(text: str) -> Netblock:
    """A network, or else a DNS name that stands for its addresses. Raises ValueError that says what would be right."""
    try:
        return parse_network(text)
    except ValueError:
        name = text.strip().lower().rstrip(".")
        if len(name) > 253 or not _DNS_NAME.fullmatch(name):
            raise ValueError(f"{text!r} is neither a network such as 192.0.2.0/24 nor a DNS name") from None
        return Netblock(name, None, None, None)
