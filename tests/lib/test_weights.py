"""What bandwidths are multiplied by: slow start, and one mirror's share of its country."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mm_lib.rules.weights import cap_level, shares, slow_start

weights = st.floats(0.001, 10_000) | st.integers(1, 10_000).map(float) | st.just(0.0)
countries = st.lists(weights, min_size=1, max_size=30)
caps = st.floats(0.01, 1) | st.sampled_from([1 / 2, 1 / 3, 1 / 4, 1 / 7, 1.0])
floors = st.floats(0, 1)
HAIR = 1 + 1e-6
patient = settings(deadline=None)  # the machine may be busy


def held(country: list[float], cap: float, floor: float = 0) -> list[float]:
    """The weights, held down."""
    factors = shares(dict(enumerate(country)), cap, floor)
    return [weight * factors[number] for number, weight in enumerate(country)]


def effective(country: list[float], cap: float) -> float:
    """The cap that can be kept: of n hosts one has 1/n at least."""
    return max(cap, 1 / max(1, sum(weight > 0 for weight in country)))


@patient
@given(countries, caps)
def test_nobody_gets_more_than_the_cap_or_an_equal_part(country: list[float], cap: float) -> None:
    after = held(country, cap)
    assert max(after) <= effective(country, cap) * sum(after) * HAIR


@patient
@given(countries, caps, floors)
def test_factors_are_between_the_floor_and_one(country: list[float], cap: float, floor: float) -> None:
    assert all(floor <= factor <= 1 for factor in shares(dict(enumerate(country)), cap, floor).values())


@patient
@given(countries, caps)
def test_nobody_below_the_cap_is_held_down(country: list[float], cap: float) -> None:
    """Who is cut has the cap exactly: nothing more is taken than is needed."""
    after = held(country, cap)
    for before, now in zip(country, after, strict=True):
        if now < before / HAIR:
            assert now * HAIR >= effective(country, cap) * sum(after)


@patient
@given(countries, caps, floors)
def test_who_has_more_keeps_more(country: list[float], cap: float, floor: float) -> None:
    after = [now for _, now in sorted(zip(country, held(country, cap, floor), strict=True))]
    assert all(one <= other * HAIR for one, other in pairwise(after))


@patient
@given(countries, caps, floors, st.floats(1, 100), st.data())
def test_raising_a_bandwidth_never_lowers_its_share(
    country: list[float], cap: float, floor: float, times: float, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(0, len(country) - 1))
    assume(country[chosen] > 0)
    more = [weight * (times if number == chosen else 1) for number, weight in enumerate(country)]
    before, after = held(country, cap, floor), held(more, cap, floor)
    assert before[chosen] / sum(before) <= after[chosen] / sum(after) * HAIR


@patient
@given(countries, caps, caps, floors)
def test_a_larger_cap_never_holds_anybody_further_down(
    country: list[float], one: float, other: float, floor: float
) -> None:
    small, large = sorted((one, other))
    pairs = zip(held(country, small, floor), held(country, large, floor), strict=True)
    assert all(tight <= loose * HAIR for tight, loose in pairs)


@patient
@given(countries, caps, floors)
def test_the_unit_does_not_matter(country: list[float], cap: float, floor: float) -> None:
    thousandfold = held([weight * 1000 for weight in country], cap, floor)
    assert thousandfold == pytest.approx([weight * 1000 for weight in held(country, cap, floor)], rel=1e-6)


def test_a_single_host_has_its_country_to_itself() -> None:
    assert shares({"only": 10_000.0}, 0.5, 0.0) == {"only": 1.0}


def test_a_cap_of_one_changes_nothing() -> None:
    assert held([10_000, 1, 0], 1.0) == [10_000, 1, 0]


def test_a_giant_among_small_ones_is_cut_to_their_sum() -> None:
    assert held([10_000, 100, 200, 300], 0.5) == [600, 100, 200, 300]


def test_the_floor_keeps_small_neighbours_from_drowning() -> None:
    """The giant keeps a quarter of its weight, though that is more than half of the country."""
    assert held([10_000, 100], 0.5, 0.25) == [2_500, 100]


def test_hosts_without_weight_do_not_count_as_neighbours() -> None:
    assert shares({"a": 100.0, "b": 0.0}, 0.5, 0.0) == {"a": 1.0, "b": 1.0}


def test_no_hosts_have_no_level() -> None:
    assert cap_level([], 0.5) == 0


@pytest.mark.parametrize(("hours", "factor"), [(0, 0.1), (6, 0.325), (12, 0.55), (24, 1), (1000, 1), (-1, 0.1)])
def test_a_new_host_grows_evenly_beside_an_old_one(hours: float, factor: float) -> None:
    assert slow_start({"new": hours, "old": 100}, 24, 0.1)["new"] == pytest.approx(factor)


def test_where_all_are_new_nobody_is_held_down() -> None:
    assert slow_start({"a": 0, "b": 20}, 24, 0.1) == {"a": 1, "b": 1}


def test_slow_start_can_be_switched_off() -> None:
    assert slow_start({"a": 0, "b": 100}, 0, 0.1) == {"a": 1, "b": 1}


@patient
@given(st.lists(st.floats(-10, 100), min_size=2), st.floats(0.1, 48), st.floats(0.01, 1))
def test_older_hosts_are_never_behind_younger_ones(ages: list[float], full: float, floor: float) -> None:
    factors = slow_start(dict(enumerate(ages)), full, floor)
    ordered = [factors[number] for number in sorted(factors, key=ages.__getitem__)]
    assert ordered == sorted(ordered)
    assert all(floor <= factor <= 1 for factor in ordered)
