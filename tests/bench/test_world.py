"""The world that benchmarks run in is what they say that it is."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network

import pytest

from mm_lib.cache import codec
from mm_lib.cache.schema import MirrorlistCache
from tests.bench.world import (
    CONTINENT,
    WEIGHT,
    AddressPlan,
    address_plan,
    asn_prefixes,
    client_addresses,
    country_networks,
    world,
)

SIZES = {
    "hosts": 150,
    "private": 30,
    "directories": 3_000,
    "repositories": 100,
    "netblocks": 300,
    "distinct_masks": 500,
}


@pytest.fixture(scope="module")
def cache() -> MirrorlistCache:
    return world(1, **SIZES)


@pytest.fixture(scope="module")
def plan() -> AddressPlan:
    return address_plan(1)


def test_the_same_seed_makes_the_same_world(cache: MirrorlistCache) -> None:
    assert codec.encode(world(1, **SIZES)) == codec.encode(cache) != codec.encode(world(2, **SIZES))


def test_it_has_as_much_of_everything_as_was_asked_for(cache: MirrorlistCache) -> None:
    assert len(cache.hosts) == 180
    assert sum(host.private for host in cache.hosts) == 30
    assert sum(len(category.directories) for category in cache.categories) == 3_000
    assert len(cache.repositories) == 100
    assert len(cache.netblock_hosts) == 300
    assert len(cache.masks) == len(set(cache.masks)) == pytest.approx(500, rel=0.1)


def test_it_can_be_written_and_read(cache: MirrorlistCache) -> None:
    assert codec.decode(codec.encode(cache)).hosts == cache.hosts


def test_every_repository_has_its_metadata_with_three_versions(cache: MirrorlistCache) -> None:
    for position, path in cache.repositories.values():
        category = cache.categories[position]
        assert f"{path}/repodata" in category.directories
        assert len(category.files[f"{path}/repodata/repomd.xml"]) == 3


def test_hosts_of_one_country_stand_together(cache: MirrorlistCache) -> None:
    places = [(CONTINENT.get(host.country, ""), host.country, host.id) for host in cache.hosts]
    assert places == sorted(places)


def test_every_country_has_a_host(cache: MirrorlistCache) -> None:
    assert set(WEIGHT) <= {host.country for host in cache.hosts}


def test_there_are_eighty_countries() -> None:
    assert len(WEIGHT) == 80


def test_numbers_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="do not go together"):
        world(1, directories=100, repositories=100)


def test_no_address_belongs_to_two_countries(plan: AddressPlan) -> None:
    networks = [network for network, _ in country_networks(plan)]
    assert len(set(networks)) == len(networks)
    assert {ip_network(network).prefixlen for network in networks[::500]} == {16, 32}


def test_clients_come_from_all_countries_by_weight(plan: AddressPlan) -> None:
    owner = {ip_network(network): country for network, country in country_networks(plan)}
    clients = [ip_address(text) for text in client_addresses(1, 3_000, plan)]
    found = Counter(owner[ip_network((client, 16 if client.version == 4 else 32), strict=False)] for client in clients)
    assert found["US"] / 3_000 == pytest.approx(WEIGHT["US"] / sum(WEIGHT.values()), rel=0.25)
    assert len(found) > 60


def test_prefixes_of_networks_are_disjoint_and_both_families(plan: AddressPlan) -> None:
    prefixes = [ip_network(prefix) for prefix, _ in asn_prefixes(plan, 1, 20_000)]
    assert len(set(prefixes)) == 20_000
    assert Counter(prefix.version for prefix in prefixes) == {4: 16_667, 6: 3_333}
