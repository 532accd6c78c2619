"""Files that must, or must not, be there before a master is scanned: they tell a whole tree from one being written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from mm_crawler.master.scanned import SourceError
from mm_lib.services.errors import ServiceError


class MasterBusy(ServiceError):
    """The master is being written; the next scan will see it whole."""


@runtime_checkable
class Searchable(Protocol):
    """A source that can be asked for one file without a scan."""

    def exists(self, path: str) -> bool:
        """Whether there is something at the path below the top. Raises SourceError when it cannot be told."""


def check(source: object, sentinels: Mapping[str, Sequence[str]]) -> None:
    """Raises MasterBusy for a file that must not be there, SourceError for one that must."""
    for path in sentinels.get("present", ()):
        if not _exists(source, path):
            raise SourceError(f"{path} is not there, but must be before a scan (`mm-admin category set --must-exist`)")
    for path in sentinels.get("absent", ()):
        if _exists(source, path):
            raise MasterBusy(f"skipped while {path} is there (`mm-admin category set --must-not-exist`)")


def _exists(source: object, path: str) -> bool:
    if path.startswith("/"):
        return os.path.lexists(path)
    if not isinstance(source, Searchable):
        raise SourceError(f"this kind of source cannot look for {path}; name an absolute path on this machine")
    return source.exists(path)
