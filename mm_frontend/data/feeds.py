"""State changes as Atom (RFC 4287)."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from uuid import NAMESPACE_URL, uuid5

from feedgenerator import Atom1Feed

from mm_lib.services.state_changes import Change

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class _Feed(Atom1Feed):  # type: ignore[misc]  # the library has no types
    """Says when something changed last, also when nothing ever did: a feed that is asked for again stays the same."""

    def latest_post_date(self) -> datetime:
        """The newest entry's moment."""
        return max((item["pubdate"] for item in self.items), default=_NEVER)


def atom(title: str, address: str, home: str, changes: Sequence[Change], page: Callable[[int], str]) -> str:
    """The feed. `address` is its own, `home` that of the page which it tells about; `page` makes a mirror's."""
    feed = _Feed(
        title=title,
        link=home,
        description="",
        language="en",
        author_name=title,
        feed_url=address,
        feed_guid=address if "://" in address else f"urn:uuid:{uuid5(NAMESPACE_URL, title + address)}",
    )
    for change in changes:
        about = f"{change.host} ({change.category})" if change.category else change.host
        feed.add_item(
            title=f"{about} {change.text}",
            link=page(change.host_id),
            description=escape(f"{about}, a mirror of {change.site}, {change.text}."),
            pubdate=change.at,
            unique_id=f"urn:uuid:{change.key}",
            categories=[change.state],
        )
    written = io.StringIO()
    feed.write(written, "utf-8")
    return written.getvalue()
