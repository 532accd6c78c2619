"""Bytes <-> MirrorlistCache: magic, version, length, checksum, then a pickle of plain containers.

The checksum finds damage, not malice: whoever can write the file could write a checksum too. Against malice
the pickle is read by an Unpickler that refuses to look up any class or function, and every value is checked.

    CacheError
    ├── NotACache            the magic is missing
    ├── UnknownVersion       written for another SCHEMA_VERSION
    ├── Truncated            shorter or longer than its header says
    ├── ChecksumMismatch     bytes changed
    └── ForbiddenContent     asks for a class, or the values have the wrong shape
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from dataclasses import fields
from typing import Any, NoReturn

from mm_lib.cache.schema import SCHEMA_VERSION, Category, FileDetail, Host, MirrorlistCache

MAGIC = b"MMCACHE\n"
_HEADER = struct.Struct("!8sHQ32s")  # magic, version, payload length, SHA-256 of version + length + payload
HEADER_SIZE = _HEADER.size


class CacheError(Exception):
    """The bytes are not a mirrorlist cache that this program can use."""


class NotACache(CacheError):
    """The magic is missing."""


class UnknownVersion(CacheError):
    """Written for another schema version."""


class Truncated(CacheError):
    """The length differs from what the header says."""


class ChecksumMismatch(CacheError):
    """The content changed after it was written."""


class ForbiddenContent(CacheError):
    """The pickle asks for a class or function, or its values have the wrong shape."""


class _PlainUnpickler(pickle.Unpickler):
    """Reads containers and scalars only."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse."""
        raise ForbiddenContent(f"it asks for {module}.{name}; a cache holds plain values only")

    def persistent_load(self, _pid: Any) -> NoReturn:
        """Refuse."""
        raise ForbiddenContent("it refers to an object outside of the file")


def encode(cache: MirrorlistCache) -> bytes:
    """The file content for a cache."""
    payload = pickle.dumps(_to_plain(cache), protocol=5)
    digest = _digest(SCHEMA_VERSION, payload)
    return _HEADER.pack(MAGIC, SCHEMA_VERSION, len(payload), digest) + payload


def decode(data: bytes) -> MirrorlistCache:
    """The cache that the bytes hold; raises a CacheError that says why not."""
    if not data.startswith(MAGIC[: len(data)]) or not data:
        raise NotACache("this is not a mirrorlist cache (wrong first bytes)")
    if len(data) < HEADER_SIZE:
        raise Truncated(f"only {len(data)} bytes, shorter than its header")
    _, version, length, digest = _HEADER.unpack_from(data)
    if version != SCHEMA_VERSION:
        raise UnknownVersion(
            f"cache version {version}, this program reads {SCHEMA_VERSION}: "
            "upgrade both sides to the same release and run `mm-admin cache build`"
        )
    payload = memoryview(data)[HEADER_SIZE:]
    if len(payload) != length:
        raise Truncated(f"{len(payload)} bytes of content where the header promises {length}")
    if _digest(version, payload) != digest:
        raise ChecksumMismatch("the checksum does not match the content")
    return _from_plain(_load(payload))


def _digest(version: int, payload: bytes | memoryview) -> bytes:
    sha = hashlib.sha256(struct.pack("!HQ", version, len(payload)))
    sha.update(payload)
    return sha.digest()


def _load(payload: memoryview) -> Any:
    try:
        return _PlainUnpickler(io.BytesIO(payload)).load()
    except CacheError:
        raise
    except Exception as error:  # a hostile pickle can raise nearly anything: every way means "refused"
        raise ForbiddenContent(f"its content cannot be read ({type(error).__name__})") from error


def _to_plain(cache: MirrorlistCache) -> dict[str, Any]:
    plain = {f.name: getattr(cache, f.name) for f in fields(MirrorlistCache)}
    plain["hosts"] = [tuple(host) for host in cache.hosts]
    plain["categories"] = [_plain_category(category) for category in cache.categories]
    return plain


def _plain_category(category: Category) -> tuple[Any, ...]:
    files = {
        path: {name: [tuple(detail) for detail in details] for name, details in names.items()}
        for path, names in category.files.items()
    }
    return category.name, category.topdir, category.urls, category.directories, files


def _from_plain(plain: Any) -> MirrorlistCache:
    try:
        cache = MirrorlistCache(
            **{
                **plain,
                "hosts": [Host._make(host) for host in plain["hosts"]],
                "categories": [_category(category) for category in plain["categories"]],
            }
        )
        _check(cache)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ForbiddenContent(f"its content does not have the shape of a cache: {error}") from error
    return cache


def _category(plain: Any) -> Category:
    name, topdir, urls, directories, files = plain
    details = {
        path: {name: tuple(FileDetail._make(detail) for detail in versions) for name, versions in names.items()}
        for path, names in files.items()
    }
    return Category(name, topdir, urls, directories, details)


_TYPES = {
    "generated_at": int,
    "generation": int,
    "masks": list,
    "repositories": dict,
    "disabled_repositories": list,
    "repository_redirects": dict,
    "netblock_hosts": dict,
    "asn_hosts": dict,
    "country_continents": dict,
    "netblock_countries": dict,
    "embargoed_countries": list,
}


def _check(cache: MirrorlistCache) -> None:
    """Cheap checks that keep a wrong file from failing in the middle of a request."""
    for name, kind in _TYPES.items():
        if not isinstance(getattr(cache, name), kind):
            raise TypeError(f"{name} is not of type {kind.__name__}")
    if any(not isinstance(host.bandwidth, int) or host.bandwidth < 1 for host in cache.hosts):
        raise ValueError("a host's bandwidth is not a positive number")
    if any(not isinstance(mask, int) or mask < 0 or mask >> len(cache.hosts) for mask in cache.masks):
        raise ValueError("a mask names a host that does not exist")
    for category in cache.categories:
        if any(not 0 <= position < len(cache.masks) for position in category.directories.values()):
            raise ValueError(f"a directory of {category.name} names a mask that does not exist")
    for key, (position, path) in cache.repositories.items():
        if path not in cache.categories[position].directories:
            raise ValueError(f"repository {'+'.join(key)} points to a directory that does not exist")
