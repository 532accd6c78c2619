"""Walking a real tree: what is seen, what is left out, what is hidden, and what is not looked at again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mm_crawler.master import walk as walk_module
from mm_crawler.master.scanned import Excludes, Look, Remembered, ScannedDirectory, SourceError
from mm_crawler.master.walk import DirectoryTree
from tests.crawler.master_tree import OLD, put, settle


@pytest.fixture(autouse=True)
def _world_readable(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # pytest makes it 0700


def walk(top: Path, *excludes: str, memory: dict[str, Remembered] | None = None) -> dict[str, ScannedDirectory]:
    return {seen.path: seen for seen in DirectoryTree(top, Excludes(excludes)).directories(memory or {})}


def test_parents_come_before_children_and_siblings_by_name(tmp_path: Path) -> None:
    for path in ("b/c", "a", "b/a"):
        (tmp_path / path).mkdir(parents=True)
    assert list(walk(tmp_path)) == ["", "a", "b", "b/a", "b/c"]


def test_files_have_name_size_and_whole_seconds(tmp_path: Path) -> None:
    put(tmp_path, "a/x", "12345")
    settle(tmp_path, OLD)
    seen = walk(tmp_path)["a"]
    assert [tuple(file) for file in seen.files] == [("x", 5, OLD)]
    assert (seen.mtime, seen.readable, seen.look) == (OLD, True, Look.LISTED)


def test_snapshots_and_unfinished_rsyncs_are_left_out_with_all_below(tmp_path: Path) -> None:
    for path in (".snapshot/a", "b/.snapshot/c", "b/.~tmp~/d", "b/keep"):
        (tmp_path / path).mkdir(parents=True)
    assert list(walk(tmp_path)) == ["", "b", "b/keep"]


def test_excluded_directories_are_not_entered(tmp_path: Path) -> None:
    for path in ("a/objects/00", "a/other", "b"):
        (tmp_path / path).mkdir(parents=True)
    assert list(walk(tmp_path, "/objects$", "^b$")) == ["", "a", "a/other"]


def test_what_is_below_an_unreadable_directory_is_unreadable_too(tmp_path: Path) -> None:
    put(tmp_path, "a/b/x")
    (tmp_path / "a").chmod(0o750)
    assert {path: seen.readable for path, seen in walk(tmp_path).items()} == {"": True, "a": False, "a/b": False}


@pytest.mark.parametrize("mode", [0o751, 0o754])
def test_readable_means_that_everybody_may_list_and_enter(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(mode)
    assert not walk(tmp_path)["a"].readable


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path, error: OSError) -> None:
    """Listing one directory fails; root would be let in by mere mode bits."""
    original = os.scandir

    def scandir(name: str) -> object:
        if name == str(path):
            raise error
        return original(name)

    monkeypatch.setattr(walk_module.os, "scandir", scandir)


def test_a_directory_that_we_may_not_list_is_closed_and_the_scan_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("a/hidden", "b"):
        (tmp_path / path).mkdir(parents=True)
    refuse(monkeypatch, tmp_path / "a", PermissionError(13, "Permission denied"))
    seen = walk(tmp_path)
    assert list(seen) == ["", "a", "b"]
    assert (seen["a"].look, seen["a"].readable, seen["a"].problems) == (Look.CLOSED, False, ())


def test_an_error_of_the_disk_is_a_problem_and_the_scan_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("a", "b"):
        (tmp_path / path).mkdir()
    refuse(monkeypatch, tmp_path / "a", OSError(5, "Input/output error"))
    seen = walk(tmp_path)
    assert list(seen) == ["", "a", "b"]
    assert (seen["a"].look, seen["a"].problems) == (Look.FAILED, ("a: cannot be listed: Input/output error",))


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_without_a_top_directory_there_is_no_scan(tmp_path: Path, kind: str) -> None:
    top = tmp_path / "top"
    if kind == "file":
        top.write_text("")
    with pytest.raises(SourceError, match="cannot be listed"):
        walk(top)


def test_links_to_files_are_followed_and_links_to_directories_are_not(tmp_path: Path) -> None:
    put(tmp_path, "a/file", "1234")
    (tmp_path / "a" / "link").symlink_to("file")
    (tmp_path / "a" / "nowhere").symlink_to("gone")
    (tmp_path / "a" / "loop").symlink_to("..")
    (tmp_path / "b").symlink_to("a")
    seen = walk(tmp_path)
    assert list(seen) == ["", "a"]
    assert sorted((file.name, file.size) for file in seen["a"].files) == [("file", 4), ("link", 4)]


def test_the_top_itself_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path, "real/a/x")
    (tmp_path / "top").symlink_to("real")
    assert list(walk(tmp_path / "top")) == ["", "a"]


def test_names_that_cannot_be_recorded_are_left_out_and_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in (b"caf\xe9", b"new\nline", b"bell\x07", "schön".encode(), b"with blank"):
        Path(os.fsdecode(bytes(tmp_path) + b"/a/" + name)).write_bytes(b"")
    Path(os.fsdecode(bytes(tmp_path) + b"/a/\xff")).mkdir()
    seen = walk(tmp_path)
    assert sorted(file.name for file in seen["a"].files) == ["schön", "with blank"]
    assert list(seen) == ["", "a"]
    assert sorted(seen["a"].problems) == [
        rf"a/'{name}': left out, its name cannot be recorded"
        for name in (r"\udcff", r"bell\x07", r"caf\udce9", r"new\nline")
    ]


def test_pipes_and_sockets_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not walk(tmp_path)[""].files


def test_an_unchanged_directory_is_not_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/b/x")
    put(tmp_path, "a/b/repomd.xml", "1234")
    settle(tmp_path)
    memory = {
        "a": Remembered(OLD, ("b", "gone meanwhile"), {}),
        "a/b": Remembered(OLD, (), {"repomd.xml": (4, OLD)}),
    }
    for path in ("a", "a/b"):
        refuse(monkeypatch, tmp_path / path, AssertionError("listed"))  # type: ignore[arg-type]
    assert {path: seen.look for path, seen in walk(tmp_path, memory=memory).items()} == {
        "": Look.LISTED,
        "a": Look.UNCHANGED,
        "a/b": Look.UNCHANGED,
    }


@pytest.mark.parametrize("change", ["size", "time", "gone", "directory"])
def test_a_directory_is_listed_again_when_it_or_a_watched_file_changed(tmp_path: Path, change: str) -> None:
    file = put(tmp_path, "a/repomd.xml", "1234")
    settle(tmp_path)
    if change == "size":
        file.write_text("12345")
    elif change == "gone":
        file.unlink()
    if change != "gone":
        os.utime(file, (OLD + (change == "time"), OLD + (change == "time")))
    os.utime(tmp_path / "a", (OLD + (change == "directory"), OLD + (change == "directory")))
    memory = {"a": Remembered(OLD, (), {"repomd.xml": (4, OLD)})}
    assert walk(tmp_path, memory=memory)["a"].look is Look.LISTED


def test_a_directory_that_went_while_we_walked_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    refuse(monkeypatch, tmp_path / "a", FileNotFoundError(2, "No such file or directory"))
    assert list(walk(tmp_path)) == [""]
