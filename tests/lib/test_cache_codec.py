"""A cache file that is damaged, foreign or hostile is refused with a reason; a good one comes back unchanged."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_lib.cache import codec
from mm_lib.cache.schema import SCHEMA_VERSION, Absent, Category, Factors, FileDetail, Host, MirrorlistCache
from mm_lib.cache.table import DirectoryTable, FileTable, MaskTable, StringTable


def example() -> MirrorlistCache:
    detail = FileDetail(1, 2, "", "", "a" * 64, "b" * 128)
    return MirrorlistCache(
        generated_at=1_700_000_000,
        generation=7,
        hosts=[Host(1, "m1", "Site", "DE", 100, False, 1, None, None, ("DE",), ())],
        masks=[0, 1],
        categories=[
            Category(
                "Fedora",
                "pub",
                {0: ("https://m1/pub",)},
                {"pub": 0, "pub/a": 1},
                {"pub/a/f": (detail, detail)},
                factors={0: Factors(0.5, 1.0, 0.25)},
                always_up_to_date=1,
                reserved={"pub/a": 1},
                absent=[Absent("m2", "owner-disabled")],
            )
        ],
        repositories={("fedora-44", "x86_64"): (0, "pub/a")},
        disabled_repositories=[("old", "x86_64")],
        repository_redirects={"alias": "fedora-44"},
        netblock_hosts={"192.0.2.0/24": 1},
        location_hosts={"region-1": 1},
        asn_hosts={64500: 1},
        country_continents={"DE": "EU"},
        netblock_countries={"198.51.100.0/24": "US"},
        embargoed_countries=["XX"],
    )


def sealed(payload: bytes, version: int = SCHEMA_VERSION) -> bytes:
    """A file with a right header for any payload: what somebody who can write the file could make."""
    digest = hashlib.sha256(struct.pack("!HQ", version, len(payload)) + payload).digest()
    return struct.pack("!8sHQ32s", codec.MAGIC, version, len(payload), digest) + payload


def taken_apart() -> dict[str, Any]:
    """The example's values as they stand in the file, with buffers as bytes."""
    pickled, *buffers = codec._parts(memoryview(codec.encode(example()))[codec.HEADER_SIZE :])
    values: dict[str, Any] = pickle.loads(pickled, buffers=buffers)
    return values


def plain(**changes: Any) -> bytes:
    """The example's values with some of them replaced, as a sealed file."""
    values = taken_apart() | changes
    chosen: list[bytes] = []

    def place(part: Any) -> Any:
        return pickle.PickleBuffer(bytes(part)) if isinstance(part, bytes | memoryview) else part

    values["masks"] = place(values["masks"])
    for category in values["categories"] if isinstance(values["categories"], list) else []:
        if isinstance(category, dict):
            category["directories"] = [place(part) for part in category["directories"]]
            category["files"] = [place(part) for part in category["files"]]
    pickled = pickle.dumps(values, protocol=5, buffer_callback=lambda buffer: chosen.append(bytes(buffer)))
    return codec.seal(pickled, chosen)


BUFFERS = [("directories", number) for number in range(4)] + [("files", number) for number in range(5)]


def with_buffer(table: str, number: int, change: Callable[[bytes], bytes]) -> bytes:
    """The example's file with one buffer of its category changed."""
    (category,) = taken_apart()["categories"]
    category[table][number] = change(bytes(category[table][number]))
    return plain(categories=[category])


def test_a_cache_comes_back_as_it_was() -> None:
    assert codec.decode(codec.encode(example())) == example()


def test_the_pickle_names_no_class() -> None:
    assert b"mm_lib" not in codec.encode(example())


@pytest.mark.parametrize("length", [0, 1, 7, 8, 20, 49])
def test_a_file_shorter_than_its_header_is_refused(length: int) -> None:
    with pytest.raises(codec.CacheError):
        codec.decode(codec.encode(example())[:length])


@given(st.data())
def test_every_truncation_is_refused(data: st.DataObject) -> None:
    whole = codec.encode(example())
    with pytest.raises(codec.CacheError):
        codec.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.data())
def test_every_flipped_bit_is_refused(data: st.DataObject) -> None:
    whole = bytearray(codec.encode(example()))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(codec.CacheError):
        codec.decode(bytes(whole))


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(codec.Truncated):
        codec.decode(codec.encode(example()) + b"x")


def test_another_version_is_refused_and_both_are_named() -> None:
    with pytest.raises(codec.UnknownVersion, match=r"version 99.*reads 2"):
        codec.decode(sealed(b"", version=99))


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(codec.NotACache):
        codec.decode(b"SQLite format 3\0" * 10)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def test_a_pickle_that_tries_to_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    with pytest.raises(codec.ForbiddenContent, match="system"):
        codec.decode(codec.seal(pickle.dumps(Hostile(target)), []))
    assert not target.exists()


@pytest.mark.parametrize("payload", [b"", b".", b"garbage", b"\x80\x05P0\n.", b"\x80\x05" + b"(" * 100_000])
def test_a_pickle_that_cannot_be_read_is_refused(payload: bytes) -> None:
    with pytest.raises(codec.ForbiddenContent):
        codec.decode(codec.seal(payload, []))


@pytest.mark.parametrize(
    "payload", [b"", b"\0" * 8, b"\xff" * 8, b"\0" * 7 + b"\1" + b"\xff" * 8, b"\0" * 7 + b"\2" + b"\0" * 16 + b"x"]
)
def test_a_table_of_parts_that_does_not_fit_is_refused(payload: bytes) -> None:
    with pytest.raises(codec.ForbiddenContent):
        codec.decode(sealed(payload))


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"hosts": 3},
        {"hosts": [(1, 2)]},
        {"hosts": [(1, "m1", "Site", "DE", 0, False, 1, None, None, (), ())]},
        {"hosts": []},
        {"masks": b"\2\2"},
        {"masks": b"\0"},
        {"masks": b""},
        {"netblock_hosts": {"192.0.2.0/24": 2}},
        {"asn_hosts": {1: -1}},
        {"location_hosts": {"here": "there"}},
        {"generated_at": "yesterday"},
        {"repositories": {("r", "a"): (0, "pub/nowhere")}},
        {"repositories": {("r", "a"): (5, "pub/a")}},
        {"categories": [1]},
    ],
)
def test_values_of_the_wrong_shape_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(codec.ForbiddenContent, match="shape"):
        codec.decode(plain(**changes))


@pytest.mark.parametrize("name", ["name", "site"])
def test_a_host_without_a_name_is_refused_before_an_answer_names_it(name: str) -> None:
    """Compiled redirectors would fail at it in the middle of a request, and others answer with nonsense."""
    hosts = [tuple(host._replace(**{name: None})) for host in example().hosts]
    with pytest.raises(codec.ForbiddenContent, match="is no text"):
        codec.decode(plain(hosts=hosts))


def test_a_payload_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(codec.ForbiddenContent):
        codec.decode(codec.seal(pickle.dumps([1, 2]), []))


@pytest.mark.parametrize(
    ("table", "number", "buffer"),
    [
        ("directories", 0, b"pub"),  # the text
        ("directories", 1, struct.pack("<3I", 0, 3, 9)),  # where each ends
        ("directories", 1, struct.pack("<3I", 1, 3, 8)),
        ("directories", 1, b""),
        ("directories", 2, struct.pack("<4I", 9, 0, 0, 0)),  # hash slots
        ("directories", 2, struct.pack("<4I", 1, 2, 1, 2)),
        ("directories", 2, struct.pack("<3I", 1, 2, 0)),
        ("directories", 2, b"x"),
        ("directories", 3, struct.pack("<2I", 0, 2)),  # which mask
        ("directories", 3, struct.pack("<1I", 0)),
        ("files", 3, struct.pack("<2I", 0, 5)),  # where the records end
        ("files", 4, b""),  # the records
    ],
)
def test_a_table_with_wrong_numbers_is_refused(table: str, number: int, buffer: bytes) -> None:
    with pytest.raises(codec.ForbiddenContent, match="shape"):
        codec.decode(with_buffer(table, number, lambda _: buffer))


@given(st.sampled_from(BUFFERS), st.data())
def test_no_damage_to_a_table_breaks_a_reader(place: tuple[str, int], data: st.DataObject) -> None:
    """It is refused, or every question is answered."""

    def damage(buffer: bytes) -> bytes:
        damaged = bytearray(buffer)
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
        return bytes(damaged)

    try:
        cache = codec.decode(with_buffer(*place, damage))
    except codec.ForbiddenContent:
        return
    category = cache.categories[0]
    for path in ("pub", "pub/a", "nothing"):
        assert category.directories.get(path) in (None, 0, 1)
        assert isinstance(category.files.get(f"{path}/f", ()), tuple)


@given(st.dictionaries(st.text(max_size=6), st.integers(0, 3), max_size=40))
def test_a_directory_is_found_if_it_is_there_and_only_then(directories: dict[str, int]) -> None:
    *names, positions = DirectoryTable.pack(directories)
    table = DirectoryTable(StringTable(*names), positions, 4)
    assert dict(table) == directories
    assert table.get("no such directory") is None


@given(st.integers(0, 70).flatmap(lambda hosts: st.tuples(st.just(hosts), st.lists(st.integers(0, (1 << hosts) - 1)))))
def test_masks_come_back_whatever_the_number_of_hosts(world: tuple[int, list[int]]) -> None:
    hosts, masks = world
    assert MaskTable(MaskTable.pack(masks, hosts), hosts) == masks


@pytest.mark.parametrize("odd", ["xyz", "ab", "A" * 64])
def test_a_hash_that_is_none_is_not_written(odd: str) -> None:
    with pytest.raises(ValueError):
        FileTable.pack({"f": (FileDetail(1, 2, "", "", odd, ""),)})


def test_whoever_waits_for_the_interpreter_gets_it_while_a_large_cache_is_read() -> None:
    """A pickle of a megabyte is read in portions with a rest between them."""
    large = example()
    large.location_hosts.update({f"region-{number}": 1 for number in range(50_000)})
    rests = []
    pickled = memoryview(pickle.dumps(large.location_hosts, protocol=5))
    assert (
        codec._load(memoryview(struct.pack("!QQ", 1, len(pickled)) + pickled), lambda: rests.append(1))
        == large.location_hosts
    )
    assert len(rests) > len(pickled) / 100_000
