"""APT's metadata: which files lead a suite, and what stands in a Release file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from debian.deb822 import Release

from mm_crawler.master.formats import (
    INRELEASE,
    KINDS,
    LENGTHS,
    RELEASE,
    FormatError,
    Hashes,
    signed_lines,
)

_MAX_BYTES = 8 << 20  # Debian's have 0.2 MB
_MAX_LINES = 100_000  # and 3,000 lines
_FIELDS = {"md5": "md5sum", "sha1": "sha1", "sha256": "sha256", "sha512": "sha512"}
_HEX = re.compile(r"[0-9a-f]+")
_INDEX = re.compile(r"(?:Packages|Sources)(?:\.\w+)?")
_SIZE = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a Release file says of another one."""

    size: int
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A Release file: when it was made, and the indexes by their paths below its directory."""

    timestamp: int | None
    claims: Mapping[str, Claim]


def in_archive(path: str) -> bool:
    """Whether a directory is below an archive's `dists`, where all is described by Release files."""
    # Files below by-hash are known by other names already.
    return (path.startswith("dists/") or "/dists/" in path) and "/by-hash" not in path


def leads_suite(path: str, name: str) -> bool:
    """Whether the file is a suite's Release or InRelease, and not one of the little ones beside the indexes."""
    last = path.rpartition("/")[2]
    return name in (RELEASE, INRELEASE) and in_archive(path) and last != "source" and not last.startswith("binary-")


def is_index(name: str) -> bool:
    """Whether it lists packages or sources."""
    return _INDEX.fullmatch(name) is not None


def parse_release(data: bytes) -> ReleaseFile:
    """A Release or InRelease file, its signature not looked at. Raises FormatError."""
    if len(data) > _MAX_BYTES:
        raise FormatError(f"it has {len(data)} bytes, more than any Release file needs")
    if (lines := data.count(b"\n")) > _MAX_LINES:
        raise FormatError(f"it has {lines} lines, more than any Release file needs")
    try:
        fields = Release(list(signed_lines(data.decode("utf-8", errors="replace"))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # python-debian names no errors of its own
        raise FormatError(f"not a Release file: {error}") from None
    claims: dict[str, Claim] = {}
    for kind in KINDS:
        for row in _rows(fields, _FIELDS[kind]):
            _claim(claims, kind, row)
    if not claims and "Suite" not in fields and "Codename" not in fields:
        raise FormatError("not a Release file: it names neither a suite nor an index")
    return ReleaseFile(_timestamp(fields), claims)


def _rows(fields: Release, name: str) -> list[Mapping[str, str]]:
    found = fields.get(name)
    return found if isinstance(found, list) else []


def _claim(claims: dict[str, Claim], kind: str, row: Mapping[str, str]) -> None:
    value, size, name = row.get(kind) or row.get(_FIELDS[kind]), row.get("size"), row.get("name")
    if not value or not name or not size or not _SIZE.fullmatch(size):
        raise FormatError(f"its line for {name or 'a file without name'} lacks a hash, a size or a name")
    value = value.lower()
    if len(value) != LENGTHS[kind] or not _HEX.fullmatch(value):
        raise FormatError(f"its {kind} hash for {name} is none")
    hashes: Hashes = {kind: value}
    if before := claims.get(name):
        if before.size != int(size) or before.hashes.get(kind, value) != value:
            raise FormatError(f"it says two things about {name}")
        hashes = {**before.hashes, kind: value}
    claims[name] = Claim(int(size), hashes)


def _timestamp(fields: Release) -> int | None:
    stated = fields.get("Date")
    if stated is None:
        return None
    try:
        return int(parsedate_to_datetime(stated).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        raise FormatError(f"its Date {stated[:60]!r} is none") from None
