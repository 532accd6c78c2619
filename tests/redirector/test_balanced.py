"""The policy "balanced": promises that hold in every world, and shares that follow the weights."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_lib.cache.schema import Category, Factors, MirrorlistCache
from mm_redirector.explain import Decision, explain
from mm_redirector.index import build
from mm_redirector.query import Form
from mm_redirector.selection import Exclusion, TierKind, exclusions
from mm_redirector.settings import BALANCED, CLASSIC, FACTORS, Policy
from mm_redirector.shuffle import members
from tests.redirector.decisions import decided
from tests.redirector.world import IN_SWEDEN, OS, Atlas, host, mask, urls, world
from tests.redirector.worlds import (
    ADDRESSES,
    CLIENTS,
    CONTINENTS,
    COUNTRY_LISTS,
    DIRECTORY,
    GROUP,
    PLACES,
    SYSTEM,
    atlas,
    encoded,
    questions,
    worlds,
)

TIER_ORDER = [
    TierKind.NETBLOCK, TierKind.LOCATION, TierKind.ASN, TierKind.REQUESTED, TierKind.COUNTRY, TierKind.CONTINENT,
    TierKind.GLOBAL,
]  # fmt: skip
BY_NETWORK = (TierKind.NETBLOCK, TierKind.ASN)


class Case:
    """A random world, a random client with a random question, and what was decided."""

    def __init__(self, cache: MirrorlistCache, address: str, asked: dict[str, str], policy: Policy, geo: Atlas) -> None:
        self.cache, self.asked, self.policy = cache, asked, policy
        self.country = CLIENTS[address]
        self.index = build(cache, policy)
        self.url = f"/mirrorlist?path={DIRECTORY}&{encoded(asked)}"
        self.decision: Decision = decided(self.url, self.index, policy, address, geo=geo)
        self.selection = self.decision.selection
        self.chosen = set(self.selection.hosts)

    @property
    def claimed(self) -> set[int]:
        """Hosts that are in the answer because of the client's network."""
        return {number for tier in self.selection.tiers if tier.kind in BY_NETWORK for number in tier.hosts}

    @property
    def out(self) -> dict[Exclusion, int]:
        decision = self.decision
        return dict(exclusions(self.selection, decision.client, decision.query, self.index))


POLICIES = st.builds(
    lambda most, fewest, stable: BALANCED._replace(max_hosts=most, minimum_hosts=fewest, stable=stable),
    st.sampled_from([0, 1, 4, 20]),
    st.sampled_from([0, 1, 3, 5]),
    st.booleans(),
)
CASES = st.builds(
    Case,
    worlds(),
    st.sampled_from(ADDRESSES),
    questions(),
    POLICIES,
    st.builds(atlas, st.sampled_from(PLACES), st.sampled_from([None, SYSTEM, 1])),
)


@given(CASES)
def test_no_host_stands_in_an_answer_twice(case: Case) -> None:
    assert len(case.chosen) == len(case.selection.hosts)


@given(CASES)
def test_every_host_of_an_answer_has_the_directory_and_an_asked_url(case: Case) -> None:
    category = case.cache.categories[0]
    wanted = case.asked.get("protocol", "https,http,ftp").split(",")
    for number in case.chosen:
        assert case.cache.masks[0] & category.reserved.get(DIRECTORY, -1) & 1 << number
        shown = case.selection.view.urls[number]
        assert shown
        assert {url.split(":")[0] for url in shown} <= set(wanted)


@given(CASES)
def test_private_hosts_serve_their_own_networks_only(case: Case) -> None:
    private = {number for number in case.chosen if case.cache.hosts[number].private}
    assert private <= case.claimed


@given(CASES)
def test_hosts_serve_the_countries_that_they_allow_and_their_networks(case: Case) -> None:
    for number in case.chosen - case.claimed:
        allowed = case.cache.hosts[number].allowed_countries
        assert not allowed or case.country in allowed


@given(CASES)
def test_embargoed_and_avoided_countries_are_never_used(case: Case) -> None:
    """Not by netblock either: who avoids a country does so wherever the client stands."""
    avoided = {name.upper() for name in case.asked.get("avoid_country", "").split(",")}
    for number in case.chosen:
        assert case.cache.hosts[number].country not in {*avoided, *case.cache.embargoed_countries} - {""}


@given(CASES)
def test_only_hosts_with_the_asked_ip_family_are_named(case: Case) -> None:
    for number in case.chosen:
        one = case.cache.hosts[number]
        assert case.asked.get("ipv4") != "1" or one.ipv4 is not False
        assert case.asked.get("ipv6") != "1" or one.ipv6 is True


@given(CASES)
def test_every_host_is_in_the_answer_or_out_for_one_reason(case: Case) -> None:
    everybody = case.index.categories[0].hosts
    counted = Counter(number for hosts in case.out.values() for number in members(hosts))
    counted.update(case.chosen)
    assert counted == Counter(members(everybody))


@given(CASES)
def test_the_reason_of_a_host_that_is_out_is_true(case: Case) -> None:
    """What is said of a host can be looked up in the cache."""
    said = {number: reason for reason, hosts in case.out.items() for number in members(hosts)}
    networks = case.index.asn_hosts.get(case.decision.client.asn or 0, 0)
    for claim in case.decision.client.netblocks:
        networks |= claim.hosts
    counts = case.decision.query.networks and not case.decision.query.countries
    for number, reason in said.items():
        one, claims = case.cache.hosts[number], bool(counts and networks & 1 << number)
        carries = bool(case.cache.masks[0] & 1 << number)
        true = {
            Exclusion.NOT_UP_TO_DATE: not carries,
            Exclusion.EMBARGOED: one.country in case.cache.embargoed_countries,
            Exclusion.PRIVATE: one.private and not claims,
            Exclusion.COUNTRY_NOT_ALLOWED: case.country not in one.allowed_countries and not claims,
            Exclusion.NO_IPV4: one.ipv4 is False,
            Exclusion.NO_IPV6: not one.ipv6,
            Exclusion.NOT_NEEDED: carries and (claims or not one.private),
        }
        assert true.get(reason, True), (number, reason)


@given(CASES)
def test_tiers_stand_in_their_order(case: Case) -> None:
    kinds = [tier.kind for tier in case.selection.tiers]
    assert kinds == sorted(kinds, key=TIER_ORDER.index)
    lengths = [int(t.names[0].split("/")[1]) for t in case.selection.tiers if t.kind is TierKind.NETBLOCK]
    assert lengths == sorted(lengths, reverse=True)
    assert case.selection.hosts == [number for tier in case.selection.tiers for number in tier.hosts]


@given(CASES)
def test_an_answer_is_as_long_as_it_may_be_and_never_too_short(case: Case) -> None:
    """min(available, max_hosts); below the minimum only when nobody is left."""
    if any(tier.kind is TierKind.REQUESTED for tier in case.selection.tiers):
        return
    waiting = case.out[Exclusion.NOT_NEEDED].bit_count()
    limit = max(case.policy.max_hosts, case.policy.minimum_hosts)
    if case.policy.max_hosts:
        assert len(case.chosen) == min(len(case.chosen) + waiting, limit)
    assert len(case.chosen) >= case.policy.minimum_hosts or not waiting


@given(CASES)
def test_requested_countries_are_given_in_full_and_nothing_but_them(case: Case) -> None:
    asked = {name.upper() for name in case.asked.get("country", "").split(",")} - {""}
    requested = [tier for tier in case.selection.tiers if tier.kind is TierKind.REQUESTED]
    if not requested:
        return
    local = {
        number
        for number, one in enumerate(case.cache.hosts)
        if "GLOBAL" in asked or asked & {one.country, *one.extra_countries}
    }
    others = {number for tier in case.selection.tiers if tier.kind is TierKind.LOCATION for number in tier.hosts}
    if case.chosen - others <= local:
        assert not any(1 << number & case.out[Exclusion.NOT_NEEDED] for number in local)
    else:  # none there: the neighbours
        around = {CONTINENTS.get(name) for name in asked}
        for number in case.chosen - others:
            one = case.cache.hosts[number]
            assert {CONTINENTS.get(name) for name in (one.country, *one.extra_countries)} & around


@given(CASES, st.sampled_from(["list", "metalink", "json", "meta4", "apt"]))
def test_https_comes_first_within_a_host_in_every_form(case: Case, form: str) -> None:
    """D8, and only asked protocols appear whatever the form."""
    url = f"/metalink?repo=r&arch=a&format={form}&{encoded(case.asked)}"
    decision = decided(url, case.index, case.policy)
    for number in decision.selection.hosts:
        shown = [url.split(":")[0] for url in decision.selection.view.urls[number]]
        assert shown == sorted(shown, key=lambda scheme: scheme != "https")
        assert "protocol" not in case.asked or set(shown) <= set(case.asked["protocol"].split(","))
        if decision.query.form is Form.APT:
            assert len(shown) == 1
            assert shown[0] in ("https", "http")


@given(CASES)
def test_a_weight_is_the_product_of_the_factors_that_the_policy_names(case: Case) -> None:
    category = case.index.categories[0]
    for number, one in enumerate(case.cache.hosts):
        factors = case.cache.categories[0].factors.get(number, Factors())
        expected = max(1, one.bandwidth) * prod(factors)
        assert category.law.weights[number] == pytest.approx(expected or 1e-6)


@given(worlds(), st.sets(st.sampled_from(FACTORS)))
def test_a_factor_that_the_policy_leaves_out_does_not_weigh(cache: MirrorlistCache, names: set[str]) -> None:
    category = build(cache, BALANCED._replace(factors=frozenset(names))).categories[0]
    for number, one in enumerate(cache.hosts):
        factors = cache.categories[0].factors.get(number, Factors())._asdict() | {"bandwidth": max(1, one.bandwidth)}
        assert category.law.weights[number] == pytest.approx(prod(factors.get(n, 1.0) for n in names) or 1e-6)


@given(worlds(), st.sampled_from(COUNTRY_LISTS))
def test_a_location_group_stands_before_requested_countries(cache: MirrorlistCache, countries: str) -> None:
    """parts A: netblocks, groups, autonomous system, requested countries."""
    url = f"/mirrorlist?path={DIRECTORY}&location={GROUP}&country={countries}"
    tiers = decided(url, build(cache), BALANCED).selection.tiers
    others = [tier for tier in tiers if tier.kind is not TierKind.LOCATION]
    assert tiers == [*(tier for tier in tiers if tier.kind is TierKind.LOCATION), *others]


DRAWS = 6000
STOCKHOLM, BERLIN = (59.33, 18.07), (52.52, 13.40)


def swedes(*hosts: Any, factors: dict[int, Factors] | None = None) -> MirrorlistCache:
    """A world of hosts in one country."""
    everybody = [one._replace(id=number) for number, one in enumerate(hosts)]
    base = {number: urls(f"h{number}", "https") for number in range(len(everybody))}
    category = Category("c", "pub/fedora/linux", base, {OS: 0}, {}, factors or {})
    return MirrorlistCache(1, 1, everybody, [mask(*range(len(everybody)))], [category], country_continents={"SE": "EU"})


def first_shares(cache: MirrorlistCache, geo: Atlas | None = None, policy: Policy = BALANCED) -> list[float]:
    """How often each host stands first."""
    index = build(cache, policy)
    url = f"/mirrorlist?path={OS}"
    first = Counter(
        decided(url, index, policy, geo=geo, seed=str(number)).selection.hosts[0] for number in range(DRAWS)
    )
    return [first[number] / DRAWS for number in range(len(cache.hosts))]


def expected_shares(*weights: float) -> Any:
    """Within five standard deviations."""
    return [pytest.approx(weight / sum(weights), abs=5 * (0.25 / DRAWS) ** 0.5) for weight in weights]


def test_shares_follow_bandwidth_times_health_times_slow_start_times_share() -> None:
    factors = {1: Factors(health=0.5), 2: Factors(slow_start=0.25), 3: Factors(0.5, 0.5, 0.8)}
    cache = swedes(*(host(0, "SE", 1000) for _ in range(4)), host(0, "SE", 3000), factors=factors)
    assert first_shares(cache) == expected_shares(1000, 500, 250, 200, 3000)


def test_a_nearer_host_is_drawn_first_more_often_in_the_ratio_of_the_factors() -> None:
    here, away = ({"latitude": la, "longitude": lo} for la, lo in (STOCKHOLM, BERLIN))
    cache = swedes(host(0, "SE")._replace(**here), host(0, "SE")._replace(**away))
    kilometres = 811.0  # Stockholm to Berlin
    assert first_shares(cache, Atlas(places={IN_SWEDEN: STOCKHOLM})) == expected_shares(
        1.0, 1 / (1 + (kilometres / 500) ** 2)
    )


def test_a_client_without_a_city_stands_nowhere() -> None:
    """Not at the middle of its country: its answer does not depend on where hosts stand."""
    here, away = ({"latitude": la, "longitude": lo} for la, lo in (STOCKHOLM, BERLIN))
    cache = swedes(host(0, "SE")._replace(**here), host(0, "SE")._replace(**away))
    assert first_shares(cache) == expected_shares(1, 1)


def test_a_policy_without_nearness_does_not_look_where_hosts_stand() -> None:
    here, away = ({"latitude": la, "longitude": lo} for la, lo in (STOCKHOLM, BERLIN))
    cache = swedes(host(0, "SE")._replace(**here), host(0, "SE")._replace(**away))
    assert first_shares(cache, Atlas(places={IN_SWEDEN: STOCKHOLM}), CLASSIC) == expected_shares(1, 1)


@given(
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)),
    st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=2, max_size=6),
)
def test_nearness_falls_with_the_distance(place: tuple[float, float], places: list[tuple[float, float]]) -> None:
    hosts = [host(n, "SE")._replace(latitude=la, longitude=lo) for n, (la, lo) in enumerate(places)]
    decision = decided(f"/mirrorlist?path={OS}", build(swedes(*hosts)), BALANCED, geo=Atlas(places={IN_SWEDEN: place}))
    nearness = nearness_of(decision)
    by_distance = sorted(range(len(hosts)), key=lambda number: _kilometres(place, places[number]))
    factors = [nearness[f"host{number}"] for number in by_distance]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert all(one >= other - 1e-6 for one, other in pairwise(factors))


def nearness_of(decision: Decision) -> dict[str, float]:
    """The factor of each host in the answer."""
    return {mirror["host"]: mirror["weight"]["nearness"] for mirror in explain(decision)["mirrors"]}


def _kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """By the haversine formula, which mm_redirector does not use."""
    from math import asin, cos, radians, sin, sqrt

    la1, lo1, la2, lo2 = map(radians, (*one, *other))
    h = sin((la2 - la1) / 2) ** 2 + cos(la1) * cos(la2) * sin((lo2 - lo1) / 2) ** 2
    return 2 * 6371.0 * asin(min(1.0, sqrt(h)))


def test_half_way_means_half_as_often() -> None:
    """nearness_km is the distance at which a host counts half."""
    north = host(0, "SE")._replace(latitude=0.0, longitude=0.0)
    decision = decided(
        f"/mirrorlist?path={OS}",
        build(swedes(north)),
        BALANCED._replace(nearness_km=111.195),
        geo=Atlas(places={IN_SWEDEN: (1.0, 0.0)}),
    )
    assert nearness_of(decision)["host0"] == pytest.approx(0.5, abs=0.001)


def test_the_worlds_of_these_tests_are_not_empty() -> None:
    """A property test of empty answers would prove nothing."""
    assert len(decided(f"/mirrorlist?path={OS}", build(world()), BALANCED).selection.hosts) > 3
