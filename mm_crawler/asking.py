"""The ways to find out what a mirror has of a category: by rsync, by index pages, file by file.

Each way goes through the directories of which nothing is known yet. So one that fails loses nothing: what it leaves
open is for the next.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import NamedTuple
from urllib.parse import urlsplit

from pyroaring import BitMap

from mm_crawler import compare, plan
from mm_crawler.compare import Base, Clock
from mm_crawler.fetch.base import Answer, BadAnswer, Fetcher, FetchError, TooLarge
from mm_crawler.fetch.host import is_rsync
from mm_crawler.fetch.http import is_ftp, value
from mm_crawler.findings import Findings
from mm_crawler.listing import Index, ListingJudge, Place, judge_page, lies_in
from mm_crawler.master import autoindex
from mm_crawler.master.autoindex import NoIndex, Page
from mm_crawler.notes import NO_NOTES
from mm_crawler.report import (
    AddressReport,
    CategoryTask,
    Evidence,
    FileVerdict,
    How,
    MasterDirectory,
    Question,
    Tier,
    Verdict,
)

GIVE_UP_AFTER = 10  # directories in a row that could not be judged, after which a way is left
NO_PAGES_AFTER = 3  # directories without an index page, when there was none before
MAX_PAGE = 4 << 20  # bytes; larger index pages are not read
BATCH = 500  # directories or files that rsync is asked for at once
_QUICK_PAGE = 1 << 18  # bytes; reading larger ones would keep other mirrors waiting


class Rules(NamedTuple):
    """How a mirror is asked for a category."""

    connections: int
    max_metadata_bytes: int
    clock: Clock


class Asking:
    """Asks one mirror for one category."""

    def __init__(
        self,
        task: CategoryTask,
        fetcher: Fetcher,
        findings: Findings,
        rules: Rules,
        full_index: Callable[[], Index],
        *,
        quiet: dict[str, str],
    ) -> None:
        self.base_url = ""  # of the first of its URLs that leads anywhere
        self.addresses: dict[str, AddressReport] = {}
        self._bases: dict[str, Base] = {}
        self._task = task
        self._topdir = task.plan.category.topdir
        self._fetcher = fetcher
        self._findings = findings
        self._rules = rules
        self._notes = findings.notes
        self._full_index = full_index
        self._quiet = quiet  # servers of this mirror that want a pause, for all of its categories -> what they said
        self._proven: dict[int, list[FileVerdict]] = {}  # important files that were read, of directories still open
        self._yes_to_all: dict[str, bool] = {}  # URLs that say yes to what cannot be there
        self._behind_links = BitMap()  # directories that no listing of the whole tree shows
        self._gone: set[str] = set()  # directories without a page where others have one
        self._shows_pages = False
        self._without_page = 0
        self._problem = ""  # of the last way that left something open
        self._turned_away: list[str] = []  # what each URL said that leads nowhere, or nowhere now

    # ------------------------------------------------ its addresses

    async def find_base(self) -> Base:
        """Ask each URL for the topdir, in a metadata or incremental crawl up to the first that leads somewhere."""
        everything = self._task.tier in (Tier.CANARY, Tier.FULL)
        for url in self._task.urls:
            if not self._findings.stopped and (everything or not self.base_url):
                await self._reach(url)
        if self.base_url:
            return Base.REACHED
        self._findings.stop("; ".join(self._turned_away))
        return Base.REFUSED if Base.REFUSED in self._bases.values() else Base.UNREACHABLE

    async def _reach(self, url: str) -> bool:
        """Whether it leads anywhere; asked once."""
        if url not in self._bases and (said := self._quiet.get(_server(url))):
            self._bases[url] = Base.REFUSED
            self._turned_away.append(said)
            self._notes.note("failed", url=url, reason=said)
        if url not in self._bases:
            topdir = plan.file_url(url, "")
            self._notes.note("asked", method="HEAD", url=topdir)
            reached = await self._fetcher.reach(topdir)
            self._findings.note_redirect(topdir, reached.answer)
            self._bases[url] = compare.judge_base(reached.answer)
            self._heed(topdir, reached.answer)
            said = compare.found(reached.answer, topdir)
            self._notes.note("answered", url=topdir, found=said)
            problem = "" if self._bases[url] is Base.REACHED else f"{topdir}: {said}"
            if self._bases[url] is not Base.REFUSED:  # who wants no questions now may serve users: what is known stays
                self.addresses[url] = AddressReport(
                    url, problem, reached.ipv4, reached.ipv6, reached.certificate_ends_at
                )
            if problem:
                self._turned_away.append(problem)
                self._findings.keep("base", Evidence(topdir, "an answer that is no error", said))
                self._notes.note("failed", url=url, reason=said)
            elif not self.base_url:
                self.base_url = url
        return self._bases[url] is Base.REACHED

    # ------------------------------------------------ the ways, best first

    async def run(self) -> None:
        """Ask in the ways that fit the tier, until nothing is open or no way is left."""
        files = [url for url in self._task.urls if not is_rsync(url)]
        rsync = [url for url in self._task.urls if is_rsync(url)]
        if self._task.tier is Tier.FULL:
            await self._each_way(self._prove_by_files, files)
            await self._each_way(self._prove_by_rsync, rsync)
            await self._each_way(self._by_listing, rsync)
            await self._each_way(self._by_pages, [url for url in files if not is_ftp(url)])
        await self._each_way(self._by_files, files)
        if self._task.tier is not Tier.FULL:
            await self._each_way(self._prove_by_rsync, rsync)
        if self._task.tier is not Tier.FULL or self._behind_links:
            await self._each_way(self._by_rsync, rsync)
        if self._findings.open and self._problem:
            self._findings.stop(self._problem)

    async def _each_way(self, way: Callable[[str], Awaitable[None]], urls: Sequence[str]) -> None:
        for url in urls:
            if self._findings.open and not self._findings.stopped and await self._reach(url):
                self._notes.note("protocol", url=url, reason=f"{way.__name__.strip('_').replace('_', ' ')}")
                self._findings.unknown_in_a_row = 0
                await way(url)
                if self._gave_up():
                    self._leave(
                        f"{GIVE_UP_AFTER} directories in a row could not be judged; "
                        f"the last: {self._findings.last_unknown}"
                    )

    def _leave(self, problem: str) -> None:
        """Note why a way does not go on."""
        self._problem = problem
        self._notes.note("failed", reason=problem)

    def _gave_up(self) -> bool:
        return self._findings.unknown_in_a_row >= GIVE_UP_AFTER

    def _open(self) -> Iterator[MasterDirectory]:
        """In the order of the plan; those that are open when the iteration begins."""
        still = self._findings.open
        return (directory for directory in self._task.plan.asked if directory.id in still)

    async def _share(
        self, directories: Iterator[MasterDirectory], ask: Callable[[MasterDirectory], Awaitable[None]]
    ) -> None:
        """Ask for each directory, over all connections."""

        async def work() -> None:
            while not (self._findings.stopped or self._gave_up()):
                directory = next(directories, None)
                if directory is None:
                    return
                await ask(directory)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._rules.connections):
                group.create_task(work())

    # ------------------------------------------------ file by file

    async def _by_files(self, base: str) -> None:
        await self._share(self._open(), lambda directory: self._ask_directory(base, directory))

    async def _ask_directory(self, base: str, directory: MasterDirectory) -> None:
        """Ask for its files until one is not ok."""
        proven = self._proven.get(directory.id, ())
        questions = self._important(directory) if self._only_metadata(directory) else self._questions(directory)
        if proven:
            questions = tuple(question for question in questions if question.how is not How.DIGEST)
        await self._ask_files(base, directory, questions, proven)

    def _only_metadata(self, directory: MasterDirectory) -> bool:
        """In a metadata crawl, but not where something else was wrong the last time."""
        because = self._task.because
        was_wrong = because is not None and directory.id in because.again
        return self._task.tier is Tier.METADATA and bool(directory.important) and not was_wrong

    async def _ask_files(
        self, base: str, directory: MasterDirectory, questions: Sequence[Question], proven: Sequence[FileVerdict]
    ) -> None:
        files = [*proven]
        for question in questions:
            files.append(await self._ask(base, question))
            if files[-1].verdict is not Verdict.OK:
                break
        self._findings.add(compare.judge_directory(directory.id, files))

    async def _ask(self, base: str, question: Question) -> FileVerdict:
        url = plan.file_url(base, question.path)
        if question.how is How.DIGEST:
            limit = plan.digest_limit(question, self._rules.max_metadata_bytes)
            answer = await self._hear("GET", url, self._fetcher.digest(url, limit))
        else:
            answer = await self._hear("HEAD", url, self._fetcher.look(url))
            if isinstance(answer, Answer) and answer.size is None and await self._says_yes_to_all(base, answer):
                answer = BadAnswer("200 without a length, as for whatever it is asked, even for what cannot be there")
        return compare.judge_file(question, url, answer, self._rules.clock)

    async def _hear(self, method: str, url: str, request: Awaitable[Answer]) -> Answer | FetchError:
        self._notes.note("asked", method=method, url=url)
        answer = await value(request)
        self._findings.note_redirect(url, answer)
        if wish := self._heed(url, answer):
            self._findings.stop(wish)
        return answer

    def _heed(self, url: str, answer: Answer | FetchError) -> str:
        """Whether the server wants a longer pause than we make: then no other category asks it either."""
        if not isinstance(answer, Answer) or not answer.wants_no_more:
            return ""
        wish = f"it asked for a pause of {answer.retry_after:.0f} s ({answer.status} for {url})"
        self._quiet[_server(url)] = wish
        return wish

    async def _says_yes_to_all(self, base: str, answer: Answer) -> bool:
        """Whether a yes without a length is worth nothing: the same comes for a name that nobody has."""
        if answer.status != HTTPStatus.OK:
            return False
        if base not in self._yes_to_all:
            url = plan.file_url(base, f"no-such-file-{secrets.token_hex(8)}")
            said = await self._hear("HEAD", url, self._fetcher.look(url))
            self._yes_to_all[base] = isinstance(said, Answer) and said.status == HTTPStatus.OK
        return self._yes_to_all[base]

    def _questions(self, directory: MasterDirectory) -> tuple[Question, ...]:
        return plan.questions(directory, self._topdir, self._rules.max_metadata_bytes)

    def _important(self, directory: MasterDirectory) -> tuple[Question, ...]:
        return plan.important_questions(directory, self._topdir, self._rules.max_metadata_bytes)

    # ------------------------------------------------ important files, which no listing can judge

    def _digests(self, directory: MasterDirectory) -> Sequence[Question]:
        """Its files that have to be read."""
        return [each for each in self._important(directory) if each.how is How.DIGEST] if directory.important else ()

    def _to_prove(self) -> Iterator[MasterDirectory]:
        unproven = (directory for directory in self._open() if directory.id not in self._proven)
        return filter(self._digests, unproven)

    async def _prove_by_files(self, base: str) -> None:
        """Read the important files. One that is not ok decides alone."""

        async def ask(directory: MasterDirectory) -> None:
            files = []
            for question in self._digests(directory):
                files.append(await self._ask(base, question))
                if files[-1].verdict is not Verdict.OK:
                    self._findings.add(compare.judge_directory(directory.id, files))
                    return
            self._proven[directory.id] = files
            self._findings.unknown_in_a_row = 0

        await self._share(self._to_prove(), ask)

    async def _prove_by_rsync(self, base: str) -> None:
        """The same for a mirror that offers nothing else. What does not come is left to the listing."""
        waiting = self._to_prove()
        limit = self._rules.max_metadata_bytes
        while batch := list(islice(waiting, BATCH)):
            paths = [question.path for directory in batch for question in self._digests(directory)]
            self._notes.note("asked", method="rsync", url=base, files=len(paths))
            try:
                answers = await self._fetcher.fetch(base, paths, limit)
            except FetchError as error:
                self._leave(compare.found(error, base))
                return
            for directory in batch:
                self._prove(base, directory, answers)

    def _prove(self, base: str, directory: MasterDirectory, answers: Mapping[str, Answer]) -> None:
        files = []
        for question in self._digests(directory):
            if question.path not in answers:
                return
            url = plan.file_url(base, question.path)
            files.append(compare.judge_file(question, url, answers[question.path], self._rules.clock))
            if files[-1].verdict is not Verdict.OK:
                self._findings.add(compare.judge_directory(directory.id, files))
                return
        self._proven[directory.id] = files

    # ------------------------------------------------ listings

    def _listed(self, directory: MasterDirectory, said: FileVerdict) -> None:
        """What a listing says. It cannot vouch for the content of important files."""
        proven = self._proven.get(directory.id, ())
        if said.verdict is Verdict.OK and not proven:
            digests = self._digests(directory)
            if digests:
                expected = f"sha256 {digests[0].versions[0].sha256}"
                evidence = Evidence(said.evidence.url, expected, "it is listed, but could not be read")
                said = FileVerdict(Verdict.UNKNOWN, evidence)
        self._findings.add(compare.judge_directory(directory.id, [*proven, said]))

    async def _by_listing(self, base: str) -> None:
        """Let rsync list everything."""
        await self._list(base, self._full_index(), None)

    async def _by_rsync(self, base: str) -> None:
        """Let rsync list what is in the directories that are wanted; in a full crawl those behind links."""
        waiting = self._open()
        if self._task.tier is Tier.FULL:
            waiting = (directory for directory in self._open() if directory.id in self._behind_links)
        while batch := list(islice(waiting, BATCH)):
            index = Index(batch, self._topdir)
            if not await self._list(base, index, list(index.by_path)):
                return

    async def _list(self, base: str, index: Index, below: Sequence[str] | None) -> bool:
        place = Place(base, self._topdir, self._rules.clock)
        same = self._findings.add_same if self._notes is NO_NOTES else None
        judge = ListingJudge(index, self._findings.open, place, self._listed, same)
        self._notes.note("asked", method="rsync", url=base, directories=len(below) if below else "all")
        try:
            listed = await self._fetcher.listing(base, judge.take, below)
        except FetchError as error:
            self._leave_listing(base, compare.found(error, base))
            return False
        self._notes.note("listed", url=base, entries=judge.entries, directories=judge.seen)
        if below is None and listed.whole and not judge.seen and not judge.leads_elsewhere:
            # An empty module, or the wrong one: a disk that is not mounted looks like this.
            found = f"{judge.entries} entries, and none of them in a directory that the master has files in"
            self._leave_listing(base, found)
            return False
        judge.end(listed)
        self._behind_links |= judge.behind_links
        if not listed.whole:
            self._leave_listing(base, compare.clean(listed.problem))
        return True

    def _leave_listing(self, base: str, found: str) -> None:
        self._findings.keep("listing", Evidence(base, "a listing of the whole tree", found))
        self._leave(f"{base}: {found}")

    # ------------------------------------------------ index pages

    async def _by_pages(self, base: str) -> None:
        """Ask for the page of each directory, if there are pages."""
        self._shows_pages, self._without_page, self._gone = isinstance(await self._page(base, ""), Page), 0, set()
        await self._share(self._open(), lambda directory: self._ask_page(base, directory))

    async def _ask_page(self, base: str, directory: MasterDirectory) -> None:
        """What its page cannot tell is asked file by file; without a page it stays open."""
        if not self._shows_pages and self._without_page >= NO_PAGES_AFTER:
            return
        path = plan.below(directory, self._topdir)
        found = HTTPStatus.NOT_FOUND if lies_in(path, self._gone) else await self._page(base, path)
        place = Place(base, self._topdir, self._rules.clock)
        if isinstance(found, Page):
            self._shows_pages = True
            said = judge_page(directory, found, place)
            if said.verdict:
                self._listed(directory, said.verdict)
            else:
                await self._ask_files(base, directory, said.to_ask, self._proven.get(directory.id, ()))
        elif (
            found in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
            and self._shows_pages
            and not self._proven.get(directory.id)  # a file of it was there: it only has no page
        ):
            await self._note_gone(base, path)
            evidence = Evidence(f"{place.url(path)}/", "the page of a directory", f"{found:d}")
            self._listed(directory, FileVerdict(Verdict.MISSING, evidence))
        elif isinstance(found, FetchError) and not isinstance(found, TooLarge):
            evidence = Evidence(f"{place.url(path)}/", "the page of a directory", compare.found(found, base))
            self._listed(directory, FileVerdict(Verdict.UNKNOWN, evidence))
        else:
            self._without_page += 1

    async def _note_gone(self, base: str, path: str) -> None:
        """Find the topmost directory that is not there: all below it need not be asked for."""
        while path and not lies_in(path, self._gone):
            self._gone.add(path)
            path = path.rpartition("/")[0]
            if not path or await self._page(base, path) not in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                return

    async def _page(self, base: str, path: str) -> Page | FetchError | int:
        """A directory's page; else the status, or 0 for something else than an index."""
        url = f"{plan.file_url(base, path).rstrip('/')}/"
        answer = await self._hear("GET", url, self._fetcher.page(url, MAX_PAGE))
        if isinstance(answer, FetchError):
            return answer
        if answer.status != HTTPStatus.OK:
            return answer.status
        where = answer.redirected_to or url
        try:
            if len(answer.body) <= _QUICK_PAGE:
                return autoindex.parse(answer.body, where)
            return await asyncio.to_thread(autoindex.parse, answer.body, where)
        except NoIndex:
            return 0


def _server(url: str) -> str:
    return urlsplit(url).netloc.lower()
