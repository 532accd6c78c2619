"""Which hosts an answer names, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_lib.cache.schema import Category, MirrorlistCache
from mm_redirector.index import Index, build
from mm_redirector.location import ClientLocation, locate
from mm_redirector.lookup import Target, find
from mm_redirector.query import MirrorQuery, parse
from mm_redirector.selection import (
    Exclusion,
    Selection,
    TierKind,
    apportion,
    claims,
    countries_of,
    drawing,
    exclusions,
    select,
    stages,
)
from mm_redirector.settings import CLASSIC, Policy
from mm_redirector.shuffle import members, seeded
from tests.redirector.world import (
    AUSTRIAN,
    BERLINER,
    CAMPUS,
    CZECH,
    DANE,
    GERMAN,
    IN_AMERICA,
    IN_ANTARCTICA,
    IN_CHINA,
    IN_FRANCE,
    IN_GERMANY,
    IN_JAPAN,
    IN_POLAND,
    IN_SWEDEN,
    JAPANESE,
    LAB,
    NOWHERE,
    OS,
    STALE,
    SWEDE,
    TOP,
    YANK,
    Atlas,
    host,
    mask,
    world,
)  # fmt: skip

INDEX = build(world(), CLASSIC)


class Chosen(NamedTuple):
    """A selection with what it was made from."""

    selection: Selection
    client: ClientLocation
    query: MirrorQuery
    world: Index

    @property
    def hosts(self) -> list[int]:
        return self.selection.hosts

    @property
    def out(self) -> Mapping[Exclusion, int]:
        return exclusions(self.selection, self.client, self.query, self.world)

    @property
    def tiers(self) -> list[tuple[TierKind, tuple[str, ...], set[int]]]:
        """Kind, what the list's first line says of it, and hosts."""
        return [
            (tier.kind, countries_of(tier, self.world, self.client), set(tier.hosts)) for tier in self.selection.tiers
        ]


def selected(
    address: str = IN_SWEDEN,
    query: str = "",
    path: str = OS,
    *,
    minimum: int = 1,
    index: Index = INDEX,
    seed: int = 0,
    policy: Policy = CLASSIC,
    atlas: Atlas | None = None,
) -> Chosen:
    text = f"path={path}&{query}"
    policy = policy._replace(minimum_hosts=minimum)
    asked = parse(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/mirrorlist", "QUERY_STRING": text, "REMOTE_ADDR": address}, policy
    )
    assert isinstance(asked, MirrorQuery)
    target = find(asked, index)
    assert isinstance(target, Target)
    client = locate(address, False, index, atlas or Atlas())
    assert isinstance(client, ClientLocation)
    draw = drawing(client, asked, index, policy=policy, random=seeded(str(seed)))
    possible = stages(claims(target, client, asked, index, policy), client, asked, index)
    shares = apportion(target, possible, asked, policy)
    return Chosen(select(target, asked, shares, draw), client, asked, index)


def tiers(chosen: Chosen) -> list[tuple[TierKind, tuple[str, ...], set[int]]]:
    return chosen.tiers


def kinds(chosen: Chosen) -> list[TierKind]:
    return [kind for kind, _, _ in chosen.tiers]


NEIGHBOURS = (TierKind.CONTINENT, ("CZ", "DE", "DK", "PL"), {DANE, GERMAN, BERLINER, CZECH})


def test_the_whole_continent_follows_the_country() -> None:
    assert tiers(selected()) == [(TierKind.COUNTRY, ("SE",), {SWEDE}), NEIGHBOURS]


def test_a_host_that_is_not_up_to_date_is_left_out() -> None:
    assert STALE not in selected().hosts
    assert STALE in selected(path=TOP).hosts


def test_extra_countries_make_a_host_local() -> None:
    assert tiers(selected(IN_POLAND))[0] == (TierKind.COUNTRY, ("PL",), {CZECH})


def test_a_host_stands_in_the_first_tier_that_has_it() -> None:
    chosen = selected(IN_POLAND)
    assert tiers(chosen)[1] == (TierKind.CONTINENT, ("CZ", "DE", "DK", "SE"), {DANE, GERMAN, BERLINER, SWEDE})
    assert len(chosen.hosts) == len(set(chosen.hosts))


def test_all_the_world_fills_up_an_answer_that_is_too_short() -> None:
    assert tiers(selected(IN_AMERICA, minimum=2)) == [
        (TierKind.COUNTRY, ("US",), {YANK}),
        (TierKind.GLOBAL, ("global",), {SWEDE, DANE, GERMAN, BERLINER, CZECH}),
    ]


def test_an_answer_of_the_minimum_length_is_not_filled_up() -> None:
    assert tiers(selected(IN_AMERICA, minimum=1)) == [(TierKind.COUNTRY, ("US",), {YANK})]


def test_hosts_that_a_list_cannot_show_do_not_count_towards_the_minimum() -> None:
    """In the reference the rsync-only host counts, though the list then drops it (1.5)."""
    assert tiers(selected(IN_JAPAN, minimum=1)) == [
        (TierKind.GLOBAL, ("global",), {SWEDE, DANE, GERMAN, BERLINER, CZECH, YANK})
    ]


@pytest.mark.parametrize("address", [NOWHERE, IN_ANTARCTICA, "unknown", ""])
def test_a_client_without_neighbours_gets_all_the_world(address: str) -> None:
    assert kinds(selected(address)) == [TierKind.GLOBAL]


def test_with_no_minimum_a_client_without_neighbours_gets_nothing() -> None:
    assert selected(NOWHERE, minimum=0).hosts == []


def test_country_tiers_respect_the_allowed_countries() -> None:
    """The reference hands such a host to clients that it refuses (D1)."""
    assert AUSTRIAN in selected(IN_GERMANY).hosts
    assert AUSTRIAN not in selected(IN_SWEDEN).hosts
    assert AUSTRIAN not in selected(IN_AMERICA, minimum=99).hosts
    assert AUSTRIAN not in selected(NOWHERE, minimum=99).hosts


def test_private_hosts_are_reached_by_their_netblock_most_specific_first() -> None:
    assert tiers(selected("10.1.2.3"))[:2] == [
        (TierKind.NETBLOCK, ("10.1.2.0/24",), {LAB}),
        (TierKind.NETBLOCK, ("10.1.0.0/16",), {CAMPUS}),
    ]


def test_private_hosts_are_reached_by_their_autonomous_system() -> None:
    assert tiers(selected("172.16.0.1"))[0] == (TierKind.ASN, ("1221",), {LAB})


@pytest.mark.parametrize("address", [IN_SWEDEN, IN_GERMANY, NOWHERE, "10.2.0.1"])
@pytest.mark.parametrize("query", ["", "country=SE", "country=global", "country=SE,global"])
def test_private_hosts_are_reached_in_no_other_way(address: str, query: str) -> None:
    assert not {CAMPUS, LAB} & set(selected(address, query, minimum=99).hosts)


def test_an_autonomous_system_without_a_host_that_has_the_directory_is_not_mentioned() -> None:
    """The reference announces it all the same (D10)."""
    assert TierKind.ASN not in kinds(selected("203.0.113.9"))


def test_netblock_hosts_do_not_end_the_search() -> None:
    assert kinds(selected("203.0.113.9")) == [TierKind.NETBLOCK]
    assert kinds(selected("203.0.113.9", minimum=5)) == [TierKind.NETBLOCK, TierKind.GLOBAL]


@pytest.mark.parametrize("query", ["netblock=0", "netblock=", "country=DE"])
def test_networks_can_be_left_out(query: str) -> None:
    assert not {TierKind.NETBLOCK, TierKind.ASN} & set(kinds(selected("10.1.2.9", query)))


def test_requested_countries_are_the_whole_answer() -> None:
    assert tiers(selected(IN_SWEDEN, "country=de,US", minimum=99)) == [
        (TierKind.REQUESTED, ("US", "de"), {GERMAN, BERLINER, YANK})
    ]


def test_requested_countries_without_hosts_are_replaced_by_their_neighbours() -> None:
    assert tiers(selected(IN_AMERICA, "country=FR")) == [
        (TierKind.REQUESTED, ("AT", "CZ", "DE", "DK", "PL", "SE"), {SWEDE, DANE, GERMAN, BERLINER, CZECH})
    ]


def test_the_client_is_no_exception_among_the_neighbours() -> None:
    """PY drops the client's own country here (1.11, 5)."""
    assert SWEDE in selected(IN_SWEDEN, "country=FR").hosts


@pytest.mark.parametrize("country", ["XX", "AQ", "Sverige", "%C3%85"])
def test_countries_that_lead_nowhere_count_as_not_asked_for(country: str) -> None:
    assert tiers(selected(IN_SWEDEN, f"country={country}")) == tiers(selected(IN_SWEDEN))


def test_requested_countries_whose_hosts_refuse_the_client_leave_an_empty_answer() -> None:
    assert tiers(selected(IN_SWEDEN, "country=AT", minimum=5)) == [(TierKind.REQUESTED, ("AT",), set())]


@pytest.mark.parametrize("word", ["global", "GLOBAL", "Global"])
def test_global_asks_for_all_the_world(word: str) -> None:
    assert tiers(selected(IN_SWEDEN, f"country={word}")) == [
        (TierKind.REQUESTED, ("global",), {SWEDE, DANE, GERMAN, BERLINER, CZECH, YANK})
    ]


def test_global_and_a_country_are_added_up() -> None:
    assert tiers(selected(IN_SWEDEN, "country=global,SE"))[0][:2] == (TierKind.REQUESTED, ("SE", "global"))


def test_only_hosts_with_an_asked_protocol_are_named() -> None:
    assert set(selected(IN_SWEDEN, "protocol=rsync", minimum=9).hosts) == {BERLINER, JAPANESE}
    assert set(selected(IN_SWEDEN, "protocol=ftp", minimum=9).hosts) == {CZECH}
    assert selected(IN_SWEDEN, "protocol=").hosts == []


def test_within_a_tier_bandwidth_decides() -> None:
    first = Counter(selected(IN_GERMANY, "country=DE", seed=seed).hosts[0] for seed in range(4000))
    assert first[BERLINER] / first.total() == pytest.approx(0.75, abs=0.03)


def test_within_a_netblock_bandwidth_does_not_matter() -> None:
    first = Counter(selected("203.0.113.9", seed=seed).hosts[0] for seed in range(4000))
    assert first[YANK] / first.total() == pytest.approx(0.5, abs=0.03)


def test_each_host_that_is_out_has_one_reason() -> None:
    chosen = selected(IN_SWEDEN)
    reasons = {reason: members(hosts) for reason, hosts in chosen.out.items()}
    assert reasons == {
        Exclusion.NOT_UP_TO_DATE: [STALE],
        Exclusion.NO_URL: [JAPANESE],
        Exclusion.PRIVATE: [CAMPUS, LAB],
        Exclusion.COUNTRY_NOT_ALLOWED: [AUSTRIAN],
        Exclusion.NOT_NEEDED: [YANK],
    }


COUNTRIES = ["SE", "DE", "FR", "US", ""]
HOSTS = st.lists(
    st.builds(
        host,
        st.just(0),
        st.sampled_from(COUNTRIES),
        st.integers(1, 10_000),
        private=st.booleans(),
        allowed_countries=st.lists(st.sampled_from(COUNTRIES[:4]), max_size=2).map(tuple),
        extra_countries=st.lists(st.sampled_from(COUNTRIES[:4]), max_size=2).map(tuple),
    ),
    max_size=12,
)


@st.composite
def worlds(draw: Any) -> MirrorlistCache:
    """A random set of hosts in one category."""
    hosts = [one._replace(id=number) for number, one in enumerate(draw(HOSTS))]
    everyone = (1 << len(hosts)) - 1
    some = st.integers(0, everyone)
    schemes = st.lists(st.sampled_from(["https", "http", "rsync"]), max_size=3)
    urls = {number: tuple(f"{scheme}://h{number}" for scheme in draw(schemes)) for number in range(len(hosts))}
    return world(
        hosts=hosts,
        masks=[draw(some)],
        categories=[Category("c", "", urls, {"d": 0}, {})],
        repositories={},
        netblock_hosts={"10.1.0.0/16": draw(some), "10.1.2.0/24": draw(some)},
        asn_hosts={1221: draw(some)},
    )


@given(
    worlds(),
    st.sampled_from([IN_SWEDEN, IN_GERMANY, IN_FRANCE, IN_CHINA, NOWHERE, "10.1.2.9", "172.16.0.1"]),
    st.sampled_from(["", "country=SE", "country=DE,FR", "country=global", "protocol=https,rsync", "netblock=0"]),
)
def test_no_world_breaks_the_promises(cache: MirrorlistCache, address: str, query: str) -> None:
    """No host twice; none that lacks the directory; private and restricted hosts only where they may be."""
    index = build(cache, CLASSIC)
    chosen = selected(address, query, "d", minimum=3, index=index)
    hosts = chosen.hosts
    assert len(hosts) == len(set(hosts))
    assert mask(*hosts) & ~cache.masks[0] == 0
    country = Atlas().country(address)
    for tier in chosen.selection.tiers:
        if tier.kind not in (TierKind.NETBLOCK, TierKind.ASN):
            for number in tier.hosts:
                one = cache.hosts[number]
                assert not one.private
                assert not one.allowed_countries or country in one.allowed_countries
    out = chosen.out
    assert sum(reason.bit_count() for reason in out.values()) + len(hosts) == index.categories[0].hosts.bit_count()
