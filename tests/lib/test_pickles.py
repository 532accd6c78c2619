"""Pickles of others: plain values of every protocol are read, and nothing that would execute, call or swell."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_lib.importers import pickles
from mm_lib.importers.mirrormanager2.content import sample_of
from mm_lib.importers.pickles import NotPlain

PROTOCOLS = range(6)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_values_are_read_as_they_are(value: Any, protocol: int) -> None:
    assert pickles.load(pickle.dumps(value, protocol=protocol)) == value


@given(st.binary(), st.sampled_from([3, 4, 5]))
def test_bytes_are_read_from_the_protocols_that_have_them(value: bytes, protocol: int) -> None:
    assert pickles.load(pickle.dumps([value], protocol=protocol)) == [value]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_of_files_of_every_protocol_are_read(protocol: int) -> None:
    value = {"a.rpm": {"size": "12", "stat": 1234567}, "b": {"size": 3, "stat": None}}
    assert sample_of(pickle.dumps(value, protocol=protocol)) == [["a.rpm", 12, 1234567], ["b", 3, 0]]


def test_a_list_that_python_2_wrote_is_read() -> None:
    """{'a.rpm': {'size': '5', 'stat': 7L}}, protocol 0."""
    written = b"(dp0\nS'a.rpm'\np1\n(dp2\nS'size'\np3\nS'5'\np4\nsS'stat'\np5\nL7L\nss."
    assert sample_of(written) == [["a.rpm", 5, 7]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_executed(protocol: int, tmp_path: Path) -> None:
    evil = pickle.dumps([1, Evil(tmp_path / "done")], protocol=protocol)
    with pytest.raises(NotPlain, match="instruction"):
        pickles.load(evil)
    with pytest.raises(ValueError):
        sample_of(evil)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(subprocess.run),
        pickle.dumps(Path("/etc")),
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"(i__builtin__\neval\n.",
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pid\n.",  # PERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"N}b.",  # BUILD
        b"",
        b"no pickle",
        pickle.dumps([1, 2])[:-1],
    ],
)
def test_what_is_not_plain_is_refused(data: bytes) -> None:
    with pytest.raises(NotPlain):
        pickles.load(data)


def test_a_pickle_cannot_make_itself_large() -> None:
    with pytest.raises(NotPlain, match="large"):
        pickles.load(b"\x80\x02Nr" + struct.pack("<I", 0x7FFFFFFF) + b".")
    with pytest.raises(NotPlain, match="without end"):
        pickles.load(b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".")
    with pytest.raises(NotPlain, match="more than anybody lists"):
        pickles.load(b"N" * (pickles.MAX_BYTES + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        sample_of(data)
    except ValueError:
        return


@pytest.mark.parametrize(
    "listed",
    [
        b"[1]",
        b'["a"]',
        b'[{"name": 1}]',
        b'[{"name": "a", "size": []}]',
        b'[{"name": "a", "size": 1e999}]',
        b"[{}]",
        b"[" * 100_000,
        b'[{"name": "a\\n"}]',
    ],
)
def test_json_that_lists_no_files_is_refused(listed: bytes) -> None:
    with pytest.raises(ValueError):
        sample_of(listed)
