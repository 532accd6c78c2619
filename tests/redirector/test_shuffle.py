"""The random order of hosts: by weight, each once, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.shuffle import AHEAD, FEW, MANY, READY, Draw, Law, Random, StableDraw, members, numbers, seed
from tests.redirector.world import mask

DRAWS = 20_000
WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0] + [0.5] * 40)
ALL = mask(*range(44))
LAW = Law(WEIGHTS)
POOL = LAW.pool(ALL)
TRIES = [0, 4, 400]  # none: all are put in order; few: the rest is put in order; many: nearly all are drawn one by one


def draws(number: int) -> Draw:
    return Draw(Random(np.random.default_rng(number)))


def stable(number: int) -> Draw:
    return StableDraw(number, len(WEIGHTS))


def near(count: int, expected: float) -> bool:
    """Within five standard deviations."""
    return abs(count - expected) < 5 * expected**0.5


@pytest.mark.parametrize("tries", TRIES)
@given(st.sets(st.integers(0, 699)), st.integers(0, 800), st.integers(0, 1 << 60), st.booleans())
def test_no_host_is_lost_or_drawn_twice(tries: int, hosts: set[int], need: int, number: int, alike: bool) -> None:
    """From a pool that has others as well, or by keys, and whatever the weights."""
    law = Law(np.logspace(-6, 9, 700))
    pool = law.pool(mask(*range(700))) if tries else None
    drawn = draws(number).first(mask(*hosts), need, None if alike else law, pool, tries)
    assert len(drawn) == len(set(drawn)) == min(need, len(hosts))
    assert set(drawn) <= hosts


@pytest.mark.parametrize("tries", TRIES)
@given(st.integers(0, 43), st.integers(0, 1 << 60))
def test_fewer_hosts_are_the_first_ones_of_more(tries: int, need: int, number: int) -> None:
    """With the same chance: an answer that shows fewer hosts begins as its explanation does."""
    pool = POOL if tries else None
    few, many = (draws(number).first(ALL, most, LAW, pool, tries) for most in (need, 43))
    assert few == many[:need]


@pytest.mark.parametrize("tries", TRIES)
@pytest.mark.parametrize("need", [1, 10, 44])
def test_a_host_stands_first_as_often_as_its_weight_says(need: int, tries: int) -> None:
    draw, pool = draws(1), POOL if tries else None
    first = Counter(draw.first(ALL, need, LAW, pool, tries)[0] for _ in range(DRAWS))
    for host in range(4):
        assert near(first[host], DRAWS * WEIGHTS[host] / WEIGHTS.sum())


@pytest.mark.parametrize("tries", TRIES)
def test_the_second_host_is_drawn_by_weight_among_the_rest(tries: int) -> None:
    draw, pool = draws(2), POOL if tries else None
    pairs = [draw.first(ALL, 2, LAW, pool, tries) for _ in range(DRAWS)]
    seconds = Counter(second for first, second in pairs if first == 3)
    assert near(seconds[2], seconds.total() * WEIGHTS[2] / (WEIGHTS.sum() - WEIGHTS[3]))


@pytest.mark.parametrize("tries", TRIES)
def test_the_last_host_is_drawn_by_weight_among_all_orders(tries: int) -> None:
    """Of three hosts the last is 0 with chance (2/3)(1/2)... : all ways to come last, added up."""
    law = Law(np.array([1.0, 2.0, 3.0]))
    draw, pool = draws(7), law.pool(0b111) if tries else None
    last = Counter(draw.first(0b111, 3, law, pool, tries)[2] for _ in range(DRAWS))
    assert near(last[0], DRAWS * (2 / 6 * 3 / 4 + 3 / 6 * 2 / 3))
    assert near(last[2], DRAWS * (1 / 6 * 2 / 5 + 2 / 6 * 1 / 4))


@pytest.mark.parametrize("tries", TRIES)
def test_hosts_that_are_not_wanted_change_nothing_for_the_others(tries: int) -> None:
    wanted = [0, 1, 2, 3, *range(20, 44)]
    draw, pool = draws(3), POOL if tries else None
    first = Counter(draw.first(mask(*wanted), 6, LAW, pool, tries)[0] for _ in range(DRAWS))
    assert near(first[3], DRAWS * WEIGHTS[3] / WEIGHTS[wanted].sum())


@pytest.mark.parametrize("size", [FEW - 1, FEW, MANY - 1, MANY + 1])
def test_few_hosts_and_many_are_drawn_by_the_same_rule(size: int) -> None:
    """A handful is sorted by Python; of many the best are found first and then sorted."""
    law = Law(np.where(np.arange(size) == 5, size - 1.0, 1.0))
    draw, everybody, need = draws(5), mask(*range(size)), min(size, 20)
    orders = [draw.first(everybody, need, law) for _ in range(DRAWS)]
    assert all(len(set(order)) == need for order in orders)
    assert near(Counter(order[0] for order in orders)[5], DRAWS / 2)
    assert near(Counter(draw.first(everybody, need, None)[0] for _ in range(DRAWS))[5], DRAWS / size)


def test_a_pool_draws_the_lightest_and_the_heaviest_by_weight() -> None:
    """Hardly ever a host with a millionth of the weight, and the last one of the pool as often as it should."""
    law = Law(np.where(np.arange(700) == 650, 1e-6, np.arange(700) + 1.0))
    drawn = Counter(law.draw(law.pool(mask(3, 650, 699)), np.random.default_rng(8).standard_exponential(DRAWS)))
    assert drawn.keys() == {3, 699}
    assert near(drawn[3], DRAWS * 4 / 704)


def test_pools_that_were_forgotten_draw_as_before() -> None:
    """Only so many are ready at a time: clients may ask for ever other sets of hosts."""
    law, variates = Law(WEIGHTS), np.linspace(0.0, 9.0, 50)
    masks = [ALL ^ 1 << one ^ 1 << other for one in range(44) for other in range(one)][: 2 * READY]
    before = [law.draw(law.pool(one), variates) for one in masks]
    assert sum(law.pool(one).prepared is not None for one in masks) == READY
    assert [law.draw(law.pool(one), variates) for one in masks] == before


def test_no_variate_is_handed_out_twice() -> None:
    """Nor changed afterwards: an array that was handed out stays as it was."""
    chance = Random(np.random.default_rng(9))
    taken = [chance.variates(number) for number in (700, 1, 0, AHEAD - 10, 5, AHEAD + 5, 44)]
    copies = [one.copy() for one in taken]
    assert [one.size for one in taken] == [700, 1, 0, AHEAD - 10, 5, AHEAD + 5, 44]
    assert len(np.unique(np.concatenate(taken))) == sum(one.size for one in taken)
    chance.variates(2 * AHEAD)
    assert all(np.array_equal(one, other) for one, other in zip(taken, copies, strict=True))


def test_threads_get_variates_of_their_own() -> None:
    chance = Random(np.random.default_rng(9))
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: chance.variates(37), range(2_000)))
    assert len(np.unique(np.concatenate(taken))) == 37 * 2_000


def test_variates_are_exponential() -> None:
    """Their mean and their variance are 1."""
    some = Random(np.random.default_rng(9)).variates(100_000)
    assert abs(some.mean() - 1) < 0.02
    assert abs(some.var() - 1) < 0.05


def test_the_numbers_of_a_mask_are_its_members() -> None:
    for bits in ((), (0,), (7, 8), (3, 699)):
        assert numbers(mask(*bits)).tolist() == members(mask(*bits)) == list(bits)


def test_a_stable_order_depends_on_no_host_that_was_added_behind() -> None:
    """Each host's variate depends on the seed and the host alone."""
    orders = [StableDraw(5, size).first(ALL, len(WEIGHTS), LAW) for size in (44, 45, 2 * AHEAD)]
    assert orders[0] == orders[1] == orders[2]


def test_a_stable_order_is_the_same_with_a_pool() -> None:
    """Or else it would depend on how many hosts are needed."""
    assert stable(5).first(ALL, 3, LAW, POOL, 400) == stable(5).first(ALL, 44, LAW)[:3]


@pytest.mark.parametrize("size", [FEW - 1, 40])
def test_nearness_multiplies_the_weight_but_of_uniform_hosts(size: int) -> None:
    draw = Draw(Random(np.random.default_rng(4)), lambda hosts: np.where(hosts == 5, 1.0, 0.25))
    everybody, equal = mask(*range(size)), Law(np.ones(size))
    first = Counter(draw.first(everybody, 1, equal, equal.pool(everybody), 9)[0] for _ in range(DRAWS))
    assert near(first[5], DRAWS / (1.0 + (size - 1) * 0.25))
    first = Counter(draw.first(everybody, 1, None)[0] for _ in range(DRAWS))
    assert near(first[5], DRAWS / size)


@given(st.sets(st.integers(0, 43)), st.integers(0, 1 << 60))
def test_a_stable_order_does_not_depend_on_who_takes_part(hosts: set[int], number: int) -> None:
    """Rendezvous hashing: leaving hosts out leaves the order of the others as it was."""
    everybody = stable(number).first(ALL, 44, LAW)
    without = stable(number).first(mask(*hosts), 44, LAW)
    assert without == [host for host in everybody if host in hosts]


def test_stable_orders_of_many_networks_follow_the_weights() -> None:
    first = Counter(stable(seed(n, 1)).first(ALL, 1, LAW)[0] for n in range(5_000))
    assert near(first[3], 5_000 * WEIGHTS[3] / WEIGHTS.sum())


def test_the_seed_depends_on_network_and_generation_only() -> None:
    assert seed("c000/24", 7) == seed("c000/24", 7)
    assert len({seed("c000/24", 7), seed("c001/24", 7), seed("c000/24", 8)}) == 3
