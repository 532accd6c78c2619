"""Every decision about a mirror in words, line by line, for operators' questions: --host NAME --verbose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mm_crawler.notes import Notes
from mm_crawler.report import CategoryDecision, CategoryReport, CategoryTask, HostDecision, HostReport, HostTask, Tier


class Explainer:
    """Tells what is asked and why, what came back, and what follows."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._names: dict[int, str] = {}

    def begin(self, tasks: Sequence[HostTask]) -> None:
        """What will be asked, and why."""
        for task in tasks:
            for category in task.categories:
                self._names[category.host_category_id] = f"{task.name}: {category.plan.category.name}"
                self._lines(category.host_category_id, _asked(category))

    def notes(self, task: HostTask) -> Notes:
        """Tells everything that happens while this host is asked."""
        return _HostNotes(self._write, task.name)

    def tell(self, report: HostReport, decision: HostDecision | None) -> None:
        """What was found, and what follows."""
        decided = {each.host_category_id: each for each in decision.categories} if decision else {}
        for category in report.categories:
            self._lines(category.host_category_id, _found(category))
            if category.host_category_id in decided:
                self._lines(category.host_category_id, _follows(decided[category.host_category_id]))
        if report.refused:
            self._write(f"{report.name}: not asked: {report.refused}")
        if decision and decision.disable_reason:
            self._write(f"{report.name}: {decision.disable_reason}")
        if decision and decision.enable_reason:
            self._write(f"{report.name}: switched on again: {decision.enable_reason}")

    def _lines(self, host_category_id: int, lines: Iterator[str]) -> None:
        for line in lines:
            self._write(f"{self._names[host_category_id]}: {line}")


class _HostNotes:
    """A line for everything that happens."""

    def __init__(self, write: Callable[[str], object], name: str) -> None:
        self._write = write
        self._name = name

    def note(self, event: str, **fields: object) -> None:
        """Tell it."""
        told = ", ".join(f"{name} {value}" for name, value in fields.items() if value != "")
        self._write(f"{self._name}: {event}: {told}")


def _asked(task: CategoryTask) -> Iterator[str]:
    yield f"a {task.tier} crawl asks for {len(task.plan.asked)} directories"
    if task.because and task.tier in (Tier.METADATA, Tier.INCREMENTAL):
        yield f"{len(task.because.changed)} of them because they changed on the master since it was last asked"
        yield f"{len(task.because.again)} because it did not have them as they are on the master"
        yield f"{len(task.because.sample)} as a sample of the rest"
    yield f"by these addresses, the first that answers: {' '.join(task.urls) or 'none that we can use'}"


def _found(report: CategoryReport) -> Iterator[str]:
    where = f" at {report.base_url}" if report.base_url else ""
    told = f": {report.reason}" if report.reason else ""
    yield f"{report.outcome}{where}, {report.requests} requests in {report.seconds:.1f} s{told}"
    counted = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if count)
    if counted:
        yield f"verdicts: {counted}"
    for kind, evidence in report.evidence:
        yield f"{kind}: {evidence.url}: expected {evidence.expected}; found {evidence.found}"


def _follows(decision: CategoryDecision) -> Iterator[str]:
    yield f"{decision.health}{' from now on' if decision.health_changed else ' as before'}: {decision.reason}"
    yield f"{len(decision.up_to_date)} of {decision.total} directories count as up to date"
    if decision.failures:
        yield f"{decision.failures} failures in a row since {decision.failing_since:%Y-%m-%d %H:%M} UTC"
    if decision.memory is None:
        return
    memory = decision.memory
    yield f"{len(memory.ask_again)} directories are asked again by the next incremental crawl"
    if memory.unknown_since:
        since = f"{memory.unknown_since:%Y-%m-%d %H:%M} UTC"
        yield f"{len(memory.unknown)} directories without an answer since {since}, in {memory.unknown_tries} crawls"
    if memory.sync_seconds:
        yield f"it seems to fetch from its master every {memory.sync_seconds / 60:.0f} minutes"
    for tier, turn in memory.turns.items():
        yield f"next {tier} crawl due at {turn.next_due_at:%Y-%m-%d %H:%M} UTC"
