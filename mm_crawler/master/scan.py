"""One category's scan from beginning to end: read what is known, walk, compare, read important files, record."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mm_crawler.master import deletion, sentinels
from mm_crawler.master.deletion import DeletionPolicy
from mm_crawler.master.diff import Changes, compare, memory, unchanged
from mm_crawler.master.history import Ageing
from mm_crawler.master.important import Findings, collect, to_read
from mm_crawler.master.known import KnownCategory, load_category, load_directories, would_trust_more
from mm_crawler.master.record import Recorded, Stamp, record
from mm_crawler.master.refusal import hold_back
from mm_crawler.master.scanned import Excludes, ScannedDirectory, Source
from mm_crawler.master.signatures import GnuPGKeyring
from mm_crawler.master.source import fingerprint, open_source, parse_source
from mm_lib.cli.common import Program
from mm_lib.services.errors import ServiceError
from mm_lib.services.sources import listing_of
from mm_lib.settings import CrawlerSettings

Progress = Callable[[ScannedDirectory], None]


class NoSource(ServiceError):
    """The category says nowhere that its master is scanned."""


@dataclass(frozen=True)
class Options:
    """How to scan."""

    delete: bool = False  # forget directories that are gone
    force: bool = False  # even when so many are gone that the master looks half there
    full: bool = False  # list every directory and read every important file, whatever is remembered
    dry_run: bool = False
    listing: str = ""  # a file that is scanned in the source's place


@dataclass(frozen=True)
class Outcome:
    """What a scan did, or in a dry run would have done."""

    counts: dict[str, int]
    problems: tuple[str, ...]
    alarms: tuple[str, ...] = ()  # metadata that was refused, and why


@contextmanager
def _rare_collections() -> Iterator[None]:
    """A scan makes millions of objects and few cycles: looking through them at the usual pace takes half its time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_rare_collections()
def scan_category(program: Program, name: str, options: Options, now: datetime, progress: Progress) -> Outcome:
    """Scan one category.

    Raises NoSource, MasterBusy, SourceError, TooManyVanished and ServiceError; then nothing is recorded.
    """
    with program.reading() as session:
        category = load_category(session, name)
        if not category.source and not options.listing:
            raise NoSource("skipped, it has no source")
        source = parse_source(listing_of(category.source, options.listing) if options.listing else category.source)
        known = load_directories(session, category)
    settings = program.settings.crawler
    trust_before = 0 if options.full or options.listing else category.trust_before
    printed = fingerprint(source)
    with closing(open_source(source, settings)) as tree:
        sentinels.check(tree, category.sentinels)
        remembered = memory(known, trust_before)
        # The same list, all of which can be trusted, shows the same directories: there is nothing to look for in it.
        same = printed is not None and printed == category.list_fingerprint and not category.vanished
        found = unchanged(known) if same and remembered.keys() == known.keys() else tree.directories(remembered)
        scanned = _watched(found, progress)
        changes = compare(scanned, known, Excludes(source.excludes), trust_before)
        doomed = deletion.decide(changes, known, category.vanished, _deletion_policy(category, settings, options))
        findings = _read_important(tree, changes, source.keyring, settings.max_metadata_bytes)
        sentinels.check(tree, category.sentinels)  # what began meanwhile was seen by half
    ids = {path: directory.id for path, directory in known.items()}
    hold_back(changes, findings, ids)
    # A dry run writes too, and rolls back: so it says exactly what would happen.
    with program.reading() if options.dry_run else program.transaction() as session:
        ageing = _ageing(category, settings)
        stamp = Stamp(now, printed, is_needed=would_trust_more(category, known, now))
        recorded = record(session, category, changes, findings, ids, doomed=doomed, stamp=stamp, ageing=ageing)
    counts = _counts(changes, findings, recorded)
    return Outcome(counts, _problems(changes, findings, recorded), tuple(findings.refused.values()))


def _read_important(tree: Source, changes: Changes, keyring: Path | None, limit: int) -> Findings:
    tree.prepare(list(to_read(changes.orders, signed=keyring is not None)), limit)
    with GnuPGKeyring(keyring) if keyring else nullcontext() as keys:
        return collect(tree.read, changes.orders, limit, changes.below_dists, keys)


def _deletion_policy(category: KnownCategory, settings: CrawlerSettings, options: Options) -> DeletionPolicy:
    own = category.max_vanished_share
    return DeletionPolicy(settings.max_vanished_share if own is None else own, options.delete, options.force)


def _ageing(category: KnownCategory, settings: CrawlerSettings) -> Ageing:
    """The category's own days go before those of the settings."""
    stale = settings.max_stale_days if category.max_stale_days is None else category.max_stale_days
    own = category.max_propagation_days
    return Ageing.of(stale, settings.max_propagation_days if own is None else own)


def _watched(scanned: Iterator[ScannedDirectory], progress: Progress) -> Iterator[ScannedDirectory]:
    for directory in scanned:
        progress(directory)
        yield directory


def _counts(changes: Changes, findings: Findings, recorded: Recorded) -> dict[str, int]:
    return {
        "directories": changes.seen,
        "new": len(changes.new),
        "changed": len(changes.changed),
        "gone": recorded.deleted,
        "kept": len(changes.vanished) - recorded.deleted,
        "unreadable": changes.unreadable,
        "files_read": findings.hashed,
        "refused": len(findings.refused),
        "files_added": recorded.files_added,
        "files_dropped": recorded.files_dropped,
        "versions_created": recorded.new_versions,
        "repositories_created": recorded.repositories_created,
        "repositories_moved": recorded.repositories_moved,
        "unmatched": recorded.repositories_unmatched,
    }


def _problems(changes: Changes, findings: Findings, recorded: Recorded) -> tuple[str, ...]:
    return (*changes.problems, *findings.problems, *recorded.problems)
