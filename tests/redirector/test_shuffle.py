"""Random order by weight."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mm_redirector.shuffle import uniform, weighted

DRAWS = 20_000


def shares(positions: Counter[int]) -> list[float]:
    return [positions[host] / DRAWS for host in sorted(positions)]


def test_first_place_goes_in_proportion_to_the_weights() -> None:
    rng = random.Random(1)
    first = Counter(weighted([0, 1, 2], [1 / 100, 1 / 300, 1 / 600], rng.random)[0] for _ in range(DRAWS))
    assert shares(first) == pytest.approx([0.1, 0.3, 0.6], abs=0.015)


def test_second_place_goes_in_proportion_to_the_weights_that_are_left() -> None:
    rng = random.Random(2)
    orders = [weighted([0, 1, 2], [1 / 100, 1 / 300, 1 / 600], rng.random) for _ in range(DRAWS)]
    after_the_largest = Counter(order[1] for order in orders if order[0] == 2)
    assert after_the_largest[1] / after_the_largest.total() == pytest.approx(0.75, abs=0.015)


def test_without_weights_every_order_is_equally_likely() -> None:
    rng = random.Random(3)
    orders = Counter(tuple(uniform([0, 1, 2], rng.random)) for _ in range(DRAWS))
    assert [count / DRAWS for count in orders.values()] == pytest.approx([1 / 6] * 6, abs=0.015)


def test_nobody_is_lost_or_doubled() -> None:
    hosts = list(range(500))
    order = weighted(hosts, [1.0] * 500, random.Random(4).random)
    assert sorted(order) == hosts
    assert order != hosts


def test_a_draw_of_zero_is_harmless() -> None:
    assert sorted(weighted([0, 1], [1.0, 1.0], lambda: 0.0)) == [0, 1]


def test_an_empty_set_has_an_empty_order() -> None:
    assert weighted([], [], random.random) == []
