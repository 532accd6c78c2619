"""What a mirror turns out to have of a category, as it becomes known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pyroaring import BitMap

from mm_crawler import compare
from mm_crawler.fetch.base import Answer, FetchError
from mm_crawler.notes import NO_NOTES, Notes
from mm_crawler.report import CategoryTask, DirectoryVerdict, Evidence, Verdict

EXAMPLES = 7  # kept of each kind of evidence; there are seven kinds, so a report has fewer than 50


class Findings:
    """Collects verdicts. One that says something replaces an "unknown"; the first that says something stays."""

    def __init__(self, task: CategoryTask, notes: Notes) -> None:
        self.stopped = ""  # why not every directory was asked
        self.evidence: list[tuple[str, Evidence]] = []
        self.unknown_in_a_row = 0
        self.last_unknown = ""
        self._plan = task.plan
        self.notes = notes
        self._verdicts = {verdict: BitMap() for verdict in Verdict}
        self._ids = BitMap(directory.id for directory in task.plan.asked)
        self._repodata = frozenset(task.plan.category.repodata.values())
        self._matched: dict[int, DirectoryVerdict] = {}
        self._other_hosts: set[str] = set()

    @property
    def judged(self) -> BitMap:
        """The directories that got an answer that says something."""
        said = (ids for verdict, ids in self._verdicts.items() if verdict is not Verdict.UNKNOWN)
        return BitMap.union(*said)

    @property
    def open(self) -> BitMap:
        """The directories of which nothing is known."""
        return self._ids - self.judged

    def stop(self, reason: str) -> None:
        """Ask no more; the first reason counts."""
        if not self.stopped:
            self.stopped = reason
            self.notes.note("stopped", reason=reason)

    def add(self, found: DirectoryVerdict) -> None:
        """Note a verdict."""
        unknown = found.verdict is Verdict.UNKNOWN
        self._verdicts[Verdict.UNKNOWN].discard(found.directory_id)
        self._verdicts[found.verdict].add(found.directory_id)
        if found.directory_id in self._repodata:
            self._matched[found.directory_id] = found
        if found.verdict is not Verdict.OK:
            self.keep(found.verdict, found.evidence)
        self.unknown_in_a_row = self.unknown_in_a_row + 1 if unknown else 0
        if unknown:
            self.last_unknown = f"{found.evidence.found} for {found.evidence.url}"
        if self.notes is not NO_NOTES:
            self.notes.note("judged", directory=found.directory_id, verdict=found.verdict, **found.evidence._asdict())

    def add_same(self, ids: Iterable[int]) -> None:
        """Note that these directories are as on the master; none of them has important files."""
        same = BitMap(ids)
        self._verdicts[Verdict.OK] |= same
        self._verdicts[Verdict.UNKNOWN] -= same
        self.unknown_in_a_row = 0

    def note_redirect(self, url: str, answer: Answer | FetchError) -> None:
        """Keep an example of each other host that answers for this mirror."""
        other = compare.other_host(url, answer)
        if other and other not in self._other_hosts:
            self._other_hosts.add(other)
            evidence = Evidence(url, "an answer of the mirror itself", compare.found(answer, url))
            self.keep("redirect", evidence)
            self.notes.note("redirected", url=url, to=other)

    def keep(self, kind: str, evidence: Evidence) -> None:
        """Keep an example, if there are not enough of this kind."""
        if Counter(kept for kept, _ in self.evidence)[kind] < EXAMPLES:
            self.evidence.append((str(kind), evidence))

    def verdicts(self) -> dict[Verdict, BitMap]:
        """All of them; what was not asked is unknown."""
        unknown = self._verdicts[Verdict.UNKNOWN] | self.open
        return compare.imply(self._plan, {**self._verdicts, Verdict.UNKNOWN: unknown})

    def repositories(self) -> dict[int, DirectoryVerdict]:
        """What was found of each repository's metadata."""
        repodata = self._plan.category.repodata.items()
        return {
            repository: self._matched[directory] for repository, directory in repodata if directory in self._matched
        }
