"""Every page for administrators, loaded: each module adds its own to the blueprint."""

from __future__ import annotations

from mm_frontend.admin import approvals, banners, pages, people, places, repositories, tables, transfer
from mm_frontend.admin.blueprint import blueprint

__all__ = ["approvals", "banners", "blueprint", "pages", "people", "places", "repositories", "tables", "transfer"]
