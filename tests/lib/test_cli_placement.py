"""mm-admin: changing hosts, location groups, and directories that only some hosts may serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.settings import DatabaseSettings
from tests import factories as make
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses

TEST = "pub/fedora/linux/test"


@pytest.fixture
def admin(tmp_path: Path, database_url: str) -> Admin:
    """Two hosts, and a category with a directory."""
    engine = make_engine(DatabaseSettings(url=database_url))
    with make_sessions(engine)() as session, transaction(session):
        make.directory(session, make.category(session), "test")
        for name in ("a", "b"):
            make.host(session, name)
    engine.dispose()
    return Admin(tmp_path, database_url)


def host(admin: Admin, name: str = "a") -> dict[str, Any]:
    return next(row for row in admin.rows("host", "list") if row["name"] == name)


def test_address_families_are_unknown_until_they_are_stated(admin: Admin) -> None:
    assert (host(admin)["has_ipv4"], host(admin)["has_ipv6"]) == (None, None)
    admin.ok("host", "set", "a", "--ipv4", "yes", "--ipv6", "no")
    assert (host(admin)["has_ipv4"], host(admin)["has_ipv6"]) == (True, False)
    admin.ok("host", "set", "a", "--ipv6", "unknown")
    assert (host(admin)["has_ipv4"], host(admin)["has_ipv6"]) == (True, None)


def test_address_families_can_be_stated_when_a_host_is_made(admin: Admin) -> None:
    admin.ok("host", "add", "Site of a", "c", "--ipv4", "no", "--ipv6", "yes")
    assert (host(admin, "c")["has_ipv4"], host(admin, "c")["has_ipv6"]) == (False, True)


def test_a_host_is_changed_where_something_is_given_and_nowhere_else(admin: Admin) -> None:
    before = host(admin)
    admin.ok("host", "set", "a", "--country", "fr", "--bandwidth", "500", "--private", "--coordinates", "48.8", "2.3")
    assert host(admin) == before | {"country": "FR", "bandwidth_mbps": 500, "private": True}
    admin.ok("host", "set", "a", "--public")
    assert host(admin) == before | {"country": "FR", "bandwidth_mbps": 500}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Say what to change"),
        (("--bandwidth", "0"), 1, "bandwidth: must be 1 to"),
        (("--country", "UK"), 1, "did you mean GB"),
        (("--coordinates", "91", "0"), 1, "latitude must be"),
        (("--ipv6", "maybe"), 2, "not one of 'yes', 'no', 'unknown'"),
    ],
)
def test_a_change_that_cannot_be_is_refused(admin: Admin, arguments: tuple[str, ...], code: int, message: str) -> None:
    before = host(admin)
    assert message in admin.refused("host", "set", "a", *arguments, code=code)
    assert host(admin) == before


def test_location_groups_are_made_filled_and_emptied(admin: Admin) -> None:
    admin.ok("location", "add", "eu")
    for name in ("b", "a"):
        admin.ok("location", "add-host", "eu", name)
    assert [(row["name"], row["hosts"]) for row in admin.rows("location", "list")] == [("eu", ["a", "b"])]
    admin.ok("location", "remove-host", "eu", "a")
    assert [row["hosts"] for row in admin.rows("location", "list")] == [["b"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "eu"), "already"),
        (("add", " "), "printable"),
        (("add-host", "us", "a"), "no location group 'us'"),
        (("add-host", "eu", "c"), "no host 'c'"),
        (("add-host", "eu", "a"), "a is in eu already"),
        (("remove-host", "eu", "b"), "b is not in eu"),
    ],
)
def test_what_cannot_be_done_with_a_location_group_is_said(
    admin: Admin, arguments: tuple[str, ...], message: str
) -> None:
    admin.ok("location", "add", "eu")
    admin.ok("location", "add-host", "eu", "a")
    assert message in admin.refused("location", *arguments)


def test_a_directory_is_reserved_for_hosts_and_released_again(admin: Admin) -> None:
    admin.ok("directory", "reserve", f"/{TEST}/", "b")
    admin.ok("directory", "reserve", TEST, "a", "b")
    reserved = [{"category": "Fedora Linux", "directory": TEST, "hosts": ["a", "b"]}]
    assert admin.rows("directory", "list-reserved") == reserved
    admin.ok("directory", "release", TEST)
    assert admin.rows("directory", "list-reserved") == []


def test_a_directory_that_is_not_there_or_not_reserved_is_named(admin: Admin) -> None:
    assert "no directory 'pub/nowhere'" in admin.refused("directory", "reserve", "pub/nowhere", "a")
    assert f"{TEST} is not reserved" in admin.refused("directory", "release", TEST)


def test_a_directory_of_several_categories_needs_the_category(admin: Admin, database_url: str) -> None:
    engine = make_engine(DatabaseSettings(url=database_url))
    with make_sessions(engine)() as session, transaction(session):
        make.directory(session, make.category(session, "Other", "pub/fedora/linux"), "test")
    engine.dispose()
    assert "say which with --category" in admin.refused("directory", "reserve", TEST, "a")
    admin.ok("directory", "reserve", TEST, "a", "--category", "Other")
    assert [row["category"] for row in admin.rows("directory", "list-reserved")] == ["Other"]
