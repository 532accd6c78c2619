"""What to ask which host, in which order."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from math import ceil
from operator import itemgetter
from random import Random
from urllib.parse import quote

from pyroaring import BitMap

from mm_crawler.report import (
    Because,
    CategoryPlan,
    CategoryTask,
    CrawlInput,
    HostTask,
    How,
    ImpliedDirectory,
    MasterCategory,
    MasterDirectory,
    Memory,
    Mirror,
    MirrorCategory,
    MirrorUrl,
    Question,
    Tier,
)

REPOMD = "repomd.xml"
REPODATA = "repodata"
READ = frozenset((REPOMD, "Release", "InRelease", "summary"))  # small important files, judged by their hashes
WEB = ("https", "http")
SCHEMES = (*WEB, "ftps", "ftp", "rsync")  # best first, for single files


def make_tasks(crawl: CrawlInput, rng: Random, sample_parts: int = 24) -> tuple[HostTask, ...]:
    """A task per host: those that took longest last time (or were never asked) start first, so that none ends alone.

    Hosts that need not be asked for anything have none.
    """
    planners = {category.id: Planner(category, rng, sample_parts) for category in crawl.categories.values()}
    slowest_first = sorted(crawl.mirrors, key=lambda mirror: (-_expected_seconds(mirror), mirror.host_id))
    tasks = (_task(mirror, planners) for mirror in slowest_first)
    return tuple(task for task in tasks if task.categories)


def _task(mirror: Mirror, planners: Mapping[int, Planner]) -> HostTask:
    tasks = (planners[carried.category_id].task(carried) for carried in mirror.categories)
    return HostTask(mirror.host_id, mirror.name, mirror.site, tuple(task for task in tasks if task))


def _expected_seconds(mirror: Mirror) -> float:
    return float("inf") if mirror.last_crawl_seconds is None else mirror.last_crawl_seconds


def usable_urls(urls: Iterable[MirrorUrl]) -> tuple[str, ...]:
    """The URLs whose protocol we speak: the web first, and there what users get before what they do not see."""
    ranked = ((_scheme(url.url), url) for url in urls)
    usable = [
        (scheme not in WEB, url.private, SCHEMES.index(scheme), url.url) for scheme, url in ranked if scheme in SCHEMES
    ]
    return tuple(url for *_, url in sorted(usable, key=itemgetter(0, 1, 2)))


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


class Planner:
    """Decides what each mirror of a category is asked. What mirrors have in common is worked out once."""

    def __init__(self, category: MasterCategory, rng: Random, sample_parts: int) -> None:
        self._category = category
        self._rng = rng
        self._sample_parts = sample_parts
        self._full = make_plan(category, rng)

    def task(self, carried: MirrorCategory) -> CategoryTask | None:
        """The first tier that has anything to ask; None when none has."""
        urls = usable_urls(carried.urls)
        for tier in carried.tiers:
            task = self._in_tier(tier, carried, urls)
            if task:
                return task
        return None

    def _in_tier(self, tier: Tier, carried: MirrorCategory, urls: tuple[str, ...]) -> CategoryTask | None:
        memory = carried.memory or Memory()
        if tier is Tier.CANARY:
            nothing = CategoryPlan(self._category, (), ())
            return CategoryTask(carried.host_category_id, urls, nothing, tier)
        changed = self._changed(memory.changes_until(tier))
        if tier is Tier.FULL or (tier is Tier.INCREMENTAL and memory.changes_until(tier) is None):
            because = Because(changed, memory.ask_again, BitMap(), cycle_ends=True)
            return CategoryTask(carried.host_category_id, urls, self._full, Tier.FULL, because)
        if tier is Tier.METADATA:
            return self._metadata(carried.host_category_id, urls, memory, changed)
        because = self._because(memory, changed)
        ids = because.changed | because.again | because.sample
        return CategoryTask(carried.host_category_id, urls, self.part(ids), tier, because)

    def _metadata(
        self, host_category_id: int, urls: tuple[str, ...], memory: Memory, changed: BitMap
    ) -> CategoryTask | None:
        known = changed if memory.changes_until(Tier.METADATA) else self._metadata_ids
        because = Because(known & self._metadata_ids, memory.ask_again & self._metadata_ids, BitMap())
        ids = because.changed | because.again
        return CategoryTask(host_category_id, urls, self.part(ids), Tier.METADATA, because) if ids else None

    def _because(self, memory: Memory, changed: BitMap) -> Because:
        """With a sample of what nothing speaks for, so that in so many crawls everything was asked for once."""
        askable = self._askable
        changed, again = changed & askable, memory.ask_again & askable
        rest = askable - changed - again - memory.sampled
        size = ceil(len(askable) / self._sample_parts)
        if len(rest) <= size:
            return Because(changed, again, rest, cycle_ends=True)
        return Because(changed, again, BitMap(rest[place] for place in self._rng.sample(range(len(rest)), size)))

    def _changed(self, since: datetime | None) -> BitMap:
        if since is None:
            return BitMap()
        moment = since.timestamp()
        return BitMap(id_ for id_, at in self._category.changes.items() if at > moment)

    def part(self, ids: BitMap) -> CategoryPlan:
        """The plan for some directories, and for those without files for which they alone can speak."""
        asked = sorted(self._places[id_] for id_ in ids if id_ in self._places)
        implied = (each for id_ in ids for each in self._implied_by.get(id_, ()) if each.by.issubset(ids))
        return CategoryPlan(
            self._category,
            tuple(self._full.asked[place] for place in asked),
            tuple(implied),
            self._full.universe if self._category.whole else None,
        )

    @cached_property
    def _places(self) -> dict[int, int]:
        return {directory.id: place for place, directory in enumerate(self._full.asked)}

    @cached_property
    def _askable(self) -> BitMap:
        return BitMap(self._places)

    @cached_property
    def _metadata_ids(self) -> BitMap:
        return BitMap(directory.id for directory in self._full.asked if directory.important)

    @cached_property
    def _implied_by(self) -> Mapping[int, list[ImpliedDirectory]]:
        """By the first directory that speaks for them: it is asked whenever all are."""
        found: dict[int, list[ImpliedDirectory]] = defaultdict(list)
        for each in self._full.implied:
            found[each.by.min()].append(each)
        return found


def make_plan(category: MasterCategory, rng: Random) -> CategoryPlan:
    """Everything. Repository metadata first, newest first; then the rest in random order.

    Random, so that crawls which run out of time look at other directories each time.
    Directories that the master keeps closed are left out: nobody can tell what a mirror should show of them.
    """
    readable = [directory for directory in category.directories if directory.readable]
    with_files = [directory for directory in readable if not directory.empty]
    metadata = [directory for directory in with_files if _has_repomd(directory)]
    others = [directory for directory in with_files if not _has_repomd(directory)]
    metadata.sort(key=lambda directory: (-directory.mtime, directory.id))
    rng.shuffle(others)
    asked, implied = (*metadata, *others), _implied(readable, with_files, whole=category.whole)
    universe = BitMap(directory.id for directory in asked) | BitMap(directory.id for directory in implied)
    return CategoryPlan(category, asked, implied, universe if category.whole else None)


def _has_repomd(directory: MasterDirectory) -> bool:
    return any(file.name == REPOMD for file in directory.important)


def _implied(
    readable: list[MasterDirectory], with_files: list[MasterDirectory], *, whole: bool
) -> tuple[ImpliedDirectory, ...]:
    """Directories without files, each with those who speak for it: its repodata, else all with files below it.

    One with nothing below it is left out: no question could find out whether a mirror has it. Where not all
    directories are known here, only its repodata can speak for one.
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
            if not whole:
                continue
            end = bisect_left(paths, f"{top}\U0010ffff")
            by = BitMap(directory_id for _, directory_id in below[bisect_left(paths, top) : end])
            if by:
                result.append(ImpliedDirectory(directory.id, by))
    return tuple(result)


def questions(directory: MasterDirectory, topdir: str, max_digest_bytes: int) -> tuple[Question, ...]:
    """What is asked of a directory: its important files first, since an older version of them decides alone."""
    prefix = _prefix(directory, topdir)
    known = {file.name for file in directory.important}
    rest = (Question(prefix + file.name, How.LOOK, file.size) for file in directory.sample if file.name not in known)
    return (*important_questions(directory, topdir, max_digest_bytes), *rest)


def important_questions(directory: MasterDirectory, topdir: str, max_digest_bytes: int) -> tuple[Question, ...]:
    """What is asked of its important files."""
    prefix = _prefix(directory, topdir)
    asked = []
    for file in sorted(directory.important, key=lambda file: (file.name != REPOMD, file.name)):
        newest = file.versions[0]
        digest = file.name in READ and newest.sha256 is not None and newest.size <= max_digest_bytes
        how = How.DIGEST if digest else How.LOOK
        asked.append(Question(prefix + file.name, how, newest.size, file.versions))
    return tuple(asked)


def _prefix(directory: MasterDirectory, topdir: str) -> str:
    path = below(directory, topdir)
    return f"{path}/" if path else ""


def below(directory: MasterDirectory, topdir: str) -> str:
    """Its path below the topdir."""
    return directory.path.removeprefix(topdir).strip("/")


def digest_limit(question: Question, max_digest_bytes: int) -> int:
    """How much of a file is read: what is longer than every known version is none of them."""
    return min(max_digest_bytes, max(version.size for version in question.versions))


def file_url(base_url: str, path: str) -> str:
    """The address of a file below the topdir; '' is the topdir itself."""
    return f"{base_url}/{quote(path)}"
