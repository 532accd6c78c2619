"""The random order of hosts: by weight, each once, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.shuffle import AHEAD, LEAST, MANY, Draw, Random, StableDraw, lots, members, numbers, seed
from tests.redirector.world import mask

DRAWS = 20_000
WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0] + [0.5] * 40)
ALL = np.arange(len(WEIGHTS))


NO_RANKS = np.zeros(len(WEIGHTS), np.intp)
BY_WEIGHT = lots(1.0 / WEIGHTS, NO_RANKS)


def draws(number: int) -> Draw:
    return Draw(Random(np.random.default_rng(number)))


def stable(number: int) -> Draw:
    return StableDraw(number, len(WEIGHTS))


def near(count: int, expected: float) -> bool:
    """Within five standard deviations."""
    return abs(count - expected) < 5 * expected**0.5


@given(st.sets(st.integers(0, 699)), st.integers(0, 800), st.integers(0, 1 << 60))
def test_no_host_is_lost_or_drawn_twice(hosts: set[int], need: int, number: int) -> None:
    some = lots(1.0 / (1.0 + np.arange(700) % 7), np.arange(700) % 3)
    wanted = numbers(mask(*hosts))
    drawn = draws(number).first(wanted, need, some.of(wanted))
    assert len(drawn) == len(set(drawn)) == min(need, len(hosts))
    assert set(drawn) <= hosts


@pytest.mark.parametrize("count", [4, 14, 40])
@given(st.sets(st.integers(0, 699), min_size=1), st.integers(1, 800), st.integers(0, 1 << 60))
def test_hosts_of_a_lower_rank_stand_first(count: int, hosts: set[int], need: int, number: int) -> None:
    """Also where weights are far apart, from 1e-9 to 1e9, clients are far away, and ranks are many."""
    ranks = np.arange(700) % count
    draw = Draw(Random(np.random.default_rng(number)), lambda some: np.where(some % 2, 1.0, 0.05))
    wanted = numbers(mask(*hosts))
    drawn = draw.first(wanted, need, lots(np.logspace(9, -9, 700), ranks).of(wanted))
    assert [ranks[host] for host in drawn] == sorted(ranks[host] for host in hosts)[:need]


def test_within_a_rank_the_weights_count_as_without_ranks() -> None:
    draw, ranked = draws(6), lots(1.0 / WEIGHTS, np.array([1] * 4 + [0] * 40))
    behind = Counter(draw.first(ALL, 41, ranked)[40] for _ in range(DRAWS))
    assert near(behind[3], DRAWS * 4 / 10)


@pytest.mark.parametrize("need", [1, 10, 100])
def test_a_host_stands_first_as_often_as_its_weight_says(need: int) -> None:
    draw = draws(1)
    first = Counter(draw.first(ALL, need, BY_WEIGHT)[0] for _ in range(DRAWS))
    for host in range(4):
        assert near(first[host], DRAWS * WEIGHTS[host] / WEIGHTS.sum())


def test_the_second_host_is_drawn_by_weight_among_the_rest() -> None:
    draw = draws(2)
    pairs = [draw.first(ALL, 2, BY_WEIGHT) for _ in range(DRAWS)]
    seconds = Counter(second for first, second in pairs if first == 3)
    assert near(seconds[2], seconds.total() * WEIGHTS[2] / (WEIGHTS.sum() - WEIGHTS[3]))


def test_hosts_that_are_not_wanted_change_nothing_for_the_others() -> None:
    wanted = numbers(mask(0, 1, 2, 3, *range(20, 44)))
    draw, theirs = draws(3), BY_WEIGHT.of(wanted)
    first = Counter(draw.first(wanted, 6, theirs)[0] for _ in range(DRAWS))
    assert near(first[3], DRAWS * WEIGHTS[3] / WEIGHTS[wanted].sum())


@pytest.mark.parametrize("size", [MANY - 1, MANY + 1])
def test_few_hosts_and_many_are_drawn_by_the_same_rule(size: int) -> None:
    """Of many the best are found first and then sorted."""
    weights = np.where(np.arange(size) == 5, size - 1.0, 1.0)
    draw, weighted = draws(5), lots(1 / weights, np.zeros(size, np.intp))
    orders = [draw.first(np.arange(size), 20, weighted) for _ in range(DRAWS)]
    assert all(len(set(order)) == 20 for order in orders)
    assert near(Counter(order[0] for order in orders)[5], DRAWS / 2)


class Zero:
    """Chance as it hardly ever is."""

    def standard_exponential(self, size: int) -> np.ndarray:
        return np.zeros(size)


def test_a_variate_of_nothing_leaves_the_ranks_as_they_are() -> None:
    """Keys of 0 would be equal, whatever they are multiplied by."""
    assert LEAST > 0
    chance = Random(Zero())  # type: ignore[arg-type]
    drawn = Draw(chance).first(ALL, 44, lots(1.0 / WEIGHTS, np.arange(44) % 3))
    assert [host % 3 for host in drawn] == sorted(host % 3 for host in range(44))


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
    orders = [StableDraw(5, size).first(ALL, len(ALL), BY_WEIGHT) for size in (len(ALL), len(ALL) + 1, 2 * AHEAD)]
    assert orders[0] == orders[1] == orders[2]


def test_nearness_multiplies_the_weight_but_of_uniform_hosts() -> None:
    draw = Draw(Random(np.random.default_rng(4)), lambda hosts: np.where(hosts == 7, 1.0, 0.25))
    everybody, equal = np.arange(40), np.ones(40)
    first = Counter(draw.first(everybody, 1, lots(equal, np.zeros(40, np.intp)))[0] for _ in range(DRAWS))
    assert near(first[7], DRAWS / (1.0 + 39 * 0.25))
    uniform = lots(equal, np.zeros(40, np.intp), np.ones(40, np.bool_))
    first = Counter(draw.first(everybody, 1, uniform)[0] for _ in range(DRAWS))
    assert near(first[7], DRAWS / 40)


@given(st.sets(st.integers(0, 43)), st.integers(0, 1 << 60))
def test_a_stable_order_does_not_depend_on_who_takes_part(hosts: set[int], number: int) -> None:
    """Rendezvous hashing: leaving hosts out leaves the order of the others as it was."""
    everybody = stable(number).first(ALL, 44, BY_WEIGHT)
    wanted = numbers(mask(*hosts))
    without = stable(number).first(wanted, 44, BY_WEIGHT.of(wanted))
    assert without == [host for host in everybody if host in hosts]


def test_stable_orders_of_many_networks_follow_the_weights() -> None:
    first = Counter(stable(seed(n, 1)).first(ALL, 1, BY_WEIGHT)[0] for n in range(5_000))
    assert near(first[3], 5_000 * WEIGHTS[3] / WEIGHTS.sum())


def test_the_seed_depends_on_network_and_generation_only() -> None:
    assert seed("c000/24", 7) == seed("c000/24", 7)
    assert len({seed("c000/24", 7), seed("c001/24", 7), seed("c000/24", 8)}) == 3
