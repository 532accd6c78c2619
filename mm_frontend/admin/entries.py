"""What the first page of administration leads to, besides the tables: one line for each page."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A page of administration."""

    endpoint: str
    title: str
    text: str  # what it is for, in one sentence


ENTRIES: list[Entry] = [
    Entry("operators.all_sites", "All sites", "Every organisation with its hosts and their states."),
    Entry("operators.all_events", "All changes", "Who changed what, when and from where."),
    Entry("admin.approval_queue", "Sites that wait", "New sites that an administrator approves or declines."),
    Entry("admin.place_list", "Countries and networks", "Embargoes, continents of countries, countries of networks."),
    Entry(
        "admin.monitor_page",
        "Monitor",
        "Checks, jobs, crawls, scans, the cache and messages: what runs and what failed.",
    ),
    Entry("admin.configuration_page", "Configuration", "The settings that count, and what is unsafe about them."),
    Entry("admin.redirect_list", "Redirects", "Repositories that are answered with another."),
    Entry("admin.rule_list", "Repository rules", "Which directories are repositories, and what clients call them."),
    Entry("admin.user_list", "Users", "Roles, accounts and their sign-ins, and two accounts of one person."),
    Entry("admin.banner_list", "Banners", "Messages at the top of every page."),
    Entry("operators.deleted", "Deleted", "Sites and hosts that can be brought back."),
]
