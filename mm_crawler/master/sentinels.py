"""Files that must, or must not, be there before a master is scanned: they tell a whole tree from one being written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from mm_crawler.master.scanned import Source, SourceError
from mm_lib.services.errors import ServiceError


class MasterBusy(ServiceError):
    """The master is being written; the next scan will see it whole."""


def check(source: Source, sentinels: Mapping[str, Sequence[str]]) -> None:
    """Raises MasterBusy for a file that must not be there, SourceError for one that must."""
    for path in sentinels.get("present", ()):
        if not _exists(source, path):
            raise SourceError(f"{path} is not there, but must be before a scan (`mm-admin category set --must-exist`)")
    for path in sentinels.get("absent", ()):
        if _exists(source, path):
            raise MasterBusy(f"skipped while {path} is there (`mm-admin category set --must-not-exist`)")


def _exists(source: Source, path: str) -> bool:
    return os.path.lexists(path) if path.startswith("/") else source.exists(path)
