"""How fast the updates of a period reached the mirrors of a product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.content import Arch, Product, Repository, Version
from mm_lib.model.statistics import PropagationVersion
from mm_lib.reports.mirrors import midnight
from mm_lib.statistics.figures import Span


@dataclass(frozen=True)
class Update:
    """A version of a repository's metadata, and the seconds until 80 % had it; None: not while it was the newest."""

    repository: str
    mirrors_80: int | None
    requests_80: int | None


@dataclass(frozen=True)
class Spreading:
    """All updates of some repositories together."""

    updates: tuple[Update, ...]

    def median_of(self, what: str) -> float | None:
        """Of those that got there."""
        reached = [value for update in self.updates if (value := getattr(update, what)) is not None]
        return median(reached) if reached else None

    @property
    def not_reached(self) -> int:
        """Updates that fewer than 80 % of the mirrors had before the next one."""
        return sum(update.mirrors_80 is None for update in self.updates)

    def by_repository(self) -> list[tuple[str, Spreading]]:
        """The slowest first: those that did not reach 80 % at all, then by the median."""
        groups: dict[str, list[Update]] = defaultdict(list)
        for update in self.updates:
            groups[update.repository].append(update)
        found = [(name, Spreading(tuple(group))) for name, group in groups.items()]
        return sorted(found, key=lambda one: (-_slowness(one[1].updates), one[0]))


def _slowness(updates: Iterable[Update]) -> float:
    times = sorted(float("inf") if update.mirrors_80 is None else update.mirrors_80 for update in updates)
    return times[len(times) // 2]


def by_product(session: Session, span: Span) -> dict[str, Spreading]:
    """The updates that the master had in the period. Versions that nobody was asked for are left out."""
    table = PropagationVersion
    start, end = midnight(span.first), midnight(span.last) + timedelta(days=1)
    query = (
        select(Product.name, Repository.prefix, Arch.name, table.mirrors_80, table.requests_80)
        .select_from(table)
        .join(Repository, Repository.id == table.repository_id)
        .join(Arch, Arch.id == Repository.arch_id)
        .join(Version, Version.id == Repository.version_id)
        .join(Product, Product.id == Version.product_id)
        .where(table.published_at >= start, table.published_at < end, table.mirrors > 0)
        .order_by(Repository.prefix, Arch.name, table.timestamp)
    )
    found: dict[str, list[Update]] = defaultdict(list)
    for product, prefix, arch, mirrors_80, requests_80 in session.execute(query):
        found[product].append(Update(f"{prefix} {arch}", mirrors_80, requests_80))
    return {product: Spreading(tuple(updates)) for product, updates in found.items()}
