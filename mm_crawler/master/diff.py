"""What a scan found, compared with what is known: new, changed and vanished directories, and what must be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, islice

from mm_crawler.master import apt
from mm_crawler.master.formats import REPOMD, SUMMARY, is_checksum_file, is_important
from mm_crawler.master.scanned import (
    Excludes,
    Files,
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
    file_count: int = 0
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # of an APT index's directory: as watched


Known = Mapping[str, KnownDirectory]


@dataclass(frozen=True, slots=True)
class Listing:
    """What is recorded of a directory's files."""

    file_count: int
    digest: bytes
    sample: str  # packed


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
    below_dists: dict[str, Mapping[str, ScannedFile]] = field(default_factory=dict)  # Release files tell of these
    candidates: set[str] = field(default_factory=set)  # directories that hold a repository
    problems: list[str] = field(default_factory=list)


def memory(known: Known, trust_before: int) -> dict[str, Remembered]:
    """What a source may take as given: directories whose times were over before the last scan began.

    Times count whole seconds, so a directory that changed in the second of its scan may have changed after it.
    """
    children: dict[str, list[str]] = {}
    for path in known:
        if path:
            children.setdefault(parent(path), []).append(path.rpartition("/")[2])
    return {
        path: Remembered(
            directory.mtime,
            tuple(children.get(path, ())),
            directory.watched,
            directory.file_count,
            directory.newest,
        )
        for path, directory in known.items()
        if directory.digest is not None and directory.newest < trust_before
    }


def unchanged(known: Known) -> Iterator[ScannedDirectory]:
    """All that is known, as a scan that finds nothing else sees it."""
    for path, directory in known.items():
        yield ScannedDirectory(path, directory.mtime, directory.readable, Look.UNCHANGED)


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


def listing_digest(files: Iterable[ScannedFile]) -> bytes:
    """16 bytes over the names and sizes of all files, in the order of their names."""
    columns = Files.of(files)
    text = "\n".join(sorted(map("\0".join, zip(columns.names, columns.sizes, strict=True))))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def choose_sample(files: Iterable[ScannedFile]) -> Sample:
    """The files that a crawl asks for: all when they are few, else the newest and the important ones."""
    columns = Files.of(files)
    chosen: Iterable[ScannedFile] = columns
    if len(columns) > MANY_FILES or (len(columns) > FEW_OF_A_KIND and _many_of_a_kind(columns.names)):
        important = {file for file in columns.others if is_important(file.name)}
        chosen = important.union(_newest(columns))
    return [list(file) for file in sorted(chosen)]


def _newest(files: Files) -> list[ScannedFile]:
    times: Sequence[str] = files.times
    if len(set(map(len, times))) > 1:  # text compares like numbers only where the numbers are equally long
        times = [time.zfill(20) for time in times]
    limit = sorted(times)[-NEWEST]
    new = [files[index] for index in compress(range(len(times)), map(limit.__le__, times))]
    return sorted(new, key=lambda file: (file.mtime, file.name))[-NEWEST:]


def _many_of_a_kind(names: Sequence[str]) -> bool:
    kinds = ((name for name in names if name.endswith(ending)) for ending in _ENDINGS)
    return any(next(islice(kind, FEW_OF_A_KIND, None), "") for kind in kinds)  # there is one more than few


def pack(sample: Sample) -> str:
    """As it is stored: JSON takes a quarter of the room."""
    return json.dumps(sample, separators=(",", ":"))


def sample_key(packed: str) -> int:
    """Equal for equal samples, within one run of the program."""
    return hash(packed)


def is_leading(path: str, name: str) -> bool:
    """Whether a file of the directory is hashed by ourselves, whatever a checksum file says about it."""
    return name in _OWN or apt.leads_suite(path, name)


def forget(state: DirectoryState, names: set[str]) -> DirectoryState:
    """The same state with times that no file has, so that the next scan reads these files again."""
    if state.listing is None:
        return state
    sample = [[name, size, 0 if name in names else mtime] for name, size, mtime in json.loads(state.listing.sample)]
    listing = Listing(state.listing.file_count, state.listing.digest, pack(sample))
    return DirectoryState(state.path, state.id, state.mtime, state.readable, listing)


def _note_state(
    changes: Changes, directory: ScannedDirectory, before: KnownDirectory | None, trust_before: int
) -> None:
    listing, order = None, None
    if directory.look is Look.LISTED:
        files = Files.of(directory.files)
        listing = Listing(len(files), listing_digest(files), pack(choose_sample(files)))
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
        if listing and before.details:
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

    special = Files.of(directory.files).others
    leading = [file for file in special if is_leading(directory.path, file.name)]
    # All of them or none: a suite's Release and InRelease must agree.
    hashed = tuple(sorted(file.name for file in leading)) if any(is_due(file) for file in leading) else ()
    checksums = tuple(sorted(file.name for file in special if is_checksum_file(file.name)))
    # All checksum files or none: a file may have its hashes in several. They are due too when a file that they
    # describe came or changed.
    if before and digest == before.digest:
        described = (file for file in directory.files if file.name in before.details or file.name in checksums)
        if not any(is_due(file) for file in described if file not in leading):
            checksums = ()
    if not hashed and not checksums:
        return None
    return ReadOrder(directory.path, {file.name: file for file in directory.files}, hashed, checksums)


def _note_repository(
    changes: Changes, summaries: set[str], directory: ScannedDirectory, before: KnownDirectory | None
) -> None:
    if directory.look is Look.LISTED:
        names = {file.name for file in Files.of(directory.files).others}
    elif directory.look is Look.UNCHANGED and before:
        names = set(before.watched)
    else:
        return
    if apt.in_archive(directory.path):
        _note_index(changes, directory, before)
    if REPOMD in names and directory.path.rpartition("/")[2] == "repodata":
        changes.candidates.add(parent(directory.path))
    if SUMMARY in names:
        summaries.add(directory.path)


def _note_index(changes: Changes, directory: ScannedDirectory, before: KnownDirectory | None) -> None:
    """Keep what is seen of a directory below an APT archive's dists; one with an index may be a repository."""
    files = {file.name: file for file in directory.files}
    if directory.look is Look.UNCHANGED and before:
        files = {name: ScannedFile(name, size, mtime) for name, (size, mtime) in before.files.items()}
    changes.below_dists[directory.path] = files
    if any(map(apt.is_index, files)):
        changes.candidates.add(directory.path)


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
