"""Products, versions, arches and categories: make, find and list them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.content import Arch, Category, Directory, Product, Repository, RepositoryRedirect, Version
from mm_lib.services.changes import Change, Plan, edit
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound
from mm_lib.services.sources import with_keyring


def clean_name(field: str, text: str) -> str:
    """The name without blanks around it. Raises InvalidValue when nothing or something unprintable is left."""
    name = text.strip()
    if not name or len(name) > 255 or not name.isprintable():
        raise InvalidValue(field, "must have 1 to 255 printable characters")
    return name


def clean_text(field: str, text: str, most: int = 2000) -> str:
    """Free text without blanks around it, perhaps of several lines. Raises InvalidValue."""
    stripped = text.replace("\r\n", "\n").strip()
    if len(stripped) > most or not stripped.replace("\n", "").replace("\t", "").isprintable():
        raise InvalidValue(field, f"must have at most {most} printable characters")
    return stripped


def clean_email(field: str, text: str) -> str:
    """An e-mail address in normal form, or nothing. Raises InvalidValue."""
    if not text.strip():
        return ""
    try:
        # Whether the domain receives mail now says little, and a check must not need the network.
        return validate_email(text.strip(), check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise InvalidValue(field, str(error)) from None


def find_product(session: Session, name: str) -> Product:
    """The product of that name. Raises NotFound."""
    product = session.scalar(select(Product).where(Product.name == name))
    if product is None:
        raise NotFound(f"There is no product {name!r}. `mm-admin product list` shows them.")
    return product


def find_category(session: Session, name: str) -> Category:
    """The category of that name. Raises NotFound."""
    category = session.scalar(select(Category).where(Category.name == name))
    if category is None:
        raise NotFound(f"There is no category {name!r}. `mm-admin category list` shows them.")
    return category


def add_product(session: Session, name: str, *, public: bool = True) -> Plan:
    """Make a product. Raises AlreadyExists, InvalidValue."""
    name = clean_name("name", name)
    if session.scalar(select(Product.id).where(Product.name == name)):
        raise AlreadyExists(f"There is a product {name!r} already.")
    values = {"public": public, "sort_order": 0}
    return Plan(
        "product add", name, [Change("product", {"name": name}, None, values, name, ("no product", "a product"))]
    )


def add_version(
    session: Session,
    product: str,
    name: str,
    *,
    display_name: str = "",
    codename: str = "",
    is_test: bool = False,
    display: bool = True,
) -> Version:
    """Make a version of a product. Raises NotFound, AlreadyExists."""
    owner = find_product(session, product)
    name = clean_name("name", name)
    if session.scalar(select(Version.id).where(Version.product_id == owner.id, Version.name == name)):
        raise AlreadyExists(f"{product} has a version {name!r} already.")
    version = Version(
        product=owner, name=name, display_name=display_name, codename=codename, is_test=is_test, display=display
    )
    session.add(version)
    session.flush()
    return version


def add_arch(session: Session, name: str, *, public: bool = True, primary: bool = True) -> Arch:
    """Make an architecture. Raises AlreadyExists."""
    name = clean_name("name", name)
    if session.scalar(select(Arch.id).where(Arch.name == name)):
        raise AlreadyExists(f"There is an arch {name!r} already.")
    arch = Arch(name=name, public=public, primary=primary)
    session.add(arch)
    session.flush()
    return arch


def add_category(
    session: Session,
    name: str,
    product: str,
    *,
    topdir: str = "",
    source: dict[str, Any] | None = None,
    public: bool = True,
    admin_only: bool = False,
    canonical_host: str = "",
) -> Category:
    """Make a category. Raises NotFound, AlreadyExists, InvalidValue."""
    owner = find_product(session, product)
    name = clean_name("name", name)
    if session.scalar(select(Category.id).where(Category.name == name)):
        raise AlreadyExists(f"There is a category {name!r} already.")
    category = Category(
        name=name,
        product=owner,
        topdir=clean_topdir(topdir),
        source=source or {},
        public=public,
        admin_only=admin_only,
        canonical_host=canonical_host,
    )
    session.add(category)
    session.flush()
    return category


_SCAN_FIELDS = ("sentinels", "max_stale_days", "max_propagation_days", "max_vanished_share", "vanished")
_NEEDS = {"present": "needs", "absent": "waits for the end of"}


def set_category(session: Session, name: str, values: dict[str, Any]) -> Plan:
    """Change how a category is scanned; `values` are columns, or "keyring". Raises NotFound, InvalidValue."""
    category = find_category(session, name)
    values = dict(values)
    share = values.get("max_vanished_share")
    if share is not None and share > 1:
        raise InvalidValue("max-vanished-share", "must be 0 to 1, e.g. 0.05 for 5 %")
    for paths in values.get("sentinels", {}).values():
        if not all(path.strip() == path and path.isprintable() and path for path in paths):
            raise InvalidValue("sentinels", "must be printable paths without blanks around them")
    keyring = values.pop("keyring", None)
    kept = category.source.get("keyring")
    if keyring is not None or (values.get("source") and kept):  # another source does not make signatures needless
        values["source"] = with_keyring(
            values.get("source", category.source), str(kept) if keyring is None else keyring
        )
    changed = {key: value for key, value in values.items() if getattr(category, key) != value}
    changes = [
        edit("category", category, f"{name}: {key}", {key: value}, (_shown(getattr(category, key)), _shown(value)))
        for key, value in changed.items()
    ]
    return Plan("category set", name, changes)


def _shown(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, dict) and "type" in value:
        return json.dumps({key: entry for key, entry in value.items() if entry})
    if isinstance(value, dict):
        return "; ".join(f"{_NEEDS[key]} {', '.join(paths)}" for key, paths in value.items()) or "nothing"
    return str(value)


def clean_topdir(text: str) -> str:
    """The topdir without slashes around it. Raises InvalidValue."""
    parts = [part for part in text.strip().split("/") if part]
    if any(part in (".", "..") or not part.isprintable() for part in parts):
        raise InvalidValue("topdir", f"{text!r} is not a plain path such as pub/fedora/linux")
    return "/".join(parts)


def add_redirect(session: Session, from_prefix: str, to_prefix: str) -> RepositoryRedirect:
    """Let clients that ask for one prefix get another. Raises AlreadyExists, InvalidValue."""
    from_prefix, to_prefix = clean_name("from", from_prefix), clean_name("to", to_prefix)
    if from_prefix == to_prefix:
        raise InvalidValue("to", "an alias cannot point to itself")
    if session.scalar(select(RepositoryRedirect.id).where(RepositoryRedirect.from_prefix == from_prefix)):
        raise AlreadyExists(f"{from_prefix!r} is an alias already.")
    refuse_chain(session, from_prefix, to_prefix)
    redirect = RepositoryRedirect(from_prefix=from_prefix, to_prefix=to_prefix)
    session.add(redirect)
    session.flush()
    return redirect


def refuse_chain(session: Session, from_prefix: str, target: str) -> None:
    """Redirectors follow one redirect only: what leads on from there, or in a circle, leads nowhere."""
    rows = session.scalars(select(RepositoryRedirect).where(RepositoryRedirect.from_prefix != from_prefix))
    known = {row.from_prefix: row.to_prefix for row in rows}
    beyond = known.get(target)
    if beyond == from_prefix:
        raise InvalidValue("to", f"{target} is redirected to {from_prefix}: they would lead to each other")
    if beyond is not None:
        raise InvalidValue("to", f"{target} is itself redirected to {beyond}; name that one")
    before = sorted(prefix for prefix, to in known.items() if to == from_prefix)
    if before:
        raise InvalidValue("from", f"{', '.join(before)} leads here; redirect that to {target} first")


def list_redirects(session: Session) -> list[dict[str, Any]]:
    """Aliases of repositories."""
    redirects = session.scalars(select(RepositoryRedirect).order_by(RepositoryRedirect.from_prefix))
    return [_pick(redirect, ("id", "from_prefix", "to_prefix")) for redirect in redirects]


def list_products(session: Session) -> list[dict[str, Any]]:
    """Products with the number of their versions."""
    rows = session.execute(
        select(Product, func.count(Version.id)).outerjoin(Version).group_by(Product.id).order_by(Product.name)
    )
    return [{"id": product.id, "name": product.name, "public": product.public, "versions": n} for product, n in rows]


def list_versions(session: Session) -> list[dict[str, Any]]:
    """Versions of all products."""
    versions = session.scalars(
        select(Version).options(joinedload(Version.product)).join(Product).order_by(Product.name, Version.name)
    )
    fields = ("id", "name", "display_name", "codename", "is_test", "display")
    return [{"product": version.product.name, **_pick(version, fields)} for version in versions]


def list_arches(session: Session) -> list[dict[str, Any]]:
    """Architectures."""
    arches = session.scalars(select(Arch).order_by(Arch.name))
    return [_pick(arch, ("id", "name", "public", "primary")) for arch in arches]


def list_categories(session: Session) -> list[dict[str, Any]]:
    """Categories with the number of their directories."""
    directories = select(Directory.category_id, func.count().label("n")).group_by(Directory.category_id).subquery()
    rows = session.execute(
        select(Category, directories.c.n)
        .options(joinedload(Category.product))
        .outerjoin(directories, directories.c.category_id == Category.id)
        .order_by(Category.name)
    )
    fields = ("id", "name", "topdir", "public", "admin_only", "source", "last_scanned_at", *_SCAN_FIELDS)
    return [
        {"product": category.product.name, **_pick(category, fields), "directories": n or 0} for category, n in rows
    ]


def list_repositories(session: Session) -> list[dict[str, Any]]:
    """Repositories with what they point to."""
    query = (
        select(Repository)
        .options(
            *(
                joinedload(path)
                for path in (Repository.version, Repository.arch, Repository.category, Repository.directory)
            )
        )
        .order_by(Repository.prefix, Repository.arch_id)
    )
    return [
        {
            "id": repository.id,
            "prefix": repository.prefix,
            "arch": repository.arch.name,
            "version": repository.version.name,
            "category": repository.category.name,
            "directory": repository.directory.path if repository.directory else None,
            "enabled": repository.enabled,
            "pinned": repository.pinned,
        }
        for repository in session.scalars(query)
    ]


def _pick(row: Any, fields: Sequence[str]) -> dict[str, Any]:
    return {field: getattr(row, field) for field in fields}
