"""What the public may know of the mirrors: which versions they carry, where they are, how to reach them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Any, TypeVar

from babel import Locale
from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Arch, Category, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth, HostCategoryState
from mm_lib.rules.urls import MIRROR_SCHEMES, preference
from mm_lib.services.geography import continents


@dataclass(frozen=True)
class VersionChoice:
    """A version as it is chosen: by name in addresses, by label on pages."""

    id: int
    name: str
    label: str
    displayed: bool


@dataclass(frozen=True)
class ProductChoice:
    """A public product with all its versions, in the order of display."""

    id: int
    name: str
    versions: tuple[VersionChoice, ...]


@dataclass(frozen=True)
class ArchChoice:
    """An arch, the primary ones first."""

    id: int
    name: str
    public: bool


_Choice = TypeVar("_Choice", ProductChoice, VersionChoice, ArchChoice)


@dataclass(frozen=True)
class Content:
    """What somebody looks for. None: anything."""

    product: ProductChoice | None = None
    version: VersionChoice | None = None
    arch: ArchChoice | None = None


@dataclass(frozen=True)
class Catalogue:
    """Everything that can be looked for."""

    products: tuple[ProductChoice, ...]
    archs: tuple[ArchChoice, ...]

    def choose(self, product: str, version: str, arch: str) -> Content:
        """The content of these names; a name that is not known is left out, and a version without its product too."""
        chosen = _named(self.products, product)
        return Content(chosen, _named(chosen.versions if chosen else (), version), _named(self.archs, arch))


@dataclass(frozen=True)
class Cell:
    """How many mirrors carry a version for an arch."""

    arch: str
    mirrors: int


@dataclass(frozen=True)
class MatrixVersion:
    """A row of the start page's table; None: there is nothing for that arch."""

    version: VersionChoice
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class MatrixProduct:
    """A table of the start page: its columns are the archs that it has anything for."""

    name: str
    archs: tuple[str, ...]
    versions: tuple[MatrixVersion, ...]


@dataclass(frozen=True)
class Matrix:
    """The start page: what there is, and how many serve it."""

    products: tuple[MatrixProduct, ...]
    mirrors: int
    organisations: int
    countries: int


@dataclass(frozen=True)
class MirrorFilters:
    """Which mirrors are meant. An empty text or None: any."""

    content: Content = Content()
    country: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class MirrorCategory:
    """A category on a mirror, with its public addresses, the best protocol first."""

    name: str
    urls: tuple[str, ...]
    always_up_to_date: bool
    directories_up_to_date: int
    directories_total: int
    checked_at: datetime | None


@dataclass(frozen=True)
class Mirror:
    """One public mirror."""

    name: str
    site: str
    site_url: str
    country: str | None
    bandwidth_mbps: int
    comment: str
    categories: tuple[MirrorCategory, ...]


@dataclass(frozen=True)
class CountryCount:
    """A country with the number of mirrors there."""

    code: str
    name: str
    mirrors: int


@dataclass(frozen=True)
class MirrorPage:
    """One page of the list, and what a reader needs to find the others."""

    mirrors: tuple[Mirror, ...]
    total: int
    number: int
    pages: int
    countries: tuple[CountryCount, ...]


@cache
def country_names(language: str = "en") -> dict[str, str]:
    """Code -> name of every country."""
    names = Locale(language).territories
    return {code: names.get(code, code) for code in continents()}


def catalogue(session: Session) -> Catalogue:
    """Public products with their versions, and all archs."""
    rows = session.execute(
        select(Product.id, Product.name, Version)
        .outerjoin(Version, Version.product_id == Product.id)
        .where(Product.public)
        .order_by(Product.sort_order, Product.name)
    )
    products = []
    for (id_, name), group in groupby(rows.all(), key=lambda row: (row[0], row[1])):
        versions = sorted((row[2] for row in group if row[2]), key=_version_order)
        products.append(ProductChoice(id_, name, tuple(_choice(version) for version in versions)))
    archs = session.execute(select(Arch.id, Arch.name, Arch.public).order_by(Arch.primary.desc(), Arch.id))
    return Catalogue(tuple(products), tuple(ArchChoice(*row) for row in archs.all()))


def matrix(session: Session) -> Matrix:
    """Product by displayed version by public arch, with the number of mirrors in each cell."""
    choices = catalogue(session)
    carriers: dict[int, set[int]] = {}
    sites, countries = set(), set()
    for category, host, site, country in session.execute(
        _visible(HostCategory.category_id, Host.id, Host.site_id, Host.country)
    ).all():
        carriers.setdefault(category, set()).add(host)
        sites.add(site)
        countries.add(country)
    cells: dict[tuple[int, int], set[int]] = {}
    for version, arch, category in session.execute(
        select(Repository.version_id, Repository.arch_id, Repository.category_id)
        .join(Category, Repository.category_id == Category.id)
        .where(*_PUBLIC_CATEGORY)
        .distinct()
    ).all():
        cells.setdefault((version, arch), set()).update(carriers.get(category, ()))
    return Matrix(
        products=tuple(_matrix_product(product, choices.archs, cells) for product in choices.products),
        mirrors=len(set().union(*carriers.values())),
        organisations=len(sites),
        countries=len(countries - {None}),
    )


def example_repository(session: Session, version_id: int) -> tuple[str, str] | None:
    """A prefix and an arch that clients of this version can ask for."""
    row = session.execute(
        select(Repository.prefix, Arch.name)
        .join(Arch, Repository.arch_id == Arch.id)
        .where(Repository.version_id == version_id, Repository.enabled, Repository.prefix.is_not(None), Arch.public)
        .order_by(func.length(Repository.prefix), Repository.prefix, Arch.primary.desc(), Arch.name)
        .limit(1)
    ).one_or_none()
    return (row[0], row[1]) if row and row[0] else None


def public_mirrors(session: Session, filters: MirrorFilters, number: int, size: int) -> MirrorPage:
    """A page of the mirrors that match, by country and name. A number beyond the last page means the last one."""
    names = country_names()
    # All matches are read, but little of each: the countries need counting, and their order is that of their names.
    rows = session.execute(
        _visible(Host.id, Host.name, Host.country, HostCategory.id, schemes=_schemes(filters.protocol)).where(
            *_carries(filters.content)
        )
    )
    carried: dict[tuple[int, str, str], list[int]] = {}
    for host, name, country, host_category in rows.all():
        carried.setdefault((host, name, country or ""), []).append(host_category)
    found = [key for key in carried if filters.country in ("", key[2])]
    found.sort(key=lambda key: (not key[2], _alphabetical(names.get(key[2], key[2])), key[1].casefold(), key[0]))
    pages = max(1, -(-len(found) // size))
    number = min(max(1, number), pages)
    shown = found[(number - 1) * size : number * size]
    details = _details(session, [id_ for key in shown for id_ in carried[key]])
    return MirrorPage(
        mirrors=tuple(_mirror(details[key[0]]) for key in shown),
        total=len(found),
        number=number,
        pages=pages,
        countries=_count_countries((key[2] for key in carried), names),
    )


_PUBLIC_CATEGORY = (Category.public, ~Category.admin_only)


def _visible(*columns: Any, schemes: Iterable[str] = MIRROR_SCHEMES) -> Select[Any]:
    """Host-categories that the public may use: all active, nothing private, with an address and something to fetch."""
    return (
        select(*columns)
        .select_from(HostCategory)
        .join(Host, HostCategory.host_id == Host.id)
        .join(Site, Host.site_id == Site.id)
        .join(Category, HostCategory.category_id == Category.id)
        .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
        .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
        .where(
            Host.state == State.ACTIVE,
            Site.state == State.ACTIVE,
            ~Host.private,
            ~Site.private,
            *_PUBLIC_CATEGORY,
            or_(HostCategory.always_up_to_date, HostCategoryState.directories_up_to_date > 0),
            or_(HostCategoryHealth.health.is_(None), HostCategoryHealth.health != Health.QUARANTINED),
            exists().where(HostCategoryUrl.host_category_id == HostCategory.id, _public_url(schemes)),
        )
    )


def _public_url(schemes: Iterable[str]) -> ColumnElement[bool]:
    known = or_(*(HostCategoryUrl.url.startswith(f"{scheme}://") for scheme in schemes))
    return ~HostCategoryUrl.private & known


def _schemes(protocol: str) -> tuple[str, ...]:
    return (protocol,) if protocol in MIRROR_SCHEMES else MIRROR_SCHEMES


def _carries(content: Content) -> list[ColumnElement[bool]]:
    """The category belongs to the product, and has a repository of the version and arch (switched on or not)."""
    conditions = [Category.product_id == content.product.id] if content.product else []
    wanted = []
    if content.version:
        wanted.append(Repository.version_id == content.version.id)
    if content.arch:
        wanted.append(Repository.arch_id == content.arch.id)
    if wanted:
        conditions.append(exists().where(Repository.category_id == Category.id, *wanted))
    return conditions


def _details(session: Session, host_categories: list[int]) -> dict[int, list[Any]]:
    """Host id -> a row for each public address of these host-categories, by category and preference."""
    if not host_categories:
        return {}
    rows = session.execute(
        select(
            Host.id,
            Host.name,
            Host.country,
            Host.bandwidth_mbps,
            Host.comment,
            Site.name.label("site"),
            Site.org_url,
            Category.name.label("category"),
            HostCategory.always_up_to_date,
            HostCategoryState.directories_up_to_date,
            HostCategoryState.directories_total,
            HostCategoryState.established_at,
            HostCategoryUrl.url,
        )
        .select_from(HostCategory)
        .join(Host, HostCategory.host_id == Host.id)
        .join(Site, Host.site_id == Site.id)
        .join(Category, HostCategory.category_id == Category.id)
        .join(HostCategoryUrl, HostCategoryUrl.host_category_id == HostCategory.id)
        .outerjoin(HostCategoryState, HostCategoryState.host_category_id == HostCategory.id)
        .where(HostCategory.id.in_(host_categories), _public_url(MIRROR_SCHEMES))
    ).all()
    found: dict[int, list[Any]] = {}
    for row in sorted(rows, key=lambda row: (row.category, preference(row.url), row.url)):
        found.setdefault(row.id, []).append(row)
    return found


def _mirror(rows: Sequence[Any]) -> Mirror:
    first = rows[0]
    return Mirror(
        name=first.name,
        site=first.site,
        site_url=first.org_url,
        country=first.country,
        bandwidth_mbps=first.bandwidth_mbps,
        comment=first.comment,
        categories=tuple(_category(list(group)) for _, group in groupby(rows, key=lambda row: row.category)),
    )


def _category(rows: Sequence[Any]) -> MirrorCategory:
    first = rows[0]
    return MirrorCategory(
        name=first.category,
        urls=tuple(row.url for row in rows),
        always_up_to_date=first.always_up_to_date,
        directories_up_to_date=first.directories_up_to_date or 0,
        directories_total=first.directories_total or 0,
        checked_at=first.established_at,
    )


def _count_countries(codes: Iterable[str], names: dict[str, str]) -> tuple[CountryCount, ...]:
    counts: dict[str, int] = {}
    for code in filter(None, codes):
        counts[code] = counts.get(code, 0) + 1
    found = (CountryCount(code, names.get(code, code), number) for code, number in counts.items())
    return tuple(sorted(found, key=lambda country: _alphabetical(country.name)))


def _matrix_product(
    product: ProductChoice, archs: Sequence[ArchChoice], cells: dict[tuple[int, int], set[int]]
) -> MatrixProduct:
    versions = [version for version in product.versions if version.displayed]
    columns = [arch for arch in archs if arch.public and any((version.id, arch.id) in cells for version in versions)]
    return MatrixProduct(
        name=product.name,
        archs=tuple(arch.name for arch in columns),
        versions=tuple(
            MatrixVersion(
                version,
                tuple(
                    Cell(arch.name, len(cells[version.id, arch.id])) if (version.id, arch.id) in cells else None
                    for arch in columns
                ),
            )
            for version in versions
        ),
    )


def _choice(version: Version) -> VersionChoice:
    return VersionChoice(version.id, version.name, version.display_name or version.name, version.display)


def _version_order(version: Version) -> tuple[int, bool, tuple[int, ...], str]:
    """As the operator numbered them; else names that are no numbers first, then numbers, the highest first."""
    numeric = version.name[:1].isdecimal()
    parts = tuple(-int(part) for part in re.findall(r"[0-9]+", version.name)) if numeric else ()
    return version.sort_order, numeric, (*parts, 1), version.name


def _alphabetical(name: str) -> str:
    """Åland stands at A."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(character for character in plain if not unicodedata.combining(character)).casefold()


def _named(things: Iterable[_Choice], name: str) -> _Choice | None:
    return next((thing for thing in things if thing.name == name), None)
