"""What release engineers do: move a release, archive it, expire alternates, switch, pin and redirect repositories.

Each function reads and returns a Plan (services/changes.py); nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.content import Arch, Category, Directory, FileDetail, Product, Repository, RepositoryRedirect, Version
from mm_lib.services.changes import Change, Plan, edit, names
from mm_lib.services.content import clean_name, find_product, refuse_chain
from mm_lib.services.errors import InvalidValue, NotFound, ServiceError

CONTENT_ROOT = "pub/"  # what an archive's paths leave out
_FILE_COLUMNS = ("timestamp", "size", "md5", "sha1", "sha256", "sha512", "first_seen_at")
# What a version that has not branched yet is answered with; {version} stands for it.
FEDORA_BRANCH = (
    ("fedora-{version}", "rawhide"),
    ("fedora-debug-{version}", "rawhide-debug"),
    ("fedora-source-{version}", "rawhide-source"),
    ("updates-released-f{version}", "rawhide"),
    ("updates-released-debug-f{version}", "rawhide-debug"),
    ("updates-released-source-f{version}", "rawhide-source"),
    ("updates-testing-f{version}", "rawhide"),
    ("updates-testing-debug-f{version}", "rawhide-debug"),
    ("updates-testing-source-f{version}", "rawhide-source"),
)


class NotInArchive(ServiceError):
    """The archive lacks directories that repositories should move to."""


def move_devel(session: Session, category: str, version: str, source: str, target: str) -> Plan:
    """Point a version's repositories from below development/ to the same place below releases/. Raises NotFound."""
    owner = _category(session, category)
    product = session.get_one(Product, owner.product_id).name
    wanted = _version(session, product, version)
    plan = Plan("release move-devel", f"{category} {version}")
    before, after = (_join(owner.topdir, part, version) for part in (source, target))
    taken = _keys_in(session, owner.id)
    for repository in _repositories(session, Repository.version_id == wanted.id, Repository.category_id == owner.id):
        where = repository.directory.path if repository.directory else ""
        if not repository.prefix or not f"{where}/".startswith(f"{before}/"):
            continue
        path = after + where.removeprefix(before)
        directory = _directory(session, owner.id, path)
        if directory is None:
            plan.notes.append(f"{_label(repository)} stays: there is no directory {path}")
        elif (directory.id, repository.arch_id) in taken:
            plan.notes.append(f"{_label(repository)} stays: {path} has a repository already")
        elif repository.pinned:
            plan.notes.append(f"{_label(repository)} stays: it is pinned (`mm-admin repository unpin`)")
        else:
            plan.changes.append(_move(repository, directory, where))
    return plan


def archive(
    session: Session,
    archive_category: str | None,
    *,
    product: str | None = None,
    version: str | None = None,
    prefix: str | None = None,
    untouched: Iterable[str] = (),
) -> Plan:
    """Point the repositories of a version, or of one prefix, to an archive. Raises NotFound, NotInArchive."""
    if prefix is not None:
        found = _by_prefix(session, prefix, ())
        product = session.get_one(Product, found[0].category.product_id).name
    elif product is not None and version is not None:
        found = _repositories(session, Repository.version_id == _version(session, product, version).id)
    else:
        raise InvalidValue("version", "name a product and a version, or a repository")
    owner = _category(session, archive_category or f"{product} Archive")
    plan = Plan("release archive", prefix or f"{product} {version}")
    untouched = set(untouched)
    missing: list[str] = []
    for repository in found:
        if repository.directory is None or repository.category_id == owner.id:
            continue
        if repository.category.name in untouched:
            plan.notes.append(f"{_label(repository)} stays in {repository.category.name}")
            continue
        where = repository.directory.path
        directory = _in_archive(session, owner, repository)
        if directory is None:
            missing.append(_archived_paths(owner.topdir, repository)[0])
        elif not repository.prefix and _has_nameless(session, directory, repository.arch_id):
            plan.notes.append(f"{_label(repository)} stays: {directory.path} has one already")
        else:
            plan.changes.append(_move(repository, directory, where, owner))
    if missing:
        raise _not_in_archive(owner, missing)
    return plan


def _not_in_archive(owner: Category, missing: list[str]) -> NotInArchive:
    return NotInArchive(
        f"{owner.name} has no directory {names(missing)}. Copy it there and scan the archive first "
        f"(`mm-crawler master --category '{owner.name}'`). Nothing was changed."
    )


def _in_archive(session: Session, owner: Category, repository: Repository) -> Directory | None:
    for path in _archived_paths(owner.topdir, repository):
        if directory := _directory(session, owner.id, path):
            return directory
    return None


def _has_nameless(session: Session, directory: Directory, arch_id: int) -> bool:
    """One repository without prefix says that there is an arch; a second one would say nothing."""
    query = select(Repository.id).where(
        Repository.directory_id == directory.id, Repository.arch_id == arch_id, Repository.prefix.is_(None)
    )
    return session.scalar(query) is not None


def _archived_paths(topdir: str, repository: Repository) -> list[str]:
    """Where an archive may keep it: below its topdir as below the content root, or as below its own topdir."""
    assert repository.directory is not None
    path, own = repository.directory.path, repository.category.topdir
    below = path.removeprefix(f"{own}/") if own else path
    return [_join(topdir, path.removeprefix(CONTENT_ROOT)), _join(topdir, path), _join(topdir, below)]


def expire_old(session: Session, product: str, version: str) -> Plan:
    """Forget all but the newest of every important file of a version's repositories. Raises NotFound."""
    wanted = _version(session, product, version)
    plan = Plan("repository expire-old", f"{product} {version}")
    places = {
        (repository.directory.category_id, repository.directory.path)
        for repository in _repositories(session, Repository.version_id == wanted.id)
        if repository.directory
    }
    done: set[int] = set()
    for category_id, path in sorted(places):
        directories = session.execute(
            select(Directory.id, Directory.path).where(
                Directory.category_id == category_id,
                or_(Directory.path == path, Directory.path.startswith(f"{path}/", autoescape=True)),
            )
        )
        for id_, where in directories.all():
            if id_ not in done:
                done.add(id_)
                plan.changes.extend(_expired(session, id_, where))
    return plan


def _expired(session: Session, directory_id: int, path: str) -> Iterable[Change]:
    rows = session.scalars(
        select(FileDetail)
        .where(FileDetail.directory_id == directory_id)
        .order_by(FileDetail.filename, FileDetail.timestamp.desc(), FileDetail.id.desc())
    )
    for filename, versions in groupby(rows.all(), lambda row: row.filename):
        for row in list(versions)[1:]:
            key = {"directory_id": directory_id, "filename": filename, "content_id": row.content_id}
            was = {name: getattr(row, name) for name in _FILE_COLUMNS}
            what = f"{path}/{filename} of {row.timestamp} ({row.content_id[:19]}…)"
            yield Change("file", key, was, None, what, ("an alternate", "forgotten"))


def switch(session: Session, prefix: str, arches: Sequence[str], enabled: bool) -> Plan:
    """Answer requests for a repository, or refuse them. Raises NotFound."""
    plan = Plan(f"repository {'enable' if enabled else 'disable'}", prefix)
    return _flag(session, plan, arches, "enabled", enabled)


def pin(session: Session, prefix: str, arches: Sequence[str], pinned: bool) -> Plan:
    """Keep scans and release operations from moving a repository, or let them again. Raises NotFound."""
    return _flag(session, Plan(f"repository {'pin' if pinned else 'unpin'}", prefix), arches, "pinned", pinned)


_WORDS = {"enabled": ("disabled", "enabled"), "pinned": ("not pinned", "pinned")}


def _flag(session: Session, plan: Plan, arches: Sequence[str], column: str, value: bool) -> Plan:
    for repository in _by_prefix(session, plan.subject, arches):
        if getattr(repository, column) != value:
            shown = (_WORDS[column][not value], _WORDS[column][value])
            plan.changes.append(edit("repository", repository, _label(repository), {column: value}, shown))
    return plan


def redirect(session: Session, from_prefix: str | None, to_prefix: str | None) -> Plan:
    """Answer requests for one prefix with another, or with its own again. Raises NotFound, InvalidValue."""
    from_prefix = clean_name("from", from_prefix or "")
    plan = Plan("repository redirect", from_prefix)
    known = session.scalar(select(RepositoryRedirect).where(RepositoryRedirect.from_prefix == from_prefix))
    if to_prefix is None and known is None:
        raise NotFound(f"{from_prefix} is not redirected. `mm-admin redirect list` shows what is.")
    target = clean_name("to", to_prefix) if to_prefix is not None else None
    if target == from_prefix:
        raise InvalidValue("to", "a repository cannot be redirected to itself")
    if target is not None:
        refuse_chain(session, from_prefix, target)
    if (known.to_prefix if known else None) != target:
        plan.changes.append(_redirect(from_prefix, known.to_prefix if known else None, target))
    return plan


def branch(session: Session, version: str, pairs: Sequence[tuple[str, str]], follow: bool) -> Plan:
    """Answer a version that has not branched yet with rawhide (`follow`), or end that. Raises InvalidValue."""
    version = clean_name("version", version)
    plan = Plan(f"branch {'redirect' if follow else 'restore'}", version)
    known = {row.from_prefix: row.to_prefix for row in session.scalars(select(RepositoryRedirect))}
    own = set(session.scalars(select(Repository.prefix).where(Repository.directory_id.is_not(None))))
    for template, target in pairs:
        prefix, to_prefix = template.replace("{version}", version), target.replace("{version}", version)
        current = known.get(prefix)
        if follow and prefix in own:
            plan.notes.append(f"{prefix} is left alone: it has a repository of its own")
        elif current is not None and current != to_prefix:
            plan.notes.append(f"{prefix} is left alone: it is redirected to {current}")
        elif follow != (current == to_prefix):
            plan.changes.append(_redirect(prefix, current, to_prefix if follow else None))
            if not follow and prefix not in own:
                plan.notes.append(f"{prefix} has no repository yet: clients that ask for it get an error")
    return plan


def _redirect(from_prefix: str, was: str | None, becomes: str | None) -> Change:
    sides = tuple(None if to is None else {"to_prefix": to} for to in (was, becomes))
    shown = ("itself" if was is None else was, "itself" if becomes is None else becomes)
    return Change(
        "redirect", {"from_prefix": from_prefix}, sides[0], sides[1], f"{from_prefix} is answered with", shown
    )


def _move(repository: Repository, directory: Directory, where: str, category: Category | None = None) -> Change:
    values = {"directory_id": directory.id}
    shown = (where, directory.path)
    if category is not None:
        values["category_id"] = category.id
        shown = (f"{where} ({repository.category.name})", f"{directory.path} ({category.name})")
    return edit("repository", repository, _label(repository), values, shown)


def _label(repository: Repository) -> str:
    return f"{repository.prefix or 'repository without prefix'} {repository.arch.name}"


def _join(*parts: str) -> str:
    return "/".join(part.strip("/") for part in parts if part.strip("/"))


# -- finding


def _repositories(session: Session, *conditions: object) -> Sequence[Repository]:
    joined = (joinedload(path) for path in (Repository.arch, Repository.category, Repository.directory))
    query = select(Repository).where(*conditions).options(*joined).order_by(Repository.prefix, Repository.id)  # type: ignore[arg-type]
    return session.scalars(query).all()


def _by_prefix(session: Session, prefix: str, arches: Sequence[str]) -> Sequence[Repository]:
    conditions = [Repository.prefix == prefix]
    if arches:
        conditions.append(Repository.arch_id.in_(select(Arch.id).where(Arch.name.in_(arches))))
    found = _repositories(session, *conditions)
    missing = set(arches) - {repository.arch.name for repository in found}
    if missing or not found:
        which = f"{prefix!r} for {names(missing)}" if missing else repr(prefix)
        raise NotFound(f"There is no repository {which}. `mm-admin repository list` shows them.")
    return found


def _category(session: Session, name: str) -> Category:
    found = session.scalar(select(Category).where(Category.name == name))
    if found is None:
        raise NotFound(f"There is no category {name!r}. There are: {names(session.scalars(select(Category.name)))}.")
    return found


def _version(session: Session, product: str, name: str) -> Version:
    owner = find_product(session, product)
    found = session.scalar(select(Version).where(Version.product_id == owner.id, Version.name == name))
    if found is None:
        known = session.scalars(select(Version.name).where(Version.product_id == owner.id))
        raise NotFound(f"{product} has no version {name!r}. It has: {names(known)}.")
    return found


def _directory(session: Session, category_id: int, path: str) -> Directory | None:
    return session.scalar(select(Directory).where(Directory.category_id == category_id, Directory.path == path))


def _keys_in(session: Session, category_id: int) -> set[tuple[int | None, int]]:
    """Which directories have a repository that clients can ask for, for which arch."""
    query = select(Repository.directory_id, Repository.arch_id).where(
        Repository.category_id == category_id, Repository.prefix.is_not(None)
    )
    return {(directory_id, arch_id) for directory_id, arch_id in session.execute(query)}
