"""Lists of a master's files: orders, marks, what is left out, and lists that are hostile or broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_crawler.master import filelist as filelist_module
from mm_crawler.master.contents import LocalContents, NoContents
from mm_crawler.master.filelist import ListTree
from mm_crawler.master.listing import saved_listing
from mm_crawler.master.namelist import NamedTree
from mm_crawler.master.scanned import Excludes, Look, Remembered, ScannedDirectory, SourceError

HEAD = b"[Version]\n2\n\n[Files]\n"
Seen = dict[str, ScannedDirectory]


def listed(
    file: Path, rows: bytes, *excludes: str, prefix: str = "", memory: dict[str, Remembered] | None = None
) -> Seen:
    """What a list with these rows tells."""
    file.write_bytes(rows if rows.startswith((b"[", b"\x1f")) else HEAD + rows)
    tree = ListTree(file, NoContents(), Excludes(excludes), prefix=prefix)
    return {seen.path: seen for seen in tree.directories(memory or {})}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "list"


def names(seen: Seen, path: str) -> list[str]:
    return sorted(found.name for found in seen[path].files)


POST = b"7\tf\t1\ta/x\n7\tf\t1\ta/b/y\n6\td\t4096\ta/b\n7\tf\t1\ta/z\n5\td\t4096\ta\n"
PRE = b"5\td\t4096\ta\n7\tf\t1\ta/x\n6\td\t4096\ta/b\n7\tf\t1\ta/b/y\n7\tf\t1\ta/z\n"
BY_DIRECTORY = b"5\td\t4096\ta\n7\tf\t1\ta/x\n7\tf\t1\ta/z\n6\td\t4096\ta/b\n7\tf\t1\ta/b/y\n"


@pytest.mark.parametrize("rows", [POST, PRE, BY_DIRECTORY], ids=["post", "pre", "by directory"])
def test_directories_may_stand_before_or_after_what_is_in_them(file: Path, rows: bytes) -> None:
    seen = listed(file, rows)
    assert {path: (directory.mtime, names(seen, path)) for path, directory in seen.items()} == {
        "a/b": (6, ["y"]),
        "a": (5, ["x", "z"]),
        "": (0, []),
    }


def test_a_list_that_was_sorted_out_of_its_order_is_refused(file: Path) -> None:
    rows = b"1\td\t1\ta\n1\tf\t1\ta/x\n1\tf\t1\tb/y\n1\tf\t1\ta/z\n"
    with pytest.raises(SourceError, match="a comes back after another directory"):
        listed(file, rows)


def test_only_the_part_of_files_below_the_prefix_counts(file: Path) -> None:
    rows = (
        b"[Other]\n1\tf\t1\tlinux/no\n[Files]\n1\tf\t1\tepel/no\n1\tf\t2\tlinux/a/x\n3\td\t1\tlinux/a\n9\td\t1\tlinux\n"
    )
    seen = listed(file, rows + b"[Checksums SHA1]\n1\tf\t1\tlinux/no\n", prefix="linux")
    assert {path: (seen[path].mtime, names(seen, path)) for path in seen} == {"a": (3, ["x"]), "": (9, [])}


def test_marks_say_who_may_read_and_unreadable_is_inherited(file: Path) -> None:
    seen = listed(file, b"1\td-\t1\ta\n1\td\t1\ta/b\n1\tf*\t1\ta/b/x\n1\td*\t1\tc\n1\td\t1\td\n")
    assert {path: seen[path].readable for path in seen} == {
        "a": False,
        "a/b": False,
        "c": False,
        "d": True,
        "": True,
    }
    assert names(seen, "a/b") == ["x"]


def test_snapshots_unfinished_rsyncs_and_excluded_directories_are_left_out_with_all_below(file: Path) -> None:
    rows = b"".join(b"1\tf\t1\t%b/deep/x\n" % path for path in (b".snapshot", b"a/.~tmp~", b"b/out", b"c"))
    assert set(listed(file, rows, "^b/out$")) == {"", "a", "b", "c", "c/deep"}


def test_a_list_may_be_packed(file: Path) -> None:
    assert names(listed(file, gzip.compress(HEAD + POST)), "a") == ["x", "z"]


def test_links_to_files_are_followed_where_the_files_are(file: Path, tmp_path: Path) -> None:
    (tmp_path / "top/a").mkdir(parents=True)
    (tmp_path / "top/a/file").write_text("1234")
    (tmp_path / "top/a/link").symlink_to("file")
    (tmp_path / "top/a/loop").symlink_to("..")
    file.write_bytes(HEAD + b"1\tl\t4\ta/link\n1\tl\t2\ta/loop\n1\tl\t2\ta/gone\n1\tf\t4\ta/file\n")
    tree = ListTree(file, LocalContents(tmp_path / "top"), Excludes(()))
    seen = {each.path: each for each in tree.directories({})}
    assert sorted((each.name, each.size) for each in seen["a"].files) == [("file", 4), ("link", 4)]


# -- what need not be looked at again

KNOWN = Remembered(5, (), {"repomd.xml": (10, 7)}, file_count=2, newest=8)


@pytest.mark.parametrize(
    ("rows", "look"),
    [
        (b"7\tf\t10\ta/repomd.xml\n8\tf\t1\ta/x\n5\td\t1\ta\n", Look.UNCHANGED),
        (b"7\tf\t11\ta/repomd.xml\n8\tf\t1\ta/x\n5\td\t1\ta\n", Look.LISTED),
        (b"8\tf\t10\ta/repomd.xml\n8\tf\t1\ta/x\n5\td\t1\ta\n", Look.LISTED),
        (b"7\tf\t10\ta/repomd.xml\n9\tf\t1\ta/x\n5\td\t1\ta\n", Look.LISTED),
        (b"7\tf\t10\ta/repomd.xml\n10\tf\t1\ta/x\n5\td\t1\ta\n", Look.LISTED),
        (b"7\tf\t10\ta/repomd.xml\n5\td\t1\ta\n", Look.LISTED),
        (b"7\tf\t10\ta/repomd.xml\n8\tf\t1\ta/x\n6\td\t1\ta\n", Look.LISTED),
    ],
    ids=["same", "size", "time of an important file", "a newer file", "more digits", "fewer files", "own time"],
)
def test_a_directory_is_unchanged_when_nothing_in_the_list_says_otherwise(file: Path, rows: bytes, look: Look) -> None:
    assert listed(file, rows, memory={"a": KNOWN})["a"].look is look


# -- hostile and broken lists


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has no part"),
        (b"no list\n", "it has no part"),
        (HEAD + b"1\tf\t1\ta/x", "its last line has no end"),
        (HEAD + b"1\tf\t1\t" + b"x" * 3_000_000 + b"\n", "a line of more than 65536 bytes"),
        (gzip.compress(HEAD + POST)[:-20], "cannot be read"),
        (b"\x1f\x8bno gzip at all", "cannot be read"),
    ],
    ids=["empty", "text", "cut off", "gigantic line", "cut off gzip", "no gzip"],
)
def test_a_file_that_is_no_list_is_refused_with_the_reason(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        list(ListTree(file, NoContents(), Excludes(())).directories({}))


@pytest.mark.parametrize(
    "row",
    [
        b"1\tf\t1\t/etc/passwd",
        b"1\tf\t1\ta/../../etc/passwd",
        b"1\tf\t1\ta/..",
        b"1\tf\t1\ta//x",
        b"1\tf\t1\ta/",
        b"1\tf\t1\ta/\x1b[31mred",
        b"1\tf\t1\ta/latin\xe9",
        b"1\tf\t1\ta/x\ty",
        b"1\tf\t-1\ta/x",
        b"1\tf\t" + b"9" * 400 + b"\ta/x",
        b"-1\tf\t1\ta/x",
        b"1\tp\t1\ta/pipe",
        b"1\tf\ta/x",
        b"1\tf\t1\t" + b"n" * 300,
        b"1\tf\t1\t" + b"deep/" * 600 + b"x",
        "1\tf\t1٣\ta/x".encode(),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_with_a_message_and_the_others_stay(file: Path, row: bytes) -> None:
    seen = listed(file, b"1\tf\t1\ta/good\n" + row + b"\n1\td\t1\ta\n")
    assert set(seen) == {"", "a"}
    assert names(seen, "a") == ["good"]
    assert len(seen[""].problems) == 1
    assert "left out" in seen[""].problems[0]
    assert seen[""].problems[0].isprintable()


def test_a_directory_with_too_many_entries_stays_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filelist_module, "MAX_ENTRIES", 10_000)
    rows = b"".join(b"1\tf\t1\ta/%d\n" % number for number in range(200_000))
    seen = listed(file, rows + b"1\tf\t1\tb/x\n")
    assert (seen["a"].look, len(seen["a"].files), names(seen, "b")) == (Look.FAILED, 0, ["x"])
    assert "more than 10000 entries" in seen[""].problems[0]


def test_a_million_bad_rows_give_a_bounded_number_of_messages(file: Path) -> None:
    seen = listed(file, b"1\tf\t1\t../x\n" * 1_000_000)
    assert len(seen[""].problems) <= filelist_module.MAX_PROBLEMS + 1


def test_a_list_of_too_many_directories_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filelist_module, "MAX_DIRECTORIES", 10)
    with pytest.raises(SourceError, match="more than 10 directories"):
        listed(file, b"".join(b"1\td\t1\t%d\n" % number for number in range(20)))


PIECES = st.sampled_from(
    [
        *(b"1", b"20", b"9" * 30, b"\t", b"\t", b"\t", b"\n", b"\n", b"f", b"d", b"l", b"d-", b"a", b"b", b"/", b"/"),
        *(b"..", b".", b"\xff", b"[", b"[Files]\n", b"\0", b"\x1b", "ü".encode(), b"-", b"repomd.xml", b".snapshot"),
        *(b"1\tf\t1\ta/x\n", b"1\td\t1\ta\n"),
    ]
)


@given(st.lists(PIECES, max_size=60))
def test_no_list_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile-list"
    try:
        seen = listed(file, HEAD + b"".join(pieces) + b"\n")
    except SourceError:
        return
    for path, directory in seen.items():
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        for found in directory.files:
            assert found.name.isprintable()
            assert "/" not in found.name
            assert 0 <= found.size < 1 << 63


@given(st.binary(max_size=300))
def test_no_saved_listing_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile-listing"
    file.write_bytes(content)
    try:
        tree = saved_listing(file, NoContents(), Excludes(()))
    except SourceError:
        return
    tree.close()


@pytest.mark.parametrize("content", [b"", b"a\n", b"a/x", b"x" * 70_000 + b"\n"])
def test_a_list_of_names_that_is_none_is_refused(file: Path, tmp_path: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SourceError):
        NamedTree(file, "", tmp_path, Excludes(()))
