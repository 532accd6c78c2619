"""Requests of distributions: what was counted by repository belongs to the product that has the repository."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.content import Product, Repository, RepositoryRedirect, Version
from mm_lib.model.statistics import AccessDimension, AccessStatistic, StatisticLevel
from mm_lib.statistics import figures
from mm_lib.statistics.figures import Figures, Known, Row, Span


@dataclass(frozen=True)
class ProductRequests:
    """How often the repositories of a product were asked for."""

    requests: int
    before: int
    everything: int  # requests of all products and of none
    repositories: tuple[Row, ...]  # most requests first


def owners(session: Session) -> dict[str, str]:
    """Name of a repository, as clients ask for it -> its product. Redirected names belong to where they lead."""
    query = (
        select(Repository.prefix, Product.name)
        .join(Version, Version.id == Repository.version_id)
        .join(Product, Product.id == Version.product_id)
        .where(Repository.prefix.is_not(None))
        .order_by(Product.name.desc())
    )
    found = {str(prefix): product for prefix, product in session.execute(query)}
    redirects = select(RepositoryRedirect.from_prefix, RepositoryRedirect.to_prefix)
    aliases = {old: found[new] for old, new in session.execute(redirects) if new in found}
    return aliases | found


def counted(session: Session, dimension: AccessDimension, span: Span, compared: Span | None) -> Figures:
    """Figures of requests; how many clients there were is not told here, so it does not matter which days are known."""
    return figures.read(session, dimension, span, compared, Known(span.first, span.last, span.last))


def by_product(session: Session, span: Span, compared: Span) -> dict[str, ProductRequests]:
    """Every product that was asked for now or before; requests for what no product has stand under ""."""
    whose = owners(session)
    now = counted(session, AccessDimension.REPOSITORY, span, compared)
    then = counted(session, AccessDimension.REPOSITORY, compared, None)
    rows: dict[str, list[Row]] = defaultdict(list)
    before: dict[str, int] = defaultdict(int)
    for row in now.rows:
        rows[whose.get(row.name, "")].append(row)
    for row in then.rows:
        before[whose.get(row.name, "")] += row.requests
    return {
        product: ProductRequests(
            sum(row.requests for row in rows[product]), before[product], now.requests, tuple(rows[product])
        )
        for product in sorted(rows.keys() | before.keys())
    }


def over_time(session: Session, level: StatisticLevel, first: date, last: date) -> Mapping[str, list[tuple[str, int]]]:
    """Requests of each product per period, steps without any included when there are figures of others."""
    return steps(session, AccessDimension.REPOSITORY, (level, first, last), owners(session))


def steps(
    session: Session, dimension: AccessDimension, when: tuple[StatisticLevel, date, date], whose: Mapping[str, str]
) -> dict[str, list[tuple[str, int]]]:
    """Requests per period of names together that are the same one's; those of nobody stand under ""."""
    level, first, last = when
    table = AccessStatistic
    query = select(table.start, table.name, table.requests).where(
        table.level == level, table.dimension == dimension, table.start.between(first, last)
    )
    counts: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    starts = set()
    for start, name, requests in session.execute(query):
        counts[whose.get(name, "")][start] += requests
        starts.add(start)
    written = "%Y-%m" if level is StatisticLevel.MONTH else "%Y-%m-%d"
    return {
        owner: [(start.strftime(written), found.get(start, 0)) for start in sorted(starts)]
        for owner, found in counts.items()
    }
