"""What listings say about directories: those of rsync, judged while they stream by, and the index pages of web servers.

The names and sizes of all files of a directory have a digest, which the scan of the master recorded: where a listing
gives the same, the directory is as on the master. Where it does not, the files that a crawl asks for say what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from pyroaring import BitMap

from mm_crawler import compare, plan
from mm_crawler.compare import Clock
from mm_crawler.fetch.base import Listed
from mm_crawler.master.autoindex import Entry, Page
from mm_crawler.master.diff import listing_digest
from mm_crawler.master.filelist import MAX_ENTRIES, runs_of
from mm_crawler.master.listing import entries
from mm_crawler.master.scanned import Files, is_recordable, join, upwards
from mm_crawler.report import Evidence, FileVerdict, MasterDirectory, Question, SampleFile, Verdict

HIDDEN = 10  # files of a directory that a web server may leave out of its page: those with a dot, README, ...
_ZONE = 900  # seconds; pages show local times, and zones differ by quarters of an hour
_MOST_ZONES = 15 * 3600

Found = Callable[[MasterDirectory, FileVerdict], None]
Same = Callable[[Iterable[int]], None]


class Index:
    """Directories by their path below the topdir; made once for all mirrors that are asked for the same."""

    def __init__(self, directories: Iterable[MasterDirectory], topdir: str) -> None:
        self.by_path = {plan.below(each, topdir): each for each in directories}
        self.ids = BitMap(each.id for each in self.by_path.values())
        self.with_parents = {above for path in self.by_path for above in upwards(path)}


class Place(NamedTuple):
    """Where a listing comes from, and by which clock it is judged."""

    base_url: str
    topdir: str
    clock: Clock

    def url(self, path: str) -> str:
        """The address of something below the topdir."""
        return plan.file_url(self.base_url, path)

    def questions(self, directory: MasterDirectory) -> Sequence[Question]:
        """What would be asked file by file, without reading any."""
        return plan.questions(directory, self.topdir, 0)

    def judge(self, question: Question, size: int | None) -> FileVerdict:
        """A file that is listed with this size, or not at all."""
        return compare.judge_listed(question, self.url(question.path), size, self.clock)


class _Doubt(NamedTuple):
    """What is wrong with a directory, if the listing is whole: a file is missing, or there are too few."""

    question: int
    files: int


class ListingJudge:
    """Takes the lines of an rsync listing. What is certain at once goes to `found`, the rest when the listing ends.

    With `same` it gets those that are as on the master and have no important files, many at a time: most are so.
    """

    def __init__(self, index: Index, wanted: BitMap, place: Place, found: Found, same: Same | None = None) -> None:
        self.entries = 0
        self.seen = 0  # of the wanted directories
        self.behind_links = BitMap()  # wanted, but not listed since a directory above is a link
        self._by_path = index.by_path
        self._with_parents = index.with_parents
        self._linked: set[str] = set()
        self._open = index.ids & wanted
        self._place = place
        self._found = found
        self._tell_same = same
        self._same: list[int] = []
        self._doubts: dict[int, _Doubt] = {}
        self._path: str | None = None
        self._names: list[str] = []
        self._sizes: list[str] = []
        self._links: set[str] = set()
        self._overfull = False

    @property
    def leads_elsewhere(self) -> bool:
        """Directories that are wanted lie behind links, which a listing does not follow."""
        return bool(self._linked)

    def take(self, lines: bytes) -> None:
        """Go on with these whole lines."""
        paths, sizes, links = entries(lines)
        self.entries += len(paths)
        self._linked |= links & self._with_parents
        names, runs = runs_of(paths)
        for directory, start, end in runs:
            if directory != self._path:
                self._leave()
                self._path = directory
            self._names += names[start:end]
            self._sizes += sizes[start:end]
            if links:
                self._links.update(name for name in names[start:end] if join(directory, name) in links)
        if len(self._names) > MAX_ENTRIES:  # no directory of a master has so many
            self._forget()
            self._overfull = True
        self._hand_out_same()

    def _hand_out_same(self) -> None:
        if self._tell_same and self._same:
            self._tell_same(self._same)
            self._same = []

    def end(self, listed: Listed) -> None:
        """There is no more. What was not seen is missing if the listing is whole, or if the server says so."""
        self._leave()
        self._hand_out_same()
        self._leave_open_what_is_behind_links()
        if listed.whole:
            for directory in self._by_path.values():
                if directory.id in self._open:
                    self._found(directory, self._place.judge(self._place.questions(directory)[0], None))
                elif directory.id in self._doubts:
                    self._found(directory, self._in_doubt(directory, self._doubts[directory.id]))
            return
        for path, directory in self._by_path.items():
            if directory.id not in self._open:
                continue
            if lies_in(path, listed.closed):
                url = self._place.url(path)
                evidence = Evidence(url, "a directory that may be listed", "the server may not list it")
                self._found(directory, FileVerdict(Verdict.UNREADABLE, evidence))
            elif lies_in(path, listed.missing):
                self._found(directory, self._place.judge(self._place.questions(directory)[0], None))

    def _leave_open_what_is_behind_links(self) -> None:
        """rsync does not go there, but web servers do."""
        if self._linked:
            behind = (each.id for path, each in self._by_path.items() if not self._linked.isdisjoint(upwards(path)))
            self.behind_links = BitMap(behind) & self._open
            self._open -= self.behind_links

    def _in_doubt(self, directory: MasterDirectory, doubt: _Doubt) -> FileVerdict:
        if doubt.question >= 0:
            return self._place.judge(self._place.questions(directory)[doubt.question], None)
        return _too_few(directory, self._place, doubt.files)

    def _leave(self) -> None:
        """A directory is complete; files whose names nobody could ask for do not count, as on the master."""
        directory = None if self._path is None else self._by_path.get(self._path)
        if directory is not None and directory.id in self._open:
            self._open.discard(directory.id)
            self.seen += 1
            if not self._overfull:
                self._judge(directory)
        elif directory is not None:
            self._doubts.pop(directory.id, None)  # it comes in pieces: who knows what is in it
        self._path, self._overfull = None, False
        self._forget()

    def _forget(self) -> None:
        self._names, self._sizes, self._links = [], [], set()

    def _judge(self, directory: MasterDirectory) -> None:
        names, sizes = self._names, self._sizes
        text = "".join(names)
        if not (text.isascii() and text.isprintable()):
            rows = [(name, size) for name, size in zip(names, sizes, strict=True) if is_recordable(name)]
            names, sizes = [name for name, _ in rows], [size for _, size in rows]
        if directory.digest and not self._links and listing_digest(Files(names, sizes, ())) == directory.digest:
            if self._tell_same and not directory.important:
                self._same.append(directory.id)
            else:
                self._found(directory, _same(directory, self._place))
            return
        listed = dict(zip(names, sizes, strict=True))
        questions = self._place.questions(directory)
        for number, question in enumerate(questions):
            name = question.path.rpartition("/")[2]
            if name not in listed:
                self._doubts[directory.id] = _Doubt(number, 0)
                return
            said = self._place.judge(question, question.size if name in self._links else int(listed[name]))
            if said.verdict is not Verdict.OK:
                self._found(directory, said)
                return
        # With no more names than on the master and another digest, something of the master's must be missing.
        if directory.digest and not self._links and len(names) <= directory.file_count:
            self._doubts[directory.id] = _Doubt(-1, len(names))
            return
        self._found(directory, said)


def lies_in(path: str, tops: Collection[str]) -> bool:
    """Whether a path is one of these or below one."""
    return any(not top or path == top or path.startswith(f"{top}/") for top in tops)


def _same(directory: MasterDirectory, place: Place) -> FileVerdict:
    evidence = Evidence(place.url(plan.below(directory, place.topdir)), "the listing of the master", "the same")
    return FileVerdict(Verdict.OK, evidence)


def _too_few(directory: MasterDirectory, place: Place, files: int) -> FileVerdict:
    url = place.url(plan.below(directory, place.topdir))
    expected = f"{directory.file_count} files with the names and sizes that the master has"
    return FileVerdict(Verdict.STALE, Evidence(url, expected, f"{files} files, not all of them the same"))


# ---------------------------------------------------------------- the index pages of web servers


class FromPage(NamedTuple):
    """What an index page says of a directory: a verdict, or what is still to be asked."""

    verdict: FileVerdict | None
    to_ask: tuple[Question, ...] = ()


def judge_page(directory: MasterDirectory, page: Page, place: Place) -> FromPage:
    """Names on a page are exact, sizes and times often are not; and servers hide some files from it."""
    files = {entry.name: entry for entry in page.entries if not entry.is_directory}
    exact = all(entry.is_exact for entry in files.values())
    if exact and directory.digest:
        columns = Files(list(files), [str(entry.size) for entry in files.values()], ())
        if listing_digest(columns) == directory.digest:
            return FromPage(_same(directory, place))
    known = {file.name: file for file in directory.sample}
    to_ask = []
    said = None
    for question in place.questions(directory):
        name = question.path.rpartition("/")[2]
        entry = files.get(name)
        if entry is None or not (entry.is_exact or _agrees(entry, known.get(name))):
            to_ask.append(question)
            continue
        said = place.judge(question, entry.size if entry.is_exact else question.size)
        if said.verdict is not Verdict.OK:
            return FromPage(said)
    if len(files) + HIDDEN < directory.file_count:
        return FromPage(_too_few(directory, place, len(files)))
    return FromPage(None, tuple(to_ask)) if to_ask else FromPage(said)


def _agrees(entry: Entry, file: SampleFile | None) -> bool:
    """Whether a rough entry can only be this file: its size within a tenth, its time to the minute, in some zone."""
    if file is None or not entry.mtime or abs(entry.size - file.size) > max(file.size, entry.size) / 10:
        return False
    apart = entry.mtime - (file.mtime - file.mtime % 60)
    return apart % _ZONE == 0 and abs(apart) < _MOST_ZONES
