"""Bytes <-> MirrorlistCache: magic, version, length, checksum, then a pickle of plain containers and flat buffers.

The buffers (table.py) are the pickle's out-of-band data (protocol 5): what there is very much of is used where it lies.

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
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, NoReturn

from mm_lib.cache.schema import SCHEMA_VERSION, Absent, Category, Factors, Host, MirrorlistCache
from mm_lib.cache.table import DirectoryTable, FileTable, MaskTable, Pause, StringTable, resting, unhurried

MAGIC = b"MMCACHE\n"
_HEADER = struct.Struct("!8sHQ32s")  # magic, version, payload length, SHA-256 of version + length + payload
HEADER_SIZE = _HEADER.size
_LENGTH = struct.Struct("!Q")


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


class _Unhurried(io.BytesIO):
    """What an Unpickler reads from, frame by frame of 64 kB: it holds the interpreter in between."""

    def __init__(self, pickled: memoryview, pause: Pause) -> None:
        super().__init__(pickled)
        self._pause = pause

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, after a rest."""
        self._pause()
        return super().read(size)


def encode(cache: MirrorlistCache) -> bytes:
    """The file content for a cache. Raises ValueError or OverflowError for values that do not belong in one."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(_to_plain(cache), protocol=5, buffer_callback=buffers.append)
    return seal(pickled, [buffer.raw() for buffer in buffers])


def seal(pickled: bytes, buffers: Sequence[bytes | memoryview]) -> bytes:
    """A file of a pickle and its buffers: a table of lengths, then the pickle, then the buffers."""
    parts = [pickled, *buffers]
    lengths = b"".join(_LENGTH.pack(len(part)) for part in (parts, *parts))
    payload = [lengths, *parts]
    header = _HEADER.pack(MAGIC, SCHEMA_VERSION, sum(map(len, payload)), _digest(SCHEMA_VERSION, payload))
    return b"".join([header, *payload])  # the only copy: it is large


def decode(data: bytes, pause: Pause = unhurried) -> MirrorlistCache:
    """The cache that the bytes hold; raises a CacheError that says why not.

    `pause` is called every few microseconds, so that whoever waits for the interpreter can have it now and then.
    """
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
    if _digest(version, [payload], pause) != digest:
        raise ChecksumMismatch("the checksum does not match the content")
    return _from_plain(_load(payload, pause), pause)


def _digest(version: int, payload: Sequence[bytes | memoryview], pause: Pause = unhurried) -> bytes:
    """Piece by piece: it needs no interpreter, but it takes the core from whoever answers requests on it."""
    sha = hashlib.sha256(struct.pack("!HQ", version, sum(map(len, payload))))
    for part in payload:
        for start in range(0, len(part), _PIECE):
            pause()
            sha.update(memoryview(part)[start : start + _PIECE])
    return sha.digest()


_PIECE = 1 << 16  # bytes, hashed in a tenth of a millisecond


def _load(payload: memoryview, pause: Pause) -> Any:
    try:
        pickled, *buffers = _parts(payload)
        return _PlainUnpickler(_Unhurried(pickled, pause), buffers=buffers).load()
    except CacheError:
        raise
    except Exception as error:  # a hostile pickle can raise nearly anything: every way means "refused"
        raise ForbiddenContent(f"its content cannot be read ({type(error).__name__})") from error


def _parts(payload: memoryview) -> list[memoryview]:
    """The pickle and its buffers."""
    (count,) = _LENGTH.unpack_from(payload)
    place = _LENGTH.size * (1 + count)
    parts = []
    for number in range(count):
        (length,) = _LENGTH.unpack_from(payload, _LENGTH.size * (1 + number))
        parts.append(payload[place : place + length])
        place += length
    if place != len(payload):
        raise ValueError("the parts are not as long as the whole")
    return parts


def _to_plain(cache: MirrorlistCache) -> dict[str, Any]:
    plain = {f.name: getattr(cache, f.name) for f in fields(MirrorlistCache)}
    plain["hosts"] = [tuple(host) for host in cache.hosts]
    plain["masks"] = pickle.PickleBuffer(MaskTable.pack(cache.masks, len(cache.hosts)))
    plain["categories"] = [_plain_category(category) for category in cache.categories]
    return plain


def _plain_category(category: Category) -> dict[str, Any]:
    plain = {f.name: getattr(category, f.name) for f in fields(Category)}
    plain["directories"] = [pickle.PickleBuffer(part) for part in DirectoryTable.pack(category.directories)]
    plain["files"] = [pickle.PickleBuffer(part) for part in FileTable.pack(category.files)]
    plain["factors"] = {host: tuple(factors) for host, factors in category.factors.items()}
    plain["absent"] = [tuple(absent) for absent in category.absent]
    return plain


def _from_plain(plain: Any, pause: Pause) -> MirrorlistCache:
    try:
        hosts = [Host._make(host) for host in resting(plain["hosts"], pause)]
        masks = MaskTable(plain["masks"], len(hosts), pause)
        categories = [_category(category, len(masks), pause) for category in plain["categories"]]
        cache = MirrorlistCache(**{**plain, "hosts": hosts, "masks": masks, "categories": categories})
        _check(cache, pause)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ForbiddenContent(f"its content does not have the shape of a cache: {error}") from error
    return cache


def _category(plain: Any, masks: int, pause: Pause) -> Category:
    text, text_ends, slots, positions = plain["directories"]
    names = StringTable(text, text_ends, slots, pause)
    text, text_ends, slots, ends, records = plain["files"]
    files = StringTable(text, text_ends, slots, pause)
    return Category(
        **{
            **plain,
            "directories": DirectoryTable(names, positions, masks, pause),
            "files": FileTable(files, ends, records, pause),
            "factors": {host: Factors._make(values) for host, values in resting(plain["factors"].items(), pause)},
            "absent": [Absent._make(values) for values in resting(plain["absent"], pause)],
        }
    )


_TYPES = {
    "generated_at": int,
    "generation": int,
    "repositories": dict,
    "disabled_repositories": list,
    "repository_redirects": dict,
    "netblock_hosts": dict,
    "location_hosts": dict,
    "asn_hosts": dict,
    "country_continents": dict,
    "netblock_countries": dict,
    "embargoed_countries": list,
    "carried_over": dict,
}


def _check(cache: MirrorlistCache, pause: Pause) -> None:
    """Cheap checks that keep a wrong file from failing in the middle of a request."""
    for name, kind in _TYPES.items():
        if not isinstance(getattr(cache, name), kind):
            raise TypeError(f"{name} is not of type {kind.__name__}")
    if any(not isinstance(host.name, str) or not isinstance(host.site, str) for host in cache.hosts):
        raise ValueError("the name of a host or of its site is no text")
    if any(not isinstance(host.bandwidth, int) or host.bandwidth < 1 for host in cache.hosts):
        raise ValueError("a host's bandwidth is not a positive number")
    for category in cache.categories:
        _check_category(category, len(cache.hosts), pause)
    for owner, masks in (
        ("a netblock", cache.netblock_hosts),
        ("a location group", cache.location_hosts),
        ("an autonomous system", cache.asn_hosts),
    ):
        _check_masks(owner, masks.values(), len(cache.hosts), pause)
    for key, (position, path) in resting(cache.repositories.items(), pause):
        if path not in cache.categories[position].directories:
            raise ValueError(f"repository {'+'.join(key)} points to a directory that does not exist")


def _check_category(category: Category, hosts: int, pause: Pause) -> None:
    _check_masks(category.name, [category.always_up_to_date, *category.reserved.values()], hosts, pause)
    if any(not 0 <= host < hosts for host in (*category.urls, *category.factors)):
        raise ValueError(f"{category.name} names a host that does not exist")
    for factors in resting(category.factors.values(), pause):
        if any(not 0 <= factor <= 1 for factor in factors):
            raise ValueError(f"a factor of {category.name} is not between 0 and 1")


def _check_masks(owner: str, masks: Iterable[int], hosts: int, pause: Pause) -> None:
    for mask in resting(masks, pause):
        if not isinstance(mask, int) or mask < 0 or mask >> hosts:
            raise ValueError(f"{owner} names a host that does not exist")
