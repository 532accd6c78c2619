"""Every page for operators, loaded: each module adds its own to the blueprint."""

from __future__ import annotations

from mm_frontend.operators import checkin, deleted, details, events, hosts, members, service, sites, tokens
from mm_frontend.operators.blueprint import blueprint

__all__ = ["blueprint", "checkin", "deleted", "details", "events", "hosts", "members", "service", "sites", "tokens"]
