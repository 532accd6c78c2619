"""Every page for administrators, loaded: each module adds its own to the blueprint."""

from __future__ import annotations

from mm_frontend.admin import (
    approvals,
    banners,
    bulk,
    configuration,
    monitor,
    pages,
    people,
    places,
    repositories,
    tables,
    tables_forms,
    transfer,
)
from mm_frontend.admin.blueprint import blueprint

__all__ = [
    "approvals",
    "banners",
    "blueprint",
    "bulk",
    "configuration",
    "monitor",
    "pages",
    "people",
    "places",
    "repositories",
    "tables",
    "tables_forms",
    "transfer",
]
