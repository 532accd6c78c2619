"""What an answer says about a file, and files about their directory: verdicts with evidence."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from pyroaring import BitMap

from mm_crawler.fetch.base import Answer, FetchError, TooLarge
from mm_crawler.report import (
    CategoryPlan,
    DirectoryVerdict,
    Evidence,
    FileVerdict,
    FileVersion,
    How,
    Question,
    Verdict,
)

MAX_FOUND = 300  # characters of what a mirror sent that are kept

# A directory without files is what the best of those who speak for it says; an alternate below proves it is there.
_IMPLIED = (
    (Verdict.OK, Verdict.OK),
    (Verdict.ALTERNATE, Verdict.OK),
    (Verdict.UNKNOWN, Verdict.UNKNOWN),
    (Verdict.STALE, Verdict.STALE),
    (Verdict.UNREADABLE, Verdict.UNREADABLE),
)


class Clock(NamedTuple):
    """When the crawl looks, and how long an older version still counts as good."""

    now: int
    max_stale_seconds: int


class Base(Enum):
    """What the answer to the first question, for the category's topdir, means."""

    REACHED = "reached"
    REFUSED = "refused"  # it is there but wants no more questions now
    UNREACHABLE = "unreachable"


def judge_base(answer: Answer | FetchError) -> Base:
    """Whether to go on with this URL. A topdir that may not be listed (403) still has files that may be read."""
    if isinstance(answer, FetchError):
        return Base.UNREACHABLE
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Base.REFUSED
    if answer.status < 400 or answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED):
        return Base.REACHED
    return Base.UNREACHABLE


def judge_file(question: Question, url: str, answer: Answer | FetchError, clock: Clock) -> FileVerdict:
    """What the answer to a question says about the file."""
    evidence = Evidence(url, _expected(question), found(answer, url))
    if isinstance(answer, TooLarge) and question.how is How.DIGEST:
        return FileVerdict(Verdict.STALE, evidence)  # the limit is the size of the largest version that we know
    if isinstance(answer, FetchError):
        return FileVerdict(Verdict.UNKNOWN, evidence)
    if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return FileVerdict(Verdict.MISSING, evidence)
    if answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        return FileVerdict(Verdict.UNREADABLE, evidence)
    if answer.status != HTTPStatus.OK:
        return FileVerdict(Verdict.UNKNOWN, evidence)
    if question.versions:
        return _judge_version(question, answer, evidence, clock)
    same = answer.size is None or answer.size == question.size
    return FileVerdict(Verdict.OK if same else Verdict.STALE, evidence)


def judge_listed(question: Question, url: str, size: int | None, clock: Clock) -> FileVerdict:
    """What a listing says about a file; without size: it is not in it."""
    expected = f"{question.size} bytes"
    if size is None:
        return FileVerdict(Verdict.MISSING, Evidence(url, expected, "it is not in the listing"))
    evidence = Evidence(url, expected, f"{size} bytes in the listing")
    if question.versions:
        return _judge_version(question._replace(how=How.LOOK), Answer(HTTPStatus.OK, size), evidence, clock)
    return FileVerdict(Verdict.OK if size == question.size else Verdict.STALE, evidence)


def _judge_version(question: Question, answer: Answer, evidence: Evidence, clock: Clock) -> FileVerdict:
    """Which known version the mirror has: by hash where the file was read, else by size."""
    newest = question.versions[0]
    version = next((known for known in question.versions if _is(known, question.how, answer)), None)
    if version is None:
        return FileVerdict(Verdict.STALE, evidence)
    lag = newest.timestamp - version.timestamp
    if version.superseded_at is None:
        return FileVerdict(Verdict.OK, evidence, version, lag)
    age = clock.now - version.superseded_at
    verdict = Verdict.ALTERNATE if age <= clock.max_stale_seconds else Verdict.STALE
    known = f"{evidence.found}; superseded {age / 86400:.1f} days ago"
    return FileVerdict(verdict, evidence._replace(found=known), version, lag)


def _is(version: FileVersion, how: How, answer: Answer) -> bool:
    if how is How.DIGEST:
        return answer.sha256 is not None and answer.sha256 == version.sha256
    return answer.size is None or answer.size == version.size


def judge_directory(directory_id: int, files: list[FileVerdict]) -> DirectoryVerdict:
    """The first file that is not ok decides. The important file is asked for first, so its version is in files[0]."""
    first, last = files[0], files[-1]
    version = first.version
    return DirectoryVerdict(
        directory_id,
        last.verdict,
        last.evidence,
        version.file_detail_id if version else None,
        first.lag_seconds,
    )


def imply(plan: CategoryPlan, verdicts: Mapping[Verdict, BitMap]) -> dict[Verdict, BitMap]:
    """The verdicts with those on directories without files added."""
    result = {verdict: BitMap(verdicts.get(verdict) or ()) for verdict in Verdict}
    for directory in plan.implied:
        said = (implied for below, implied in _IMPLIED if directory.by.intersect(verdicts.get(below) or BitMap()))
        result[next(said, Verdict.MISSING)].add(directory.id)
    return result


def other_host(url: str, answer: Answer | FetchError) -> str:
    """The other host that a redirect led to; empty when the mirror answered itself."""
    if isinstance(answer, FetchError) or not answer.redirected_to:
        return ""
    asked, answered = urlsplit(url).hostname, urlsplit(answer.redirected_to).hostname
    return answered or "" if answered != asked else ""


def _expected(question: Question) -> str:
    if question.how is How.DIGEST:
        return f"sha256 {question.versions[0].sha256}"
    return f"200, {question.size} bytes"


def found(answer: Answer | FetchError, url: str) -> str:
    """An answer, or why there was none, in words."""
    if isinstance(answer, FetchError):
        return clean(str(answer))
    parts = [str(answer.status)]
    if answer.status == HTTPStatus.OK:
        if answer.sha256 is not None:
            parts.append(f"sha256 {answer.sha256}")
        elif answer.size is not None:
            parts.append(f"{answer.size} bytes")
        else:
            parts.append("no length")
    if other_host(url, answer):
        parts.append(f"redirected to {clean(answer.redirected_to)}")
    return ", ".join(parts)


def clean(text: str) -> str:
    """What a stranger sent, short and fit for a page, a log and every database."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_FOUND])
