"""A master tree from the index pages of a web server, and files of listed trees that are fetched over HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import quote

from mm_crawler.curl import BodyTooLong, CurlClient, CurlError, CurlOptions, Download
from mm_crawler.master import autoindex
from mm_crawler.master.autoindex import Entry, NoIndex, Page
from mm_crawler.master.diff import choose_sample
from mm_crawler.master.filelist import MAX_DIRECTORIES
from mm_crawler.master.important import read_file
from mm_crawler.master.scanned import (
    Content,
    Excludes,
    FileProblem,
    Files,
    Look,
    Memory,
    Remembered,
    ScannedDirectory,
    ScannedFile,
    SourceError,
    is_transient,
    join,
)

_TRIES = 3
_PAUSE = 0.5  # seconds before another try
_BATCH = 64  # pages that are asked for before what is in them is looked at
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_CLOSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

T = TypeVar("T")


class WebContents:
    """Single files below an address."""

    def __init__(self, url: str, options: CurlOptions) -> None:
        self.url = url
        self._options = options
        self._runner = asyncio.Runner()
        self._client: CurlClient | None = None
        self._folder = TemporaryDirectory(prefix="mm-master-")
        self._fetched: dict[str, Path | FileProblem] = {}

    def top_time(self) -> int:
        """Not said by any page."""
        return 0

    def target(self, path: str) -> ScannedFile | None:
        """What a HEAD says of the file behind a link."""
        head = self.together([lambda: self.head(path)])[0]
        return None if head is None else ScannedFile(path.rpartition("/")[2], *head)

    def prepare(self, paths: Sequence[str], limit: int) -> None:
        """Fetch them, several at once."""
        self.together([lambda path=path: self._keep(path, limit) for path in paths])  # type: ignore[misc]

    def read(self, path: str, limit: int) -> Content:
        """A file that was fetched, else fetch it now. Raises FileProblem."""
        if path not in self._fetched:
            self.prepare([path], limit)
        found = self._fetched[path]
        if isinstance(found, FileProblem):
            raise found
        return read_file(str(found), limit)

    def exists(self, path: str) -> bool:
        """Whether the server has it. Raises SourceError."""
        answer = self.together([lambda: self.ask(path, 0, body=False)])[0]
        if isinstance(answer, CurlError):
            raise SourceError(f"{self.url}{path}: {answer}")
        if answer.status != HTTPStatus.OK and answer.status not in _GONE:
            raise SourceError(f"{self.url}{path}: the server answered {answer.status}")
        return answer.status == HTTPStatus.OK

    def close(self) -> None:
        """Close connections and remove what was fetched."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._runner.close()
        self._folder.cleanup()

    # -- asking

    def together(self, questions: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """The answers, in the same order; as many at once as there are connections."""

        async def run() -> list[T]:
            if self._client is None:
                self._client = CurlClient(self._options)
            limit = asyncio.Semaphore(self._options.connections)

            async def one(question: Callable[[], Awaitable[T]]) -> T:
                async with limit:
                    return await question()

            return await asyncio.gather(*map(one, questions))

        task: Coroutine[Any, Any, list[T]] = run()
        return self._runner.run(task)

    async def ask(self, path: str, limit: int, *, body: bool = True) -> Download | CurlError:
        """What the server says, tried again while it is only busy or away."""
        assert self._client is not None
        url = self.url + quote(path.encode("utf-8", "surrogateescape"))
        for tried in range(1, _TRIES + 1):
            answer: Download | CurlError
            try:
                answer = await self._client.fetch(url, limit, body=body)
            except BodyTooLong as error:
                return error
            except CurlError as error:
                answer = error
            busy = isinstance(answer, CurlError) or answer.status >= 500 or answer.status == 429
            if not busy or tried == _TRIES:
                break
            await asyncio.sleep(_PAUSE * tried)
        return answer

    async def head(self, path: str) -> tuple[int, int] | None:
        """Size and time of a file; None when the server does not say."""
        answer = await self.ask(path, 0, body=False)
        if isinstance(answer, CurlError) or answer.status != HTTPStatus.OK or answer.length is None:
            return None
        return answer.length, answer.modified

    async def _keep(self, path: str, limit: int) -> None:
        answer = await self.ask(path, limit)
        if isinstance(answer, CurlError):
            self._fetched[path] = FileProblem(f"cannot be fetched: {answer}")
        elif answer.status != HTTPStatus.OK:
            self._fetched[path] = FileProblem(f"cannot be fetched: the server answered {answer.status}")
        else:
            kept = Path(self._folder.name) / str(len(self._fetched))
            kept.write_bytes(answer.body)
            os.utime(kept, (answer.modified, answer.modified))
            self._fetched[path] = kept


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A directory that its parent's page names."""

    path: str
    mtime: int
    depth: int
    readable: bool


class WebTree:
    """The tree below the index page at an address."""

    def __init__(
        self, url: str, options: CurlOptions, excludes: Excludes, *, max_depth: int, max_page_bytes: int
    ) -> None:
        self._contents = WebContents(url, options)
        self._excludes = excludes
        self._max_depth = max_depth
        self._max_page_bytes = max_page_bytes
        self.prepare, self.read = self._contents.prepare, self._contents.read
        self.exists, self.close = self._contents.exists, self._contents.close

    def directories(self, memory: Memory) -> Iterator[ScannedDirectory]:
        """Every directory, parents before children. Raises SourceError."""
        waiting = [_Waiting("", 0, 0, True)]
        met = 1
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            asked = [one for one in batch if not _is_unchanged_leaf(one, memory.get(one.path))]
            answers = dict(zip(asked, self._contents.together([self._page(one) for one in asked]), strict=True))
            for one in batch:
                if one not in answers:
                    yield ScannedDirectory(one.path, one.mtime, one.readable, Look.UNCHANGED)
                    continue
                found = answers[one]
                if found is None:
                    continue
                if isinstance(found, Page):
                    below = list(self._below(one, found))
                    met += len(below)
                    if met > MAX_DIRECTORIES:
                        raise SourceError(f"{self._contents.url}: more than {MAX_DIRECTORIES} directories")
                    waiting += below
                    found = self._scanned(one, found, memory.get(one.path))
                yield found

    def _page(self, one: _Waiting) -> Callable[[], Awaitable[Page | ScannedDirectory | None]]:
        """Fetches and reads a page: its entries, or what is to be said of the directory without; None when gone."""

        async def fetch() -> Page | ScannedDirectory | None:
            url = self._contents.url + quote(one.path.encode("utf-8", "surrogateescape"))
            url = url if url.endswith("/") else f"{url}/"
            path = f"{one.path}/" if one.path else ""
            answer = await self._contents.ask(path, self._max_page_bytes)
            problem = ""
            if isinstance(answer, CurlError):
                problem = str(answer)
            elif answer.status in _GONE and one.path:
                return None
            elif answer.status in _CLOSED and one.path:
                return ScannedDirectory(one.path, one.mtime, False, Look.CLOSED)
            elif answer.status != HTTPStatus.OK:
                problem = f"the server answered {answer.status}"
            elif answer.url != url:
                problem = f"it is redirected to {answer.url[:200]}"
            else:
                try:
                    return autoindex.parse(answer.body, url)
                except NoIndex as error:
                    problem = f"this is no index page, {error}"
            if not one.path:
                raise SourceError(f"{url}: {problem}")
            problems = (f"{one.path}: cannot be listed: {problem}",)
            return ScannedDirectory(one.path, one.mtime, one.readable, Look.FAILED, problems=problems)

        return fetch

    def _below(self, one: _Waiting, page: Page) -> Iterator[_Waiting]:
        for entry in autoindex.children(page):
            path = join(one.path, entry.name)
            if one.depth < self._max_depth and not is_transient(entry.name) and not self._excludes(path):
                yield _Waiting(path, entry.mtime, one.depth + 1, one.readable)

    def _scanned(self, one: _Waiting, page: Page, remembered: Remembered | None) -> ScannedDirectory:
        entries = [entry for entry in page.entries if not entry.is_directory]
        problems = tuple(f"{one.path or 'the top'}: {problem}" for problem in page.problems)
        if one.depth == self._max_depth and len(entries) < len(page.entries):
            problems += (f"{one.path}: what is below it is left out, it lies too deep",)
        if one.path and remembered is not None and _still_holds(one, entries, remembered):
            return ScannedDirectory(one.path, one.mtime, one.readable, Look.UNCHANGED, problems=problems)
        files = Files.of(self._exact(one.path, entries))
        return ScannedDirectory(one.path, one.mtime, one.readable, Look.LISTED, files, problems)

    def _exact(self, path: str, entries: Sequence[Entry]) -> list[ScannedFile]:
        """The files; the server is asked for what its page only says roughly, where a crawl will need it."""
        files = {entry.name: ScannedFile(entry.name, entry.size, entry.mtime) for entry in entries}
        rough = {entry.name for entry in entries if not entry.is_exact}
        asked = [name for name, *_ in choose_sample(files.values()) if name in rough] if rough else []
        heads = self._contents.together(
            [lambda name=name: self._contents.head(join(path, str(name))) for name in asked]  # type: ignore[misc]
        )
        for name, head in zip(asked, heads, strict=True):
            if head is not None:
                size, mtime = head
                files[str(name)] = ScannedFile(str(name), size, mtime)
        return list(files.values())


def _is_unchanged_leaf(one: _Waiting, remembered: Remembered | None) -> bool:
    """Without important files and directories in it, there is nothing that its own time would not tell."""
    if remembered is None or not one.path or not one.mtime or remembered.mtime != one.mtime:
        return False
    return not remembered.children and not remembered.watched


def _still_holds(one: _Waiting, entries: Sequence[Entry], remembered: Remembered) -> bool:
    if not one.mtime or remembered.mtime != one.mtime or len(entries) != remembered.file_count:
        return False
    now = {entry.name: entry for entry in entries}
    return all(name in now and now[name].agrees(size, mtime) for name, (size, mtime) in remembered.watched.items())
