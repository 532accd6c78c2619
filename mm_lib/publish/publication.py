"""The way of a cache to its readers: read the database, build, prove that it can be read back, replace the file."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from mm_lib.cache import codec, file, signature
from mm_lib.cache.schema import MirrorlistCache
from mm_lib.publish import rows
from mm_lib.publish.build import DEFAULT_WEIGHTS, Built, build
from mm_lib.services.errors import ServiceError
from mm_lib.settings import WeightsSettings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RESOLVE_SECONDS = 10  # for all DNS names of netblocks together


class CacheShrank(ServiceError):
    """The new cache has lost so much that something is probably wrong."""


@dataclass(frozen=True)
class Published:
    """What was published."""

    path: Path
    size: int  # bytes
    contents: dict[str, int]
    warnings: tuple[str, ...]
    changed: bool = True  # False: the file that was there holds the same and was left


def contents(cache: MirrorlistCache) -> dict[str, int]:
    """How much of everything a cache holds."""
    return {
        "hosts": len(cache.hosts),
        "categories": len(cache.categories),
        "directories": sum(len(category.directories) for category in cache.categories),
        "host sets": len(cache.masks),
        "repositories": len(cache.repositories),
        "disabled repositories": len(cache.disabled_repositories),
        "repository redirects": len(cache.repository_redirects),
        "files with hashes": sum(len(category.files) for category in cache.categories),
        "netblocks": len(cache.netblock_hosts),
        "location groups": len(cache.location_hosts),
        "autonomous systems": len(cache.asn_hosts),
    }


def publish(
    session: Session,
    path: Path,
    force: bool = False,
    signing_key: Ed25519PrivateKey | None = None,
    weights: WeightsSettings = DEFAULT_WEIGHTS,
    *,
    if_changed: bool = False,
    max_age_hours: float = 0.0,
) -> Published:
    """Build the cache and replace the file. Raises CacheShrank, CacheError, OSError; then the old file stands.

    With `if_changed`, a file that holds the same is left, unless it is older than `max_age_hours` (0: whatever its
    age) or not signed by the key.
    """
    current = _current(path, signing_key, max_age_hours) if if_changed else None
    data, new, warnings, same = _content(session, weights, current)
    if same:
        return Published(path, len(data), new, tuple(warnings), changed=False)
    codec.decode(data)  # what we could not read ourselves must not reach a redirector
    if not force:
        _refuse_loss(path, new)
    if signing_key is not None:
        signature.publish(path, data, signing_key)
    file.publish(path, data)
    return Published(path, len(data), new, tuple(warnings))


def _content(
    session: Session, weights: WeightsSettings, current: bytes | None
) -> tuple[bytes, dict[str, int], list[str], bool]:
    """The file, how much it holds, warnings, and whether the current one holds the same.

    What it was made from is large, and gone when this returns.
    """
    built = build_now(session, weights)
    same = current is not None and _holds(built.cache, current)
    return codec.encode(built.cache), contents(built.cache), built.warnings, same


def build_now(session: Session, weights: WeightsSettings) -> Built:
    """The cache of this moment."""
    found = rows.read(session)
    addresses = resolve_names(row.text for row in found.netblocks if row.is_name)
    return build(found, int(time.time()), time.time_ns() // 1000, lambda name: addresses.get(name, []), weights)


def _current(path: Path, key: Ed25519PrivateKey | None, max_age_hours: float) -> bytes | None:
    """The published file, if it can go on to be used."""
    try:
        data = file.read(path)
        made = codec.decode(data).generated_at
        if key is not None:
            signature.verify(path, key.public_key())
    except (OSError, codec.CacheError):
        return None
    return None if max_age_hours and time.time() - made > max_age_hours * 3600 else data


def _holds(cache: MirrorlistCache, current: bytes) -> bool:
    """Whether the file is what the cache would be, had it been built when the file was."""
    old = codec.decode(current)
    return codec.encode(replace(cache, generated_at=old.generated_at, generation=old.generation)) == current


def _refuse_loss(path: Path, new: dict[str, int]) -> None:
    """A database that lost half of its hosts or repositories since the last build is a mistake, not news."""
    try:
        old = contents(codec.decode(file.read(path)))
    except (OSError, codec.CacheError):
        return
    refuse_loss(old, new)


def refuse_loss(old: dict[str, int], new: dict[str, int]) -> None:
    """Raises CacheShrank when more than half of something is gone."""
    for what in ("hosts", "repositories"):
        if new[what] * 2 < old[what]:
            raise CacheShrank(
                f"The new cache has {new[what]} {what}, the published one {old[what]}. "
                "If that is right, run it again with --force; the published file was left as it is."
            )


def resolve_names(names: Iterable[str]) -> dict[str, list[str]]:
    """The addresses of every DNS name; names that do not answer in time have none."""
    names = sorted(set(names))
    if not names:
        return {}
    pool = ThreadPoolExecutor(max_workers=min(32, len(names)))
    try:
        pending = {name: pool.submit(_addresses, name) for name in names}
        deadline = time.monotonic() + RESOLVE_SECONDS
        return {name: future.result(timeout=max(0.0, deadline - time.monotonic())) for name, future in pending.items()}
    except TimeoutError:
        return {name: future.result() for name, future in pending.items() if future.done()}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _addresses(name: str) -> list[str]:
    try:
        return sorted({str(answer[4][0]) for answer in socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)})
    except OSError:
        return []
