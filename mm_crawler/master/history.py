"""The versions of an important file: what a scan adds, completes and withdraws, and when alternates are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Self

from mm_crawler.master.formats import Hashes

# A content is named by the first of these that is known. sha256 stands first because nearly every version has it,
# so that the name does not change when more hashes become known.
_NAMING_ORDER = ("sha256", "sha512", "sha1", "md5")


def content_id(hashes: Mapping[str, str]) -> str:
    """The name of a content, e.g. "sha256:…"."""
    kind = next(kind for kind in _NAMING_ORDER if hashes.get(kind))
    return f"{kind}:{hashes[kind]}"


@dataclass(frozen=True)
class FoundFile:
    """An important file as it is on the master now."""

    path: str  # of its directory, below the topdir
    filename: str
    timestamp: int
    size: int
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class KnownFile:
    """A version that is recorded."""

    id: int
    directory_id: int
    filename: str
    content_id: str
    timestamp: int
    size: int
    hashes: Hashes
    first_seen_at: datetime


@dataclass
class FilePlan:
    """What a scan changes in the history."""

    insert: list[FoundFile] = field(default_factory=list)
    update: list[tuple[int, int, Hashes]] = field(default_factory=list)  # id, size, all hashes
    delete: list[int] = field(default_factory=list)


def plan(found: Iterable[FoundFile], known: Mapping[tuple[str, str], Sequence[KnownFile]]) -> FilePlan:
    """Compare what is on the master with what is recorded for each (directory, filename)."""
    result = FilePlan()
    for file in found:
        _plan_one(file, known.get((file.path, file.filename), ()), result)
    return result


def _plan_one(file: FoundFile, versions: Sequence[KnownFile], result: FilePlan) -> None:
    same = _same_content(file, versions)
    if same is None:
        result.insert.append(file)
        current = (file.timestamp, max((version.id for version in versions), default=0) + 1)
    else:
        current = (same.timestamp, same.id)
        hashes = same.hashes | dict(file.hashes)
        if hashes != same.hashes or file.size != same.size:
            result.update.append((same.id, file.size, hashes))
    # The newest is what clients are told to get, so a version that the master took back must not stay above.
    result.delete += [version.id for version in versions if (version.timestamp, version.id) > current]


def _same_content(file: FoundFile, versions: Sequence[KnownFile]) -> KnownFile | None:
    name = content_id(file.hashes)
    exact = next((version for version in versions if version.content_id == name), None)
    return exact or next((version for version in versions if _agrees(file.hashes, version.hashes)), None)


def _agrees(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    shared = one.keys() & other.keys()
    return bool(shared) and all(one[kind] == other[kind] for kind in shared)


@dataclass(frozen=True)
class Ageing:
    """When alternates are forgotten; their age counts from when the master was first seen with them."""

    max_stale_days: float  # an older one goes
    max_propagation_days: float  # while the newest is younger, the one before it stays, however old

    @classmethod
    def of(cls, max_stale_days: float, max_propagation_days: float | None) -> Self:
        """Where nothing is said of propagation, it is a day less."""
        default = max(0.0, max_stale_days - 1)
        return cls(max_stale_days, default if max_propagation_days is None else max_propagation_days)


def expired(files: Iterable[KnownFile], now: datetime, ageing: Ageing) -> Iterator[int]:
    """The ids of alternates that are too old. The newest version of a file is always kept."""

    def key(file: KnownFile) -> tuple[int, str]:
        return file.directory_id, file.filename

    stale_limit = now - timedelta(days=ageing.max_stale_days)
    propagated = now - timedelta(days=ageing.max_propagation_days)
    ordered = sorted(files, key=lambda file: (*key(file), -file.timestamp, -file.id))
    for _, versions in groupby(ordered, key):
        newest, *alternates = versions
        if newest.first_seen_at > propagated:  # mirrors are still fetching it; what they have is the one before
            alternates = alternates[1:]
        yield from (file.id for file in alternates if file.first_seen_at < stale_limit)
