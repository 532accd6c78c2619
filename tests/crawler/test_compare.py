"""What an answer says about a file."""

from __future__ import annotations

import pytest

from mm_crawler.compare import Base, Clock, found, judge_base, judge_directory, judge_file
from mm_crawler.fetch.base import Answer, FetchError, TooLarge, TooSlow, Unreachable
from mm_crawler.report import How, Question, Verdict
from tests.crawler.builders import DAY, NEW, OLD, repomd, sha256

URL = "http://mirror.example/fedora/a/file"
SUPERSEDED_AT = 1_000_000
CLOCK = Clock(now=SUPERSEDED_AT + DAY, max_stale_seconds=4 * DAY)
FILE = Question("a/file", How.LOOK, 100)
METADATA = Question("repodata/repomd.xml", How.DIGEST, len(NEW), repomd(SUPERSEDED_AT).versions)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(200, 100), Verdict.OK),
        (Answer(200, 99), Verdict.STALE),
        (Answer(200, None), Verdict.OK),
        (Answer(404, 100), Verdict.MISSING),
        (Answer(410, 100), Verdict.MISSING),
        (Answer(403, 100), Verdict.UNREADABLE),
        (Answer(401, 100), Verdict.UNREADABLE),
        (Answer(429, 100), Verdict.UNKNOWN),
        (Answer(500, 100), Verdict.UNKNOWN),
        (Answer(503, 100), Verdict.UNKNOWN),
        (Answer(304, None), Verdict.UNKNOWN),
        (Answer(405, None), Verdict.UNKNOWN),
        (Unreachable("refused"), Verdict.UNKNOWN),
        (TooSlow("30 s"), Verdict.UNKNOWN),
        (TooLarge("headers"), Verdict.UNKNOWN),
    ],
)
def test_an_answer_about_a_plain_file_is_judged_by_status_and_length(
    answer: Answer | FetchError, verdict: Verdict
) -> None:
    assert judge_file(FILE, URL, answer, CLOCK).verdict is verdict


def test_a_redirect_is_judged_at_its_target_and_another_host_is_named_in_the_evidence() -> None:
    judged = judge_file(FILE, URL, Answer(200, 100, redirected_to="https://cdn.example/a/file"), CLOCK)
    assert judged.verdict is Verdict.OK
    assert judged.evidence.found == "200, 100 bytes, redirected to https://cdn.example/a/file"


def test_a_redirect_within_the_host_is_not_worth_a_word() -> None:
    assert found(Answer(200, 5, redirected_to="https://mirror.example/other"), URL) == "200, 5 bytes"


def test_metadata_with_the_newest_hash_is_ok() -> None:
    judged = judge_file(METADATA, URL, Answer(200, len(NEW), sha256(NEW)), CLOCK)
    assert (judged.verdict, judged.version, judged.lag_seconds) == (Verdict.OK, METADATA.versions[0], 0)


def test_metadata_that_was_superseded_lately_is_an_alternate_with_its_lag() -> None:
    judged = judge_file(METADATA, URL, Answer(200, len(OLD), sha256(OLD)), CLOCK)
    assert (judged.verdict, judged.version, judged.lag_seconds) == (Verdict.ALTERNATE, METADATA.versions[1], DAY)
    assert "superseded 1.0 days ago" in judged.evidence.found


@pytest.mark.parametrize(
    ("superseded_for", "verdict"),
    [(4 * DAY, Verdict.ALTERNATE), (4 * DAY + 1, Verdict.STALE), (400 * DAY, Verdict.STALE)],
)
def test_an_alternate_counts_as_good_only_for_the_days_allowed_after_it_was_superseded(
    superseded_for: int, verdict: Verdict
) -> None:
    clock = CLOCK._replace(now=SUPERSEDED_AT + superseded_for)
    assert judge_file(METADATA, URL, Answer(200, len(OLD), sha256(OLD)), clock).verdict is verdict


def test_metadata_of_unknown_content_is_stale_even_with_the_right_length() -> None:
    judged = judge_file(METADATA, URL, Answer(200, len(NEW), sha256(b"tampered")), CLOCK)
    assert (judged.verdict, judged.version) == (Verdict.STALE, None)
    assert judged.evidence.expected == f"sha256 {sha256(NEW)}"
    assert judged.evidence.found == f"200, sha256 {sha256(b'tampered')}"


def test_metadata_longer_than_every_known_version_is_stale() -> None:
    assert judge_file(METADATA, URL, TooLarge("more than 21 bytes"), CLOCK).verdict is Verdict.STALE


def test_another_important_file_is_judged_by_the_sizes_of_its_versions() -> None:
    question = Question("iso/x.iso", How.LOOK, len(NEW), METADATA.versions)
    verdicts = [judge_file(question, URL, Answer(200, size), CLOCK).verdict for size in (len(NEW), len(OLD), 7)]
    assert verdicts == [Verdict.OK, Verdict.ALTERNATE, Verdict.STALE]


def test_the_last_file_asked_for_decides_and_the_first_names_the_version() -> None:
    first = judge_file(METADATA, URL, Answer(200, len(NEW), sha256(NEW)), CLOCK)
    last = judge_file(FILE, f"{URL}2", Answer(404, None), CLOCK)
    judged = judge_directory(7, [first, last])
    assert (judged.directory_id, judged.verdict, judged.file_detail_id) == (7, Verdict.MISSING, 2)
    assert judged.evidence.url == f"{URL}2"


@pytest.mark.parametrize(
    ("answer", "base"),
    [
        (Answer(200, None), Base.REACHED),
        (Answer(403, None), Base.REACHED),
        (Answer(405, None), Base.REACHED),
        (Answer(429, None), Base.REFUSED),
        (Answer(404, None), Base.UNREACHABLE),
        (Answer(503, None), Base.UNREACHABLE),
        (Unreachable("refused"), Base.UNREACHABLE),
    ],
)
def test_a_topdir_that_may_not_be_listed_is_still_reached(answer: Answer | FetchError, base: Base) -> None:
    assert judge_base(answer) is base


def test_what_a_stranger_sent_is_kept_short_and_printable() -> None:
    told = found(Answer(200, 5, redirected_to="https://evil.example/\x00\x1b[31m\udcff" + "a" * 5000), URL)
    assert told.isprintable()
    assert len(told) < 400
