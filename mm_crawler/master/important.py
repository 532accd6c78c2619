"""Read important files: all hashes in one pass, and what checksum files say about the files beside them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mm_crawler.master.diff import ReadOrder
from mm_crawler.master.formats import KINDS, REPOMD, FormatError, Hashes, parse_checksums, repomd_timestamp
from mm_crawler.master.history import FoundFile
from mm_crawler.master.scanned import Content, FileProblem, join

_CHUNK = 1 << 20

Read = Callable[[str, int], Content]


@dataclass
class Findings:
    """What was found in the important files."""

    files: list[FoundFile] = field(default_factory=list)
    hashed: int = 0
    failed: dict[str, set[str]] = field(default_factory=dict)  # directory -> names to be read again next time
    problems: list[str] = field(default_factory=list)

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


def collect(read: Read, orders: Iterable[ReadOrder], limit: int) -> Findings:
    """Read what is ordered. A file that cannot be used is a problem, never fatal."""
    findings = Findings()
    for order in orders:
        for name in order.hashed:
            _hash(read, order, name, limit, findings)
        if order.checksums:
            _collect_checksums(read, order, limit, findings)
    return findings


def _hash(read: Read, order: ReadOrder, name: str, limit: int, findings: Findings) -> None:
    try:
        content = read(join(order.path, name), limit)
        stated = repomd_timestamp(content.data) if name == REPOMD else None
    except (FileProblem, FormatError) as error:
        findings.fail(order.path, name, error)
        return
    timestamp = content.mtime if stated is None else stated
    findings.hashed += 1
    findings.files.append(FoundFile(order.path, name, timestamp, content.size, content.hashes))


def _collect_checksums(read: Read, order: ReadOrder, limit: int, findings: Findings) -> None:
    merged: dict[str, Hashes] = {}
    contradicted: set[str] = set()
    for checksum_file in order.checksums:
        try:
            content = read(join(order.path, checksum_file), limit)
            entries = parse_checksums(checksum_file, content.data)
        except (FileProblem, FormatError) as error:
            findings.fail(order.path, checksum_file, error)
            continue
        findings.hashed += 1
        for name, hashes in entries.items():
            known = merged.setdefault(name, {})
            if any(known.setdefault(kind, value) != value for kind, value in hashes.items()):
                contradicted.add(name)
    for name in sorted(contradicted & order.files.keys()):
        findings.problems.append(f"{join(order.path, name)}: its checksum files contradict each other")
    for name, hashes in merged.items():
        if (file := order.files.get(name)) and name not in contradicted and name not in order.own:
            findings.files.append(FoundFile(order.path, name, file.mtime, file.size, hashes))
