"""The values that the pure modules decide by."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, NamedTuple

from mm_lib.settings import RedirectorSettings

FACTORS = ("bandwidth", "health", "slow_start", "share", "nearness")
Explain = Literal["off", "networks", "public"]


class Policy(NamedTuple):
    """What the operator chose, without where it came from."""

    factors: frozenset[str] = frozenset(FACTORS)  # what the weight of a host in a draw is made of
    max_hosts: int = 20  # an answer stops growing at this many hosts; 0: never
    minimum_hosts: int = 5  # below this many hosts an answer is filled up from all the world
    location_groups: bool = True  # location= counts
    nearness_km: float = 500.0  # at this distance a host is drawn half as often as one next door
    stable: bool = False  # every client network gets one order for the life of a cache
    trusted_proxies: int = 0  # reverse proxies in front that append to X-Forwarded-For
    allow_ip_parameter: bool = False  # ip= chooses the address that a client is judged by
    explain: Explain = "off"
    explain_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    explain_per_minute: int = 60
    max_cache_age: float = 0.0  # seconds after which a redirector is no longer ready; 0: never


def policy(settings: RedirectorSettings) -> Policy:
    """The part of the settings that decides about answers. "classic" is what MirrorManager's Rust server does."""
    classic = settings.policy == "classic"
    return Policy(
        factors=frozenset(["bandwidth"] if classic else settings.factors),
        max_hosts=0 if classic else settings.max_hosts,
        minimum_hosts=settings.minimum_hosts,
        location_groups=not classic,
        nearness_km=settings.nearness_km,
        stable=settings.stable,
        trusted_proxies=settings.trusted_proxies,
        allow_ip_parameter=settings.allow_ip_parameter,
        explain=settings.explain,
        explain_networks=_networks(settings.explain_networks),
        explain_per_minute=settings.explain_per_minute,
        max_cache_age=settings.max_cache_age_hours * 3600.0,
    )


BALANCED = Policy()
CLASSIC = Policy(factors=frozenset(["bandwidth"]), max_hosts=0, location_groups=False)


def _networks(texts: Sequence[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)
