"""The random order of hosts: by weight, each once, the same for the same seed."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.shuffle import Draw, Pool, StableDraw, members, seed
from tests.redirector.world import mask

DRAWS = 20_000
WEIGHTS = [1.0, 2.0, 3.0, 4.0] + [0.5] * 40


def draws(seed: int, weights: list[float] = WEIGHTS) -> Draw:
    return Draw(random.Random(seed).random, weights)


@given(st.sets(st.integers(0, 699)), st.integers(0, 800), st.booleans(), st.integers())
def test_no_host_is_lost_or_drawn_twice(hosts: set[int], need: int, pooled: bool, number: int) -> None:
    weights = [1.0 + host % 7 for host in range(700)]
    pool = Pool.of((1 << 700) - 1, weights) if pooled else None
    drawn = draws(number, weights).weighted(mask(*hosts), need, pool)
    assert len(drawn) == len(set(drawn)) == min(need, len(hosts))
    assert set(drawn) <= hosts


@pytest.mark.parametrize("pooled", [False, True])
def test_a_host_stands_first_as_often_as_its_weight_says(pooled: bool) -> None:
    """By both ways of drawing; the bound is five standard deviations."""
    everybody = (1 << len(WEIGHTS)) - 1
    pool = Pool.of(everybody, WEIGHTS) if pooled else None
    draw = draws(1)
    first = Counter(draw.weighted(everybody, 1, pool)[0] for _ in range(DRAWS))
    for host in range(4):
        expected = DRAWS * WEIGHTS[host] / sum(WEIGHTS)
        assert abs(first[host] - expected) < 5 * expected**0.5


@pytest.mark.parametrize("pooled", [False, True])
def test_the_second_host_is_drawn_by_weight_among_the_rest(pooled: bool) -> None:
    everybody = (1 << len(WEIGHTS)) - 1
    pool = Pool.of(everybody, WEIGHTS) if pooled else None
    draw = draws(2)
    pairs = [draw.weighted(everybody, 2, pool) for _ in range(DRAWS)]
    seconds = Counter(second for first, second in pairs if first == 3)
    total = sum(seconds.values())
    expected = total * WEIGHTS[2] / (sum(WEIGHTS) - WEIGHTS[3])
    assert abs(seconds[2] - expected) < 5 * expected**0.5


@pytest.mark.parametrize("need", [1, 6])
def test_hosts_that_are_not_wanted_change_nothing_for_the_others(need: int) -> None:
    """Sampling from a pool of which only a few are wanted gives up and sorts; the shares stay right."""
    wanted = mask(0, 1, 2, 3, *range(20, 44))
    pool = Pool.of((1 << len(WEIGHTS)) - 1, WEIGHTS)
    draw = draws(3)
    first = Counter(draw.weighted(wanted, need, pool)[0] for _ in range(DRAWS))
    expected = DRAWS * WEIGHTS[3] / sum(WEIGHTS[host] for host in members(wanted))
    assert abs(first[3] - expected) < 5 * expected**0.5


@pytest.mark.parametrize("pooled", [False, True])
def test_nearness_multiplies_the_weight(pooled: bool) -> None:
    weights = [1.0] * 40
    pool = Pool.of((1 << 40) - 1, weights) if pooled else None
    draw = Draw(random.Random(4).random, weights, lambda host: 1.0 if host == 7 else 0.25)
    first = Counter(draw.weighted((1 << 40) - 1, 1, pool)[0] for _ in range(DRAWS))
    expected = DRAWS * 1.0 / (1.0 + 39 * 0.25)
    assert abs(first[7] - expected) < 5 * expected**0.5


def test_uniform_gives_every_host_the_same_chance() -> None:
    draw = draws(5)
    first = Counter(draw.uniform(mask(0, 3), 2)[0] for _ in range(DRAWS))
    assert abs(first[0] - DRAWS / 2) < 5 * (DRAWS / 4) ** 0.5


@given(st.sets(st.integers(0, 43)), st.floats(0, 1, exclude_max=True))
def test_a_stable_order_does_not_depend_on_who_takes_part(hosts: set[int], value: float) -> None:
    """Rendezvous hashing: leaving hosts out leaves the order of the others as it was."""
    everybody = StableDraw(value, WEIGHTS).weighted((1 << 44) - 1, 44)
    assert StableDraw(value, WEIGHTS).weighted(mask(*hosts), 44) == [host for host in everybody if host in hosts]
    alike = StableDraw(value, WEIGHTS).uniform((1 << 44) - 1, 44)
    assert StableDraw(value, WEIGHTS).uniform(mask(*hosts), 44) == [host for host in alike if host in hosts]


def test_stable_orders_of_many_networks_follow_the_weights() -> None:
    everybody = (1 << len(WEIGHTS)) - 1
    first = Counter(StableDraw(seed(n, 1), WEIGHTS).weighted(everybody, 1)[0] for n in range(DRAWS))
    expected = DRAWS * WEIGHTS[3] / sum(WEIGHTS)
    assert abs(first[3] - expected) < 5 * expected**0.5


def test_the_seed_depends_on_network_and_generation_only() -> None:
    assert seed("c000/24", 7) == seed("c000/24", 7)
    assert len({seed("c000/24", 7), seed("c001/24", 7), seed("c000/24", 8)}) == 3
    assert 0.0 <= seed("c000/24", 7) < 1.0


def test_equal_variates_lose_nobody() -> None:
    """A generator that repeats itself once must not merge two hosts."""
    numbers = iter([0.5, 0.5, 0.3, 0.7])
    assert sorted(Draw(lambda: next(numbers), [1.0, 1.0]).weighted(3, 2)) == [0, 1]
