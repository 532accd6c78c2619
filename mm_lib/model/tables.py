"""Every table, loaded: import this where the whole schema is meant (migrations, sessions)."""

from __future__ import annotations

from mm_lib.model import accounts, banners, content, geography, hiding, hosts, outbox, sites, state, statistics
from mm_lib.model.base import Base

__all__ = [
    "accounts",
    "banners",
    "content",
    "geography",
    "hiding",
    "hosts",
    "metadata",
    "outbox",
    "sites",
    "state",
    "statistics",
]

metadata = Base.metadata
