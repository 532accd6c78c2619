"""Public mirrors, and how fresh each repository is there; how updates spread; how much is asked for."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from flask import current_app
from pydantic import BaseModel, ConfigDict, Field

from mm_frontend.api.calling import now
from mm_frontend.api.content import the_repository
from mm_frontend.api.hosts import the_host
from mm_frontend.api.models import HostRepository, Output, ShortText, host_repository
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, some
from mm_frontend.db import session
from mm_frontend.public.kept import Kept
from mm_frontend.settings import frontend
from mm_lib.model.statistics import AccessDimension, AccessStatistic, PropagationStatistic, StatisticLevel
from mm_lib.services import access, listings, mirrors, overview
from mm_lib.services.access import EVERYBODY, SEE
from mm_lib.services.errors import NotFound
from mm_lib.services.listings import Fresh
from mm_lib.services.mirrors import Mirror, MirrorCategory, MirrorFilters, Registry
from mm_lib.services.tokens import Scope

TAG, STATISTICS = "mirrors", "statistics"
_FOR_ALL: dict[str, Any] = {"scope": None, "who": EVERYBODY}
_KEPT = "mirrormanager.api.registry"
_DAYS = 366


class MirrorCategoryOut(Output):
    """A category on a public mirror."""

    name: str
    urls: list[str]
    percent: int
    always_up_to_date: bool
    directories_up_to_date: int
    directories_total: int
    checked_at: datetime | None


class MirrorOut(Output):
    """A public mirror."""

    id: int
    name: str
    site: str
    site_url: str
    country: str | None
    bandwidth_mbps: int
    comment: str
    has_ipv4: bool | None
    has_ipv6: bool | None
    categories: list[MirrorCategoryOut]


class FreshOut(Output):
    """How a mirror's copy of a repository was when it was last asked for."""

    mirror_id: int
    mirror: str
    verdict: str
    lag_seconds: int | None
    checked_at: datetime
    has: datetime | None = Field(description="When the metadata that it has was made.")


class MirrorQuery(PageQuery):
    """Which page, and which mirrors. What is left out: any."""

    product: ShortText = ""
    version: ShortText = ""
    arch: ShortText = ""
    country: ShortText = ""
    protocol: ShortText = ""
    ipv6: bool = False
    percent: int = Field(0, ge=0, le=100, description="Of the directories that are to be up to date at least.")


class PropagationQuery(BaseModel):
    """Since when."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(14, ge=1, le=_DAYS)


class PropagationOut(Output):
    """How many mirrors had how old a version of a repository at one moment."""

    at: datetime
    same_day: int
    one_day: int
    two_days: int
    older: int
    unknown: int


class Propagation(Output):
    """The oldest first."""

    items: list[PropagationOut]


class FigureQuery(BaseModel):
    """Which period."""

    model_config = ConfigDict(extra="forbid")

    level: StatisticLevel = StatisticLevel.DAY
    start: date = Field(description="Its first day.")


class FiguresQuery(BaseModel):
    """Which periods."""

    model_config = ConfigDict(extra="forbid")

    level: StatisticLevel = StatisticLevel.DAY
    days: int = Field(30, ge=1, le=_DAYS)


class FigureOut(Output):
    """Requests of a period."""

    start: date
    name: str
    requests: int
    clients: int = Field(description="Networks; of longer periods the sum over the days.")


class Figures(Output):
    """Most requests first, or the oldest first."""

    items: list[FigureOut]


def _registry() -> Registry:
    kept: Kept[Registry] = current_app.extensions.setdefault(_KEPT, Kept(frontend().cache_seconds))
    return kept.get(lambda: mirrors.read_registry(session()))


def _mirror(found: Mirror) -> MirrorOut:
    columns = {name: getattr(found, name) for name in MirrorOut.model_fields if name != "categories"}
    return MirrorOut(categories=[_carried(category) for category in found.categories], **columns)


def _carried(category: MirrorCategory) -> MirrorCategoryOut:
    columns = {name: getattr(category, name) for name in MirrorCategoryOut.model_fields if name != "urls"}
    return MirrorCategoryOut(urls=[f"{url}/" for url in category.urls], **columns)


def _the_mirror(id_: int) -> Mirror:
    found = _registry().mirror(id_)
    if found is None:
        raise NotFound("There is no such public mirror.")
    return found


@operation(
    "GET", "/mirrors", tag=TAG, summary="List public mirrors", query=MirrorQuery, answer=Page[MirrorOut], **_FOR_ALL
)
def list_mirrors(query: MirrorQuery) -> Page[MirrorOut]:
    """With what they carry, and how much of it is up to date. A name that is not known counts as left out."""
    registry = _registry()
    filters = MirrorFilters(
        content=registry.catalogue.choose(query.product, query.version, query.arch),
        country=query.country.upper(),
        protocol=query.protocol.lower(),
        ipv6=query.ipv6,
        percent=query.percent,
    )
    return some(registry.find(filters), query, _mirror, lambda mirror: mirror.id)


@operation("GET", "/mirrors/<int:mirror_id>", tag=TAG, summary="Show a public mirror", answer=MirrorOut, **_FOR_ALL)
def show_mirror(mirror_id: int) -> MirrorOut:
    """One mirror."""
    return _mirror(_the_mirror(mirror_id))


@operation(
    "GET",
    "/mirrors/<int:mirror_id>/repositories",
    tag=TAG,
    summary="List how fresh a mirror's repositories are",
    query=PageQuery,
    answer=Page[HostRepository],
    **_FOR_ALL,
)
def list_mirror_repositories(mirror_id: int, query: PageQuery) -> Page[HostRepository]:
    """As they were when the mirror was last asked."""
    shown = {category.name for category in _the_mirror(mirror_id).categories}
    host = access.reach(session(), {"host_id": mirror_id}).host
    assert host is not None
    rows = [row for row in overview.repositories(session(), host) if row.category in shown]
    return some(list(enumerate(rows)), query, lambda row: host_repository(row[1]), lambda row: row[0])


@operation(
    "GET",
    "/repositories/<int:repository_id>/mirrors",
    tag=TAG,
    summary="List how fresh a repository is on each mirror",
    query=PageQuery,
    answer=Page[FreshOut],
    **_FOR_ALL,
)
def list_repository_mirrors(repository_id: int, query: PageQuery) -> Page[FreshOut]:
    """Public mirrors that were asked for it."""
    repository, registry = the_repository(repository_id), _registry()
    carrying = {
        mirror.id: mirror.name
        for mirror in registry.mirrors
        if any(category.id == repository.category_id for category in mirror.categories)
    }
    rows = listings.freshness(session(), repository.id, list(carrying))
    return some(rows, query, lambda row: _fresh(row, carrying[row.host_id]), lambda row: row.host_id)


def _fresh(row: Fresh, name: str) -> FreshOut:
    has = None if row.has is None else datetime.fromtimestamp(row.has, now().tzinfo)
    return FreshOut(
        mirror_id=row.host_id,
        mirror=name,
        verdict=row.verdict,
        lag_seconds=row.lag_seconds,
        checked_at=row.checked_at,
        has=has,
    )


def _spread(row: PropagationStatistic) -> PropagationOut:
    return PropagationOut.model_validate(row)


@operation(
    "GET",
    "/repositories/<int:repository_id>/propagation",
    tag=STATISTICS,
    summary="Show how updates of a repository reached the mirrors",
    query=PropagationQuery,
    answer=Propagation,
    **_FOR_ALL,
)
def show_propagation(repository_id: int, query: PropagationQuery) -> Propagation:
    """How many mirrors had how old a version, since so many days; the oldest first."""
    repository = the_repository(repository_id)
    rows = listings.propagation(session(), repository.id, now() - timedelta(days=query.days))
    return Propagation(items=[_spread(row) for row in rows])


def _figure(row: AccessStatistic) -> FigureOut:
    return FigureOut.model_validate(row)


@operation(
    "GET",
    "/statistics/<dimension>",
    tag=STATISTICS,
    summary="Show what was asked for in a period",
    query=FigureQuery,
    answer=Figures,
    **_FOR_ALL,
)
def show_statistics(dimension: str, query: FigureQuery) -> Figures:
    """By countries, archs, repositories, tiers, protocols, families, clients, kinds, asns or all; most asked first."""
    public = set(AccessDimension) - {AccessDimension.HOST}
    if dimension not in public:
        raise NotFound(f"Requests are counted by {', '.join(sorted(public))}.")
    rows = listings.figures(session(), AccessDimension(dimension), query.level, query.start)
    return Figures(items=[_figure(row) for row in rows])


@operation(
    "GET",
    "/hosts/<int:host_id>/statistics",
    tag=STATISTICS,
    summary="Show how often a host was handed out",
    scope=Scope.STATISTICS_READ,
    who=SEE,
    query=FiguresQuery,
    answer=Figures,
)
def show_host_statistics(query: FiguresQuery) -> Figures:
    """In each period since so many days; the oldest first."""
    since = (now() - timedelta(days=query.days)).date()
    rows = listings.host_figures(session(), the_host(), query.level, since)
    return Figures(items=[_figure(row) for row in rows])
