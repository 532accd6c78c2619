"""Values as people read them, and the pager."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mm_frontend.public.forms import pager
from mm_frontend.theme import ago, bandwidth, contact_link, freshness
from mm_lib.services.mirrors import MirrorCategory

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mbps", "said"), [(100, "100 Mbit/s"), (1000, "1 Gbit/s"), (2500, "2.5 Gbit/s"), (12_500, "12.5 Gbit/s")]
)
def test_bandwidth_is_said_in_the_larger_unit(mbps: int, said: str) -> None:
    assert bandwidth(mbps) == said


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        ({"seconds": -5}, "just now"),
        ({"seconds": 59}, "just now"),
        ({"minutes": 40}, "40 minutes ago"),
        ({"hours": 20}, "20 hours ago"),
        ({"hours": 49}, "2 days ago"),
    ],
)
def test_times_are_said_as_ages(passed: dict[str, int], said: str) -> None:
    assert ago(NOW - timedelta(**passed), NOW) == said


@pytest.mark.parametrize(
    ("always", "have", "total", "said"),
    [
        (True, 0, 0, "always current"),
        (False, 10, 10, "in sync"),
        (False, 9_999, 10_000, "99% in sync"),
        (False, 1, 10_000, "1% in sync"),
    ],
)
def test_freshness_is_never_rounded_up_to_all(always: bool, have: int, total: int, said: str) -> None:
    assert freshness(MirrorCategory(1, 1, "Linux", (), always, have, total, None)) == said


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("help@example.org", "mailto:help@example.org"),
        ("https://example.org/help", "https://example.org/help"),
        ("the front desk", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_a_contact_leads_to_a_mailbox_or_page_or_nowhere(contact: str, link: str) -> None:
    assert contact_link(contact) == link


@pytest.mark.parametrize(
    ("number", "pages", "shown"),
    [
        (1, 1, [1]),
        (1, 3, [1, 2, 3]),
        (5, 9, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (10, 20, [1, None, 8, 9, 10, 11, 12, None, 20]),
        (1, 20, [1, 2, 3, None, 20]),
    ],
)
def test_the_pager_links_the_ends_and_what_is_around(number: int, pages: int, shown: list[Any]) -> None:
    assert pager(number, pages) == shown
