"""stable=1: one network keeps its order of mirrors for the life of a cache."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.index import Index, build
from mm_redirector.settings import BALANCED, Policy
from tests.redirector.decisions import decided
from tests.redirector.world import IN_AMERICA, OS, TOP, Atlas, client, host, world
from tests.redirector.worlds import DIRECTORY, make

POLICY = BALANCED._replace(max_hosts=0)
HOSTS = 12


def many(generation: int = 1, masks: list[int] | None = None) -> Index:
    """Twelve equal hosts in one country."""
    everyone = (1 << HOSTS) - 1
    category = world().categories[0]
    category.urls = {number: (f"https://h{number}.example",) for number in range(HOSTS)}
    hosts = [host(number, "SE", 100 + 50 * (number % 3)) for number in range(HOSTS)]
    cache = world(
        hosts=hosts, masks=masks or [everyone] * 4, categories=[category], repositories={}, generation=generation,
        netblock_hosts={}, asn_hosts={},
    )  # fmt: skip
    return build(cache, POLICY)


INDEX = many()


def order(address: str, index: Index = INDEX, path: str = OS, seed: str = "0", **more: Any) -> list[int]:
    geo = more.get("geo") or Atlas()
    return decided(f"/mirrorlist?path={path}&stable=1", index, POLICY, address, geo=geo, seed=seed).selection.hosts


def test_the_same_client_gets_the_same_order_again() -> None:
    assert order("198.51.7.1") == order("198.51.7.1", seed="another")


def test_without_it_the_order_is_drawn_anew() -> None:
    url = f"/mirrorlist?path={OS}&stable=0"
    assert len({tuple(decided(url, INDEX, POLICY, seed=str(n)).selection.hosts) for n in range(5)}) == 5


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("198.51.7.1", "198.51.7.254", True),
        ("198.51.7.1", "198.51.8.1", False),
        ("2001:db8:7::1", "2001:db8:7:ffff::1", True),
        ("2001:db8:7::1", "2001:db8:8::1", False),
        ("198.51.7.1", "::ffff:198.51.7.9", True),
        ("198.51.7.1", "2002:c633:701::1", True),  # 6to4
        ("64:ff9b::c633:701", "64:ff9b::c633:7fe", True),
        ("64:ff9b::c633:701", "64:ff9b::c633:801", False),  # all of NAT64 is one /48, but not one network
    ],
)
def test_a_network_is_a_24_or_a_48_or_what_a_tunnel_carries(one: str, other: str, same: bool) -> None:
    assert (order(one) == order(other)) is same


def test_a_new_generation_has_a_new_order() -> None:
    assert order("198.51.7.1", many(2)) != order("198.51.7.1", many(1))


def test_all_directories_and_repositories_have_one_order() -> None:
    assert order("198.51.7.1") == order("198.51.7.1", path=f"{TOP}/updates/44/x86_64")


@given(st.integers(0, (1 << HOSTS) - 1), st.integers(0, 255))
def test_hosts_that_lack_a_directory_do_not_change_the_order_of_the_others(mask: int, network: int) -> None:
    address = f"198.51.{network}.1"
    without = order(address, many(masks=[mask, mask, 0, 0]))
    assert without == [number for number in order(address) if mask & 1 << number]


def test_a_network_stands_at_one_place() -> None:
    """Databases know several cities in one /24; each would weigh distances in its own way."""
    geo = Atlas(places={"198.51.7.0": (59.3, 18.1), "198.51.7.1": (59.3, 18.1), "198.51.7.200": (48.9, 2.4)})
    index = build(make(30, 4), POLICY)
    orders = [order(address, index, DIRECTORY, geo=geo) for address in ("198.51.7.1", "198.51.7.200")]
    assert orders[0] == orders[1]
    assert len(orders[0]) > 3


def test_networks_share_the_mirrors_by_their_weight() -> None:
    first = [order(f"10.{n // 256}.{n % 256}.1")[0] for n in range(1500)]
    heavy = sum(number % 3 == 2 for number in first) / len(first)
    assert heavy == pytest.approx(200 / 450, abs=0.065)


def test_the_operator_can_make_every_order_stable() -> None:
    policy: Policy = POLICY._replace(stable=True)
    ask = client(INDEX, policy)
    assert len({ask(f"/mirrorlist?path={OS}", IN_AMERICA).text for _ in range(5)}) == 1
