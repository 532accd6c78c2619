"""What the public may know of the mirrors: which versions they carry, where they are, how to reach them.

Everything is read at once into a Registry of plain values, which pages then filter: a registry has some hundred public
mirrors, and one that is kept for a minute answers every reader of that minute without the database.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from babel import Locale
from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Arch, Category, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth, HostCategoryState
from mm_lib.rules.urls import MIRROR_SCHEMES, preference
from mm_lib.rules.versions import rank
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
    """Which mirrors are meant. An empty text, None, False or 0: any."""

    content: Content = Content()
    country: str = ""
    protocol: str = ""
    ipv6: bool = False
    percent: int = 0  # of the directories that a mirror must have up to date at least


@dataclass(frozen=True)
class MirrorCategory:
    """A category on a mirror, with its public addresses, the best protocol first."""

    id: int
    product_id: int
    name: str
    urls: tuple[str, ...]
    always_up_to_date: bool
    directories_up_to_date: int
    directories_total: int
    checked_at: datetime | None

    @property
    def percent(self) -> int:
        """How much of it is as on the master; 100 is all of it, and never rounded up to."""
        total = max(self.directories_total, 1)
        if self.always_up_to_date or self.directories_up_to_date >= total:
            return 100
        return max(1, 100 * self.directories_up_to_date // total)


@dataclass(frozen=True)
class Mirror:
    """One public mirror."""

    id: int
    name: str
    site: str
    site_url: str
    country: str | None
    bandwidth_mbps: int
    comment: str
    has_ipv4: bool | None
    has_ipv6: bool | None
    categories: tuple[MirrorCategory, ...]


class Served(NamedTuple):
    """Of a public mirror what pages need that are about something else."""

    id: int
    name: str
    site: str
    country: str | None
    whole: bool  # all that it carries is as on the master


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


@dataclass(frozen=True)
class Registry:
    """Everything that the public may know, as it was at one moment."""

    catalogue: Catalogue
    mirrors: tuple[Mirror, ...]
    contents: frozenset[tuple[int, int, int]]  # category, version and arch that there is a repository for
    examples: Mapping[int, tuple[str, str]]  # version -> a prefix and an arch that its clients can ask for

    def mirror(self, id_: int) -> Mirror | None:
        """The public mirror of this number."""
        return next((mirror for mirror in self.mirrors if mirror.id == id_), None)

    def served(self) -> dict[int, Served]:
        """The mirrors by number, in short."""
        return {
            one.id: Served(one.id, one.name, one.site, one.country, all(part.percent == 100 for part in one.categories))
            for one in self.mirrors
        }

    def matrix(self) -> Matrix:
        """Product by displayed version by public arch, with the number of mirrors in each cell."""
        carriers: dict[int, set[int]] = {}
        for mirror in self.mirrors:
            for category in mirror.categories:
                carriers.setdefault(category.id, set()).add(mirror.id)
        cells: dict[tuple[int, int], set[int]] = {}
        for category_id, version, arch in self.contents:
            cells.setdefault((version, arch), set()).update(carriers.get(category_id, ()))
        return Matrix(
            products=tuple(
                _matrix_product(product, self.catalogue.archs, cells) for product in self.catalogue.products
            ),
            mirrors=len(self.mirrors),
            organisations=len({mirror.site for mirror in self.mirrors}),
            countries=len({mirror.country for mirror in self.mirrors} - {None}),
        )

    def find(self, filters: MirrorFilters, language: str = "en") -> list[Mirror]:
        """The mirrors that match, each with the categories that do, by country and name."""
        carried = self._carried(filters.content)
        found = [mirror for one in self.mirrors if (mirror := _narrowed(one, filters, carried))]
        names = country_names(language)
        found.sort(
            key=lambda mirror: (
                not mirror.country,
                _alphabetical(names.get(mirror.country or "", mirror.country or "")),
                mirror.name.casefold(),
                mirror.id,
            )
        )
        return found

    def page(self, filters: MirrorFilters, number: int, size: int, language: str = "en") -> MirrorPage:
        """A page of the mirrors that match. A number beyond the last page means the last one."""
        everywhere = self.find(replace(filters, country=""), language)
        found = [mirror for mirror in everywhere if filters.country in ("", mirror.country)]
        pages = max(1, -(-len(found) // size))
        number = min(max(1, number), pages)
        return MirrorPage(
            mirrors=tuple(found[(number - 1) * size : number * size]),
            total=len(found),
            number=number,
            pages=pages,
            countries=count_countries(everywhere, language),
        )

    def _carried(self, content: Content) -> set[int] | None:
        """Categories with a repository of the version and arch (switched on or not); None: all."""
        if content.version is None and content.arch is None:
            return None
        return {
            category
            for category, version, arch in self.contents
            if (content.version is None or version == content.version.id)
            and (content.arch is None or arch == content.arch.id)
        }


def read_registry(session: Session) -> Registry:
    """What the public may know, in five queries."""
    choices = catalogue(session)
    archs = {arch.id: arch for arch in choices.archs}
    repositories = session.execute(
        select(Repository.category_id, Repository.version_id, Repository.arch_id, Repository.prefix, Repository.enabled)
        .join(Category, Repository.category_id == Category.id)
        .where(*_PUBLIC_CATEGORY)
    ).all()
    askable = [row for row in repositories if row.enabled and row.prefix and archs[row.arch_id].public]
    order = {id_: place for place, id_ in enumerate(archs)}
    askable.sort(key=lambda row: (len(row.prefix), row.prefix, order[row.arch_id]), reverse=True)
    return Registry(
        catalogue=choices,
        mirrors=_mirrors(session),
        contents=frozenset((row.category_id, row.version_id, row.arch_id) for row in repositories),
        examples={row.version_id: (row.prefix, archs[row.arch_id].name) for row in askable},
    )


def read_served(session: Session) -> dict[int, Served]:
    """The registry's mirrors in short, in one query: the first reader of a page does not wait for all about them."""
    state, urls = HostCategoryState, _urls().where(HostCategoryUrl.host_category_id == HostCategory.id)
    total = case((state.directories_total > 1, state.directories_total), else_=1)
    whole = case((or_(HostCategory.always_up_to_date, state.directories_up_to_date >= total), 1), else_=0)
    columns = (Host.id, Host.name, Site.name, Host.country)
    query = _visible(*columns, func.min(whole)).where(urls.correlate(HostCategory).exists()).group_by(*columns)
    return {row[0]: Served._make((*row[:-1], bool(row[-1]))) for row in session.execute(query)}


@cache
def country_names(language: str = "en") -> dict[str, str]:
    """Code -> name of every country."""
    names = Locale(language).territories
    return {code: names.get(code, code) for code in continents()}


def count_countries(mirrors: Iterable[Mirror], language: str = "en") -> tuple[CountryCount, ...]:
    """The countries that these mirrors stand in, with how many there are, by name."""
    names = country_names(language)
    counts = Counter(mirror.country for mirror in mirrors if mirror.country)
    found = (CountryCount(code, names.get(code, code), number) for code, number in counts.items())
    return tuple(sorted(found, key=lambda country: _alphabetical(country.name)))


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


_PUBLIC_CATEGORY = (Category.public, ~Category.admin_only)
_COLUMNS: tuple[Any, ...] = (
    Host.id,
    Host.name,
    Site.name.label("site"),
    Site.org_url,
    Host.country,
    Host.bandwidth_mbps,
    Host.comment,
    Host.has_ipv4,
    Host.has_ipv6,
    HostCategory.id.label("host_category_id"),
    Category.id.label("category_id"),
    Category.product_id,
    Category.name.label("category"),
    HostCategory.always_up_to_date,
    HostCategoryState.directories_up_to_date,
    HostCategoryState.directories_total,
    HostCategoryState.established_at,
)
_OF_MIRROR = 9  # of these columns; the others are of a category on it


def _visible(*columns: Any) -> Select[Any]:
    """What the public may use: all active, nothing private, and something to fetch."""
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
        )
    )


def _urls() -> Select[int, str]:
    """Addresses that the public may use."""
    return select(HostCategoryUrl.host_category_id, HostCategoryUrl.url).where(
        ~HostCategoryUrl.private, HostCategoryUrl.problem == "", _known_scheme()
    )


def _known_scheme() -> ColumnElement[bool]:
    return or_(*(HostCategoryUrl.url.startswith(f"{scheme}://") for scheme in MIRROR_SCHEMES))


def _mirrors(session: Session) -> tuple[Mirror, ...]:
    """In two queries: a category has several addresses, and to read all about it with each of them takes long."""
    urls: dict[int, list[str]] = {}
    for id_, url in session.execute(_urls()):
        urls.setdefault(id_, []).append(url)
    mirrors: dict[int, Any] = {}
    carried: dict[int, list[MirrorCategory]] = {}
    for row in session.execute(_visible(*_COLUMNS)):
        of_mirror, (id_, *of_category) = row[:_OF_MIRROR], row[_OF_MIRROR:]
        if id_ in urls:
            mirrors[of_mirror[0]] = of_mirror
            carried.setdefault(of_mirror[0], []).append(_category(urls[id_], of_category))
    by_name = attrgetter("name")
    return tuple(Mirror(*(*mirrors[id_], tuple(sorted(carried[id_], key=by_name)))) for id_ in sorted(mirrors))


def _category(urls: Iterable[str], values: Iterable[Any]) -> MirrorCategory:
    id_, product_id, name, always, good, total, checked_at = values
    ordered = tuple(sorted(urls, key=lambda url: (preference(url), url)))
    return MirrorCategory(id_, product_id, name, ordered, always, good or 0, total or 0, checked_at)


def _narrowed(mirror: Mirror, filters: MirrorFilters, carried: set[int] | None) -> Mirror | None:
    """The mirror with those of its categories that match; None: it does not."""
    if filters.country not in ("", mirror.country) or (filters.ipv6 and not mirror.has_ipv6):
        return None
    product, scheme = filters.content.product, f"{filters.protocol}://"
    categories = tuple(
        category
        for category in mirror.categories
        if (product is None or category.product_id == product.id)
        and (carried is None or category.id in carried)
        and (not filters.percent or category.percent >= filters.percent)
        and (not filters.protocol or any(url.startswith(scheme) for url in category.urls))
    )
    if len(categories) == len(mirror.categories):
        return mirror
    return replace(mirror, categories=categories) if categories else None


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
    """As the operator numbered them; else by name."""
    return version.sort_order, *rank(version.name)


@lru_cache(maxsize=4096)
def _alphabetical(name: str) -> str:
    """Åland stands at A."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(character for character in plain if not unicodedata.combining(character)).casefold()


def _named(things: Iterable[_Choice], name: str) -> _Choice | None:
    return next((thing for thing in things if thing.name == name), None)
