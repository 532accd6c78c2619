"""What is asked, and in which order."""

from __future__ import annotations

from random import Random

from pyroaring import BitMap

from mm_crawler.compare import imply
from mm_crawler.plan import file_url, make_plan, make_tasks, questions, usable_urls
from mm_crawler.report import CrawlInput, How, Mirror, MirrorCategory, MirrorUrl, Verdict
from tests.crawler.builders import TOPDIR, category, directory, repomd


def test_the_web_is_tried_first_public_before_private_and_https_before_http_and_then_other_protocols() -> None:
    urls = [
        MirrorUrl("rsync://m/f", False),
        MirrorUrl("ftp://m/f", False),
        MirrorUrl("gopher://m/f", False),
        MirrorUrl("https://m/private", True),
        MirrorUrl("http://m/f", False),
        MirrorUrl("https://m/f", False),
    ]
    assert usable_urls(urls) == (
        *("https://m/f", "http://m/f", "https://m/private"),
        *("ftp://m/f", "rsync://m/f"),
    )


def test_case_41_the_slowest_host_of_last_time_starts_first_and_a_new_one_before_it() -> None:
    """Case 41."""
    carried = (MirrorCategory(1, 1, (MirrorUrl("http://m", False),)),)
    mirrors = tuple(
        Mirror(id_, f"m{id_}", "site", carried, seconds) for id_, seconds in ((1, 5.0), (2, 50.0), (3, None))
    )
    tasks = make_tasks(CrawlInput({1: category()}, mirrors), Random(1))
    assert [task.host_id for task in tasks] == [3, 2, 1]


def test_repository_metadata_is_asked_first_newest_first() -> None:
    metadata = (repomd(1),)
    tree = category(
        directory(1, f"{TOPDIR}/a", "file"),
        directory(2, f"{TOPDIR}/r1/repodata", important=metadata),
        directory(3, f"{TOPDIR}/r2/repodata", important=metadata),
        directory(4, f"{TOPDIR}/b", "file"),
    )
    plan = make_plan(tree, Random(1))
    assert [each.id for each in plan.asked][:2] == [3, 2]
    assert {each.id for each in plan.asked} == {1, 2, 3, 4}


def test_directories_that_the_master_keeps_closed_are_not_asked() -> None:
    plan = make_plan(category(directory(1, f"{TOPDIR}/a", "file", readable=False)), Random(1))
    assert (plan.asked, plan.implied, plan.total) == ((), (), 0)


def _implied(*verdicts: tuple[int, Verdict]) -> Verdict | None:
    """The verdict on an empty directory (1) above two with files (2, 3), next to one that is not below it (4)."""
    tree = category(
        directory(1, f"{TOPDIR}/a"),
        directory(2, f"{TOPDIR}/a/x/y", "file"),
        directory(3, f"{TOPDIR}/a/z", "file"),
        directory(4, f"{TOPDIR}/a-b", "file"),
    )
    found: dict[Verdict, BitMap] = {}
    for id_, verdict in verdicts:
        found.setdefault(verdict, BitMap()).add(id_)
    result = imply(make_plan(tree, Random(1)), found)
    return next((verdict for verdict, ids in result.items() if 1 in ids), None)


def test_an_empty_directory_is_ok_when_something_below_it_is() -> None:
    assert _implied((2, Verdict.OK), (3, Verdict.MISSING), (4, Verdict.MISSING)) is Verdict.OK
    assert _implied((2, Verdict.ALTERNATE), (3, Verdict.MISSING), (4, Verdict.MISSING)) is Verdict.OK


def test_an_empty_directory_is_missing_when_all_below_it_is() -> None:
    assert _implied((2, Verdict.MISSING), (3, Verdict.MISSING), (4, Verdict.OK)) is Verdict.MISSING


def test_an_empty_directory_is_unknown_when_only_unknown_could_make_it_ok() -> None:
    assert _implied((2, Verdict.UNKNOWN), (3, Verdict.STALE), (4, Verdict.OK)) is Verdict.UNKNOWN


def test_an_empty_repository_directory_is_what_its_repodata_says() -> None:
    tree = category(
        directory(1, f"{TOPDIR}/os"),
        directory(2, f"{TOPDIR}/os/Packages", "file"),
        directory(3, f"{TOPDIR}/os/repodata", important=(repomd(1),)),
    )
    result = imply(make_plan(tree, Random(1)), {Verdict.OK: BitMap([2]), Verdict.STALE: BitMap([3])})
    assert 1 in result[Verdict.STALE]


def test_an_empty_directory_with_nothing_below_it_is_not_counted_at_all() -> None:
    plan = make_plan(category(directory(1, f"{TOPDIR}/a"), directory(2, f"{TOPDIR}/b", "file")), Random(1))
    assert plan.total == 1
    assert all(1 not in ids for ids in imply(plan, {Verdict.OK: BitMap([2])}).values())


def test_an_empty_topdir_speaks_for_the_whole_tree() -> None:
    plan = make_plan(category(directory(1, ""), directory(2, "b", "file")), Random(1))
    assert 1 in imply(plan, {Verdict.OK: BitMap([2])})[Verdict.OK]


def test_important_files_are_asked_first_and_only_once() -> None:
    one = directory(1, f"{TOPDIR}/os/repodata", "primary.xml.gz", "repomd.xml", important=(repomd(1),))
    asked = questions(one, TOPDIR, 1000)
    assert [(question.path, question.how) for question in asked] == [
        ("os/repodata/repomd.xml", How.DIGEST),
        ("os/repodata/primary.xml.gz", How.LOOK),
    ]


def test_metadata_larger_than_we_read_is_only_looked_at() -> None:
    one = directory(1, f"{TOPDIR}/os/repodata", important=(repomd(1),))
    assert [question.how for question in questions(one, TOPDIR, 5)] == [How.LOOK]


def test_paths_are_relative_to_the_topdir_which_may_be_empty() -> None:
    assert [question.path for question in questions(directory(1, TOPDIR, "f"), TOPDIR, 9)] == ["f"]
    assert [question.path for question in questions(directory(1, "a/b", "f"), "", 9)] == ["a/b/f"]


def test_names_are_quoted_in_urls() -> None:
    assert file_url("http://m/fedora", "a b/c#d?é%.rpm") == "http://m/fedora/a%20b/c%23d%3F%C3%A9%25.rpm"
    assert file_url("http://m/fedora", "") == "http://m/fedora/"
