"""Which mirrors the public may see, in which order, and what is said of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Category, Product, Version
from mm_lib.model.hosts import Host, HostCategoryUrl
from mm_lib.model.state import Health, HostCategoryState
from mm_lib.services.mirrors import Content, MirrorFilters, MirrorPage, catalogue, read_registry, read_served
from tests import factories


def page(session: Session, number: int = 1, size: int = 100, **filters: Any) -> MirrorPage:
    return read_registry(session).page(MirrorFilters(**filters), number, size)


def names(found: MirrorPage) -> list[str]:
    return [mirror.name for mirror in found.mirrors]


@pytest.fixture
def linux(session: Session) -> Category:
    return factories.category(session)


@pytest.fixture
def mirror(session: Session, linux: Category) -> Callable[..., Host]:
    """Makes a public mirror that is up to date; keywords change what makes it so."""
    current = [factories.directory(session, linux, "releases")]

    def make(name: str, carried: dict[str, Any] | None = None, **host: Any) -> Host:
        made = factories.host(session, name, **host)
        factories.carries(session, made, linux, **{"up_to_date": current, **(carried or {})})
        return made

    return make


@pytest.mark.parametrize(
    ("host", "carried"),
    [
        ({"private": True}, {}),
        ({"site_private": True}, {}),
        ({"state": State.OWNER_DISABLED}, {}),
        ({"state": State.AUTO_DISABLED}, {}),
        ({"site_state": State.ADMIN_DISABLED}, {}),
        ({}, {"url_private": True}),
        ({}, {"up_to_date": ()}),
        ({}, {"health": Health.QUARANTINED}),
        ({}, {"health": Health.QUARANTINED, "always": True}),
    ],
    ids=str,
)
def test_a_mirror_is_hidden_by_each_reason_alone(
    session: Session, mirror: Callable[..., Host], host: dict[str, Any], carried: dict[str, Any]
) -> None:
    mirror("x.example.org", carried, **host)
    assert page(session).total == 0


@pytest.mark.parametrize(
    "carried", [{"health": Health.SUSPECT}, {"health": Health.PROBATION}, {"always": True, "up_to_date": ()}]
)
def test_a_mirror_in_doubt_or_exempt_from_crawls_is_shown(
    session: Session, mirror: Callable[..., Host], carried: dict[str, Any]
) -> None:
    mirror("x.example.org", carried)
    assert page(session).total == 1


def test_the_mirrors_in_short_are_those_of_the_registry(
    session: Session, mirror: Callable[..., Host], linux: Category
) -> None:
    mirror("whole.example.org", country="DE")
    mirror("private.example.org", private=True)
    mirror("gone.example.org", {"health": Health.QUARANTINED})
    mirror("nothing.example.org", {"up_to_date": ()})
    mirror("exempt.example.org", {"always": True, "up_to_date": ()})
    both = mirror("part.example.org")
    archive = factories.category(session, "Archive", "archive")
    first = factories.directory(session, archive, "old")
    part = factories.carries(session, both, archive, up_to_date=[first])
    session.get_one(HostCategoryState, part.id).directories_total = 2
    found = read_served(session)
    assert found == read_registry(session).served()
    assert {one.name: one.whole for one in found.values()} == {
        "whole.example.org": True,
        "exempt.example.org": True,
        "part.example.org": False,
    }


def test_a_mirror_that_was_deleted_is_hidden_although_it_can_be_brought_back(
    session: Session, mirror: Callable[..., Host]
) -> None:
    mirror("x.example.org").deleted_at = datetime.now(UTC)
    session.flush()
    assert page(session).total == 0


def test_an_address_that_leads_nowhere_is_not_shown(session: Session, mirror: Callable[..., Host]) -> None:
    mirror("x.example.org").categories[0].urls[0].problem = "404"
    session.flush()
    assert page(session).total == 0


@pytest.mark.parametrize("change", [{"public": False}, {"admin_only": True}])
def test_categories_that_are_not_for_everybody_do_not_count(
    session: Session, mirror: Callable[..., Host], linux: Category, change: dict[str, bool]
) -> None:
    mirror("x.example.org")
    for name, value in change.items():
        setattr(linux, name, value)
    session.flush()
    assert page(session).total == 0
    assert read_registry(session).matrix().mirrors == 0


def test_a_mirror_shows_only_its_public_addresses_the_best_protocol_first(
    session: Session, mirror: Callable[..., Host]
) -> None:
    carried = mirror("x.example.org").categories[0]
    for url, private in (("rsync://x.example.org/l", False), ("https://x.example.org/l", False), ("https://p/l", True)):
        carried.urls.append(HostCategoryUrl(url=url, private=private))
    session.flush()
    assert page(session).mirrors[0].categories[0].urls == (
        "https://x.example.org/l",
        "http://x.example.org/pub/fedora/linux",
        "rsync://x.example.org/l",
    )


def test_the_protocol_filter_keeps_the_other_addresses_visible(session: Session, mirror: Callable[..., Host]) -> None:
    mirror("a.example.org")
    carried = mirror("b.example.org").categories[0]
    carried.urls.append(HostCategoryUrl(url="https://b.example.org/l"))
    session.flush()
    found = page(session, protocol="https")
    assert names(found) == ["b.example.org"]
    assert len(found.mirrors[0].categories[0].urls) == 2


def test_mirrors_stand_by_country_name_then_host_and_without_country_last(
    session: Session, mirror: Callable[..., Host]
) -> None:
    for name, country in (("z", "CH"), ("b", "AX"), ("A", "AX"), ("n", None), ("d", "DZ")):
        mirror(name, country=country)
    assert names(page(session)) == ["A", "b", "d", "z", "n"]


def test_countries_are_counted_over_all_pages_whatever_country_is_chosen(
    session: Session, mirror: Callable[..., Host]
) -> None:
    for number in range(3):
        mirror(f"de{number}", country="DE")
    mirror("fr", country="FR")
    found = page(session, size=1, country="FR")
    assert (found.total, found.pages) == (1, 1)
    assert [(country.code, country.name, country.mirrors) for country in found.countries] == [
        ("FR", "France", 1),
        ("DE", "Germany", 3),
    ]


def test_a_page_beyond_the_last_is_the_last(session: Session, mirror: Callable[..., Host]) -> None:
    for number in range(5):
        mirror(f"h{number}")
    found = page(session, number=9, size=2)
    assert (found.number, found.pages, names(found)) == (3, 3, ["h4"])


def test_versions_are_ordered_by_the_operator_then_names_then_numbers_downwards(session: Session) -> None:
    product = Product(name="Linux")
    session.add(product)
    for name, order in (("9", 0), ("10", 0), ("10.2", 0), ("stream", 0), ("alpha", 0), ("0.1", -1), ("9-stream", 0)):
        session.add(Version(product=product, name=name, sort_order=order))
    session.flush()
    found = catalogue(session).products[0].versions
    assert [version.name for version in found] == ["0.1", "alpha", "stream", "10.2", "10", "9", "9-stream"]


def test_the_matrix_counts_each_mirror_once_per_cell(
    session: Session, mirror: Callable[..., Host], linux: Category
) -> None:
    mirror("a")
    mirror("b")
    for prefix in ("fedora-44", "updates-44"):
        factories.repository(session, factories.directory(session, linux, prefix), prefix)
    found = read_registry(session).matrix()
    assert (found.mirrors, found.organisations, found.countries) == (2, 2, 1)
    cell = found.products[0].versions[0].cells[0]
    assert cell is not None
    assert (cell.arch, cell.mirrors) == ("x86_64", 2)


def test_content_is_chosen_by_name_and_a_version_only_with_its_product(session: Session, linux: Category) -> None:
    factories.repository(session, factories.directory(session, linux, "44"), "fedora-44")
    choices = catalogue(session)
    chosen = choices.choose("Fedora", "44", "x86_64")
    assert chosen.product is not None
    assert chosen.version is not None
    assert chosen.arch is not None
    assert choices.choose("", "44", "vax") == Content()
