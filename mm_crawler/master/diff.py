"""What a scan found, compared with what is known: new, changed and vanished directories, and what must be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mm_crawler.master.formats import REPOMD, SUMMARY, is_checksum_file, is_important
from mm_crawler.master.scanned import (
    Excludes,
    Look,
    Remembered,
    ScannedDirectory,
    ScannedFile,
    parent,
    upwards,
)

FEW_OF_A_KIND = 10  # more files with one of these endings, and a crawl asks only for the newest
MANY_FILES = 100  # the same, whatever their endings
NEWEST = 3
_ENDINGS = (".rpm", ".html", ".hdr", ".drpm")
_OWN = frozenset((REPOMD, SUMMARY))
_FEW_DIRECTORIES = 20  # so many may vanish at once, whatever their share

Sample = list[list[str | int]]  # [name, size, mtime]


@dataclass(frozen=True, slots=True)
class KnownDirectory:
    """What the database holds of a directory."""

    id: int
    mtime: int
    readable: bool
    digest: bytes | None  # None: it was never listed
    sample_key: int
    newest: int  # the latest time that it or a file of its sample had
    watched: Mapping[str, tuple[int, int]]  # important files: name -> (size, mtime) when last read
    details: frozenset[str]  # files that have recorded versions


Known = Mapping[str, KnownDirectory]


@dataclass(frozen=True, slots=True)
class Listing:
    """What is recorded of a directory's files."""

    file_count: int
    digest: bytes
    sample: Sample


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """How a directory is to be recorded; without a listing, its files stay as they are recorded."""

    path: str
    id: int | None
    mtime: int
    readable: bool
    listing: Listing | None


@dataclass(frozen=True)
class ReadOrder:
    """Important files of a directory that must be read."""

    path: str
    files: Mapping[str, ScannedFile]
    hashed: tuple[str, ...]
    checksums: tuple[str, ...]

    @property
    def own(self) -> frozenset[str]:
        """Files that are hashed by ourselves, whatever a checksum file says about them."""
        return _OWN & self.files.keys()


@dataclass
class Changes:
    """All that a scan changes."""

    known: int = 0
    seen: int = 0
    unreadable: int = 0
    top_is_empty: bool = True
    new: list[DirectoryState] = field(default_factory=list)
    changed: list[DirectoryState] = field(default_factory=list)
    reread: dict[str, DirectoryState] = field(default_factory=dict)  # unchanged, but for important files perhaps
    vanished: dict[str, int] = field(default_factory=dict)  # path -> id
    gone_files: list[tuple[int, str]] = field(default_factory=list)  # directory id, name of a file with versions
    orders: list[ReadOrder] = field(default_factory=list)
    candidates: set[str] = field(default_factory=set)  # directories that hold a repository
    problems: list[str] = field(default_factory=list)


class TooManyVanished(Exception):
    """The master looks as if it were half there; the message says what to do."""


def memory(known: Known, trust_before: int) -> dict[str, Remembered]:
    """What a source may take as given: directories whose times were over before the last scan began.

    Times count whole seconds, so a directory that changed in the second of its scan may have changed after it.
    """
    children: dict[str, list[str]] = {}
    for path in known:
        if path:
            children.setdefault(parent(path), []).append(path.rpartition("/")[2])
    return {
        path: Remembered(directory.mtime, tuple(children.get(path, ())), directory.watched)
        for path, directory in known.items()
        if directory.digest is not None and directory.newest < trust_before
    }


def compare(scanned: Iterable[ScannedDirectory], known: Known, excludes: Excludes, trust_before: int) -> Changes:
    """Consume a scan and say what it changes."""
    changes = Changes(known=len(known))
    seen: set[str] = set()
    hidden: dict[str, Look] = {}
    summaries: set[str] = set()
    for directory in scanned:
        seen.add(directory.path)
        changes.problems += directory.problems
        changes.unreadable += not directory.readable
        changes.top_is_empty = changes.top_is_empty and not directory.path and not directory.files
        before = known.get(directory.path)
        if directory.look in (Look.CLOSED, Look.FAILED):
            hidden[directory.path] = directory.look
        _note_state(changes, directory, before, trust_before)
        _note_repository(changes, summaries, directory, before)
    changes.seen = len(seen)
    changes.candidates |= {path for path in summaries if f"{path}/objects" in seen}
    _note_unseen(changes, known, seen, hidden, excludes)
    return changes


def check_deletion(changes: Changes, max_share: float) -> None:
    """Raises TooManyVanished when more is gone than a living master loses between two scans."""
    count = len(changes.vanished)
    if not count:
        return
    override = "Nothing was recorded. If this is right, run again with --allow-mass-deletion."
    if changes.top_is_empty:
        raise TooManyVanished(f"the top directory is empty, but {count} directories are known. {override}")
    if count > _FEW_DIRECTORIES and count > max_share * changes.known:
        share = f"{count} of {changes.known} known directories are gone ({count / changes.known:.0%})"
        raise TooManyVanished(f"{share}, more than the {max_share:.0%} that may go at once. {override}")


def listing_digest(files: Iterable[ScannedFile]) -> bytes:
    """16 bytes over the names and sizes of all files, in the order of their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, size, _ in sorted(files):
        digest.update(f"{name}\0{size}\n".encode())
    return digest.digest()


def choose_sample(files: Iterable[ScannedFile]) -> Sample:
    """The files that a crawl asks for: all when they are few, else the newest and the important ones."""
    ordered = sorted(files)
    if len(ordered) > MANY_FILES or any(
        sum(file.name.endswith(ending) for file in ordered) > FEW_OF_A_KIND for ending in _ENDINGS
    ):
        newest = set(sorted(ordered, key=lambda file: (file.mtime, file.name))[-NEWEST:])
        ordered = [file for file in ordered if file in newest or is_important(file.name)]
    return [list(file) for file in ordered]


def sample_key(sample: Iterable[Iterable[str | int]]) -> int:
    """Equal for equal samples, within one run of the program."""
    return hash(tuple(tuple(entry) for entry in sample))


def forget(state: DirectoryState, names: set[str]) -> DirectoryState:
    """The same state with times that no file has, so that the next scan reads these files again."""
    if state.listing is None:
        return state
    sample = [[name, size, 0 if name in names else mtime] for name, size, mtime in state.listing.sample]
    listing = Listing(state.listing.file_count, state.listing.digest, sample)
    return DirectoryState(state.path, state.id, state.mtime, state.readable, listing)


def _note_state(
    changes: Changes, directory: ScannedDirectory, before: KnownDirectory | None, trust_before: int
) -> None:
    listing, order = None, None
    if directory.look is Look.LISTED:
        listing = Listing(len(directory.files), listing_digest(directory.files), choose_sample(directory.files))
        order = _order(directory, listing.digest, before, trust_before)
    if before is None:
        changes.new.append(DirectoryState(directory.path, None, directory.mtime, directory.readable, listing))
    elif directory.look is Look.LISTED or (directory.look is not Look.FAILED and directory.readable != before.readable):
        # Without a listing the recorded time stays: it is the time of what is recorded of its files.
        mtime = directory.mtime if listing else before.mtime
        state = DirectoryState(directory.path, before.id, mtime, directory.readable, listing)
        if _differs(state, before):
            changes.changed.append(state)
        elif order:
            changes.reread[state.path] = state
        if listing:
            names = {file.name for file in directory.files}
            changes.gone_files += [(before.id, name) for name in sorted(before.details - names)]
    if order:
        changes.orders.append(order)


def _differs(state: DirectoryState, before: KnownDirectory) -> bool:
    if (state.mtime, state.readable) != (before.mtime, before.readable):
        return True
    listing = state.listing
    return listing is not None and (listing.digest, sample_key(listing.sample)) != (before.digest, before.sample_key)


def _order(
    directory: ScannedDirectory, digest: bytes, before: KnownDirectory | None, trust_before: int
) -> ReadOrder | None:
    """What must be read: what changed since it was last read, or may have."""

    def is_due(file: ScannedFile) -> bool:
        known = before.watched.get(file.name) if before else None
        return known != (file.size, file.mtime) or file.mtime >= trust_before

    hashed = tuple(sorted(file.name for file in directory.files if file.name in _OWN and is_due(file)))
    checksums = tuple(sorted(file.name for file in directory.files if is_checksum_file(file.name)))
    # All checksum files or none: a file may have its hashes in several. They are due too when a file that they
    # describe came or changed.
    if before and digest == before.digest:
        described = (file for file in directory.files if file.name in before.details or file.name in checksums)
        if not any(is_due(file) for file in described if file.name not in _OWN):
            checksums = ()
    if not hashed and not checksums:
        return None
    return ReadOrder(directory.path, {file.name: file for file in directory.files}, hashed, checksums)


def _note_repository(
    changes: Changes, summaries: set[str], directory: ScannedDirectory, before: KnownDirectory | None
) -> None:
    if directory.look is Look.LISTED:
        names = {file.name for file in directory.files}
    elif directory.look is Look.UNCHANGED and before:
        names = set(before.watched)
    else:
        return
    if REPOMD in names and directory.path.rpartition("/")[2] == "repodata":
        changes.candidates.add(parent(directory.path))
    if SUMMARY in names:
        summaries.add(directory.path)


def _note_unseen(
    changes: Changes, known: Known, seen: set[str], hidden: Mapping[str, Look], excludes: Excludes
) -> None:
    """A known directory that was not seen is gone, unless it is left out on purpose or hidden by something above."""
    for path in known.keys() - seen:
        before = known[path]
        cover = _first(hidden.get, upwards(path)) or hidden.get("")
        if cover is Look.CLOSED and before.readable:
            changes.changed.append(DirectoryState(path, before.id, before.mtime, False, None))
        elif cover is None and not excludes.covers(path):
            changes.vanished[path] = before.id


def _first(get: Callable[[str], Look | None], paths: Iterable[str]) -> Look | None:
    return next((found for path in paths if (found := get(path))), None)
