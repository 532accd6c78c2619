"""Which directory, and which file in it, a query means."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from mm_lib.cache.schema import FileDetail
from mm_redirector.category import CategoryIndex
from mm_redirector.index import Index
from mm_redirector.query import Form, Kind, MirrorQuery, Reason, Refusal, redirected

METADATA_DIRECTORY = "repodata"
METADATA_FILE = "repomd.xml"


class Target(NamedTuple):
    """What an answer is about."""

    category: CategoryIndex
    path: str  # of the directory
    file: str | None
    carriers: int  # hosts that have the directory up to date
    details: tuple[FileDetail, ...]  # versions of the file that a client can verify, newest first
    title: str  # what was understood, in the words of the first line of a list
    memo: dict[str, Any]  # what was rendered of it before, the same for every client


def find(query: MirrorQuery, index: Index) -> Target | Refusal:
    """What the query asks for; for a metalink only with something to verify the file by."""
    if query.path is None:
        return _remembered(query, index)
    found = _by_path(query.path, index)
    return _verifiable(found) if query.kind is Kind.METALINK and isinstance(found, Target) else found


def _remembered(query: MirrorQuery, index: Index) -> Target | Refusal:
    """As _by_repository; an index has few repositories, and each is asked for again and again."""
    key = (query.kind is Kind.METALINK, query.repo, query.arch, query.version)
    found: Target | Refusal | None = index.remembered.get(key)
    if found is None:
        found = _by_repository(query, index)
        if isinstance(found, Target):
            if query.kind is Kind.METALINK:
                found = _verifiable(found)
            index.remembered.keep(key, found)
    return found


def _verifiable(found: Target) -> Target | Refusal:
    if not found.details:
        return Refusal(Reason.NO_DETAILS, f"{found.path}/{found.file or ''} not found or has not metalink")
    return found


def settled(query: MirrorQuery, target: Target) -> MirrorQuery:
    """A client that would rather have a metalink than a redirect gets the redirect where there is no hash."""
    if query.kind is Kind.REDIRECT and query.form in (Form.META4, Form.METALINK) and not target.details:
        return redirected(query)
    return query


def _by_repository(query: MirrorQuery, index: Index) -> Target | Refusal:
    assert query.repo is not None
    assert query.arch is not None
    prefix = index.redirects.get(query.repo, query.repo)  # one hop: a redirect to a redirect is a mistake
    place = index.repositories.get((prefix, query.arch))
    if place is None and query.version:  # CentOS asks for repo=os&version=7
        prefix = index.redirects.get(f"{query.repo}-{query.version}", f"{query.repo}-{query.version}")
        place = index.repositories.get((prefix, query.arch))
    title = f"repo = {prefix} arch = {query.arch}"
    if (prefix, query.arch) in index.disabled:
        return Refusal(Reason.DISABLED, "repo disabled")
    if place is None:
        text = f"# {title} \nerror: invalid repo or arch\n# following repositories are available:\n{index.listing}\n"
        return Refusal(Reason.UNKNOWN_REPOSITORY, text)
    position, path = place
    category = index.categories[position]
    if query.kind is not Kind.METALINK:
        found = _target(category, path, None, title)
        return _with_current_metadata(found) if found else _gone(path)
    if path.rpartition("/")[2] != METADATA_DIRECTORY:
        path = f"{path}/{METADATA_DIRECTORY}"
    return _target(category, path, METADATA_FILE, title) or _gone(f"{path}/{METADATA_FILE}")


def _with_current_metadata(target: Target) -> Target:
    """Without the hosts whose metadata is old: a list has no hash by which its client could tell."""
    current = target.category.carriers(f"{target.path}/{METADATA_DIRECTORY}")
    return target if current is None else target._replace(carriers=target.carriers & current)


def _gone(path: str) -> Refusal:
    return Refusal(Reason.NO_DETAILS, f"{path} not found or has not metalink")


def _by_path(asked: str, index: Index) -> Target | Refusal:
    path = (re.sub("/+", "/", asked) if "//" in asked else asked).strip("/")
    title = f"path = {path}"
    parent, _, file = path.rpartition("/")
    if path and file not in (".", ".."):
        below = f"{path}/"  # so that the top directory itself is in its category, too
        for top, category in index.tops:
            if not below.startswith(top):
                continue
            found = _target(category, path, None, title) or (file and _target(category, parent, file, title))
            if found:
                return found
    return Refusal(Reason.INVALID_PATH, "error: invalid path")


def _target(category: CategoryIndex, path: str, file: str | None, title: str) -> Target | None:
    carriers = category.carriers(path)
    if carriers is None:
        return None
    details = category.details(path, file) if file else ()
    # Without the newest version's hash every mirror would be rejected or, worse, believed without a check.
    verifiable = tuple(detail for detail in details if detail.sha256 or detail.sha512) if _known(details) else ()
    return Target(category, path, file, carriers, verifiable, title, {})


def _known(details: tuple[FileDetail, ...]) -> bool:
    return bool(details) and bool(details[0].sha256 or details[0].sha512)
