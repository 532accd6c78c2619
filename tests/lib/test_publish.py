"""Database -> cache: who is in, who is out, and what each directory's hosts are (backend.md section 7, 44 to 49)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyroaring import BitMap
from sqlalchemy.orm import Session

from mm_lib.cache import codec, file
from mm_lib.cache.schema import MirrorlistCache
from mm_lib.model.base import State
from mm_lib.model.content import RepositoryRedirect
from mm_lib.model.geography import CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.hosts import AsnKind, CountryKind, DirectoryHost, HostAsn, HostCategoryUrl, HostCountry, HostNetblock
from mm_lib.model.state import Health
from mm_lib.publish import rows
from mm_lib.publish.build import build
from mm_lib.publish.publication import CacheShrank, publish
from mm_lib.publish.transpose import host_sets
from mm_lib.services import hosts as host_service
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
