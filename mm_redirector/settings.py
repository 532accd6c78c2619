"""The values that the pure modules decide by."""

from __future__ import annotations

from dataclasses import dataclass

from mm_lib.settings import RedirectorSettings


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator chose, without where it came from."""

    minimum_hosts: int = 5  # below this many hosts an answer is filled up from all the world
    trusted_proxies: int = 0  # reverse proxies in front that append to X-Forwarded-For
    allow_ip_parameter: bool = False  # ip= chooses the address that a client is judged by


def policy(settings: RedirectorSettings) -> Policy:
    """The part of the settings that decides about answers."""
    return Policy(settings.minimum_hosts, settings.trusted_proxies, settings.allow_ip_parameter)
