"""What a crawl needs of the database, read in one transaction and then shared by all hosts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_, select
from sqlalchemy.orm import Session

from mm_crawler.memory import read_memories
from mm_crawler.plan import REPODATA, REPOMD
from mm_crawler.report import (
    CrawlInput,
    FileVersion,
    ImportantFile,
    MasterCategory,
    MasterDirectory,
    Memory,
    Mirror,
    MirrorCategory,
    MirrorUrl,
    Tier,
)
from mm_crawler.schedule import ASKING
from mm_crawler.selection import EVERYTHING, Selection
from mm_lib.model.base import State
from mm_lib.model.content import Category, Directory, FileDetail, Repository
from mm_lib.model.geography import EmbargoedCountry
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth
from mm_lib.services import maintenance
from mm_lib.services.errors import NotFound
from mm_lib.services.geography import effective_continents


class MirrorRow(NamedTuple):
    """A host that could be asked for a category."""

    host_id: int
    name: str
    site: str
    country: str | None
    last_crawl_seconds: float | None
    host_category_id: int
    category_id: int
    health: Health | None
    memory: Memory | None = None
    changed_at: datetime | None = None  # the master's latest change of the category


Choose = Callable[[MirrorRow], tuple[Tier, ...]]  # which tiers, largest first; none: it is left alone


def chosen(session: Session, selection: Selection, choose: Choose) -> list[tuple[MirrorRow, tuple[Tier, ...]]]:
    """The host-categories of the selection that have a turn, with its tiers. Raises NotFound for unknown names."""
    _refuse_unknown_categories(session, selection.categories)
    found = _mirrors(session, selection)
    missing = sorted(set(selection.hosts) - {row.name for row in found})
    if missing:
        raise NotFound(" ".join(why_not(session, name, selection) for name in missing))
    memories = read_memories(session, [row.host_category_id for row in found])
    changed = latest_changes(session)
    rows = [
        row._replace(memory=memories.get(row.host_category_id), changed_at=changed.get(row.category_id))
        for row in found
    ]
    return [(row, tiers) for row in rows if (tiers := choose(row))]


def read(session: Session, selection: Selection = EVERYTHING, choose: Choose | None = None) -> CrawlInput:
    """What the selection is about, in the tiers that are chosen (all of it). Raises NotFound for unknown names."""
    turns = chosen(session, selection, choose or (lambda _: (Tier.FULL,)))
    rows = [row for row, _ in turns]
    tiers = {row.host_category_id: of for row, of in turns}
    by_category: dict[int, list[MirrorRow]] = defaultdict(list)
    for row in rows:
        by_category[row.category_id].append(row)
    categories = {
        id_: _category(session, id_, of, {tier for row in of for tier in tiers[row.host_category_id]})
        for id_, of in sorted(by_category.items())
    }
    embargoed = frozenset(session.scalars(select(EmbargoedCountry.country)))
    return CrawlInput(categories, _by_host(session, rows, tiers), embargoed, effective_continents(session))


def _refuse_unknown_categories(session: Session, names: Sequence[str]) -> None:
    known = set(session.scalars(select(Category.name)))
    unknown = sorted(set(names) - known)
    if unknown:
        raise NotFound(f"There is no category {', '.join(unknown)}. There are: {', '.join(sorted(known)) or 'none'}.")


def _by_host(session: Session, rows: Iterable[MirrorRow], tiers: Mapping[int, tuple[Tier, ...]]) -> tuple[Mirror, ...]:
    urls: dict[int, list[MirrorUrl]] = defaultdict(list)
    query = select(HostCategoryUrl.host_category_id, HostCategoryUrl.url, HostCategoryUrl.private)
    for host_category_id, url, private in session.execute(query.order_by(HostCategoryUrl.id)):
        urls[host_category_id].append(MirrorUrl(url, private))
    carried: dict[int, list[MirrorCategory]] = defaultdict(list)
    named: dict[int, MirrorRow] = {}
    for row in rows:
        named[row.host_id] = row
        id_ = row.host_category_id
        carried[row.host_id].append(MirrorCategory(id_, row.category_id, tuple(urls[id_]), tiers[id_], row.memory))
    return tuple(
        Mirror(row.host_id, row.name, row.site, tuple(carried[row.host_id]), row.last_crawl_seconds, row.country)
        for row in named.values()
    )


def _mirrors(session: Session, selection: Selection) -> list[MirrorRow]:
    """The hosts that take part, with the categories that need a crawl and have a URL."""
    query = (
        select(
            Host.id,
            Host.name,
            Site.name,
            Host.country,
            Host.last_crawl_seconds,
            HostCategory.id,
            HostCategory.category_id,
            HostCategoryHealth.health,
        )
        .join(Site, Site.id == Host.site_id)
        .join(HostCategory, HostCategory.host_id == Host.id)
        .join(Category, Category.id == HostCategory.category_id)
        .outerjoin(HostCategoryHealth, HostCategoryHealth.host_category_id == HostCategory.id)
        .where(*_conditions(selection), ~HostCategory.always_up_to_date)
        .where(exists().where(HostCategoryUrl.host_category_id == HostCategory.id))
        .order_by(Host.id, HostCategory.id)
    )
    rows = [MirrorRow(*row) for row in session.execute(query)]
    if selection.fraction is None:
        return rows
    mine = set(selection.fraction.take(sorted({row.host_id for row in rows})))
    return [row for row in rows if row.host_id in mine]


def _conditions(selection: Selection) -> Iterator[ColumnElement[bool]]:
    states = (
        (State.ACTIVE, State.OWNER_DISABLED, State.AUTO_DISABLED) if selection.include_disabled else (State.ACTIVE,)
    )
    yield Host.state.in_(states)
    yield Site.state == State.ACTIVE
    yield ~maintenance.is_resting(datetime.now(UTC))  # what fails meanwhile would be held against it
    yield or_(Host.country.is_(None), Host.country.not_in(select(EmbargoedCountry.country)))
    if selection.include_private:
        yield or_(and_(~Host.private, ~Site.private), Host.crawl_private)
    else:
        yield and_(~Host.private, ~Site.private)
    if selection.categories:
        yield Category.name.in_(selection.categories)
    if selection.hosts:
        yield Host.name.in_(selection.hosts)
    if selection.host_categories:
        yield HostCategory.id.in_(selection.host_categories)
    yield Host.id >= selection.first_id
    if selection.last_id:
        yield Host.id <= selection.last_id


def why_not(session: Session, name: str, selection: Selection) -> str:
    """Why a host of this name is not crawled, in words for whoever asked for it."""
    found = session.execute(
        select(Host, Site).join(Site, Site.id == Host.site_id).where(Host.name == name).order_by(Host.id)
    ).first()
    if found is None:
        return f"There is no host {name}; `mm-admin host list` shows all."
    host, site = found
    if site.state is not State.ACTIVE:
        return f"{name} is not crawled: its site {site.name} is {site.state.value} ({site.state_reason})."
    if host.state is State.ADMIN_DISABLED:
        return f"{name} is not crawled: an administrator switched it off ({host.state_reason})."
    if host.state is not State.ACTIVE and not selection.include_disabled:
        return f"{name} is not crawled: it is {host.state.value} ({host.state_reason}); --include-disabled asks it."
    if window := maintenance.current(session, host, datetime.now(UTC)):
        return f"{name} is not crawled: it is under maintenance until {window.ends_at:%Y-%m-%d %H:%M} UTC."
    if (host.private or site.private) and not (selection.include_private and host.crawl_private):
        permitted = "--include-private asks it" if host.crawl_private else "its owner does not let us crawl it"
        return f"{name} is not crawled: it is private; {permitted}."
    if host.country and session.scalar(select(EmbargoedCountry.id).where(EmbargoedCountry.country == host.country)):
        return f"{name} is not crawled: it stands in {host.country}, which is embargoed."
    return (
        f"{name} is not crawled: of the categories and hosts that were chosen it has none that it has a URL for "
        "and that is not always up to date."
    )


def left_out(session: Session, name: str) -> list[str]:
    """The categories of a host that no crawl asks for, each with the reason."""
    query = (
        select(Category.name, HostCategory.always_up_to_date, HostCategory.urls.any())
        .join(HostCategory, HostCategory.category_id == Category.id)
        .join(Host, Host.id == HostCategory.host_id)
        .where(Host.name == name)
        .order_by(Category.name)
    )
    return [
        f"{category}: not asked: {'it is always up to date' if always else 'it has no URL there'}"
        for category, always, has_url in session.execute(query)
        if always or not has_url
    ]


def latest_changes(session: Session) -> dict[int, datetime]:
    """Category id -> when a scan last saw something new or changed there."""
    of_directories = select(Directory.category_id, func.max(Directory.changed_at)).group_by(Directory.category_id)
    of_files = (
        select(Directory.category_id, func.max(FileDetail.first_seen_at))
        .join(Directory, Directory.id == FileDetail.directory_id)
        .group_by(Directory.category_id)
    )
    latest: dict[int, datetime] = {}
    for category_id, at in (*session.execute(of_directories), *session.execute(of_files)):
        latest[category_id] = max(at, latest.get(category_id, at))
    return latest


def _category(session: Session, category_id: int, rows: Sequence[MirrorRow], tiers: Collection[Tier]) -> MasterCategory:
    """As much of it as the tiers need: a canary nothing, metadata the important files, and else all."""
    category = session.get_one(Category, category_id)
    whole = bool({Tier.FULL, Tier.INCREMENTAL} & set(tiers))
    important = _important(session, category_id) if whole or Tier.METADATA in tiers else {}
    exact = category.source.get("type") != "http"  # index pages of a master may have told rough sizes only
    directories = _directories(session, category_id, important, whole=whole, exact=exact) if important or whole else ()
    return MasterCategory(
        category_id,
        category.name,
        category.topdir,
        directories,
        _repodata(session, category_id, directories),
        category.max_stale_days,
        _changes(session, category_id, _since(rows)),
        rows[0].changed_at,
        whole,
    )


def _directories(
    session: Session,
    category_id: int,
    important: Mapping[int, tuple[ImportantFile, ...]],
    *,
    whole: bool,
    exact: bool,
) -> tuple[MasterDirectory, ...]:
    """All of them, or those with important files and those that repositories name."""
    query = (
        # As text: a category can have 150,000 directories, and decoded samples take four times the room.
        select(
            *(Directory.id, Directory.path, Directory.readable, Directory.mtime, cast(Directory.sample, Text)),
            *(Directory.listing_digest, Directory.file_count),
        )
        .where(Directory.category_id == category_id)
        .order_by(Directory.path)
    )
    if not whole:
        with_files = select(FileDetail.directory_id)
        named = select(Repository.directory_id).where(Repository.category_id == category_id)
        query = query.where(or_(Directory.id.in_(with_files), Directory.id.in_(named)))
    return tuple(
        MasterDirectory(
            *(id_, path, readable, mtime, sample or "[]", important.get(id_, ())), digest if exact else None, files
        )
        for id_, path, readable, mtime, sample, digest, files in session.execute(query)
    )


def _since(rows: Iterable[MirrorRow]) -> datetime | None:
    """The earliest moment from which a mirror has to be asked for changes; None: no mirror was ever asked."""
    asked = [
        until for row in rows if row.memory for tier in ASKING if (until := row.memory.changes_until(tier)) is not None
    ]
    return min(asked, default=None)


def _changes(session: Session, category_id: int, since: datetime | None) -> dict[int, float]:
    """Directory id -> when a scan last saw it change, for changes after this moment."""
    if since is None:
        return {}
    mine = Directory.category_id == category_id
    of_directories = select(Directory.id, Directory.changed_at).where(mine, Directory.changed_at > since)
    of_files = (
        select(FileDetail.directory_id, func.max(FileDetail.first_seen_at))
        .join(Directory, Directory.id == FileDetail.directory_id)
        .where(mine, FileDetail.first_seen_at > since)
        .group_by(FileDetail.directory_id)
    )
    changes: dict[int, float] = {}
    for id_, at in (*session.execute(of_directories), *session.execute(of_files)):
        changes[id_] = max(at.timestamp(), changes.get(id_, 0.0))
    return changes


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
