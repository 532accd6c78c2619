"""The policy "classic" against a naive model of MirrorManager's Rust server, redirector.md 1.5 and 1.6.

The model works on lists and sets of the cache's own values and shares nothing with mm_redirector. Where the reference
is wrong (1.12) it does what is right: D1 and D10; and hosts that an answer cannot show do not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector.index import build
from mm_redirector.settings import CLASSIC
from tests.redirector.decisions import decided
from tests.redirector.world import IN_SWEDEN, OS, client, host, mask, urls, world
from tests.redirector.worlds import ADDRESSES, CLIENTS, DIRECTORY, SYSTEM, atlas, encoded, questions, worlds

Stage = tuple[str, set[int]]


class Model:
    """The stages of one request, as the reference makes them."""

    def __init__(self, cache: MirrorlistCache, address: str, asn: int | None, asked: dict[str, str]) -> None:
        self.cache, self.asn, self.asked = cache, asn, asked
        self.address = None if address == "unknown" else ip_address(address)
        if address == "2002:0a01:0209::1":  # 6to4
            self.address = ip_address("10.1.2.9")
        self.country = CLIENTS[address]
        self.content = {number for number in range(len(cache.hosts)) if self.has_content(number)}

    def has_content(self, number: int) -> bool:
        wanted = self.asked.get("protocol", "https,http,ftp").split(",")
        found = self.cache.categories[0].urls.get(number, ())
        reserved = self.cache.categories[0].reserved.get(DIRECTORY, -1)
        here = self.cache.hosts[number].country not in self.cache.embargoed_countries
        carries = self.cache.masks[0] & reserved & 1 << number
        return bool(carries) and here and any(url.split(":")[0] in wanted for url in found)

    def public(self, country: str | None = None) -> set[int]:
        """Global, or ByCountry of the directory."""
        return {
            number
            for number in self.content
            if not self.cache.hosts[number].private and (country is None or country in self.countries_of(number))
        }

    def countries_of(self, number: int) -> set[str]:
        return {self.cache.hosts[number].country, *self.cache.hosts[number].extra_countries} - {""}

    def trimmed(self, numbers: set[int]) -> set[int]:
        allowed = {number: self.cache.hosts[number].allowed_countries for number in numbers}
        return {number for number in numbers if not allowed[number] or self.country in allowed[number]}

    def neighbours(self, countries: Iterable[str]) -> set[int]:
        continents = {self.cache.country_continents.get(country) for country in countries} - {None}
        around = [name for name, continent in self.cache.country_continents.items() if continent in continents]
        return set().union(*(self.public(name) for name in around))

    def stages(self, minimum: int) -> list[Stage]:
        requested = sorted({name for name in self.asked.get("country", "").split(",") if name})
        stages: list[Stage] = []
        if not requested and self.asked.get("netblock", "1") == "1":
            stages += self.networks()
        if requested:
            found = set().union(
                *(self.public() if n.lower() == "global" else self.public(n.upper()) for n in requested)
            ) or self.neighbours(n.upper() for n in requested)
            if found:
                return [("REQUESTED", self.trimmed(found))]
        stages.append(("COUNTRY", self.trimmed(self.public(self.country)) if self.country else set()))
        stages.append(("CONTINENT", self.trimmed(self.neighbours([self.country]))))
        if len(set().union(*(numbers for _, numbers in stages))) < minimum:
            stages.append(("GLOBAL", self.trimmed(self.public())))
        return stages

    def networks(self) -> list[Stage]:
        if self.address is None:
            return []
        blocks = [ip_network(text) for text in self.cache.netblock_hosts]
        around = sorted((block for block in blocks if self.address in block), key=lambda block: -block.prefixlen)
        claims = [self.cache.netblock_hosts[str(block)] for block in around]
        stages = [("NETBLOCK", {n for n in self.content if claim & 1 << n}) for claim in claims]
        system = self.cache.asn_hosts.get(self.asn, 0) if self.asn is not None else 0
        return [*stages, ("ASN", {n for n in self.content if system & 1 << n})]


def in_first_stage_only(stages: list[Stage]) -> list[Stage]:
    """Each host where it stands first, and no empty stages."""
    seen: set[int] = set()
    found: list[Stage] = []
    for kind, numbers in stages:
        if fresh := numbers - seen:
            found.append((kind, fresh))
        seen |= numbers
    return found


ASKED = questions(("country", "protocol", "netblock"))


@given(worlds(), st.sampled_from(ADDRESSES), st.sampled_from([None, SYSTEM, 1]), ASKED, st.integers(0, 8))
def test_members_and_order_of_the_stages_are_those_of_the_reference(
    cache: MirrorlistCache, address: str, asn: int | None, asked: dict[str, str], minimum: int
) -> None:
    """(1.5, 1 to 6; 1.6; 1.7)"""
    expected = in_first_stage_only(Model(cache, address, asn, asked).stages(minimum))
    url = f"/mirrorlist?path={DIRECTORY}&{encoded(asked)}"
    index, policy = build(cache, CLASSIC), CLASSIC._replace(minimum_hosts=minimum)
    selection = decided(url, index, policy, address, geo=atlas(asn=asn)).selection
    assert [(tier.kind.name, set(tier.hosts)) for tier in selection.tiers if tier.hosts] == expected
    assert selection.hosts == [number for tier in selection.tiers for number in tier.hosts]


@given(worlds(), st.sampled_from(ADDRESSES), ASKED)
def test_location_groups_do_not_count(cache: MirrorlistCache, address: str, asked: dict[str, str]) -> None:
    """RS ignores location= (1.1)."""
    index = build(cache, CLASSIC)
    url = f"/mirrorlist?path={DIRECTORY}&{encoded(asked)}"
    with_group = decided(f"{url}&location=campus", index, CLASSIC, address, geo=atlas()).selection
    assert with_group.hosts == decided(url, index, CLASSIC, address, geo=atlas()).selection.hosts


def test_only_bandwidth_weighs() -> None:
    """Neither health nor nearness (1.5, end; 1.6)."""
    index = build(world(), CLASSIC)
    weights = index.categories[0].law.weights
    assert weights.tolist() == [float(one.bandwidth) for one in world().hosts]


def test_a_second_host_is_drawn_by_bandwidth_among_those_that_are_left() -> None:
    """Without replacement (1.6): with 4:2:1, after the first of them 2:1."""
    category = world().categories[0]
    category.urls = {number: urls(f"h{number}", "https") for number in range(3)}
    cache = world(
        hosts=[host(0, "SE", 400), host(1, "SE", 200), host(2, "SE", 100)],
        masks=[mask(0, 1, 2)] * 4,
        categories=[category],
        repositories={},
        netblock_hosts={},
        asn_hosts={},
    )
    index = build(cache, CLASSIC)
    orders = [decided(f"/mirrorlist?path={OS}", index, CLASSIC, seed=str(n)).selection.hosts for n in range(3000)]
    seconds = Counter(order[1] for order in orders if order[0] == 0)
    assert sum(seconds.values()) / len(orders) == pytest.approx(4 / 7, abs=0.05)
    assert seconds[1] / sum(seconds.values()) == pytest.approx(2 / 3, abs=0.06)


def test_a_list_is_as_long_as_there_are_neighbours() -> None:
    """No cap on the length (1.5, end): the whole continent, however many hosts."""
    category = world().categories[0]
    category.urls = {number: urls(f"h{number}", "https") for number in range(150)}
    hosts = [host(number, "SE" if number % 2 else "DE") for number in range(150)]
    everyone = (1 << 150) - 1
    cache = world(
        hosts=hosts, masks=[everyone] * 4, categories=[category], repositories={}, netblock_hosts={}, asn_hosts={}
    )
    assert len(client(cache, CLASSIC)(f"/mirrorlist?path={OS}", IN_SWEDEN).urls) == 150
