"""One import: a source's drafts become a plan for the registry, which is tried, reported and carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from mm_lib.importers import almalinux, apt_list, arch_status, csv_table, masterlist, mirrorbits
from mm_lib.importers.cleaning import Options, clean
from mm_lib.importers.decoding import decode
from mm_lib.importers.drafts import Found, MirrorDraft, Parser
from mm_lib.importers.merging import Merger
from mm_lib.importers.report import Outcome, Report
from mm_lib.registry.carry_out import Powers, carry_out
from mm_lib.registry.current import read_sites
from mm_lib.registry.planning import ChangedMeanwhile, Plan, Wish, concern, make_plan
from mm_lib.registry.steps import Action
from mm_lib.services.content import find_category

FORMATS: dict[str, Parser] = {
    "almalinux": almalinux.parse,
    "apt-list": apt_list.parse,
    "arch": arch_status.parse,
    "csv": csv_table.parse,
    "masterlist": masterlist.parse,
    "mirrorbits": mirrorbits.parse,
}
_OUTCOMES = {Action.ADD: Outcome.TAKEN, Action.CHANGE: Outcome.CHANGED}


@dataclass(frozen=True)
class Prepared:
    """What an import would do."""

    plan: Plan
    report: Report


def read_source(format_name: str, sources: Iterable[tuple[str, bytes]]) -> Found:
    """The drafts and notes of all files, given as (name, bytes)."""
    for file, data in sources:
        text, notes = decode(data, file)
        yield from notes
        if text is not None:
            yield from FORMATS[format_name](text, file)


def prepare(
    session: Session, found: Found, options: Options, powers: Powers, progress: Callable[[], object] = lambda: None
) -> Prepared:
    """Find out what would happen, by trying. The session must be rolled back afterwards. Raises NotFound."""
    for category in sorted(set(options.categories.values())):
        find_category(session, category)
    report = Report()
    merger = Merger(read_sites(session, powers.now), report)
    for one in found:
        if not isinstance(one, MirrorDraft):
            report.add(one)
        elif cleaned := clean(one, options, report):
            merger.add(cleaned)
    plan = make_plan(session, Wish(merger.sites(), complete=False, delete=False), powers, progress)
    _tell(plan, merger, report)
    return Prepared(plan, report)


def _tell(plan: Plan, merger: Merger, report: Report) -> None:
    """What became of each object."""
    refused = {id(refusal.step) for refusal in plan.refused}
    changed = set()
    for step in plan.steps:
        changed.add((step.site, step.host))
        if id(step) not in refused:
            report.count(_OUTCOMES[step.action], step.kind)
    for refusal in plan.refused:
        step = refusal.step
        where = merger.places.get((step.site, step.host), "")
        report.refused(step.kind, where, step.subject, refusal.reason)
    if same := len(set(merger.places) - changed):
        report.count(Outcome.UNCHANGED, "host", same)


def execute(
    session: Session, prepared: Prepared, powers: Powers, progress: Callable[[], object] = lambda: None
) -> None:
    """Do all that is not refused. Raises ChangedMeanwhile, and Refused when something is refused only now."""
    plan = prepared.plan
    if concern(read_sites(session, powers.now), plan.wish) != plan.fingerprint:
        raise ChangedMeanwhile("The registry was changed while the import was looked at. Nothing was done; try again.")
    refused = {id(refusal.step) for refusal in plan.refused}
    carry_out(session, [step for step in plan.steps if id(step) not in refused], powers, progress)
