"""What a crawl needs of the database, read in one transaction and then shared by all hosts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from mm_crawler.plan import REPODATA, REPOMD
from mm_crawler.report import (
    CrawlInput,
    FileVersion,
    ImportantFile,
    MasterCategory,
    MasterDirectory,
    Mirror,
    MirrorCategory,
    MirrorUrl,
)
from mm_crawler.selection import EVERYTHING, Selection
from mm_lib.model.base import State
from mm_lib.model.content import Category, Directory, FileDetail, Repository
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.services.errors import NotFound


def read(session: Session, selection: Selection = EVERYTHING) -> CrawlInput:
    """What the selection is about. Raises NotFound for a name that is not there."""
    categories, hosts = selection.categories, selection.hosts
    _refuse_unknown_categories(session, categories)
    mirrors = _mirrors(session, categories, hosts)
    missing = sorted(set(hosts) - {mirror.name for mirror in mirrors})
    if missing:
        raise NotFound(
            f"No host to crawl is named {', '.join(missing)}. A host is crawled when it and its site are active "
            "and not private, and it has a URL for a category that is not always up to date."
        )
    wanted = {carried.category_id for mirror in mirrors for carried in mirror.categories}
    return CrawlInput({id_: _category(session, id_) for id_ in sorted(wanted)}, mirrors)


def _refuse_unknown_categories(session: Session, names: Sequence[str]) -> None:
    known = set(session.scalars(select(Category.name)))
    unknown = sorted(set(names) - known)
    if unknown:
        raise NotFound(f"There is no category {', '.join(unknown)}. There are: {', '.join(sorted(known)) or 'none'}.")


def _mirrors(session: Session, categories: Sequence[str], hosts: Sequence[str]) -> tuple[Mirror, ...]:
    """Active, public hosts of active, public sites, with the categories that need a crawl and have a URL."""
    query = (
        select(
            Host.id,
            Host.name,
            Site.name.label("site"),
            Host.last_crawl_seconds,
            HostCategory.id.label("host_category_id"),
            HostCategory.category_id,
            HostCategoryUrl.url,
            HostCategoryUrl.private,
        )
        .join(Site, Site.id == Host.site_id)
        .join(HostCategory, HostCategory.host_id == Host.id)
        .join(HostCategoryUrl, HostCategoryUrl.host_category_id == HostCategory.id)
        .where(Host.state == State.ACTIVE, Site.state == State.ACTIVE)
        .where(~Host.private, ~Site.private, ~HostCategory.always_up_to_date)
        .order_by(Host.id, HostCategory.id, HostCategoryUrl.id)
    )
    if categories:
        query = query.join(Category, Category.id == HostCategory.category_id).where(Category.name.in_(categories))
    if hosts:
        query = query.where(Host.name.in_(hosts))
    named: dict[int, tuple[str, str, float | None]] = {}
    urls: dict[int, dict[tuple[int, int], list[MirrorUrl]]] = defaultdict(lambda: defaultdict(list))
    for row in session.execute(query):
        named[row.id] = (row.name, row.site, row.last_crawl_seconds)
        urls[row.id][row.host_category_id, row.category_id].append(MirrorUrl(row.url, row.private))
    return tuple(
        Mirror(
            host_id, name, site, tuple(MirrorCategory(*ids, tuple(of)) for ids, of in urls[host_id].items()), seconds
        )
        for host_id, (name, site, seconds) in named.items()
    )


def _category(session: Session, category_id: int) -> MasterCategory:
    category = session.get_one(Category, category_id)
    important = _important(session, category_id)
    query = (
        # As text: a category can have 150,000 directories, and decoded samples take four times the room.
        select(Directory.id, Directory.path, Directory.readable, Directory.mtime, cast(Directory.sample, Text))
        .where(Directory.category_id == category_id)
        .order_by(Directory.path)
    )
    directories = tuple(
        MasterDirectory(id_, path, readable, mtime, sample or "[]", important.get(id_, ()))
        for id_, path, readable, mtime, sample in session.execute(query)
    )
    repodata = _repodata(session, category_id, directories)
    return MasterCategory(category_id, category.name, category.topdir, directories, repodata, category.max_stale_days)


def _important(session: Session, category_id: int) -> dict[int, tuple[ImportantFile, ...]]:
    """Every known version of every important file, by directory."""
    query = (
        select(
            FileDetail.directory_id,
            FileDetail.filename,
            FileDetail.id,
            FileDetail.timestamp,
            FileDetail.size,
            FileDetail.sha256,
            FileDetail.first_seen_at,
        )
        .join(Directory, Directory.id == FileDetail.directory_id)
        .where(Directory.category_id == category_id)
        .order_by(FileDetail.directory_id, FileDetail.filename, FileDetail.timestamp.desc(), FileDetail.id.desc())
    )
    versions: dict[int, dict[str, list[FileVersion]]] = defaultdict(lambda: defaultdict(list))
    came_at: dict[tuple[int, str], int] = {}  # when the version before in this order was first seen on the master
    for directory_id, filename, id_, timestamp, size, sha256, first_seen_at in session.execute(query):
        superseded_at = came_at.get((directory_id, filename))
        versions[directory_id][filename].append(FileVersion(id_, timestamp, size, sha256, superseded_at))
        came_at[directory_id, filename] = int(first_seen_at.timestamp())
    return {
        directory_id: tuple(ImportantFile(name, tuple(known)) for name, known in files.items())
        for directory_id, files in versions.items()
    }


def _repodata(session: Session, category_id: int, directories: Iterable[MasterDirectory]) -> dict[int, int]:
    """For each repository the directory that holds its repomd.xml: below its own, or its own."""
    with_repomd = {
        directory.path: directory.id
        for directory in directories
        if any(file.name == REPOMD for file in directory.important)
    }
    query = (
        select(Repository.id, Directory.path)
        .join(Directory, Directory.id == Repository.directory_id)
        .where(Repository.category_id == category_id)
    )
    found = {}
    for repository_id, path in session.execute(query):
        below = f"{path}/{REPODATA}" if path else REPODATA
        directory_id = with_repomd.get(below) or with_repomd.get(path)
        if directory_id:
            found[repository_id] = directory_id
    return found
