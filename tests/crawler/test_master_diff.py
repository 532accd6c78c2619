"""What a scan means: samples, digests, deletions, what must be read again, and the history of files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mm_crawler.master.diff import (
    KnownDirectory,
    choose_sample,
    compare,
    listing_digest,
    memory,
    pack,
    sample_key,
)
from mm_crawler.master.history import Ageing, FoundFile, KnownFile, content_id, expired, plan
from mm_crawler.master.scanned import Excludes, Look, ScannedDirectory, ScannedFile, SourceError
from mm_crawler.master.source import parse_source

NOTHING_LEFT_OUT = Excludes(())


def listed(path: str, *files: ScannedFile, mtime: int = 5, readable: bool = True) -> ScannedDirectory:
    return ScannedDirectory(path, mtime, readable, Look.LISTED, files)


def known(id_: int, *files: ScannedFile, mtime: int = 5, details: tuple[str, ...] = ()) -> KnownDirectory:
    """What is recorded after these files were listed."""
    sample = pack(choose_sample(files))
    return KnownDirectory(
        id=id_,
        mtime=mtime,
        readable=True,
        digest=listing_digest(files),
        sample_key=sample_key(sample),
        newest=max([mtime, *(file.mtime for file in files)]),
        watched={file.name: (file.size, file.mtime) for file in files if file.name in (*details, "repomd.xml")},
        details=frozenset(details),
    )


# -- samples and digests


def test_all_files_of_a_small_directory_are_asked_for() -> None:
    files = [ScannedFile(name, 10, 1) for name in ("d.rpm", "a.rpm", "c.rpm", "b.rpm")] + [
        ScannedFile("index.html", 6, 1)
    ]
    assert choose_sample(files) == [
        ["a.rpm", 10, 1],
        ["b.rpm", 10, 1],
        ["c.rpm", 10, 1],
        ["d.rpm", 10, 1],
        ["index.html", 6, 1],
    ]


@pytest.mark.parametrize("ending", ["rpm", "html", "hdr", "drpm"])
def test_of_many_packages_only_the_three_newest_are_asked_for(ending: str) -> None:
    files = [ScannedFile(f"p{i:02}.{ending}", 10, i) for i in range(14)]
    assert [name for name, _, _ in choose_sample(files)] == [f"p{i}.{ending}" for i in (11, 12, 13)]


def test_important_files_are_always_asked_for() -> None:
    files = [ScannedFile(f"p{i:02}.rpm", 10, 100 + i) for i in range(14)]
    files += [ScannedFile("repomd.xml", 10, 1), ScannedFile("x-CHECKSUM", 10, 1)]
    assert [name for name, _, _ in choose_sample(files)] == [
        "p11.rpm",
        "p12.rpm",
        "p13.rpm",
        "repomd.xml",
        "x-CHECKSUM",
    ]


def test_a_directory_of_many_other_files_is_sampled_too() -> None:
    assert len(choose_sample([ScannedFile(f"{i}.deb", 1, i) for i in range(101)])) == 3


def test_the_digest_is_over_names_and_sizes_in_any_order() -> None:
    a, b = ScannedFile("a", 1, 1), ScannedFile("b", 2, 1)
    assert listing_digest([a, b]) == listing_digest([b, ScannedFile("a", 1, 99)])
    assert len(listing_digest([])) == 16
    assert len({listing_digest(files) for files in ([a], [b], [a, b], [ScannedFile("a", 2, 1)], [])}) == 5


# -- changes


def test_an_unchanged_directory_changes_nothing() -> None:
    file = ScannedFile("x", 1, 1)
    changes = compare([listed("", file)], {"": known(1, file)}, NOTHING_LEFT_OUT, 100)
    assert (changes.new, changes.changed, changes.vanished, changes.orders) == ([], [], {}, [])


def test_new_changed_and_vanished_directories_are_told_apart() -> None:
    before = {"": known(1), "a": known(2), "b": known(3)}
    changes = compare([listed(""), listed("a", mtime=6), listed("c")], before, NOTHING_LEFT_OUT, 100)
    assert [state.path for state in changes.new] == ["c"]
    assert [(state.path, state.mtime) for state in changes.changed] == [("a", 6)]
    assert changes.vanished == {"b": 3}


def test_an_excluded_directory_is_not_gone() -> None:
    before = {"": known(1), "a": known(2), "a/b": known(3), "c": known(4)}
    changes = compare([listed("")], before, Excludes(["^a$"]), 100)
    assert changes.vanished == {"c": 4}


def test_what_a_closed_directory_hides_is_unreadable_and_not_gone() -> None:
    before = {"": known(1), "a": known(2), "a/b": known(3)}
    closed = ScannedDirectory("a", 9, False, Look.CLOSED)
    changes = compare([listed(""), closed], before, NOTHING_LEFT_OUT, 100)
    assert changes.vanished == {}
    assert [(state.id, state.mtime, state.readable) for state in changes.changed] == [(2, 5, False), (3, 5, False)]


def test_what_an_error_hides_stays_as_it_was() -> None:
    before = {"": known(1), "a": known(2), "a/b": known(3)}
    failed = ScannedDirectory("a", 9, True, Look.FAILED, problems=("a: broken",))
    changes = compare([listed(""), failed], before, NOTHING_LEFT_OUT, 100)
    assert (changes.vanished, changes.changed, changes.problems) == ({}, [], ["a: broken"])


REPOMD = ScannedFile("repomd.xml", 10, 4)


@pytest.mark.parametrize(
    ("now", "trust_before", "read"),
    [
        (REPOMD, 100, False),
        (ScannedFile("repomd.xml", 11, 4), 100, True),
        (ScannedFile("repomd.xml", 10, 5), 100, True),
        (REPOMD, 4, True),  # it may have been rewritten in the second in which it was read
        (REPOMD, 0, True),
    ],
)
def test_an_important_file_is_read_when_it_may_have_changed(now: ScannedFile, trust_before: int, read: bool) -> None:
    before = {"": known(1), "repodata": known(2, REPOMD, details=("repomd.xml",))}
    changes = compare([listed(""), listed("repodata", now)], before, NOTHING_LEFT_OUT, trust_before)
    assert [order.hashed for order in changes.orders] == ([("repomd.xml",)] if read else [])


@pytest.mark.parametrize(
    ("files", "read"),
    [
        (("CHECKSUM", "a.iso"), False),
        (("CHECKSUM", "a.iso", "b.iso"), True),  # the checksum file may have been there first
        (("CHECKSUM",), True),
    ],
)
def test_checksum_files_are_read_again_when_what_lies_beside_them_changed(files: tuple[str, ...], read: bool) -> None:
    a, checksum = ScannedFile("a.iso", 1, 1), ScannedFile("CHECKSUM", 1, 1)
    before = {
        "": KnownDirectory(
            1, 5, True, listing_digest([a, checksum]), 0, 5, {"CHECKSUM": (1, 1), "a.iso": (1, 1)}, frozenset(["a.iso"])
        )
    }
    changes = compare([listed("", *(ScannedFile(name, 1, 1) for name in files))], before, NOTHING_LEFT_OUT, 100)
    assert [order.checksums for order in changes.orders] == ([("CHECKSUM",)] if read else [])


def test_versions_of_a_file_that_is_gone_are_dropped() -> None:
    before = {"": known(7, ScannedFile("a.iso", 1, 1), details=("a.iso",))}
    assert compare([listed("")], before, NOTHING_LEFT_OUT, 100).gone_files == [(7, "a.iso")]


def test_repositories_are_where_the_metadata_lies() -> None:
    scanned = [
        listed(""),
        listed("a"),
        listed("a/repodata", REPOMD),
        listed("b/repodata", ScannedFile("other", 1, 1)),
        listed("c", REPOMD),
        listed("atomic/21", ScannedFile("summary", 1, 1)),
        listed("atomic/21/objects"),
        listed("d", ScannedFile("summary", 1, 1)),
    ]
    assert compare(scanned, {}, NOTHING_LEFT_OUT, 0).candidates == {"a", "atomic/21"}


def test_a_repository_in_an_unchanged_directory_is_still_one() -> None:
    unchanged = ScannedDirectory("repodata", 5, True, Look.UNCHANGED)
    before = {"": known(1), "repodata": known(2, REPOMD)}
    assert compare([listed(""), unchanged], before, NOTHING_LEFT_OUT, 100).candidates == {""}


def test_only_what_was_over_before_the_last_scan_is_taken_as_given() -> None:
    before = {
        "": known(1, mtime=5),
        "a": known(2, mtime=10),
        "b": known(3, ScannedFile("x", 1, 10)),
        "never": KnownDirectory(4, 5, True, None, 0, 5, {}, frozenset()),
    }
    remembered = memory(before, trust_before=10)
    assert set(remembered) == {""}
    assert sorted(remembered[""].children) == ["a", "b", "never"]
    assert memory(before, trust_before=0) == {}


# -- the history of a file

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MD5, SHA256, SHA512 = "1" * 32, "2" * 64, "3" * 128


def version(id_: int, timestamp: int, size: int = 1, *, first_seen: datetime = NOW, **hashes: str) -> KnownFile:
    return KnownFile(id_, 1, "f", content_id(hashes), timestamp, size, hashes, first_seen)


def found(timestamp: int, size: int = 1, **hashes: str) -> FoundFile:
    return FoundFile("d", "f", timestamp, size, hashes)


def test_a_content_is_named_by_its_sha256_when_it_has_one() -> None:
    assert content_id({"md5": MD5, "sha512": SHA512, "sha256": SHA256}) == f"sha256:{SHA256}"
    assert content_id({"md5": MD5, "sha512": SHA512}) == f"sha512:{SHA512}"
    assert content_id({"md5": MD5}) == f"md5:{MD5}"


def test_a_known_content_is_not_added_again() -> None:
    result = plan([found(5, sha256=SHA256)], {("d", "f"): [version(1, 5, sha256=SHA256)]})
    assert (result.insert, result.update, result.delete) == ([], [], [])


def test_a_new_content_is_added_and_the_older_one_kept() -> None:
    new = found(6, sha256=SHA256)
    result = plan([new], {("d", "f"): [version(1, 5, sha256="9" * 64)]})
    assert (result.insert, result.update, result.delete) == ([new], [], [])


def test_more_hashes_complete_a_known_content() -> None:
    result = plan([found(5, md5=MD5, sha256=SHA256)], {("d", "f"): [version(1, 5, md5=MD5)]})
    assert (result.insert, result.update) == ([], [(1, 1, {"md5": MD5, "sha256": SHA256})])


def test_a_size_that_was_recorded_too_early_is_corrected() -> None:
    result = plan([found(5, 9, sha256=SHA256)], {("d", "f"): [version(1, 5, 4, sha256=SHA256)]})
    assert result.update == [(1, 9, {"sha256": SHA256})]


def test_a_version_that_the_master_took_back_is_withdrawn() -> None:
    """Else clients would be told to fetch what the master no longer has."""
    versions = [version(1, 5, sha256=SHA256), version(2, 6, sha256="9" * 64)]
    assert plan([found(5, sha256=SHA256)], {("d", "f"): versions}).delete == [2]
    assert plan([found(4, sha256="8" * 64)], {("d", "f"): versions}).delete == [1, 2]


@pytest.mark.parametrize(
    ("days", "ages", "kept"),
    [
        ((4, None), [0.1, 5, 6, 7], [0.1, 5]),
        ((4, None), [2, 5, 6], [2, 5]),
        ((4, None), [3.5, 5, 6], [3.5]),
        ((4, None), [3.5, 3.9, 6], [3.5, 3.9]),
        ((4, None), [400], [400]),
        ((4, None), [10, 20], [10]),
        ((4, None), [0.1, 1, 2, 3], [0.1, 1, 2, 3]),
        ((6, 5), [3, 4, 5], [3, 4, 5]),
        ((4, 3), [3, 4, 5], [3, 4]),
        ((1, 0), [3, 4, 5], [3]),
        ((0, 0), [0, 0.1], [0]),
        ((0, None), [0, 0.1], [0]),
        ((1, 10), [9, 20, 21], [9, 20]),
    ],
)
def test_alternates_age_as_the_reference_says(
    days: tuple[float, float | None], ages: list[float], kept: list[float]
) -> None:
    """Case 25. The newest stays; the one before it while the newest is young; others until they are stale."""
    files = {
        index: version(index, int(-age * 10), sha256=SHA256, first_seen=NOW - timedelta(days=age))
        for index, age in enumerate(ages)
    }
    gone = set(expired(files.values(), NOW, Ageing.of(*days)))
    assert [age for index, age in enumerate(ages) if index not in gone] == kept


def test_files_of_other_names_and_directories_are_judged_by_themselves() -> None:
    old = NOW - timedelta(days=9)
    files = [
        KnownFile(1, 1, "a", "x", 1, 1, {}, old),
        KnownFile(2, 1, "b", "x", 2, 1, {}, old),
        KnownFile(3, 2, "a", "x", 3, 1, {}, old),
    ]
    assert list(expired(files, NOW, Ageing(0, 0))) == []


# -- the category's source


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "source.type: is missing"),
        ({"type": "pigeon", "path": "/srv"}, "source.type: must be one of 'directory', 'fullfiletimelist'"),
        ({"type": "directory", "path": "srv"}, "source.path: must be absolute"),
        ({"type": "rsync", "path": "/srv"}, "source.url: Field required; path: unknown key"),
        ({"type": "rsync", "url": "rsync://host/"}, "source.url: must name a module"),
        ({"type": "rsync", "url": "-e sh host::x"}, "source.url: must begin with rsync://"),
        ({"type": "http", "url": "http://user:secret@host/"}, "source.url: must have no password"),
        ({"type": "http", "url": "http://host:99999/"}, "source.url: must begin with http:// or https://"),
        ({"type": "fullfiletimelist", "path": "/l", "content": "gopher://x"}, "source.content: must begin with http"),
        ({"type": "fullfiletimelist", "path": "/l", "prefix": "../x"}, "source.prefix: must be a plain path"),
        ({"type": "directory", "path": "/srv", "exclude": []}, "source.exclude: unknown key"),
        ({"type": "directory", "path": "/srv", "excludes": ["("]}, "'(' is not a regular expression"),
    ],
)
def test_a_source_that_cannot_be_used_says_what_is_wrong(source: dict[str, object], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_source(source)
    assert message in str(caught.value)
