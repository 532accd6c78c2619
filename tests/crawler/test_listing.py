"""What listings say about directories."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pyroaring import BitMap

from mm_crawler import listing
from mm_crawler.compare import Clock
from mm_crawler.fetch.base import Listed
from mm_crawler.listing import HIDDEN, Index, ListingJudge, Place, judge_page
from mm_crawler.master.autoindex import Entry, Page
from mm_crawler.report import FileVerdict, MasterDirectory, Verdict
from tests.crawler.builders import DAY, NEW, OLD, TOPDIR, category, directory, repomd, with_digests

PLACE = Place("rsync://m/m", TOPDIR, Clock(1_000_000 + DAY, 4 * DAY))
NAMES = [f"f{number:02d}" for number in range(20)]
A, B, C = 1, 2, 3
OK, STALE, MISSING = Verdict.OK, Verdict.STALE, Verdict.MISSING
WHOLE, PARTIAL = Listed(whole=True), Listed(whole=False)


def tree(*more: MasterDirectory) -> tuple[MasterDirectory, ...]:
    made = (directory(A, f"{TOPDIR}/a", *NAMES), directory(B, f"{TOPDIR}/a/b", "x", "y"), *more)
    return with_digests(category(*made), sampled=3).directories


def row(path: str, size: int | str = 4, kind: str = "-") -> str:
    return f"{kind}rw-r--r-- {size:>14} 2026/01/02 03:04:05 {path}\n"


def rows(*paths: str) -> list[str]:
    return [row(path) for path in paths]


GOOD = [row(".", 0, "d"), *rows(*(f"a/{name}" for name in NAMES)), row("a/b", 0, "d"), *rows("a/b/x", "a/b/y")]


def judge(
    lines: Sequence[str], ended: Listed = WHOLE, piece: int = 1000, directories: Sequence[MasterDirectory] = ()
) -> dict[int, FileVerdict]:
    """What is found, when the lines come in pieces of so many."""
    found: dict[int, FileVerdict] = {}

    def note(each: MasterDirectory, said: FileVerdict) -> None:
        assert each.id not in found
        found[each.id] = said

    index = Index(directories or tree(), TOPDIR)
    judging = ListingJudge(index, BitMap(index.ids), PLACE, note)
    for start in range(0, len(lines), piece):
        judging.take("".join(lines[start : start + piece]).encode("utf-8", "surrogateescape"))
    judging.end(ended)
    return found


def verdicts(*args: object, **kwargs: object) -> dict[int, Verdict]:
    return {id_: said.verdict for id_, said in judge(*args, **kwargs).items()}  # type: ignore[arg-type]


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_the_same_listing_is_judged_alike_however_it_comes(piece: int) -> None:
    assert verdicts(GOOD, piece=piece) == {A: OK, B: OK}


def test_a_directory_that_is_not_listed_is_missing_only_if_the_listing_is_whole() -> None:
    lines = GOOD[:-2]
    assert verdicts(lines) == {A: OK, B: MISSING}
    assert verdicts(lines, PARTIAL) == {A: OK}
    said = judge(lines)[B]
    assert (said.evidence.url, said.evidence.found) == ("rsync://m/m/a/b/x", "it is not in the listing")


@pytest.mark.parametrize("name", ["f03", "f19"])
def test_a_file_that_is_missing_shows_whether_it_is_sampled_or_not(name: str) -> None:
    lines = [line for line in GOOD if f"/{name}" not in line]
    assert verdicts(lines) == {A: MISSING if name == "f19" else STALE, B: OK}
    assert verdicts(lines, PARTIAL) == {B: OK}  # a partial listing may only have lost it


@pytest.mark.parametrize("ended", [WHOLE, PARTIAL])
def test_a_sampled_file_of_another_size_is_stale_even_in_a_partial_listing(ended: Listed) -> None:
    lines = [row("a/f19", 5) if "f19" in line else line for line in GOOD]
    assert verdicts(lines, ended) == {A: STALE, B: OK}
    assert judge(lines, ended)[A].evidence[1:] == ("4 bytes", "5 bytes in the listing")


def test_another_file_of_another_size_is_stale_too() -> None:
    assert verdicts([row("a/f03", 5) if "f03" in line else line for line in GOOD]) == {A: STALE, B: OK}


def test_files_that_only_the_mirror_has_do_no_harm() -> None:
    assert verdicts([*GOOD[:21], *rows("a/.f03.rpm.X1y2z3", "a/index.html"), *GOOD[21:]]) == {A: OK, B: OK}


def test_a_link_stands_for_its_file_whatever_its_size() -> None:
    """Case 30."""
    lines = [row("a/f19 -> ../pool/f19", 14, "l") if "f19" in line else line for line in GOOD]
    assert verdicts(lines) == {A: OK, B: OK}


def test_sizes_may_have_commas_and_names_blanks_arrows_and_escapes() -> None:
    names = ("a b", "a -> b", "ü", "back\\slash")
    made = with_digests(category(directory(C, f"{TOPDIR}/c", *names, size=1234)), sampled=9).directories
    listed = ["c/a b", "c/a -> b", "c/\\#303\\#274", "c/back\\#134slash"]
    assert verdicts([row(name, "1,234") for name in listed], directories=made) == {C: OK}


def test_names_that_nobody_could_ask_for_do_not_count() -> None:
    lines = [*GOOD[:21], *rows("a/new\\#012line", "a/\\#377"), *GOOD[21:]]
    assert verdicts(lines) == {A: OK, B: OK}


def test_lines_that_are_of_no_listing_are_passed_over() -> None:
    assert verdicts(["welcome to our server\n", *GOOD[:5], "\n", *GOOD[5:]]) == {A: OK, B: OK}


def test_what_comes_in_pieces_is_not_judged() -> None:
    lines = [*GOOD[:10], *rows("z/other"), *GOOD[10:]]
    assert verdicts(lines) == {B: OK}


def test_a_directory_with_more_entries_than_any_has_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_ENTRIES", 100)
    endless = rows(*(f"a/endless{number}" for number in range(500)))
    assert verdicts([*GOOD[:21], *endless, *GOOD[21:]], piece=50) == {B: OK}


def test_what_the_server_names_as_missing_or_closed_is_so_with_all_below() -> None:
    made = tree(directory(C, f"{TOPDIR}/c", "x"))
    ended = Listed(whole=False, missing=("c",), closed=("a",))
    assert verdicts([], ended, directories=made) == {A: Verdict.UNREADABLE, B: Verdict.UNREADABLE, C: MISSING}


def test_an_older_important_file_is_an_alternate_by_its_size() -> None:
    made = [directory(A, f"{TOPDIR}/a", important=(repomd(1_000_000),))]
    for content, verdict in ((NEW, OK), (OLD, Verdict.ALTERNATE), (b"x", STALE)):
        assert verdicts([row("a/repomd.xml", len(content))], directories=made) == {A: verdict}


def test_without_a_digest_the_sample_decides() -> None:
    made = [directory(A, f"{TOPDIR}/a", "x")]
    assert verdicts(rows("a/x", "a/y"), directories=made) == {A: OK}


# ---------------------------------------------------------------- pages

TIME = 1_700_000_040


def entry(name: str, size: int = 4, *, exact: bool = True, mtime: int = TIME) -> Entry:
    return Entry(name, False, size, exact, mtime)


def page(*entries: Entry) -> Page:
    return Page((Entry("sub", True, 0, True, TIME), *entries), ())


def on_page(made: MasterDirectory, *entries: Entry) -> tuple[Verdict | None, list[str]]:
    said = judge_page(made, page(*entries), PLACE)
    return said.verdict and said.verdict.verdict, [question.path for question in said.to_ask]


def test_a_page_with_exact_sizes_is_compared_by_the_digest() -> None:
    (made, _) = tree()
    assert on_page(made, *map(entry, NAMES)) == (OK, [])
    assert on_page(made, *(entry(name, 5 if name == "f19" else 4) for name in NAMES)) == (STALE, [])


def test_what_a_page_does_not_show_is_asked_for() -> None:
    (made, _) = tree()
    assert on_page(made, *map(entry, NAMES[:-1])) == (None, ["a/f19"])


def test_a_page_that_lacks_more_than_servers_hide_is_stale() -> None:
    (made, _) = tree()
    assert on_page(made, *map(entry, NAMES[HIDDEN + 1 :])) == (STALE, [])
    assert on_page(made, *map(entry, NAMES[HIDDEN:])) == (OK, [])


@pytest.mark.parametrize(
    ("rough", "mtime", "settled"),
    [
        (1_258_291, TIME - TIME % 60, True),
        (1_258_291, TIME - TIME % 60 + 2 * 3600, True),  # in another zone
        (1_258_291, TIME - TIME % 60 + 60, False),
        (1_258_291, TIME - TIME % 60 + 3 * DAY, False),
        (1_258_291, 0, False),
        (2_097_152, TIME - TIME % 60, False),
    ],
)
def test_a_rough_size_is_enough_when_the_time_agrees(rough: int, mtime: int, settled: bool) -> None:
    made = directory(A, f"{TOPDIR}/a", "big", size=1_234_567, mtime=TIME)
    expected = (OK, []) if settled else (None, ["a/big"])
    assert on_page(made, entry("big", rough, exact=False, mtime=mtime)) == expected
