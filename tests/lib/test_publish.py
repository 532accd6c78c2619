"""Database -> cache: who is in, who is out, and what each directory's hosts are (backend.md section 7, 44 to 49)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyroaring import BitMap
from sqlalchemy.orm import Session

from mm_lib.cache import codec, file
from mm_lib.cache.schema import ABSENCES, Factors, MirrorlistCache
from mm_lib.model.base import State
from mm_lib.model.content import Category, RepositoryRedirect
from mm_lib.model.geography import CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    DirectoryHost,
    Host,
    HostAsn,
    HostCategory,
    HostCategoryUrl,
    HostCountry,
    HostNetblock,
)
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth
from mm_lib.publish import rows
from mm_lib.publish.build import build
from mm_lib.publish.publication import CacheShrank, publish
from mm_lib.publish.transpose import host_sets
from mm_lib.services import hosts as host_service
from mm_lib.services import locations, maintenance, reservations
from mm_lib.settings import WeightsSettings
from tests import factories as make


def built(session: Session, names: dict[str, list[str]] | None = None) -> MirrorlistCache:
    return build(rows.read(session), 1000, 1, lambda name: (names or {}).get(name, [])).cache


def carriers(cache: MirrorlistCache, path: str) -> set[str]:
    """Names of the hosts that have the path, in the first category that knows it."""
    for category in cache.categories:
        if path in category.directories:
            mask = cache.masks[category.directories[path]]
            return {host.name for number, host in enumerate(cache.hosts) if mask >> number & 1}
    raise KeyError(path)


def test_a_directory_is_carried_by_the_hosts_that_have_it_up_to_date(session: Session) -> None:
    category = make.category(session)
    top, deep = make.directory(session, category, ""), make.directory(session, category, "releases")
    make.carries(session, make.host(session, "both"), category, [top, deep])
    make.carries(session, make.host(session, "part"), category, [deep])
    cache = built(session)
    assert carriers(cache, "pub/fedora/linux") == {"both"}
    assert carriers(cache, "pub/fedora/linux/releases") == {"both", "part"}


def test_an_empty_topdir_gives_paths_without_leading_slash(session: Session) -> None:
    category = make.category(session, topdir="")
    directory = make.directory(session, category, "directory/repodata")
    make.carries(session, make.host(session, "m"), category, [directory])
    assert carriers(built(session), "directory/repodata") == {"m"}


def test_an_always_up_to_date_host_is_listed_without_a_crawl(session: Session) -> None:
    category = make.category(session)
    make.directory(session, category, "a")
    make.carries(session, make.host(session, "cdn"), category, always=True)
    make.carries(session, make.host(session, "never-crawled"), category)
    assert carriers(built(session), "pub/fedora/linux/a") == {"cdn"}


@pytest.mark.parametrize("state", [state for state in State if state is not State.ACTIVE])
@pytest.mark.parametrize("where", ["state", "site_state"])
def test_a_host_that_is_switched_off_is_absent(session: Session, state: State, where: str) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    host = make.host(session, "m", state=state) if where == "state" else make.host(session, "m", site_state=state)
    make.carries(session, host, category, [directory])
    assert built(session).hosts == []


def test_a_quarantined_category_leaves_the_cache_at_once(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    make.carries(session, make.host(session, "m"), category, [directory], health=Health.QUARANTINED)
    assert carriers(built(session), "pub/fedora/linux/a") == set()


@pytest.mark.parametrize(("host", "site"), [(True, False), (False, True)])
def test_a_host_is_private_when_it_or_its_site_is(session: Session, host: bool, site: bool) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    make.carries(session, make.host(session, "m", private=host, site_private=site), category, [directory])
    assert [host.private for host in built(session).hosts] == [True]


def test_private_urls_never_reach_the_cache(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    carried = make.carries(session, make.host(session, "m"), category, [directory])
    carried.urls.append(HostCategoryUrl(url="rsync://m/secret", private=True))
    session.flush()
    assert b"secret" not in codec.encode(built(session))


def test_an_address_that_led_nowhere_when_last_tried_is_not_handed_out(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    carried = make.carries(session, make.host(session, "m"), category, [directory])
    carried.urls.append(HostCategoryUrl(url="https://m/dead", problem="https://m/dead/: connection refused"))
    session.flush()
    assert b"dead" not in codec.encode(built(session))


def test_what_was_once_found_at_an_address_that_is_not_crawled_says_nothing(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    cdn = make.carries(session, make.host(session, "cdn"), category, [directory], always=True)
    private = make.carries(session, make.host(session, "m", private=True), category, [directory])
    cdn.urls[0].problem = private.urls[0].problem = "connection refused"
    session.flush()
    assert sorted(host.name for host in built(session).hosts) == ["cdn", "m"]


def test_ftps_is_for_the_crawler_alone(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    carried = make.carries(session, make.host(session, "m"), category, [directory])
    carried.urls.append(HostCategoryUrl(url="ftps://m/x"))
    session.flush()
    assert b"ftps" not in codec.encode(built(session))


def test_a_host_with_only_private_urls_is_in_no_set(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    make.carries(session, make.host(session, "m"), category, [directory], url_private=True)
    cache = built(session)
    assert cache.hosts == []
    assert carriers(cache, "pub/fedora/linux/a") == set()


def test_urls_come_https_first(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    carried = make.carries(session, make.host(session, "m"), category, [directory], url="rsync://m/x")
    carried.urls += [HostCategoryUrl(url="http://m/x"), HostCategoryUrl(url="https://m/x")]
    session.flush()
    assert built(session).categories[0].urls == {0: ("https://m/x", "http://m/x", "rsync://m/x")}


@pytest.mark.parametrize(("declared", "weight"), [(1, 1), (100, 100), (50_000, 10_000)])
def test_bandwidth_is_clamped(session: Session, declared: int, weight: int) -> None:
    category = make.category(session)
    make.carries(session, make.host(session, "m", bandwidth=declared), category, always=True)
    assert built(session).hosts[0].bandwidth == weight


def test_netblocks_are_networks_addresses_or_names(session: Session) -> None:
    category = make.category(session)
    host = make.host(session, "m")
    make.carries(session, host, category, always=True)
    for text in ("1.2.3.4", "2001:db8::1", "10.0.0.0/255.0.0.0", "lab.example.org"):
        host_service.add_netblock(session, host, text)
    cache = built(session, {"lab.example.org": ["192.0.2.5", "2001:db8::5"]})
    assert set(cache.netblock_hosts) == {
        "1.2.3.4/32",
        "2001:db8::1/128",
        "10.0.0.0/8",
        "192.0.2.5/32",
        "2001:db8::5/128",
    }


def test_a_name_without_address_is_left_out_with_a_warning(session: Session) -> None:
    category = make.category(session)
    host = make.host(session, "m")
    make.carries(session, host, category, always=True)
    session.add(HostNetblock(host_id=host.id, netblock="gone.example.org"))
    session.flush()
    result = build(rows.read(session), 1, 1, lambda _: [])
    assert result.cache.netblock_hosts == {}
    assert "gone.example.org" in result.warnings[0]


def test_own_asns_count_where_wanted_and_peer_asns_always(session: Session) -> None:
    category = make.category(session)
    host = make.host(session, "m")
    host.asn_clients = False
    host.asns += [HostAsn(asn=64500, kind=AsnKind.OWN), HostAsn(asn=64501, kind=AsnKind.PEER)]
    make.carries(session, host, category, always=True)
    assert built(session).asn_hosts == {64501: 1}


def test_countries_are_kept_apart_by_kind(session: Session) -> None:
    category = make.category(session)
    host = make.host(session, "m")
    host.countries += [
        HostCountry(country="AT", kind=CountryKind.EXTRA),
        HostCountry(country="DE", kind=CountryKind.ALLOWED),
    ]
    make.carries(session, host, category, always=True)
    found = built(session).hosts[0]
    assert (found.extra_countries, found.allowed_countries) == (("AT",), ("DE",))


def test_two_hosts_may_allow_the_same_country(session: Session) -> None:
    for name in ("a", "b"):
        make.host(session, name).countries.append(HostCountry(country="DE", kind=CountryKind.ALLOWED))
    session.flush()


def test_a_host_in_an_embargoed_country_is_absent(session: Session) -> None:
    category = make.category(session)
    make.carries(session, make.host(session, "m", country="KP"), category, always=True)
    session.add(EmbargoedCountry(country="KP"))
    session.flush()
    assert built(session).hosts == []


def test_two_repositories_on_one_directory_are_both_there(session: Session) -> None:
    directory = make.directory(session, make.category(session), "a")
    make.repository(session, directory, "one")
    make.repository(session, directory, "two")
    assert set(built(session).repositories) == {("one", "x86_64"), ("two", "x86_64")}


def test_a_repository_without_prefix_or_directory_has_no_key(session: Session) -> None:
    directory = make.directory(session, make.category(session), "a")
    make.repository(session, directory, None)
    make.repository(session, directory, "lost").directory = None
    session.flush()
    assert built(session).repositories == {}


def test_one_arch_of_a_repository_can_be_switched_off_alone(session: Session) -> None:
    category = make.category(session)
    make.repository(session, make.directory(session, category, "a"), "r", "x86_64", enabled=False)
    make.repository(session, make.directory(session, category, "b"), "r", "aarch64")
    cache = built(session)
    assert cache.disabled_repositories == [("r", "x86_64")]
    assert set(cache.repositories) == {("r", "aarch64")}


def test_a_repository_that_nobody_carries_is_warned_of(session: Session) -> None:
    make.repository(session, make.directory(session, make.category(session), "a"), "fedora-44")
    assert "no mirror carries fedora-44" in build(rows.read(session), 1, 1, lambda _: []).warnings[0]


def test_file_versions_come_newest_first(session: Session) -> None:
    directory = make.directory(session, make.category(session), "a/repodata")
    for timestamp, digit in ((100, "a"), (300, "b"), (200, "c")):
        make.file_detail(session, directory, timestamp, digit)
    versions = built(session).categories[0].files["pub/fedora/linux/a/repodata/repomd.xml"]
    assert [version.timestamp for version in versions] == [300, 200, 100]


def test_overrides_and_redirects_are_carried_over(session: Session) -> None:
    session.add_all(
        [
            CountryContinent(country="IL", continent="EU"),
            NetblockCountry(
                netblock="10.0.0.0/8", country="NL", family=4, first_address=b"\n\0\0\0", last_address=b"\n\xff\xff\xff"
            ),
            RepositoryRedirect(from_prefix="fedora-rawhide", to_prefix="rawhide"),
        ]
    )
    session.flush()
    cache = built(session)
    assert (cache.country_continents["IL"], cache.country_continents["DE"]) == ("EU", "EU")
    assert cache.netblock_countries == {"10.0.0.0/8": "NL"}
    assert cache.repository_redirects == {"fedora-rawhide": "rawhide"}


def test_only_the_hosts_listed_for_a_directory_may_serve_it(session: Session) -> None:
    category = make.category(session)
    special = make.directory(session, category, "special")
    chosen, other = make.host(session, "chosen"), make.host(session, "other")
    for host in (chosen, other):
        make.carries(session, host, category, always=True)
    session.add(DirectoryHost(directory_id=special.id, host_id=chosen.id))
    session.flush()
    assert carriers(built(session), "pub/fedora/linux/special") == {"chosen"}


def test_nobody_serves_what_cannot_be_read_on_the_master(session: Session) -> None:
    category = make.category(session)
    make.directory(session, category, "secret", readable=False)
    make.carries(session, make.host(session, "m"), category, always=True)
    assert carriers(built(session), "pub/fedora/linux/secret") == set()


def test_sets_equal_the_obvious_way_to_make_them() -> None:
    """Turning bytes around against one loop per host and directory; ids have gaps, and hosts know others' ids too."""
    ids = [5 * number + 3 for number in range(50)]
    bitmaps = [BitMap(n for n in range(300) if (n * 7 + host) % (host + 2)) for host in range(12)] + [
        BitMap(),
        BitMap(range(300)),
    ]
    carried = [(host, bitmap) for host, bitmap in enumerate(bitmaps)]
    expected = [sum(1 << host for host, bitmap in carried if id_ in bitmap) | 1 << 15 for id_ in ids]
    sets = host_sets(ids, [*carried, (15, None)], 2)
    assert [int.from_bytes(packed, "little") for packed in sets] == expected


def test_publishing_writes_a_file_that_can_be_read_back(session: Session, tmp_path: Path) -> None:
    category = make.category(session)
    make.carries(session, make.host(session, "m"), category, [make.directory(session, category, "a")])
    published = publish(session, tmp_path / "cache")
    assert codec.decode(file.read(tmp_path / "cache")).hosts[0].name == "m"
    assert published.contents["hosts"] == 1


def test_losing_most_hosts_is_refused_and_the_old_file_stands(session: Session, tmp_path: Path) -> None:
    category = make.category(session)
    hosts = [make.host(session, f"m{n}") for n in range(4)]
    for host in hosts:
        make.carries(session, host, category, always=True)
    publish(session, tmp_path / "cache")
    before = (tmp_path / "cache").read_bytes()
    for host in hosts[1:]:
        host.state = State.ADMIN_DISABLED
    session.flush()
    with pytest.raises(CacheShrank, match="1 hosts, the published one 4"):
        publish(session, tmp_path / "cache")
    assert (tmp_path / "cache").read_bytes() == before
    publish(session, tmp_path / "cache", force=True)


# Numbers, families, groups.


def test_hosts_of_a_continent_and_in_it_of_a_country_stand_together(session: Session) -> None:
    category = make.category(session)
    for country in ("US", "DE", "CA", None, "FR", "DE", "US"):
        host = make.host(session, f"m{session.query(Host).count()}", country=country)
        make.carries(session, host, category, always=True)
    found = built(session).hosts
    assert [host.country for host in found] == ["", "DE", "DE", "FR", "CA", "US", "US"]
    assert [host.id for host in found if host.country == "DE"] == sorted(h.id for h in found if h.country == "DE")


def test_a_continent_that_operators_changed_moves_its_hosts(session: Session) -> None:
    category = make.category(session)
    for country in ("IL", "DE", "US"):
        make.carries(session, make.host(session, country, country=country), category, always=True)
    session.add(CountryContinent(country="IL", continent="SA"))
    session.flush()
    assert [host.name for host in built(session).hosts] == ["DE", "US", "IL"]


def test_address_families_are_carried_over_also_when_they_are_not_known(session: Session) -> None:
    host = make.host(session, "m")
    host.has_ipv4 = True
    make.carries(session, host, make.category(session), always=True)
    found = built(session).hosts[0]
    assert (found.ipv4, found.ipv6) == (True, None)


def test_location_groups_name_their_hosts_and_may_be_empty(session: Session) -> None:
    category = make.category(session)
    hosts = [make.host(session, name) for name in ("a", "b", "not-served")]
    for host in hosts[:2]:
        make.carries(session, host, category, always=True)
    locations.add_location(session, "eu")
    locations.add_location(session, "empty")
    for host in hosts[1:]:
        locations.add_host(session, "eu", host)
    assert built(session).location_hosts == {"eu": 0b10, "empty": 0}


def test_hosts_that_are_served_without_a_crawl_are_known(session: Session) -> None:
    category, other = make.category(session), make.category(session, "Other", "other")
    for name, always in (("a", False), ("b", True)):
        host = make.host(session, name)
        make.carries(session, host, category, always=always)
        make.carries(session, host, other)
    assert [found.always_up_to_date for found in built(session).categories] == [0b10, 0]


def test_a_reserved_directory_names_its_hosts_for_explanations(session: Session) -> None:
    category = make.category(session)
    special = make.directory(session, category, "special")
    chosen, gone = make.host(session, "chosen"), make.host(session, "gone")
    make.carries(session, chosen, category, always=True)
    make.carries(session, make.host(session, "other"), category, always=True)
    reservations.reserve(session, special, [chosen, gone])
    assert built(session).categories[0].reserved == {"pub/fedora/linux/special": 0b1}


# Who is absent, and why.


def absent(cache: MirrorlistCache) -> dict[str, str]:
    return {host.name: host.reason for host in cache.categories[0].absent}


@pytest.mark.parametrize(
    ("reason", "host", "carried"),
    [
        ("site-waiting", {"site_state": State.WAITING}, {}),
        ("site-disabled", {"site_state": State.OWNER_DISABLED}, {}),
        ("owner-disabled", {"state": State.OWNER_DISABLED}, {}),
        ("admin-disabled", {"state": State.ADMIN_DISABLED}, {}),
        ("auto-disabled", {"state": State.AUTO_DISABLED}, {}),
        ("quarantined", {}, {"health": Health.QUARANTINED}),
        ("no-url", {}, {"url_private": True}),
        ("embargoed", {"country": "KP"}, {}),
    ],
)
def test_a_host_that_is_not_served_is_absent_with_its_reason(
    session: Session, reason: str, host: dict[str, Any], carried: dict[str, Any]
) -> None:
    category = make.category(session)
    session.add(EmbargoedCountry(country="KP"))
    make.carries(session, make.host(session, "m", **host), category, **carried)
    cache = built(session)
    assert reason in ABSENCES
    assert absent(cache) == {"m": reason}
    assert cache.hosts == []


def test_the_first_of_several_reasons_is_named(session: Session) -> None:
    """In the order of ABSENCES, whatever else is wrong with the host."""
    category = make.category(session)
    session.add(EmbargoedCountry(country="KP"))
    host = make.host(session, "m", country="KP", state=State.ADMIN_DISABLED, site_state=State.OWNER_DISABLED)
    carried = make.carries(session, host, category, url_private=True, health=Health.QUARANTINED)
    named = []
    for repair in (
        lambda: setattr(host.site, "state", State.ACTIVE),
        lambda: setattr(host, "state", State.ACTIVE),
        lambda: setattr(session.get_one(HostCategoryHealth, carried.id), "health", Health.ACTIVE),
        lambda: setattr(carried.urls[0], "private", False),
        lambda: setattr(host, "country", "DE"),
    ):
        named.append(absent(built(session))["m"])
        repair()
        session.flush()
    assert named == ["site-disabled", "admin-disabled", "quarantined", "no-url", "embargoed"]
    assert absent(built(session)) == {}


def test_a_host_rests_during_its_maintenance_and_is_back_at_its_end(session: Session) -> None:
    host = make.host(session, "m")
    make.carries(session, host, make.category(session), always=True)
    starts, ends = make.NOW, make.NOW + timedelta(hours=2)
    maintenance.announce(session, host, starts, ends, reason="new disks", by="anne", now=make.NOW)
    moments = {minutes: int((starts + timedelta(minutes=minutes)).timestamp()) for minutes in (-1, 0, 119, 120)}
    at = {minutes: absent(build(rows.read(session), now, 1, lambda _: []).cache) for minutes, now in moments.items()}
    assert at == {-1: {}, 0: {"m": "maintenance"}, 119: {"m": "maintenance"}, 120: {}}


def test_a_host_may_be_absent_from_one_category_alone(session: Session) -> None:
    category, other = make.category(session), make.category(session, "Other", "other")
    host = make.host(session, "m")
    make.carries(session, host, category, health=Health.QUARANTINED)
    make.carries(session, host, other)
    cache = built(session)
    assert [[host.name for host in found.absent] for found in cache.categories] == [["m"], []]
    assert [set(found.urls) for found in cache.categories] == [set(), {0}]


def test_private_hosts_are_never_called_absent(session: Session) -> None:
    category = make.category(session)
    make.carries(session, make.host(session, "off", private=True, state=State.ADMIN_DISABLED), category)
    make.carries(session, make.host(session, "on", site_private=True), category)
    cache = built(session)
    assert absent(cache) == {}
    assert [host.name for host in cache.hosts] == ["on"]


# What bandwidths are multiplied by.

NOW = int(make.NOW.timestamp())
PLAIN = WeightsSettings(max_share=1)


def aged(session: Session, host: Host, category: Category, age: timedelta, **options: Any) -> HostCategory:
    """The host carries the category for that long."""
    carried = make.carries(session, host, category, always=options.pop("always", False), **options)
    carried.created_at = host.state_since = host.site.state_since = make.NOW - age
    session.flush()
    return carried


def factors(session: Session, settings: WeightsSettings = PLAIN) -> dict[str, Factors]:
    """By name of the host."""
    cache = build(rows.read(session), NOW, 1, lambda _: [], settings).cache
    return {cache.hosts[number].name: found for number, found in cache.categories[0].factors.items()}


@pytest.mark.parametrize(("health", "factor"), [(Health.SUSPECT, 0.5), (Health.PROBATION, 0.25)])
def test_health_is_a_factor(session: Session, health: Health, factor: float) -> None:
    category = make.category(session)
    aged(session, make.host(session, "m"), category, timedelta(days=9), health=health)
    aged(session, make.host(session, "fine"), category, timedelta(days=9))
    assert factors(session) == {"m": Factors(health=factor)}


def test_health_means_nothing_for_a_host_that_is_served_without_a_crawl(session: Session) -> None:
    aged(
        session, make.host(session, "m"), make.category(session), timedelta(days=9), health=Health.SUSPECT, always=True
    )
    assert factors(session) == {}


@pytest.mark.parametrize("what", ["host", "site", "category"])
def test_whoever_is_new_or_was_switched_on_lately_starts_slowly(session: Session, what: str) -> None:
    category = make.category(session)
    aged(session, make.host(session, "old"), category, timedelta(days=9))
    host = make.host(session, "m")
    carried = aged(session, host, category, timedelta(days=9))
    lately = make.NOW - timedelta(hours=12)
    if what == "category":
        carried.created_at = lately
    else:
        (host if what == "host" else host.site).state_since = lately
    session.flush()
    assert factors(session)["m"].slow_start == pytest.approx(0.55)


@pytest.mark.parametrize("back", [Health.ACTIVE, Health.PROBATION])
def test_whoever_returns_from_an_outage_starts_slowly(session: Session, back: Health) -> None:
    """From the first good crawl on; what came later does not begin it anew."""
    category = make.category(session)
    aged(session, make.host(session, "old"), category, timedelta(days=9))
    carried = aged(session, make.host(session, "m"), category, timedelta(days=9))
    for hours, health in ((40, Health.QUARANTINED), (12, back), (6, Health.SUSPECT), (3, Health.ACTIVE)):
        at = make.NOW - timedelta(hours=hours)
        session.add(HealthChange(host_category_id=carried.id, at=at, health=health))
    session.flush()
    assert factors(session)["m"].slow_start == pytest.approx(0.55)


def test_a_doubtful_crawl_is_no_outage(session: Session) -> None:
    category = make.category(session)
    aged(session, make.host(session, "old"), category, timedelta(days=9))
    carried = aged(session, make.host(session, "m"), category, timedelta(days=9))
    for hours, health in ((12, Health.SUSPECT), (6, Health.ACTIVE)):
        at = make.NOW - timedelta(hours=hours)
        session.add(HealthChange(host_category_id=carried.id, at=at, health=health))
    session.flush()
    assert factors(session) == {}


def test_in_a_fresh_installation_nobody_is_held_down(session: Session) -> None:
    category = make.category(session)
    for hours in (1, 5, 20):
        aged(session, make.host(session, f"m{hours}"), category, timedelta(hours=hours))
    assert factors(session) == {}


def test_a_giant_gets_no_more_than_its_share_of_the_country(session: Session) -> None:
    category = make.category(session)
    for name, bandwidth in (("giant", 10_000), ("a", 3_000), ("b", 1_000)):
        aged(session, make.host(session, name, bandwidth=bandwidth), category, timedelta(days=9))
    aged(session, make.host(session, "alone", country="FR", bandwidth=10_000), category, timedelta(days=9))
    assert factors(session, WeightsSettings()) == {"giant": Factors(share=0.4)}


def test_shares_are_of_what_is_left_after_the_other_factors(session: Session) -> None:
    category = make.category(session)
    for name, bandwidth, health in (("giant", 8_000, Health.SUSPECT), ("a", 2_000, Health.ACTIVE)):
        aged(session, make.host(session, name, bandwidth=bandwidth), category, timedelta(days=9), health=health)
    assert factors(session, WeightsSettings(share_floor=0)) == {"giant": Factors(health=0.5, share=0.5)}


def test_private_hosts_and_those_without_a_country_have_no_share_in_one(session: Session) -> None:
    category = make.category(session)
    for name, bandwidth, options in (
        ("giant", 10_000, {}),
        ("private", 100, {"private": True}),
        ("nowhere", 10_000, {"country": None}),
        ("nowhere-too", 100, {"country": None}),
    ):
        aged(session, make.host(session, name, bandwidth=bandwidth, **options), category, timedelta(days=9))
    assert factors(session, WeightsSettings()) == {}
