"""Directories that only some hosts may serve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.content import Category, Directory
from mm_lib.model.hosts import DirectoryHost, Host
from mm_lib.services.content import find_category
from mm_lib.services.errors import InvalidValue, NotFound


def find_directory(session: Session, path: str, category: str | None = None) -> Directory:
    """The directory of that full path; the category is needed when several have it. Raises NotFound, InvalidValue."""
    query = select(Directory).where(Directory.path == path.strip("/")).options(joinedload(Directory.category))
    if category is not None:
        query = query.where(Directory.category_id == find_category(session, category).id)
    found = session.scalars(query).all()
    if not found:
        raise NotFound(f"There is no directory {path!r}. Name it with its topdir; `mm-crawler master` finds new ones.")
    if len(found) > 1:
        names = ", ".join(sorted(directory.category.name for directory in found))
        raise InvalidValue("category", f"{path} is in several ({names}); say which with --category")
    return found[0]


def reserve(session: Session, directory: Directory, hosts: Iterable[Host]) -> None:
    """Let only these hosts, and those that were named before, serve a directory."""
    known = set(session.scalars(select(DirectoryHost.host_id).where(DirectoryHost.directory_id == directory.id)))
    new = {host.id for host in hosts} - known
    session.add_all(DirectoryHost(directory_id=directory.id, host_id=host) for host in sorted(new))
    session.flush()


def release(session: Session, directory: Directory) -> None:
    """Let every host serve a directory again. Raises NotFound when every host may."""
    if not session.scalars(select(DirectoryHost).where(DirectoryHost.directory_id == directory.id)).first():
        raise NotFound(f"{directory.path} is not reserved. `mm-admin directory list-reserved` shows what is.")
    session.execute(delete(DirectoryHost).where(DirectoryHost.directory_id == directory.id))


def list_reserved(session: Session) -> list[dict[str, Any]]:
    """Every directory that is reserved, with the names of the hosts that may serve it."""
    rows = session.execute(
        select(Category.name, Directory.path, Host.name)
        .select_from(DirectoryHost)
        .join(Directory, DirectoryHost.directory_id == Directory.id)
        .join(Category, Directory.category_id == Category.id)
        .join(Host, DirectoryHost.host_id == Host.id)
        .order_by(Category.name, Directory.path, Host.name)
    )
    found: dict[tuple[str, str], list[str]] = {}
    for category, path, host in rows:
        found.setdefault((category, path), []).append(host)
    return [{"category": category, "directory": path, "hosts": hosts} for (category, path), hosts in found.items()]
