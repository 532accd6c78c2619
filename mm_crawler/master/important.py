"""Read important files: all hashes in one pass, and what checksum and Release files say about others."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, TypeVar

from mm_crawler.master.apt import Claim, parse_release
from mm_crawler.master.diff import ReadOrder, is_leading
from mm_crawler.master.formats import (
    INRELEASE,
    KINDS,
    RELEASE,
    REPOMD,
    SUMMARY,
    FormatError,
    Hashes,
    parse_checksums,
    repomd_timestamp,
)
from mm_crawler.master.history import FoundFile
from mm_crawler.master.scanned import Content, FileProblem, ScannedFile, is_recordable, join

_CHUNK = 1 << 20
_MAX_SIGNATURE = 1 << 20
_DETACHED = {REPOMD: "repomd.xml.asc", RELEASE: "Release.gpg"}

Read = Callable[[str, int], Content]
T = TypeVar("T")


class BadSignature(Exception):
    """Metadata is not signed by a key that counts; the message says what is wrong."""


@dataclass
class Findings:
    """What was found in the important files."""

    files: list[FoundFile] = field(default_factory=list)
    hashed: int = 0
    failed: dict[str, set[str]] = field(default_factory=dict)  # directory -> names to be read again next time
    refused: dict[str, str] = field(default_factory=dict)  # directory -> why its metadata is not believed
    problems: list[str] = field(default_factory=list)

    def refuse(self, directory: str, name: str, reason: object) -> None:
        """Remember metadata that must not be published."""
        self.failed.setdefault(directory, set()).add(name)
        self.refused[directory] = f"{join(directory, name)}: refused, {reason}"

    def fail(self, directory: str, name: str, reason: object) -> None:
        """Remember a file that could not be used."""
        self.failed.setdefault(directory, set()).add(name)
        self.problems.append(f"{join(directory, name)}: {reason}")


def read_file(path: str, limit: int) -> Content:
    """A file and its hashes, of one moment. Raises FileProblem when it is no file, too large or being written."""
    try:
        # A pipe that took the file's place must not make us wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read_open(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileProblem(f"cannot be read: {error.strerror}") from None


def _read_open(descriptor: int, limit: int) -> Content:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise FileProblem("is not a regular file")
    if before.st_size > limit:
        raise FileProblem(f"has {before.st_size} bytes, more than the {limit} that are read")
    data = b"".join(_chunks(descriptor, limit))
    after = os.fstat(descriptor)
    if len(data) != before.st_size or _moment(before) != _moment(after):
        raise FileProblem("changed while it was read; the next scan reads it again")
    return Content(data, before.st_size, int(before.st_mtime), hash_all(data))


def _chunks(descriptor: int, limit: int) -> Iterator[bytes]:
    left = limit + 1
    while left > 0 and (chunk := os.read(descriptor, min(_CHUNK, left))):
        left -= len(chunk)
        yield chunk


def _moment(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def hash_all(data: bytes) -> Hashes:
    """Its md5, sha1, sha256 and sha512."""
    return {kind: hashlib.new(kind, data, usedforsecurity=False).hexdigest() for kind in KINDS}


class Keyring(Protocol):
    """Keys of those whose signatures count; see signatures.py."""

    def check_detached(self, data: bytes, signature: bytes) -> None:
        """Raises BadSignature."""

    def check_inline(self, data: bytes) -> bytes:
        """What the signature covers. Raises BadSignature."""


def collect(
    read: Read,
    orders: Iterable[ReadOrder],
    limit: int,
    below_dists: Mapping[str, Mapping[str, ScannedFile]] = MappingProxyType({}),
    keyring: Keyring | None = None,
) -> Findings:
    """Read what is ordered. A file that cannot be used is a problem, never fatal.

    With a keyring, metadata without a good signature is refused.
    """
    collector = _Collector(read, limit, below_dists, keyring)
    for order in orders:
        collector.take_leading(order)
        collector.take_checksums(order)
    return collector.settle()


def collect_one(read: Read, path: str, limit: int, keyring: Keyring | None = None) -> Findings:
    """Read one repomd.xml, ostree summary, Release or InRelease, by its path below the topdir. Raises FormatError."""
    directory, _, name = path.rpartition("/")
    if not is_leading(directory, name):
        raise FormatError(f"{path} is no repomd.xml, no ostree summary and no Release file of an APT suite")
    return collect(read, [ReadOrder(directory, {}, (name,), ())], limit, keyring=keyring)


def to_read(orders: Iterable[ReadOrder], signed: bool) -> Iterator[str]:
    """The paths of the files that will be read, for sources that fetch them at once."""
    for order in orders:
        for name in (*order.hashed, *order.checksums):
            yield join(order.path, name)
            signature = _DETACHED.get(name, "")
            if signed and signature in order.files:
                yield join(order.path, signature)


class _Collector:
    """Gathers what important files say, each file once."""

    def __init__(
        self, read: Read, limit: int, below_dists: Mapping[str, Mapping[str, ScannedFile]], keyring: Keyring | None
    ) -> None:
        self._read = read
        self._limit = limit
        self._below_dists = below_dists
        self._keyring = keyring
        self._findings = Findings()
        self._found: dict[tuple[str, str], FoundFile] = {}
        self._contradicted: set[tuple[str, str]] = set()

    def settle(self) -> Findings:
        """What was found, without what was contradicted."""
        for directory, name in sorted(self._contradicted):
            self._findings.problems.append(f"{join(directory, name)}: its checksum files contradict each other")
        self._findings.files = [file for key, file in self._found.items() if key not in self._contradicted]
        return self._findings

    def take_leading(self, order: ReadOrder) -> None:
        """Hash repomd.xml and its like, and read what Release files say of indexes."""
        texts: dict[str, tuple[Content, bytes]] = {}
        for name in order.hashed:
            try:
                content = self._read(join(order.path, name), self._limit)
                texts[name] = content, self._authentic(order.path, name, content, texts)
            except BadSignature as refusal:
                self._findings.refuse(order.path, name, refusal)
                return
            except FileProblem as problem:
                self._findings.fail(order.path, name, problem)
        for name, (content, text) in texts.items():
            try:
                self._take_one(order.path, name, content, text)
            except FormatError as problem:
                self._findings.fail(order.path, name, problem)

    def _authentic(self, path: str, name: str, content: Content, others: Mapping[str, tuple[Content, bytes]]) -> bytes:
        """The part of a file that is signed, all of it where nobody asks for signatures.

        Raises BadSignature, and FileProblem when the file was replaced meanwhile.
        """
        if self._keyring is None or name == SUMMARY:
            return content.data
        if name == INRELEASE:
            return self._keyring.check_inline(content.data)
        try:
            signature = self._read(join(path, _DETACHED[name]), _MAX_SIGNATURE)
        except FileProblem as problem:
            if name == RELEASE and INRELEASE in others and _same_text(others[INRELEASE][1], content.data):
                return content.data
            raise BadSignature(f"its signature {_DETACHED[name]} {problem}") from None
        try:
            self._keyring.check_detached(content.data, signature.data)
        except BadSignature:
            if self._read(join(path, name), self._limit).hashes != content.hashes:
                raise FileProblem("changed while its signature was read; the next scan reads it again") from None
            raise
        return content.data

    def _take_one(self, path: str, name: str, content: Content, text: bytes) -> None:
        stated = None
        if name == REPOMD:
            stated = repomd_timestamp(text)
        elif name in (RELEASE, INRELEASE):
            release = parse_release(text)
            stated = release.timestamp
            self._take_release(path, name, release.claims)
        timestamp = content.mtime if stated is None else stated
        self._findings.hashed += 1
        self._add(FoundFile(path, name, timestamp, content.size, content.hashes))

    def _take_release(self, path: str, release: str, claims: Mapping[str, Claim]) -> None:
        others: list[str] = []
        for directory, name, claim in self._inside(path, release, claims):
            file = self._below_dists.get(directory, {}).get(name)
            if file is None or is_leading(directory, name):
                continue
            if file.size != claim.size:
                others.append(join(directory, name))
                continue
            self._add(FoundFile(directory, name, file.mtime, file.size, claim.hashes))
        if others:
            self._findings.fail(path, release, f"other sizes than it says: {_first(others)}; the next scan looks again")

    def take_checksums(self, order: ReadOrder) -> None:
        """Believe what checksum files say of the files beside them."""
        for checksum_file in order.checksums:
            try:
                content = self._read(join(order.path, checksum_file), self._limit)
                entries = parse_checksums(checksum_file, content.data)
            except (FileProblem, FormatError) as error:
                self._findings.fail(order.path, checksum_file, error)
                continue
            self._findings.hashed += 1
            for directory, name, hashes in self._inside(order.path, checksum_file, entries):
                files = order.files if directory == order.path else self._below_dists.get(directory, {})
                if (file := files.get(name)) and not is_leading(directory, name):
                    self._add(FoundFile(directory, name, file.mtime, file.size, hashes))

    def _inside(self, path: str, teller: str, said: Mapping[str, T]) -> Iterator[tuple[str, str, T]]:
        """(directory, name, what is said) of each name that stays in the teller's directory or below it."""
        outside: list[str] = []
        for name, value in said.items():
            parts = name.split("/")
            if any(part in ("", ".", "..") or not is_recordable(part) for part in parts):
                outside.append(name)
                continue
            *folders, filename = parts
            yield "/".join([path, *folders] if path else folders), filename, value
        if outside:
            names = _first([ascii(name[:80]) for name in outside])
            self._findings.problems.append(f"{join(path, teller)}: names that lead elsewhere are left out: {names}")

    def _add(self, file: FoundFile) -> None:
        key = file.path, file.filename
        known = self._found.get(key)
        if known is None:
            self._found[key] = file
        elif any(known.hashes.get(kind, value) != value for kind, value in file.hashes.items()):
            self._contradicted.add(key)
        else:
            self._found[key] = replace(known, hashes={**known.hashes, **file.hashes})


def _first(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _same_text(one: bytes, other: bytes) -> bool:
    """A clearsigned text loses blanks at the ends of its lines."""
    return [line.rstrip() for line in one.strip().splitlines()] == [
        line.rstrip() for line in other.strip().splitlines()
    ]
