"""The cache file is replaced in one step, and the version before is kept."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mm_lib.cache import file


def test_the_first_file_has_no_previous_one(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    file.publish(path, b"one")
    assert path.read_bytes() == b"one"
    assert not file.previous(path).exists()


def test_the_previous_version_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    for content in (b"one", b"two", b"three"):
        file.publish(path, content)
    assert file.previous(path).read_bytes() == b"two"


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    file.publish(path, b"one")
    file.publish(path, b"two")
    assert {entry.name for entry in tmp_path.iterdir()} == {"cache", "cache.previous"}


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache"
    file.publish(path, b"one")

    def full(_handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        file.publish(path, b"two")
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"]


def test_every_version_has_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    stamps = set()
    for _ in range(5):
        file.publish(path, b"same")
        stamps.add(file.stamp(path))
    assert len(stamps) == 5


def test_a_missing_file_has_no_stamp(tmp_path: Path) -> None:
    assert file.stamp(tmp_path / "none") is None


def test_readers_of_other_users_may_read_it(tmp_path: Path) -> None:
    file.publish(tmp_path / "cache", b"x")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o644


def test_a_reader_never_sees_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    versions = [bytes([n]) * 100_000 for n in range(8)]
    file.publish(path, versions[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(file.read(path))

    reader = threading.Thread(target=watch)
    reader.start()
    for content in versions * 5:
        file.publish(path, content)
    done.set()
    reader.join()
    assert seen <= set(versions)
