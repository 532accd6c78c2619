"""What is prepared once per load."""

from __future__ import annotations

from ipaddress import ip_network
from random import Random
from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from mm_lib.cache.schema import Category, MirrorlistCache
from mm_redirector.address import Address, parse
from mm_redirector.category import HOLE, CategoryIndex, escape
from mm_redirector.index import Claim, build
from mm_redirector.networks import SORTED_AT_ONCE, NetblockTable
from mm_redirector.query import UNSAFE, Choice
from mm_redirector.settings import CLASSIC
from mm_redirector.shuffle import members
from tests.redirector.world import (
    AUSTRIAN,
    CAMPUS,
    CZECH,
    DANE,
    GERMAN,
    JAPANESE,
    LAB,
    STALE,
    SWEDE,
    YANK,
    host,
    mask,
    world,
)  # fmt: skip

ALL = Choice(None, None)


@given(st.sets(st.integers(0, 700)))
def test_members_lists_the_bits_of_a_mask(hosts: set[int]) -> None:
    assert members(mask(*hosts)) == sorted(hosts)


def category(*urls: str) -> CategoryIndex:
    return CategoryIndex(Category("c", "top", {0: urls}, {"top/a": 0}, {}), [host(0, "se")], [1], CLASSIC.factors)


def lines(index: CategoryIndex, *protocols: str, limit: int = 9) -> list[str]:
    return index.view(Choice(frozenset(protocols), limit)).lines[0].decode().split(HOLE.decode())


def test_https_comes_first_and_the_rest_keeps_its_order() -> None:
    index = category("rsync://h", "http://h", "https://h", "ftp://h")
    assert lines(index, "https", "http", "ftp", "rsync") == ["https://h", "rsync://h", "http://h", "ftp://h"]


def test_a_limit_takes_the_first_matching_urls() -> None:
    assert lines(category("http://a", "http://b", "https://c"), "http", limit=1) == ["http://a"]


def test_a_trailing_slash_of_a_base_url_is_dropped() -> None:
    assert lines(category("http://a/x/"), "http") == ["http://a/x"]


def test_unsafe_characters_in_a_base_url_are_encoded() -> None:
    assert lines(category("http://a/b\nhttp://evil/\x01 é"), "http") == ["http://a/b%0Ahttp://evil/%01%20%C3%A9"]


def test_there_are_only_a_few_views_however_many_choices_clients_invent() -> None:
    index = category("http://a", "https://a")
    for number in range(100):
        index.view(Choice(frozenset({"http", f"x{number}"}), number))
    assert len(index._views) <= 8


def test_a_host_without_a_matching_url_is_not_in_the_view() -> None:
    index = build(world()).categories[0]
    assert index.view(Choice(frozenset({"rsync"}), 1)).hosts == mask(3, JAPANESE)
    assert index.view(Choice(frozenset({"gopher"}), 1)).hosts == 0


def test_a_url_element_is_whole_when_joined_by_a_preference() -> None:
    (element,) = (b"100".join(category("https://h/a&b").view(ALL).elements[0]).decode(),)
    assert element == (
        '    <url protocol="https" type="https" location="SE" preference="100">https://h/a&amp;b\x01</url>\n'
    )


def test_private_hosts_are_local_nowhere() -> None:
    index = build(world())
    assert index.countries["SE"] == mask(SWEDE, STALE)
    assert not index.public & mask(CAMPUS, LAB)


def test_extra_countries_count_as_local() -> None:
    index = build(world())
    assert index.countries["PL"] == index.countries["CZ"] == mask(CZECH)


def test_continents_list_only_countries_with_hosts() -> None:
    assert build(world()).continents == {"EU": ("AT", "CZ", "DE", "DK", "PL", "SE"), "NA": ("US",), "AS": ("JP",)}


def test_a_host_with_allowed_countries_is_open_to_these_alone() -> None:
    index = build(world())
    assert index.open_to("DE") & index.open_to("AT") & mask(AUSTRIAN)
    assert not index.open_to("SE") & mask(AUSTRIAN)
    assert not index.open_to("") & mask(AUSTRIAN)
    assert index.open_to("XX") & mask(SWEDE, DANE, GERMAN, YANK) == mask(SWEDE, DANE, GERMAN, YANK)


def test_a_host_without_bandwidth_has_a_little() -> None:
    """In the reference its request dies without an answer (D2)."""
    bare = Category("c", "", {0: ("http://h",)}, {}, {})
    (index,) = build(MirrorlistCache(1, 1, hosts=[host(0, "SE", 0)], categories=[bare])).categories
    assert index.law.weights.tolist() == [1.0]


def test_hosts_in_embargoed_countries_are_served_nowhere() -> None:
    index = build(world(embargoed_countries=["DK"]))
    assert index.embargoed == mask(DANE)
    assert "DK" not in index.countries
    assert not index.continent_hosts["EU"] & mask(DANE)


def test_a_netblock_that_cannot_be_read_is_reported_and_spoils_nothing() -> None:
    """In the reference a malformed key ends the scan (1.4)."""
    index = build(world())
    assert index.netblocks.unreadable == ["not a network"]
    assert index.netblocks.matches(parse("10.1.2.3")) == (
        Claim("10.1.2.0/24", mask(LAB)),
        Claim("10.1.0.0/16", mask(CAMPUS)),
    )


NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
)


@given(st.lists(NETWORKS, max_size=30), st.ip_addresses())
def test_netblocks_match_as_a_scan_over_all_of_them_would(networks: list[tuple[Any, int]], address: Any) -> None:
    blocks = {ip_network((int_address, length), strict=False) for int_address, length in networks}
    blocks.add(ip_network((address, 12), strict=False))
    expected = sorted((b for b in blocks if address in b), key=lambda b: -b.prefixlen)
    assert NetblockTable({str(b): b for b in blocks}).matches(Address(address.version, int(address))) == tuple(expected)


def test_many_netblocks_match_in_whatever_order_they_come() -> None:
    """They are sorted in parts, with pauses between them: compiled code gives nobody the interpreter by itself."""
    some, pauses = Random(3), []
    blocks = {ip_network((some.getrandbits(32), some.choice((6, 9, 12, 16, 20))), strict=False) for _ in range(3_000)}
    assert len(blocks) > 4 * SORTED_AT_ONCE
    table = NetblockTable({str(block): block for block in blocks}, lambda: pauses.append(1))
    assert len(pauses) > 2 * len(blocks) + len(blocks) // SORTED_AT_ONCE
    edges = [(int(block[0]), int(block[-1]), block) for block in blocks]
    for number in (some.getrandbits(32) for _ in range(100)):
        around = sorted((b for first, last, b in edges if first <= number <= last), key=lambda b: -b.prefixlen)
        assert table.matches(Address(4, number)) == tuple(around)


def test_a_bare_address_is_a_netblock() -> None:
    assert NetblockTable({"10.0.0.1": 1}).matches(parse("10.0.0.1")) == (1,)


def test_the_listing_leaves_out_what_is_switched_off() -> None:
    listing = build(world()).listing.splitlines()
    assert "# repo=libstdc++&arch=x86_64" in listing
    assert listing == sorted(listing)
    assert not any("=off&" in line for line in listing)


def test_an_empty_cache_can_be_indexed() -> None:
    empty = build(MirrorlistCache(generated_at=1, generation=1))
    assert (empty.public, empty.countries, empty.listing) == (0, {}, "")


@given(st.text())
def test_escaped_text_is_safe_in_xml(text: str) -> None:
    escaped = escape(text)
    root = ElementTree.fromstring(f'<a b="{escaped}">{escaped}</a>')
    assert root.get("b") == (root.text or "") == UNSAFE.sub("\ufffd", text)
