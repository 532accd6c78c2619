"""The cache in MirrorManager's own format: what is written, and that nothing is lost on the way there and back."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mm_lib.cache import codec, file
from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache
from mm_lib.publish import from_protobuf, protobuf
from mm_lib.publish import mirrorlist_pb2 as pb
from mm_lib.publish.from_protobuf import Converted, NotAMirrorList
from mm_lib.services.geography import continents
from mm_redirector.settings import CLASSIC
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses
from tests.redirector.world import client, world

NAMES = st.text("abcxyz019-._", min_size=1, max_size=8)
COUNTRIES = st.sampled_from(["DE", "SE", "US", "IL", "AM"])
HASHES = {"MD5": 32, "SHA1": 40, "SHA256": 64, "SHA512": 128}
MAX = (1 << 62) - 1


def written(cache: MirrorlistCache) -> pb.MirrorList:
    return pb.MirrorList.FromString(b"".join(protobuf.encode(cache)))


def taken(message: pb.MirrorList) -> Converted:
    """The message as a cache that went through our own file."""
    converted = from_protobuf.decode(io.BytesIO(message.SerializeToString()))
    return Converted(codec.decode(codec.encode(converted.cache)), converted.warnings)


def meaning(message: pb.MirrorList) -> dict[str, Any]:
    """Every field of a message; numbers of URLs, which are nobody's business, are the URLs."""
    urls = {entry.key: entry.value for entry in message.HCUrlCache}
    found: dict[str, Any] = {"Time": message.Time, "HCUrlCache": Counter(urls.values())}
    for name in ("NetblockCountryCache", "DisabledRepositoryCache", "CountryContinentRedirectCache"):
        found[name] = mapping(getattr(message, name))
    for name in ("RepositoryRedirectCache", "RepoArchToDirectoryName", "HostMaxConnectionCache", "HostCountryCache"):
        found[name] = mapping(getattr(message, name))
    found["HostBandwidthCache"] = mapping(message.HostBandwidthCache)
    for name in ("LocationCache", "HostAsnCache", "HostCountryAllowedCache", "HostNetblockCache"):
        found[name] = lists(getattr(message, name))
    found["FileDetailsCache"] = {
        entry.directory: {
            each.filename: [str(version) for version in each.FileDetails] for each in entry.FileDetailsCacheFiles
        }
        for entry in message.FileDetailsCache
    }
    found["MirrorListCache"] = {
        entry.directory: (
            sorted(entry.Global),
            entry.Subpath,
            lists(entry.ByCountry),
            lists(entry.ByCountryInternet2),
            {host.key: [urls[number] for number in host.value] for host in entry.ByHostId},
            entry.OrderedMirrorList,
        )
        for entry in message.MirrorListCache
    }
    assert set(found) == {field.name for field in message.DESCRIPTOR.fields}
    return found


def mapping(entries: Any) -> dict[Any, Any]:
    found = {entry.key: entry.value for entry in entries}
    assert len(found) == len(entries)
    return found


def lists(entries: Any) -> dict[Any, list[Any]]:
    found = {entry.key: sorted(entry.value) for entry in entries}
    assert len(found) == len(entries)
    return found


@st.composite
def messages(draw: st.DrawFn) -> pb.MirrorList:
    """What a generator makes of a registry: hosts, categories with URLs, directories, and everything beside."""
    message = pb.MirrorList(Time=draw(st.integers(0, 1 << 40)))
    ids = draw(st.lists(st.integers(1, MAX), unique=True, max_size=5))
    country = {id_: draw(st.none() | COUNTRIES) for id_ in ids}
    extra = {id_: draw(st.sets(COUNTRIES, max_size=2)) for id_ in ids}
    private, internet2 = draw(subsets(ids)), draw(subsets(ids))
    for id_ in ids:
        message.HostMaxConnectionCache.add(key=id_, value=draw(st.integers(1, 100)))
        message.HostBandwidthCache.add(key=id_, value=draw(st.integers(1, 100_000)))
        if country[id_]:
            message.HostCountryCache.add(key=id_, value=country[id_])
        if allowed := draw(st.sets(COUNTRIES, max_size=2)):
            message.HostCountryAllowedCache.add(key=id_, value=allowed)
    add(draw, message.LocationCache, NAMES, subsets(ids))
    add(draw, message.HostAsnCache, st.integers(1, 2**32 - 1), subsets(ids))
    networks = st.sampled_from(["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "0.0.0.0/0"])
    add(draw, message.HostNetblockCache, networks, subsets(ids))
    add(draw, message.NetblockCountryCache, networks, COUNTRIES)
    add(draw, message.CountryContinentRedirectCache, COUNTRIES, st.sampled_from(["EU", "AS", "NA"]))
    add(draw, message.RepositoryRedirectCache, NAMES, NAMES)
    paths: list[str] = []
    for number in range(draw(st.integers(0, 3))):
        paths += category(draw, message, number, ids, (country, extra, private, internet2))
    details(draw, message, [*paths, "nobody/has/this"])
    repositories(draw, message, [*paths, "gone"])
    number = len(message.HCUrlCache)
    if draw(st.booleans()):
        message.HCUrlCache.add(key=number + 1, value="http://nobody.example.org/x")
    return message


def subsets(ids: list[int]) -> st.SearchStrategy[set[int]]:
    return st.sets(st.sampled_from(ids)) if ids else st.just(set())


def add(draw: st.DrawFn, entries: Any, keys: st.SearchStrategy[Any], values: st.SearchStrategy[Any]) -> None:
    for key, value in draw(st.dictionaries(keys, values, max_size=3)).items():
        entries.add(key=key, value=value)


def category(
    draw: st.DrawFn, message: pb.MirrorList, number: int, ids: list[int], facts: tuple[Any, Any, set[int], set[int]]
) -> list[str]:
    """Directories below a top directory, which may be empty or the same as another's."""
    country, extra, private, internet2 = facts
    topdir = draw(st.sampled_from(["", "pub/linux", f"pub/{number}"]))
    urls: dict[int, list[int]] = {}
    for id_ in ids:
        urls[id_] = []
        for scheme in draw(st.sets(st.sampled_from(["https", "http", "rsync"]), min_size=1)):
            key = len(message.HCUrlCache) + 1
            message.HCUrlCache.add(key=key, value=f"{scheme}://h{id_}.example.org/{number}")
            urls[id_].append(key)
    paths = []
    for below in draw(st.sets(st.sampled_from(["", "a", "a/b", "releases/44"]), max_size=3)):
        path = "/".join(part for part in (topdir, f"c{number}" if below and not topdir else "", below) if part)
        subpath = path[len(topdir) :].lstrip("/")
        if any(entry.directory == path for entry in message.MirrorListCache):
            continue
        carrying = draw(subsets(ids))
        public = carrying - private
        entry = message.MirrorListCache.add(directory=path, Global=public, Subpath=subpath)
        for hosts, places in ((public, entry.ByCountry), (public & internet2, entry.ByCountryInternet2)):
            for code in {code for id_ in hosts for code in {country[id_], *extra[id_]} - {None}}:
                places.add(key=code, value=[id_ for id_ in hosts if code in {country[id_], *extra[id_]}])
        for id_ in carrying:
            entry.ByHostId.add(key=id_, value=urls[id_])
        entry.OrderedMirrorList = draw(st.booleans())
        paths.append(path)
    return paths


def details(draw: st.DrawFn, message: pb.MirrorList, paths: list[str]) -> None:
    for path in draw(st.sets(st.sampled_from(paths), max_size=3)):
        entry = message.FileDetailsCache.add(directory=path)
        for name in draw(st.sets(NAMES, min_size=1, max_size=2)):
            each = entry.FileDetailsCacheFiles.add(filename=name)
            for _ in range(draw(st.integers(0, 2))):
                version = each.FileDetails.add(TimeStamp=draw(st.integers(0, MAX)), Size=draw(st.integers(0, MAX)))
                for hash_ in draw(st.sets(st.sampled_from(sorted(HASHES)))):
                    setattr(version, hash_, draw(st.sampled_from("09af")) * HASHES[hash_])


def repositories(draw: st.DrawFn, message: pb.MirrorList, paths: list[str]) -> None:
    keys = st.builds("{}+{}".format, st.sampled_from(["f-1", "f-2", "c++"]), st.sampled_from(["x86_64", "source"]))
    add(draw, message.RepoArchToDirectoryName, keys | st.just("odd"), st.sampled_from(paths))
    add(draw, message.DisabledRepositoryCache, st.sampled_from(["f-1", "gone"]), st.just(True))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(messages())
def test_no_field_is_lost_on_the_way_into_our_cache_and_back(message: pb.MirrorList) -> None:
    assert meaning(written(taken(message).cache)) == meaning(message)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(messages())
def test_what_is_written_is_sorted_and_the_same_each_time(message: pb.MirrorList) -> None:
    again = written(taken(message).cache)
    for name in ("HostBandwidthCache", "HCUrlCache", "RepoArchToDirectoryName", "HostNetblockCache", "HostAsnCache"):
        keys = [entry.key for entry in getattr(again, name)]
        assert keys == sorted(keys)
    assert [entry.directory for entry in again.MirrorListCache] == sorted(e.directory for e in again.MirrorListCache)
    assert b"".join(protobuf.encode(taken(again).cache)) == again.SerializeToString()


@settings(max_examples=100)
@given(st.binary(max_size=200) | messages().map(lambda message: message.SerializeToString()[:-1]))
def test_other_bytes_are_refused_or_hold_nothing_wrong(data: bytes) -> None:
    try:
        converted = from_protobuf.decode(io.BytesIO(data))
    except NotAMirrorList:
        return
    codec.decode(codec.encode(converted.cache))


def test_a_cache_is_written_as_the_description_says() -> None:
    """redirector.md 1.10: field by field."""
    cache = MirrorlistCache(
        generated_at=1767222000,
        generation=1,
        hosts=[
            Host(7, "a", "A", "DE", 100, False, 2, 1.0, 2.0, ("DE",), ("AT",)),
            Host(3, "b", "B", "SE", 200, True, 1, None, None, (), ()),
        ],
        masks=[0b11, 0b10],
        categories=[
            Category(
                name="Linux",
                topdir="pub/linux",
                urls={0: ("https://a/l", "http://a/l"), 1: ("http://b/l",)},
                directories={"pub/linux": 0, "pub/linux/os/repodata": 1},
                files={"pub/linux/os/repodata/repomd.xml": (FileDetail(17, 3, "a" * 32, "", "b" * 64, ""),)},
            )
        ],
        repositories={("f-1", "x86_64"): (0, "pub/linux")},
        disabled_repositories=[("f-0", "x86_64"), ("f-1", "source")],
        repository_redirects={"new": "f-1"},
        netblock_hosts={"10.0.0.0/8": 0b10},
        asn_hosts={64500: 0b1},
        location_hosts={"ec2": 0b1},
        country_continents=continents() | {"IL": "EU"},
        netblock_countries={"10.0.0.0/8": "DE"},
    )
    found = written(cache)
    assert (found.Time, mapping(found.HostCountryCache)) == (1767222000, {7: "DE", 3: "SE"})
    assert mapping(found.HostBandwidthCache) == {3: 200, 7: 100}
    assert mapping(found.HostMaxConnectionCache) == {3: 1, 7: 2}
    assert lists(found.HostCountryAllowedCache) == {7: ["DE"]}
    assert mapping(found.CountryContinentRedirectCache) == {"IL": "EU"}
    assert mapping(found.RepoArchToDirectoryName) == {"f-1+x86_64": "pub/linux"}
    assert mapping(found.DisabledRepositoryCache) == {"f-0": True}  # f-1 goes on for another arch
    assert mapping(found.RepositoryRedirectCache) == {"new": "f-1"}
    assert (lists(found.HostNetblockCache), lists(found.HostAsnCache)) == ({"10.0.0.0/8": [3]}, {64500: [7]})
    assert (lists(found.LocationCache), mapping(found.NetblockCountryCache)) == ({"ec2": [7]}, {"10.0.0.0/8": "DE"})
    urls = mapping(found.HCUrlCache)
    top, below = found.MirrorListCache
    assert (top.directory, top.Subpath, below.Subpath) == ("pub/linux", "", "os/repodata")
    assert (list(top.Global), list(below.Global)) == ([7], [])  # private hosts stand in ByHostId only
    assert lists(top.ByCountry) == {"AT": [7], "DE": [7]}
    assert {host.key: [urls[n] for n in host.value] for host in top.ByHostId} == {
        3: ["http://b/l"],
        7: ["https://a/l", "http://a/l"],
    }
    (details_,) = found.FileDetailsCache
    (version,) = details_.FileDetailsCacheFiles[0].FileDetails
    assert (details_.directory, details_.FileDetailsCacheFiles[0].filename) == ("pub/linux/os/repodata", "repomd.xml")
    assert (version.TimeStamp, version.Size, version.MD5, version.HasField("SHA1")) == (17, 3, "a" * 32, False)


def test_fields_have_the_numbers_of_the_description() -> None:
    numbers = {field.name: field.number for field in pb.MirrorList.DESCRIPTOR.fields}
    assert numbers == {
        "Time": 1,
        "NetblockCountryCache": 2,
        "LocationCache": 3,
        "HCUrlCache": 4,
        "FileDetailsCache": 5,
        "DisabledRepositoryCache": 6,
        "CountryContinentRedirectCache": 7,
        "RepositoryRedirectCache": 8,
        "RepoArchToDirectoryName": 9,
        "HostAsnCache": 10,
        "HostMaxConnectionCache": 11,
        "HostCountryCache": 12,
        "HostBandwidthCache": 13,
        "HostCountryAllowedCache": 14,
        "HostNetblockCache": 15,
        "MirrorListCache": 16,
    }
    assert [f.name for f in pb.MirrorListCacheType.DESCRIPTOR.fields] == [
        "directory", "Global", "Subpath", "ByCountry", "ByCountryInternet2", "ByHostId", "OrderedMirrorList",
    ]  # fmt: skip
    assert [f.name for f in pb.FileDetailsType.DESCRIPTOR.fields] == [
        "TimeStamp", "Size", "SHA1", "MD5", "SHA256", "SHA512",
    ]  # fmt: skip


def test_a_whole_prefix_that_is_switched_off_stays_off_for_every_arch() -> None:
    message = pb.MirrorList(Time=1)
    message.MirrorListCache.add(directory="os", Subpath="os")
    for arch in ("x86_64", "source"):
        message.RepoArchToDirectoryName.add(key=f"f-0+{arch}", value="os")
    message.DisabledRepositoryCache.add(key="f-0", value=True)
    cache = taken(message).cache
    assert not cache.repositories
    assert cache.disabled_repositories == [("f-0", "source"), ("f-0", "x86_64")]


def test_what_cannot_be_taken_is_told() -> None:
    message = pb.MirrorList(Time=1)
    message.MirrorListCache.add(directory="pub/linux", Subpath="inux")
    message.HostNetblockCache.add(key="localhost/300", value=[1])
    file_ = message.FileDetailsCache.add(directory="pub").FileDetailsCacheFiles.add(filename="x")
    file_.FileDetails.add(TimeStamp=1, Size=1, MD5="xyz")
    warnings = "\n".join(taken(message).warnings)
    assert "pub/linux: it does not end in inux" in warnings
    assert "localhost/300 is no network" in warnings
    assert "pub/x: xyz is no md5" in warnings


def test_a_converted_file_is_answered_from_as_the_cache_that_it_was_made_of() -> None:
    """Classic order, since nothing but what the format holds may count."""
    original = world()
    converted = taken(written(original)).cache
    questions = [
        "/mirrorlist?repo=fedora-44&arch=x86_64",
        "/metalink?repo=fedora-44&arch=x86_64",
        "/mirrorlist?repo=fedora-44&arch=x86_64&country=DE",
        "/mirrorlist?repo=fedora-44&arch=x86_64&country=global&protocol=rsync,http",
    ]
    for question in questions:
        answers = [lines(cache, question) for cache in (original, converted)]
        assert answers[0] == answers[1]


def lines(cache: MirrorlistCache, question: str) -> tuple[int, list[str]]:
    answer = client(cache, policy=CLASSIC)(question)
    drawn = re.sub(r' preference="\d+"', "", answer.text)  # the order is drawn anew each time
    return answer.status, sorted(line for line in drawn.splitlines() if "pubdate" not in line)


@pytest.fixture
def admin(tmp_path: Path, sqlite_template: Path) -> Admin:
    shutil.copy(sqlite_template, tmp_path / "mm.sqlite")
    made = Admin(tmp_path, "sqlite:///mm.sqlite")
    made.ok("product", "add", "Fedora")
    made.ok("category", "add", "Fedora Linux", "--product", "Fedora", "--topdir", "pub/fedora/linux")
    return made


def test_mm_admin_builds_for_the_other_servers_and_converts_both_ways(admin: Admin) -> None:
    folder = admin.folder
    assert "Published" in admin.ok("cache", "build", "--format", "protobuf")
    made = folder / "mirrorlist.cache.proto"
    assert pb.MirrorList.FromString(made.read_bytes()).Time > 0
    ours, back = folder / "ours.cache", folder / "back.proto"
    admin.ok("cache", "convert", str(made), str(ours))
    assert codec.decode(file.read(ours)).generated_at == pb.MirrorList.FromString(made.read_bytes()).Time
    admin.ok("cache", "convert", str(ours), str(back))
    assert back.read_bytes() == made.read_bytes()


def test_mm_admin_converts_no_other_file(admin: Admin) -> None:
    (admin.folder / "text").write_text("hello, I am a text\n")
    answer = admin.refused("cache", "convert", str(admin.folder / "text"), str(admin.folder / "x"))
    assert "no MirrorList message" in answer or "cut off" in answer
    assert not (admin.folder / "x").exists()


def test_the_library_is_only_loaded_when_the_format_is_asked_for(tmp_path: Path) -> None:
    """And without it the message says how to get it."""
    asking = f"main(['cache', 'convert', {str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r}])"
    code = f"import sys; sys.modules['google'] = None; from mm_lib.cli.main import main; {asking}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install mirrormanager[protobuf]" in done.stderr
