"""What to ask which host, in which order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from random import Random
from urllib.parse import quote

from pyroaring import BitMap

from mm_crawler.report import (
    CategoryPlan,
    CategoryTask,
    CrawlInput,
    HostTask,
    How,
    ImpliedDirectory,
    MasterCategory,
    MasterDirectory,
    Mirror,
    MirrorUrl,
    Question,
)

REPOMD = "repomd.xml"
REPODATA = "repodata"
SCHEMES = ("https", "http")  # best first


def make_tasks(crawl: CrawlInput, rng: Random) -> tuple[HostTask, ...]:
    """A task per host: those that took longest last time (or were never asked) start first, so that none ends alone."""
    plans = {category.id: make_plan(category, rng) for category in crawl.categories.values()}
    slowest_first = sorted(crawl.mirrors, key=lambda mirror: (-_expected_seconds(mirror), mirror.host_id))
    return tuple(
        HostTask(
            mirror.host_id,
            mirror.name,
            mirror.site,
            tuple(
                CategoryTask(carried.host_category_id, usable_urls(carried.urls), plans[carried.category_id])
                for carried in mirror.categories
            ),
        )
        for mirror in slowest_first
    )


def _expected_seconds(mirror: Mirror) -> float:
    return float("inf") if mirror.last_crawl_seconds is None else mirror.last_crawl_seconds


def usable_urls(urls: Iterable[MirrorUrl]) -> tuple[str, ...]:
    """The URLs whose protocol we speak: what users get before what they do not see, https before http."""
    usable = [url for url in urls if _scheme(url.url) in SCHEMES]
    return tuple(url.url for url in sorted(usable, key=lambda url: (url.private, SCHEMES.index(_scheme(url.url)))))


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def make_plan(category: MasterCategory, rng: Random) -> CategoryPlan:
    """Repository metadata first, newest first; then the rest in random order.

    Random, so that crawls which run out of time look at other directories each time.
    Directories that the master keeps closed are left out: nobody can tell what a mirror should show of them.
    """
    readable = [directory for directory in category.directories if directory.readable]
    with_files = [directory for directory in readable if not directory.empty]
    metadata = [directory for directory in with_files if _has_repomd(directory)]
    others = [directory for directory in with_files if not _has_repomd(directory)]
    metadata.sort(key=lambda directory: (-directory.mtime, directory.id))
    rng.shuffle(others)
    return CategoryPlan(category, (*metadata, *others), _implied(readable, with_files))


def _has_repomd(directory: MasterDirectory) -> bool:
    return any(file.name == REPOMD for file in directory.important)


def _implied(readable: list[MasterDirectory], with_files: list[MasterDirectory]) -> tuple[ImpliedDirectory, ...]:
    """Directories without files, each with those who speak for it: its repodata, else all with files below it.

    One with nothing below it is left out: no question could find out whether a mirror has it.
    """
    below = sorted((f"{directory.path}/", directory.id) for directory in with_files)
    paths = [path for path, _ in below]
    result = []
    for directory in readable:
        if directory.empty:
            top = f"{directory.path}/" if directory.path else ""
            repodata = bisect_left(paths, f"{top}{REPODATA}/")
            if repodata < len(paths) and paths[repodata] == f"{top}{REPODATA}/":
                result.append(ImpliedDirectory(directory.id, BitMap([below[repodata][1]])))
                continue
            end = bisect_left(paths, f"{top}\U0010ffff")
            by = BitMap(directory_id for _, directory_id in below[bisect_left(paths, top) : end])
            if by:
                result.append(ImpliedDirectory(directory.id, by))
    return tuple(result)


def questions(directory: MasterDirectory, topdir: str, max_digest_bytes: int) -> tuple[Question, ...]:
    """What is asked of a directory: its important files first, since an older version of them decides alone."""
    below = directory.path.removeprefix(topdir).strip("/")
    prefix = f"{below}/" if below else ""
    important = sorted(directory.important, key=lambda file: (file.name != REPOMD, file.name))
    known = {file.name for file in important}
    first = []
    for file in important:
        newest = file.versions[0]
        digest = file.name == REPOMD and newest.sha256 is not None and newest.size <= max_digest_bytes
        how = How.DIGEST if digest else How.LOOK
        first.append(Question(prefix + file.name, how, newest.size, file.versions))
    rest = (Question(prefix + file.name, How.LOOK, file.size) for file in directory.sample if file.name not in known)
    return (*first, *rest)


def digest_limit(question: Question, max_digest_bytes: int) -> int:
    """How much of a file is read: what is longer than every known version is none of them."""
    return min(max_digest_bytes, max(version.size for version in question.versions))


def file_url(base_url: str, path: str) -> str:
    """The address of a file below the topdir; '' is the topdir itself."""
    return f"{base_url}/{quote(path)}"
