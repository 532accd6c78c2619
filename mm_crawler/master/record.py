"""Write what a scan found: one transaction per category, in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from mm_crawler.master import directories, history, repositories
from mm_crawler.master.diff import Changes, DirectoryState, forget
from mm_crawler.master.history import Ageing, FoundFile, KnownFile
from mm_crawler.master.important import Findings
from mm_crawler.master.known import KnownCategory
from mm_crawler.master.repositories import KnownRepository, RepositoryPlan
from mm_crawler.master.scanned import upwards
from mm_lib.model.content import Arch, Category, Directory, FileDetail, Repository, Version
from mm_lib.services.errors import ServiceError

_BATCH = 500  # below SQLite's and PostgreSQL's limits of parameters


class ScannedMeanwhile(ServiceError):
    """Another scan of the category ended while this one ran."""


@dataclass(frozen=True)
class Stamp:
    """What is to be known of a scan itself."""

    now: datetime  # when it began
    fingerprint: bytes | None  # of the list that it read
    is_needed: bool  # even when nothing changed: the next scan can then take more as given


@dataclass(frozen=True)
class Recorded:
    """What a scan changed besides directories."""

    deleted: int  # directories
    new_versions: int
    files_added: int
    files_dropped: int
    repositories_created: int
    repositories_moved: int
    repositories_unmatched: int
    problems: tuple[str, ...]


def record(
    session: Session,
    category: KnownCategory,
    changes: Changes,
    findings: Findings,
    known_ids: Mapping[str, int],
    *,
    doomed: Mapping[str, int],
    stamp: Stamp,
    ageing: Ageing,
) -> Recorded:
    """Write everything, which is nothing when nothing changed. Raises ScannedMeanwhile.

    `known_ids` are the directories before the scan, and `doomed` those of them that are forgotten: path -> id.
    """
    _lock(session, category)
    _delete_directories(session, list(doomed.values()))
    ids = {path: id_ for path, id_ in known_ids.items() if path not in doomed}
    wanted = {file.path for file in findings.files} | changes.candidates
    wanted |= {above for path in changes.candidates for above in upwards(path)}
    ids |= directories.add(session, category, _unfinished(changes.new, findings), wanted)
    unread = [changes.reread[path] for path in findings.failed.keys() & changes.reread.keys()]
    directories.change(session, _unfinished([*changes.changed, *unread], findings))
    added, dropped = _record_files(session, changes, findings.files, ids, stamp.now)
    dropped += _age(session, category.id, stamp.now, ageing)
    gone = frozenset(changes.vanished.values())
    plan, versions = _record_repositories(session, category, changes.candidates, ids, gone)
    written = (changes.new, changes.changed, unread, doomed, added, dropped, versions, plan.create, plan.move)
    if changes.problems or findings.failed:
        stamp = replace(stamp, fingerprint=None)  # what was left out is to be told again, and what failed read again
    _mark_scanned(session, category, stamp, vanished=len(changes.vanished) - len(doomed), is_due=any(written))
    return Recorded(
        len(doomed), versions, added, dropped, len(plan.create), len(plan.move), plan.unmatched, tuple(plan.problems)
    )


def _mark_scanned(session: Session, category: KnownCategory, stamp: Stamp, *, vanished: int, is_due: bool) -> None:
    same = (vanished, stamp.fingerprint) == (category.vanished, category.list_fingerprint)
    if same and not (is_due or stamp.is_needed):
        return
    # updated_at says when somebody edited the category; a scan is no edit.
    session.execute(
        update(Category)
        .where(Category.id == category.id)
        .values(
            last_scanned_at=stamp.now,
            list_fingerprint=stamp.fingerprint,
            vanished=vanished,
            updated_at=Category.updated_at,
        )
        .execution_options(synchronize_session=False)
    )


def _lock(session: Session, category: KnownCategory) -> None:
    query = select(Category.last_scanned_at).where(Category.id == category.id).with_for_update()
    row = session.execute(query).one_or_none()
    if row is None or row[0] != category.last_scanned_at:
        raise ScannedMeanwhile(f"{category.name}: another scan ended or the category was deleted meanwhile; run again")


def _batches(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while part := list(islice(rest, _BATCH)):
        yield part


# -- directories


def _unfinished(states: Iterable[DirectoryState], findings: Findings) -> Iterator[DirectoryState]:
    for state in states:
        failed = findings.failed.get(state.path)
        yield forget(state, failed) if failed else state


def _delete_directories(session: Session, ids: Sequence[int]) -> None:
    for part in _batches(ids):
        # Without its directory a repository without prefix says nothing any more; the others wait for theirs.
        session.execute(
            delete(Repository).where(
                Repository.directory_id.in_(part), Repository.prefix.is_(None), Repository.pinned.is_(False)
            )
        )
        session.execute(delete(Directory).where(Directory.id.in_(part)))


# -- important files


def _record_files(
    session: Session, changes: Changes, found: Sequence[FoundFile], ids: Mapping[str, int], now: datetime
) -> tuple[int, int]:
    """How many versions were added and dropped."""
    for directory_id, filename in changes.gone_files:
        session.execute(
            delete(FileDetail).where(FileDetail.directory_id == directory_id, FileDetail.filename == filename)
        )
    new = {state.path for state in changes.new}
    old = {ids[file.path]: file.path for file in found if file.path not in new}
    plan = history.plan(found, known_files(session, old))
    _delete_files(session, plan.delete)
    if plan.insert:
        session.execute(
            insert(FileDetail), [_detail(file, ids[file.path]) | {"first_seen_at": now} for file in plan.insert]
        )
    if plan.update:
        session.execute(
            update(FileDetail),
            [{"id": id_, "size": size, "content_id": history.content_id(h), **h} for id_, size, h in plan.update],
        )
    return len(plan.insert), len(plan.delete) + len(changes.gone_files)


def _detail(file: FoundFile, directory_id: int) -> dict[str, Any]:
    return {
        "directory_id": directory_id,
        "filename": file.filename,
        "content_id": history.content_id(file.hashes),
        "timestamp": file.timestamp,
        "size": file.size,
        **{kind: file.hashes.get(kind) for kind in ("md5", "sha1", "sha256", "sha512")},
    }


def known_files(session: Session, paths: Mapping[int, str]) -> dict[tuple[str, str], list[KnownFile]]:
    """The versions of each file by (path of its directory, name). `paths` are the directories: id -> path."""
    known: dict[tuple[str, str], list[KnownFile]] = defaultdict(list)
    for part in _batches(sorted(paths)):
        for row in session.scalars(select(FileDetail).where(FileDetail.directory_id.in_(part))):
            known[paths[row.directory_id], row.filename].append(known_file(row))
    return known


def known_file(row: FileDetail) -> KnownFile:
    """A version as the history knows it."""
    hashes = {"md5": row.md5, "sha1": row.sha1, "sha256": row.sha256, "sha512": row.sha512}
    present = {kind: value for kind, value in hashes.items() if value}
    return KnownFile(
        row.id, row.directory_id, row.filename, row.content_id, row.timestamp, row.size, present, row.first_seen_at
    )


def _age(session: Session, category_id: int, now: datetime, ageing: Ageing) -> int:
    """Forget alternates that are too old; how many."""
    several = (
        select(FileDetail.directory_id, FileDetail.filename)
        .join(Directory, Directory.id == FileDetail.directory_id)
        .where(Directory.category_id == category_id)
        .group_by(FileDetail.directory_id, FileDetail.filename)
        .having(func.count() > 1)
        .subquery()
    )
    rows = session.scalars(
        select(FileDetail)
        .join(
            several,
            (FileDetail.directory_id == several.c.directory_id) & (FileDetail.filename == several.c.filename),
        )
        .execution_options(populate_existing=True)
    )
    ids = list(history.expired([known_file(row) for row in rows], now, ageing))
    _delete_files(session, ids)
    return len(ids)


def _delete_files(session: Session, ids: Sequence[int]) -> None:
    for part in _batches(ids):
        session.execute(delete(FileDetail).where(FileDetail.id.in_(part)).execution_options(synchronize_session=False))


# -- repositories


def _record_repositories(
    session: Session,
    category: KnownCategory,
    candidates: Collection[str],
    ids: Mapping[str, int],
    vanished: frozenset[int],
) -> tuple[RepositoryPlan, int]:
    """What was done about repositories, and how many versions that made."""
    arches = dict(session.execute(select(Arch.name, Arch.id)).all())
    known = _known_repositories(session, vanished)
    plan = repositories.plan(candidates, ids, category.rules, known, frozenset(arches))
    versions, made = _versions(session, category.product_id, plan)
    if plan.create:
        session.execute(
            insert(Repository),
            [
                {
                    "prefix": new.match.prefix or None,
                    "version_id": versions[new.match.version],
                    "arch_id": arches[new.match.arch],
                    "category_id": category.id,
                    "directory_id": new.directory_id,
                }
                for new in plan.create
            ],
        )
    for repository_id, directory_id in plan.move:
        session.execute(update(Repository).where(Repository.id == repository_id).values(directory_id=directory_id))
    return plan, made


def _known_repositories(session: Session, vanished: frozenset[int]) -> list[KnownRepository]:
    """Of every category: a prefix and arch exist only once. One whose directory vanished has none, kept or not."""
    query = (
        select(Repository.id, Repository.prefix, Arch.name, Repository.directory_id, Directory.path, Repository.pinned)
        .join(Arch, Arch.id == Repository.arch_id)
        .outerjoin(Directory, Directory.id == Repository.directory_id)
    )
    return [
        KnownRepository(id_, prefix, arch, None if directory_id in vanished else directory_id, path or "", pinned)
        for id_, prefix, arch, directory_id, path, pinned in session.execute(query)
    ]


def _versions(session: Session, product_id: int, plan: RepositoryPlan) -> tuple[dict[str, int], int]:
    """The product's versions by name, with those that the plan needs made."""
    query = select(Version.name, Version.id).where(Version.product_id == product_id)
    known = dict(session.execute(query).all())
    missing = {new.match.version: new.match for new in plan.create if new.match.version not in known}
    for name, match in missing.items():
        version = Version(product_id=product_id, name=name, is_test=match.is_test, display=match.display)
        session.add(version)
        session.flush()
        known[name] = version.id
    return known, len(missing)
