"""What is mirrored: products, versions, arches, categories and repositories."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from mm_frontend.api.models import Output, ShortText
from mm_frontend.api.operation import operation
from mm_frontend.api.paging import Page, PageQuery, page, wanted
from mm_frontend.db import session
from mm_frontend.guards import may
from mm_lib.model.content import Arch, Category, Product, Repository, Version
from mm_lib.services import listings
from mm_lib.services.access import AUDIT, EVERYBODY

TAG = "content"
_FOR_ALL: dict[str, Any] = {"tag": TAG, "scope": None, "who": EVERYBODY}


class ProductOut(Output):
    """A distribution or an add-on."""

    id: int
    name: str
    public: bool


class VersionOut(Output):
    """A release of a product."""

    id: int
    product: str
    name: str
    display_name: str
    codename: str
    is_test: bool
    display: bool


class ArchOut(Output):
    """A processor architecture as clients spell it."""

    id: int
    name: str
    public: bool
    primary: bool


class CategoryOut(Output):
    """A tree of content that is mirrored as a unit."""

    id: int
    name: str
    product: str
    topdir: str
    public: bool
    admin_only: bool
    canonical_host: str
    last_scanned_at: datetime | None


class RepositoryOut(Output):
    """What clients ask for by repo= and arch=."""

    id: int
    repo: str | None = Field(description="What clients send as repo=; null: nothing.")
    arch: str
    version: str
    product: str
    category: str
    directory: str | None
    enabled: bool


class VersionQuery(PageQuery):
    """Which page, and of which product."""

    product: ShortText = ""


class RepositoryQuery(PageQuery):
    """Which page, and which repositories."""

    repo: ShortText = ""
    arch: ShortText = ""


def hidden() -> bool:
    """Whether the caller sees what is not public, too."""
    return may(AUDIT)


def repository_out(row: Repository) -> RepositoryOut:
    """A repository."""
    return RepositoryOut(
        id=row.id,
        repo=row.prefix,
        arch=row.arch.name,
        version=row.version.name,
        product=row.version.product.name,
        category=row.category.name,
        directory=row.directory.path if row.directory else None,
        enabled=row.enabled,
    )


def the_repository(id_: int) -> Repository:
    """The repository of this number, if the caller may see it. Raises NotFound."""
    return listings.repository(session(), id_, hidden())


def _product(row: Product) -> ProductOut:
    return ProductOut.model_validate(row)


def _version(row: Version) -> VersionOut:
    columns = {name: getattr(row, name) for name in VersionOut.model_fields if name != "product"}
    return VersionOut(product=row.product.name, **columns)


def _arch(row: Arch) -> ArchOut:
    return ArchOut.model_validate(row)


def _category(row: Category) -> CategoryOut:
    columns = {name: getattr(row, name) for name in CategoryOut.model_fields if name != "product"}
    return CategoryOut(product=row.product.name, **columns)


@operation("GET", "/products", summary="List products", query=PageQuery, answer=Page[ProductOut], **_FOR_ALL)
def list_products(query: PageQuery) -> Page[ProductOut]:
    """Those that are public; all for administrators and auditors."""
    return page(listings.products(session(), wanted(query), hidden()), query, _product, lambda row: row.id)


@operation("GET", "/versions", summary="List versions", query=VersionQuery, answer=Page[VersionOut], **_FOR_ALL)
def list_versions(query: VersionQuery) -> Page[VersionOut]:
    """Of public products; of all for administrators and auditors."""
    rows = listings.versions(session(), wanted(query), hidden(), query.product)
    return page(rows, query, _version, lambda row: row.id)


@operation("GET", "/arches", summary="List arches", query=PageQuery, answer=Page[ArchOut], **_FOR_ALL)
def list_arches(query: PageQuery) -> Page[ArchOut]:
    """Those that are public; all for administrators and auditors."""
    return page(listings.arches(session(), wanted(query), hidden()), query, _arch, lambda row: row.id)


@operation("GET", "/categories", summary="List categories", query=PageQuery, answer=Page[CategoryOut], **_FOR_ALL)
def list_categories(query: PageQuery) -> Page[CategoryOut]:
    """Those that are public; all for administrators and auditors."""
    return page(listings.categories(session(), wanted(query), hidden()), query, _category, lambda row: row.id)


@operation(
    "GET",
    "/repositories",
    summary="List repositories",
    query=RepositoryQuery,
    answer=Page[RepositoryOut],
    **_FOR_ALL,
)
def list_repositories(query: RepositoryQuery) -> Page[RepositoryOut]:
    """Those that clients can ask for; all for administrators and auditors."""
    rows = listings.repositories(session(), wanted(query), hidden(), query.repo, query.arch)
    return page(rows, query, repository_out, lambda row: row.id)


@operation("GET", "/repositories/<int:repository_id>", summary="Show a repository", answer=RepositoryOut, **_FOR_ALL)
def show_repository(repository_id: int) -> RepositoryOut:
    """One repository."""
    return repository_out(the_repository(repository_id))
