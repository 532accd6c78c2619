"""A small master tree for the crawler's tests: in memory, on disk, and in the database."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from mm_crawler.engine import Limits
from mm_crawler.master.diff import listing_digest
from mm_crawler.master.scanned import ScannedFile
from mm_crawler.report import (
    CategoryTask,
    FileVersion,
    HostTask,
    ImportantFile,
    MasterCategory,
    MasterDirectory,
    Tier,
)
from mm_lib.model.content import Arch, Category, Directory, FileDetail, Product, Repository, Version
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site

TOPDIR = "pub/fedora"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = 86400
OLD, NEW = b"<repomd>old</repomd>", b"<repomd>new!</repomd>"


def limits(**changes: float) -> Limits:
    """Quick ones."""
    base = Limits(
        hosts=20,
        connections=40,
        connections_per_host=2,
        host_timeout=20,
        total_timeout=30,
        max_metadata_bytes=1 << 20,
        max_stale_seconds=4 * DAY,
    )
    return base._replace(**changes)  # type: ignore[arg-type]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def repomd(superseded_at: int) -> ImportantFile:
    """A repomd.xml of which NEW is current and OLD was, until then."""
    new = FileVersion(2, superseded_at, len(NEW), sha256(NEW), None)
    old = FileVersion(1, superseded_at - DAY, len(OLD), sha256(OLD), superseded_at)
    return ImportantFile("repomd.xml", (new, old))


def directory(
    id_: int,
    path: str,
    *files: str,
    important: tuple[ImportantFile, ...] = (),
    readable: bool = True,
    size: int = 4,
    mtime: int = 0,
) -> MasterDirectory:
    """A directory whose files all have the same size and time."""
    sample = json.dumps([[name, size, mtime] for name in files])
    return MasterDirectory(id_, path, readable, id_, sample, important)


def category(*directories: MasterDirectory, repodata: dict[int, int] | None = None, id_: int = 1) -> MasterCategory:
    return MasterCategory(id_, "Fedora Linux", TOPDIR, directories, repodata or {})


def write(root: Path, master: MasterCategory) -> Path:
    """A mirror in sync: every file of the category below the topdir; returns the root."""
    for each in master.directories:
        folder = root / each.path.removeprefix(TOPDIR).strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for file in each.sample:
            (folder / file.name).write_bytes(b"good"[: file.size].ljust(file.size, b"x"))
        for important in each.important:
            (folder / important.name).write_bytes(NEW)
    return root


def with_digests(master: MasterCategory, sampled: int) -> MasterCategory:
    """With the digests of its listings, as a scan records them, and only the last so many files sampled of each."""

    def scanned(each: MasterDirectory) -> MasterDirectory:
        sizes = {file.name: file.size for file in each.sample}
        sizes |= {file.name: file.versions[0].size for file in each.important}
        files = [ScannedFile(name, size, 0) for name, size in sizes.items()]
        sample = json.dumps(each.sample[-sampled:])
        return replace(each, digest=listing_digest(files), file_count=len(files), sample_json=sample)

    return replace(master, directories=tuple(map(scanned, master.directories)))


def tasks_for(urls: dict[str, str], master: MasterCategory, tier: Tier = Tier.FULL) -> list[HostTask]:
    """A task per mirror, in the order given; host and host-category ids count from 1."""
    from random import Random

    from mm_crawler.plan import make_plan

    plan = make_plan(master, Random(1))
    return [
        HostTask(number, name, "site", (CategoryTask(number, (url,), plan, tier),))
        for number, (name, url) in enumerate(urls.items(), 1)
    ]


class World:
    """Rows for the tests of the data layer; every method flushes, so ids are there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        product = Product(name="Fedora")
        session.add(product)
        session.flush()
        self.version = Version(product_id=product.id, name="44")
        self.arch = Arch(name="x86_64")
        self.category = Category(product_id=product.id, name="Fedora Linux", topdir=TOPDIR)
        self.site = Site(name="Example Site")
        self._add(self.version, self.arch, self.category, self.site)

    def _add(self, *rows: object) -> None:
        self.session.add_all(rows)
        self.session.flush()

    def other_category(self, name: str) -> Category:
        made = Category(product_id=self.category.product_id, name=name, topdir="pub/epel")
        self._add(made)
        return made

    def directory(
        self, path: str, *files: str, readable: bool = True, size: int = 4, category: Category | None = None
    ) -> Directory:
        made = Directory(
            category_id=(category or self.category).id,
            path=path,
            readable=readable,
            mtime=1,
            sample=[[name, size, 0] for name in files],
        )
        self._add(made)
        return made

    def detail(self, directory: Directory, content: bytes, timestamp: int, filename: str = "repomd.xml") -> FileDetail:
        digest = sha256(content)
        made = FileDetail(
            directory_id=directory.id,
            filename=filename,
            content_id=f"sha256:{digest}",
            timestamp=timestamp,
            size=len(content),
            sha256=digest,
        )
        self._add(made)
        return made

    def repository(self, prefix: str, directory: Directory) -> Repository:
        made = Repository(
            prefix=prefix,
            version_id=self.version.id,
            arch_id=self.arch.id,
            category_id=directory.category_id,
            directory_id=directory.id,
        )
        self._add(made)
        return made

    def host(self, name: str, *urls: str, category: Category | None = None, always: bool = False) -> Host:
        """A host with one category at these URLs."""
        made = Host(site_id=self.site.id, name=name)
        self._add(made)
        self.carry(made, *urls, category=category, always=always)
        return made

    def carry(self, host: Host, *urls: str, category: Category | None = None, always: bool = False) -> HostCategory:
        made = HostCategory(host_id=host.id, category_id=(category or self.category).id, always_up_to_date=always)
        self._add(made)
        self._add(*(HostCategoryUrl(host_category_id=made.id, url=url) for url in urls))
        return made
