"""What changed on the master lately: mirrors that fetch only that ask for it (the old rsyncFilter)."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.content import Category, Directory

_LARGEST = (1 << 63) - 1  # that the database's column holds


def changed_directories(session: Session, categories: Iterable[str], since: str | int) -> list[str]:
    """The full paths of the public categories' readable directories that changed after `since`, in Unix seconds.

    Names of categories are taken in any case, as people write them into scripts.
    As clients ask for it by a URL, what makes no sense gives an empty list: no category, or a time that is no integer.
    """
    names = [name.strip().lower() for name in categories]
    try:
        moment = int(since)
    except ValueError:
        return []
    if not names or moment >= _LARGEST:
        return []
    query = (
        select(Directory.path)
        .join(Category, Category.id == Directory.category_id)
        .where(
            func.lower(Category.name).in_(names),
            Category.public,
            ~Category.admin_only,
            Directory.mtime > max(moment, -_LARGEST),
            Directory.readable,
        )
        .distinct()
        .order_by(Directory.path)
    )
    return list(session.scalars(query))
