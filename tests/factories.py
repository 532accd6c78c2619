"""Rows for tests, with sensible values for everything that a test does not care about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pyroaring import BitMap
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.base import State
from mm_lib.model.content import Arch, Category, Directory, FileDetail, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth, HostCategoryState, StateSource

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def category(session: Session, name: str = "Fedora Linux", topdir: str = "pub/fedora/linux") -> Category:
    """A category of the product Fedora."""
    product = session.scalar(select(Product).where(Product.name == "Fedora")) or Product(name="Fedora")
    row = Category(product=product, name=name, topdir=topdir)
    session.add(row)
    session.flush()
    return row


def directory(session: Session, of: Category, below: str, readable: bool = True) -> Directory:
    """A directory below the category's topdir."""
    row = Directory(category=of, path="/".join(part for part in (of.topdir, below) if part), mtime=0, readable=readable)
    session.add(row)
    session.flush()
    return row


def repository(
    session: Session, of: Directory, prefix: str | None, arch: str = "x86_64", enabled: bool = True
) -> Repository:
    """A repository in the directory, with version 44."""
    product = of.category.product
    version = session.scalar(select(Version).where(Version.product_id == product.id, Version.name == "44"))
    of_arch = session.scalar(select(Arch).where(Arch.name == arch))
    version, of_arch = version or Version(product=product, name="44"), of_arch or Arch(name=arch)
    session.add_all([version, of_arch])
    row = Repository(
        prefix=prefix,
        version=version,
        arch=of_arch,
        category=of.category,
        directory=of,
        enabled=enabled,
    )
    session.add(row)
    session.flush()
    return row


def file_detail(
    session: Session, of: Directory, timestamp: int, digit: str = "a", name: str = "repomd.xml"
) -> FileDetail:
    """A version of an important file whose hashes repeat one digit."""
    row = FileDetail(
        directory_id=of.id,
        filename=name,
        content_id=f"sha256:{digit * 64}",
        timestamp=timestamp,
        size=1000,
        md5=digit * 32,
        sha1=digit * 40,
        sha256=digit * 64,
        sha512=digit * 128,
    )
    session.add(row)
    session.flush()
    return row


def host(
    session: Session,
    name: str,
    *,
    country: str | None = "DE",
    private: bool = False,
    site_private: bool = False,
    state: State = State.ACTIVE,
    site_state: State = State.ACTIVE,
    bandwidth: int = 100,
) -> Host:
    """A host of a site of its own."""
    why = {"state_reason": "test", "state_by": "test"}
    site = Site(name=f"Site of {name}", private=site_private, state=site_state, **why)
    row = Host(site=site, name=name, country=country, private=private, state=state, bandwidth_mbps=bandwidth, **why)
    session.add(row)
    session.flush()
    return row


def carries(
    session: Session,
    of: Host,
    what: Category,
    up_to_date: Iterable[Directory] = (),
    *,
    url: str | None = None,
    url_private: bool = False,
    always: bool = False,
    health: Health = Health.ACTIVE,
) -> HostCategory:
    """The host carries the category, with these directories up to date."""
    row = HostCategory(host=of, category=what, always_up_to_date=always)
    row.urls.append(HostCategoryUrl(url=url or f"http://{of.name}/{what.topdir or 'top'}", private=url_private))
    session.add(row)
    session.flush()
    bitmap = BitMap(item.id for item in up_to_date)
    if bitmap:
        state = HostCategoryState(
            host_category_id=row.id,
            up_to_date=bitmap.serialize(),
            directories_up_to_date=len(bitmap),
            directories_total=len(bitmap),
            established_at=NOW,
            source=StateSource.CRAWL,
        )
        session.add(state)
    session.add(HostCategoryHealth(host_category_id=row.id, health=health))
    session.flush()
    return row
