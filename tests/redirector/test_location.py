"""Where a client is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mm_redirector.address import network, parse
from mm_redirector.index import Claim, build
from mm_redirector.location import NOWHERE, ClientLocation, locate
from mm_redirector.query import Reason, Refusal
from tests.redirector.world import CAMPUS, IN_SWEDEN, LAB, Atlas, mask, world

INDEX = build(world())


def located(address: str) -> ClientLocation:
    result = locate(address, False, INDEX, Atlas())
    assert isinstance(result, ClientLocation)
    return result


def test_the_country_comes_from_the_database_and_the_continent_from_the_cache() -> None:
    assert located(IN_SWEDEN) == ClientLocation(IN_SWEDEN, parse(IN_SWEDEN), "SE", "EU", None, None, ())


def test_the_most_specific_netblock_override_decides_the_country() -> None:
    assert located("198.51.100.1").country == "DE"
    assert located("198.51.100.200").country == "JP"


def test_netblocks_of_hosts_are_listed_most_specific_first() -> None:
    assert located("10.1.2.9").netblocks == (Claim("10.1.2.0/24", mask(LAB)), Claim("10.1.0.0/16", mask(CAMPUS)))
    assert located("2001:db8:1::5").netblocks == (Claim("2001:db8:1::/48", mask(CAMPUS)),)
    assert located("2001:db8:2::5").netblocks == ()


def test_an_address_mapped_into_ipv6_is_treated_as_ipv4() -> None:
    """The reference finds neither netblock nor ASN for it (1.3)."""
    assert located("::ffff:10.1.2.9") == located("10.1.2.9")


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.1:8080", "192.0.2.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:0DB8::0001", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_ports_and_zones_are_not_part_of_an_address(written: str, address: str) -> None:
    """The reference answers 500 to a port (1.3)."""
    assert str(parse(written)) == address


@pytest.mark.parametrize(
    "text", ["", "unknown", "10.11.12.331", "1.2.3", "é", "[", "1.2.3.4.5", "::g", "%", "1.2.3.4 "]
)
def test_anything_else_is_not_an_address(text: str) -> None:
    assert parse(text) is None


def test_an_odd_address_from_a_proxy_is_served_as_one_of_whom_nothing_is_known() -> None:
    assert located("unknown") == NOWHERE
    assert located("") == NOWHERE


def test_an_odd_address_that_the_client_chose_is_refused() -> None:
    refusal = locate("10.11.12.331", True, INDEX, Atlas())
    assert refusal == Refusal(Reason.BAD_ADDRESS, "Cannot parse client IP address. Aborting.")


def test_a_country_without_continent_is_possible() -> None:
    assert locate(IN_SWEDEN, False, INDEX, replace(Atlas(), countries={IN_SWEDEN: "A1"})) == ClientLocation(
        IN_SWEDEN, parse(IN_SWEDEN), "A1", "", None, None, ()
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8", (4, 10 << 24, 8)),
        ("10.0.0.1", (4, (10 << 24) + 1, 32)),
        ("2001:db8::/32", (6, 0x20010DB8 << 96, 32)),
        ("::/0", (6, 0, 0)),
        ("10.0.0.0/33", None),
        ("10.0.0.0/-1", None),
        ("10.0.0.0/ 8", None),
        ("10.0.0.0/", None),
        ("example.org/8", None),
        ("", None),
    ],
)
def test_a_network_is_an_address_with_a_length(text: str, expected: tuple[int, int, int] | None) -> None:
    assert network(text) == expected
