"""The random order of hosts: by weight, each once, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.shuffle import Draw, StableDraw, members, seed
from tests.redirector.world import mask

DRAWS = 20_000
WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0] + [0.5] * 40)
EVERYBODY = (1 << len(WEIGHTS)) - 1


def draws(number: int) -> Draw:
    return Draw(np.random.default_rng(number), 1.0 / WEIGHTS)


def near(count: int, expected: float) -> bool:
    """Within five standard deviations."""
    return abs(count - expected) < 5 * expected**0.5


@given(st.sets(st.integers(0, 699)), st.integers(0, 800), st.integers(0, 1 << 60), st.booleans())
def test_no_host_is_lost_or_drawn_twice(hosts: set[int], need: int, number: int, uniform: bool) -> None:
    draw = Draw(np.random.default_rng(number), 1.0 / (1.0 + np.arange(700) % 7))
    drawn = (draw.uniform if uniform else draw.weighted)(mask(*hosts), need)
    assert len(drawn) == len(set(drawn)) == min(need, len(hosts))
    assert set(drawn) <= hosts


@pytest.mark.parametrize("need", [1, 10, 100])
def test_a_host_stands_first_as_often_as_its_weight_says(need: int) -> None:
    draw = draws(1)
    first = Counter(draw.weighted(EVERYBODY, need)[0] for _ in range(DRAWS))
    for host in range(4):
        assert near(first[host], DRAWS * WEIGHTS[host] / WEIGHTS.sum())


def test_the_second_host_is_drawn_by_weight_among_the_rest() -> None:
    draw = draws(2)
    pairs = [draw.weighted(EVERYBODY, 2) for _ in range(DRAWS)]
    seconds = Counter(second for first, second in pairs if first == 3)
    assert near(seconds[2], seconds.total() * WEIGHTS[2] / (WEIGHTS.sum() - WEIGHTS[3]))


def test_hosts_that_are_not_wanted_change_nothing_for_the_others() -> None:
    wanted = mask(0, 1, 2, 3, *range(20, 44))
    draw = draws(3)
    first = Counter(draw.weighted(wanted, 6)[0] for _ in range(DRAWS))
    assert near(first[3], DRAWS * WEIGHTS[3] / WEIGHTS[members(wanted)].sum())


def test_nearness_multiplies_the_weight() -> None:
    draw = Draw(np.random.default_rng(4), np.ones(40), lambda hosts: np.where(hosts == 7, 1.0, 0.25))
    first = Counter(draw.weighted((1 << 40) - 1, 1)[0] for _ in range(DRAWS))
    assert near(first[7], DRAWS / (1.0 + 39 * 0.25))


def test_uniform_gives_every_host_the_same_chance() -> None:
    draw = draws(5)
    first = Counter(draw.uniform(mask(0, 3), 2)[0] for _ in range(DRAWS))
    assert near(first[0], DRAWS / 2)


@given(st.sets(st.integers(0, 43)), st.integers(0, 1 << 60))
def test_a_stable_order_does_not_depend_on_who_takes_part(hosts: set[int], number: int) -> None:
    """Rendezvous hashing: leaving hosts out leaves the order of the others as it was."""
    everybody = StableDraw(number, 1.0 / WEIGHTS).weighted(EVERYBODY, 44)
    assert StableDraw(number, 1.0 / WEIGHTS).weighted(mask(*hosts), 44) == [h for h in everybody if h in hosts]
    alike = StableDraw(number, 1.0 / WEIGHTS).uniform(EVERYBODY, 44)
    assert StableDraw(number, 1.0 / WEIGHTS).uniform(mask(*hosts), 44) == [h for h in alike if h in hosts]


def test_stable_orders_of_many_networks_follow_the_weights() -> None:
    first = Counter(StableDraw(seed(n, 1), 1.0 / WEIGHTS).weighted(EVERYBODY, 1)[0] for n in range(5_000))
    assert near(first[3], 5_000 * WEIGHTS[3] / WEIGHTS.sum())


def test_the_seed_depends_on_network_and_generation_only() -> None:
    assert seed("c000/24", 7) == seed("c000/24", 7)
    assert len({seed("c000/24", 7), seed("c001/24", 7), seed("c000/24", 8)}) == 3
