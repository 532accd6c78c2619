"""What the database holds of a category before a scan: one read, no session kept."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from mm_crawler.master.apt import in_archive
from mm_crawler.master.diff import KnownDirectory, sample_key
from mm_crawler.master.formats import is_important
from mm_lib.model.content import Category, Directory, FileDetail
from mm_lib.rules.repositories import Rule
from mm_lib.services.content import find_category
from mm_lib.services.rules import rules_of

_BATCH = 5000
# Times of files count whole seconds, and a file server's clock is not quite ours.
_MARGIN = timedelta(seconds=60)
_NOTHING: dict[str, tuple[int, int]] = {}
_NO_NAMES: frozenset[str] = frozenset()


@dataclass(frozen=True)
class KnownCategory:
    """A category as it was before the scan."""

    id: int
    name: str
    topdir: str
    product_id: int
    source: dict[str, Any]
    last_scanned_at: datetime | None
    list_fingerprint: bytes | None
    trust_before: int  # a directory whose times are older is as the last scan saw it; 0: none is
    rules: tuple[Rule, ...]
    vanished: int = 0  # directories that the last scan missed and kept
    sentinels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_stale_days: float | None = None  # None in these three: as the settings say
    max_propagation_days: float | None = None
    max_vanished_share: float | None = None


def load_category(session: Session, name: str) -> KnownCategory:
    """The category with its rules. Raises NotFound, InvalidValue."""
    category = find_category(session, name)
    return KnownCategory(
        id=category.id,
        name=category.name,
        topdir=category.topdir,
        product_id=category.product_id,
        source=category.source,
        last_scanned_at=category.last_scanned_at,
        list_fingerprint=category.list_fingerprint,
        trust_before=_trust_before(category),
        rules=rules_of(session, name),
        vanished=category.vanished,
        sentinels=category.sentinels,
        max_stale_days=category.max_stale_days,
        max_propagation_days=category.max_propagation_days,
        max_vanished_share=category.max_vanished_share,
    )


def _trust_before(category: Category) -> int:
    """Nothing is trusted after the category was edited: another source or other excludes show other directories."""
    scanned = category.last_scanned_at
    if scanned is None or category.updated_at >= scanned - _MARGIN:
        return 0
    return _trusted_after(scanned)


def _trusted_after(scan: datetime) -> int:
    return int((scan - _MARGIN).timestamp())


def would_trust_more(category: KnownCategory, known: Mapping[str, KnownDirectory], now: datetime) -> bool:
    """Whether the next scan could take more as given if it knew that there was one now which found nothing new."""
    after = _trusted_after(now)
    return any(category.trust_before <= directory.newest < after for directory in known.values())


def load_directories(session: Session, category: KnownCategory) -> dict[str, KnownDirectory]:
    """Every directory of the category by its path below the topdir."""
    details = _detail_names(session, category.id)
    rows = session.execute(
        select(
            Directory.id,
            Directory.path,
            Directory.mtime,
            Directory.readable,
            Directory.listing_digest,
            Directory.file_count,
            cast(Directory.sample, Text),
        )
        .where(Directory.category_id == category.id)
        .execution_options(yield_per=_BATCH)
    )
    known: dict[str, KnownDirectory] = {}
    for id_, path, mtime, readable, digest, file_count, packed in rows:
        names = details.get(id_, _NO_NAMES)
        sample = json.loads(packed)
        known[below(category.topdir, path)] = KnownDirectory(
            id=id_,
            mtime=mtime,
            readable=readable,
            digest=digest,
            sample_key=sample_key(packed),
            newest=max(mtime, *(entry[2] for entry in sample)) if sample else mtime,
            watched=_watched(sample, names),
            details=names,
            file_count=file_count,
            files=_all_files(sample) if in_archive(path) else _NOTHING,
        )
    return known


def _all_files(sample: Sequence[Sequence[Any]]) -> dict[str, tuple[int, int]]:
    return {name: (size, mtime) for name, size, mtime in sample}


def _watched(sample: Sequence[Sequence[Any]], details: frozenset[str]) -> dict[str, tuple[int, int]]:
    found = {name: (size, mtime) for name, size, mtime in sample if name in details or is_important(name)}
    return found or _NOTHING


def _detail_names(session: Session, category_id: int) -> dict[int, frozenset[str]]:
    names: dict[int, set[str]] = defaultdict(set)
    query = select(FileDetail.directory_id, FileDetail.filename).join(
        Directory, Directory.id == FileDetail.directory_id
    )
    for directory_id, filename in session.execute(query.where(Directory.category_id == category_id).distinct()):
        names[directory_id].add(filename)
    return {directory_id: frozenset(found) for directory_id, found in names.items()}


def below(topdir: str, path: str) -> str:
    """The path below the topdir. One that is not below it gets a form that no scan yields, so it counts as gone."""
    if not topdir:
        return path
    if path == topdir:
        return ""
    return path.removeprefix(f"{topdir}/") if path.startswith(f"{topdir}/") else f"/{path}"
