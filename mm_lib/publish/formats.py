"""Files for MirrorManager's own mirrorlist servers: published from the database, and converted from and into ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sqlalchemy.orm import Session

from mm_lib.cache import codec, file
from mm_lib.cache.codec import CacheError
from mm_lib.cache.schema import MirrorlistCache
from mm_lib.publish import from_protobuf, protobuf
from mm_lib.publish.build import DEFAULT_WEIGHTS
from mm_lib.publish.from_protobuf import Converted
from mm_lib.publish.publication import Published, build_now, contents, refuse_loss
from mm_lib.settings import WeightsSettings


def publish(session: Session, path: Path, force: bool = False, weights: WeightsSettings = DEFAULT_WEIGHTS) -> Published:
    """Build the cache and replace a protobuf file. Raises CacheShrank, OSError; then the old file stands."""
    built = build_now(session, weights)
    new = contents(built.cache)
    if not force:
        with suppress(OSError, CacheError):
            refuse_loss(contents(read(path).cache), new)
    return _written(path, built.cache, built.warnings)


def convert(source: Path, target: Path) -> Published:
    """Write a file in the other format. Raises CacheError for a source that is neither, OSError."""
    with source.open("rb") as stream:
        ours = stream.read(len(codec.MAGIC)) == codec.MAGIC
    if ours:
        return _written(target, codec.decode(file.read(source)), [])
    converted = read(source)
    data = codec.encode(converted.cache)
    codec.decode(data)  # what we could not read ourselves must not reach a redirector
    file.publish(target, data)
    return Published(target, len(data), contents(converted.cache), tuple(converted.warnings))


def read(path: Path) -> Converted:
    """A protobuf file as a cache. Raises NotAMirrorList, OSError."""
    with path.open("rb") as stream:
        return from_protobuf.decode(stream)


def _written(path: Path, cache: MirrorlistCache, warnings: list[str]) -> Published:
    file.publish(path, protobuf.encode(cache))
    return Published(path, path.stat().st_size, contents(cache), tuple(warnings))
