"""A cache file that is damaged, foreign or hostile is refused with a reason; a good one comes back unchanged."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_lib.cache import codec
from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache


def example() -> MirrorlistCache:
    detail = FileDetail(1, 2, "", "", "a" * 64, "b" * 128)
    return MirrorlistCache(
        generated_at=1_700_000_000,
        generation=7,
        hosts=[Host(1, "m1", "Site", "DE", 100, False, 1, None, None, ("DE",), ())],
        masks=[0, 1],
        categories=[
            Category("Fedora", "pub", {0: ("https://m1/pub",)}, {"pub": 0, "pub/a": 1}, {"pub/a": {"f": (detail,)}})
        ],
        repositories={("fedora-44", "x86_64"): (0, "pub/a")},
        disabled_repositories=[("old", "x86_64")],
        repository_redirects={"alias": "fedora-44"},
        netblock_hosts={"192.0.2.0/24": 1},
        asn_hosts={64500: 1},
        country_continents={"DE": "EU"},
        netblock_countries={"198.51.100.0/24": "US"},
        embargoed_countries=["XX"],
    )


def sealed(payload: bytes, version: int = 1) -> bytes:
    """A file with a right header for any payload: what somebody who can write the file could make."""
    digest = hashlib.sha256(struct.pack("!HQ", version, len(payload)) + payload).digest()
    return struct.pack("!8sHQ32s", codec.MAGIC, version, len(payload), digest) + payload


def plain(**changes: Any) -> bytes:
    """The example's values with some of them replaced, as a sealed file."""
    values = pickle.loads(codec.encode(example())[codec.HEADER_SIZE :])
    return sealed(pickle.dumps({**values, **changes}, protocol=5))


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
    with pytest.raises(codec.UnknownVersion, match=r"version 99.*reads 1"):
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
        codec.decode(sealed(pickle.dumps(Hostile(target))))
    assert not target.exists()


@pytest.mark.parametrize("payload", [b"", b".", b"garbage", b"\x80\x05P0\n.", b"\x80\x05" + b"(" * 100_000])
def test_a_pickle_that_cannot_be_read_is_refused(payload: bytes) -> None:
    with pytest.raises(codec.ForbiddenContent):
        codec.decode(sealed(payload))


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"hosts": 3},
        {"hosts": [(1, 2)]},
        {"hosts": [(1, "m1", "Site", "DE", 0, False, 1, None, None, (), ())]},
        {"masks": [2]},
        {"masks": [-1]},
        {"masks": []},
        {"generated_at": "yesterday"},
        {"repositories": {("r", "a"): (0, "pub/nowhere")}},
        {"repositories": {("r", "a"): (5, "pub/a")}},
        {"categories": [1]},
    ],
)
def test_values_of_the_wrong_shape_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(codec.ForbiddenContent, match="shape"):
        codec.decode(plain(**changes))


def test_a_payload_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(codec.ForbiddenContent):
        codec.decode(sealed(pickle.dumps([1, 2])))
