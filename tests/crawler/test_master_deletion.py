"""Which vanished directories are forgotten, and when so many are gone that nothing is believed; sentinels."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm_crawler.master import sentinels
from mm_crawler.master.deletion import DeletionPolicy, TooManyVanished, decide
from mm_crawler.master.diff import Changes
from mm_crawler.master.scanned import Excludes, SourceError
from mm_crawler.master.sentinels import MasterBusy
from mm_crawler.master.walk import DirectoryTree

KNOWN = ("", *(f"d{number}" for number in range(99)))


def changes(*vanished: str, known: int = len(KNOWN), top_is_empty: bool = False) -> Changes:
    return Changes(known=known, top_is_empty=top_is_empty, vanished=dict.fromkeys(vanished, 1))


def test_nothing_is_forgotten_without_being_asked_to() -> None:
    assert decide(changes("d1"), KNOWN, 0, DeletionPolicy(0.05)) == {}
    assert decide(changes("d1"), KNOWN, 0, DeletionPolicy(0.05, delete=True)) == {"d1": 1}


def test_what_something_below_needs_is_not_forgotten() -> None:
    """An excluded directory below a vanished one is not gone: whole subtrees go, or stay."""
    known = ["", "a", "a/b", "a/b/excluded", "a/c", "a/c/d", "e"]
    found = decide(changes("a", "a/b", "a/c", "a/c/d"), known, 0, DeletionPolicy(1, delete=True))
    assert sorted(found) == ["a/c", "a/c/d"]


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize(("gone", "refused"), [(0, False), (5, False), (6, True)])
def test_no_more_than_the_share_may_be_gone_at_once(delete: bool, gone: int, refused: bool) -> None:
    found, policy = changes(*KNOWN[1 : gone + 1]), DeletionPolicy(0.05, delete=delete)
    if refused:
        with pytest.raises(
            TooManyVanished, match=r"6 of 100 known directories are gone .6%., more than the 5%.*--force"
        ):
            decide(found, KNOWN, 0, policy)
    else:
        assert len(decide(found, KNOWN, 0, policy)) == (gone if delete else 0)


def test_what_was_kept_at_the_last_scan_does_not_make_this_one_fail() -> None:
    """Otherwise a master that is scanned without --delete could not be scanned any more one day."""
    found = changes(*KNOWN[1:8])
    assert decide(found, KNOWN, 5, DeletionPolicy(0.05)) == {}
    with pytest.raises(TooManyVanished):
        decide(found, KNOWN, 1, DeletionPolicy(0.05))


def test_what_was_kept_counts_when_it_is_forgotten_after_all() -> None:
    with pytest.raises(TooManyVanished, match="7 of 100"):
        decide(changes(*KNOWN[1:8]), KNOWN, 7, DeletionPolicy(0.05, delete=True))


@pytest.mark.parametrize("delete", [False, True])
def test_an_empty_top_is_no_master(delete: bool) -> None:
    with pytest.raises(TooManyVanished, match="the top directory is empty, but 1 directories are known"):
        decide(changes("d1", top_is_empty=True), KNOWN, 0, DeletionPolicy(1, delete=delete))


def test_an_empty_top_without_anything_known_is_fine() -> None:
    assert decide(changes(known=0, top_is_empty=True), [], 0, DeletionPolicy(0.05)) == {}


def test_force_goes_on_whatever_is_gone() -> None:
    found = changes(*KNOWN[1:], top_is_empty=True)
    assert decide(found, KNOWN, 0, DeletionPolicy(0, force=True)) == {}
    assert len(decide(found, KNOWN, 0, DeletionPolicy(0, delete=True, force=True))) == 99


# -- sentinels


@pytest.fixture
def tree(tmp_path: Path) -> DirectoryTree:
    (tmp_path / "linux").mkdir()
    (tmp_path / "fullfiletimelist-fedora").touch()
    return DirectoryTree(tmp_path / "linux", Excludes([]))


@pytest.mark.parametrize("path", ["../fullfiletimelist-fedora", "/"])
def test_a_file_that_must_be_there_may_lie_above_the_tree_or_be_named_absolutely(
    tree: DirectoryTree, path: str
) -> None:
    sentinels.check(tree, {"present": [path]})
    with pytest.raises(MasterBusy, match=f"skipped while {path} is there"):
        sentinels.check(tree, {"absent": [path]})


def test_a_file_that_is_missing_is_an_error_where_it_must_be_there(tree: DirectoryTree) -> None:
    sentinels.check(tree, {"absent": [".sync_in_progress"]})
    with pytest.raises(SourceError, match="compose-id is not there"):
        sentinels.check(tree, {"present": ["compose-id"]})
