"""Large tables in flat buffers: they are used where they lie, so loading one costs no time and no object per entry.

All numbers are unsigned 32-bit little-endian. Every table is checked when it is opened (ValueError), so that a file
with wrong content fails when it is loaded and not in the middle of a request.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar
from zlib import crc32

from mm_lib.cache.schema import FileDetail

Buffer = bytes | memoryview
Buffers = tuple[Buffer, ...]

_CHUNK = 1 << 14  # numbers that are checked in one go, in a third of a millisecond
_VERSION = struct.Struct("<qqB")  # timestamp, size, which hashes follow
_HASHES = (("md5", 16), ("sha1", 20), ("sha256", 32), ("sha512", 64))  # bit 0 to 3 of the flags; bytes


Pause = Callable[[], None]
Item = TypeVar("Item")


def unhurried() -> None:
    """A pause where nobody waits for the interpreter."""


def resting(items: Iterable[Item], pause: Pause) -> Iterator[Item]:
    """The same items, with a pause before each."""
    for item in items:
        pause()
        yield item


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Numbers as a buffer."""
    packed = array("I", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def open_numbers(buffer: Buffer) -> Sequence[int]:
    """The numbers of a buffer, without a copy where the machine is little-endian."""
    if sys.byteorder == "little":
        return memoryview(buffer).cast("I")
    numbers = array("I", bytes(buffer))
    numbers.byteswap()
    return numbers


def _largest(numbers: Sequence[int], pause: Pause) -> int:
    largest = 0
    for start in range(0, len(numbers), _CHUNK):
        pause()
        part = max(numbers[start : start + _CHUNK])
        largest = max(largest, part)
    return largest


class StringTable:
    """Distinct strings, numbered from 0 in the order given; a hash table finds the number of one."""

    def __init__(self, strings: Buffer, ends: Buffer, slots: Buffer, pause: Pause = unhurried) -> None:
        self._strings = memoryview(strings)
        self._ends = open_numbers(ends)
        self._slots = open_numbers(slots)
        self._last = len(self._slots) - 1
        self._check(pause)

    @staticmethod
    def pack(strings: Iterable[str]) -> Buffers:
        """The buffers of a table: strings, where each ends, hash slots."""
        encoded = [text.encode("utf-8", "surrogateescape") for text in strings]
        ends, end = [0], 0
        for text in encoded:
            end += len(text)
            ends.append(end)
        size = 4
        while size < 2 * len(encoded):
            size *= 2
        slots = [0] * size
        for number, text in enumerate(encoded, 1):
            place = crc32(text) & (size - 1)
            while slots[place]:
                place = (place + 1) & (size - 1)
            slots[place] = number
        return b"".join(encoded), pack_numbers(ends), pack_numbers(slots)

    def _check(self, pause: Pause) -> None:
        size = len(self._slots)
        if not self._ends or self._ends[0] or self._ends[-1] != len(self._strings):
            raise ValueError("a table of names does not end where its text ends")
        if size & self._last or size < 2 or size < 2 * len(self):
            raise ValueError("a table of names has the wrong number of slots")
        if _largest(self._slots, pause) > len(self) or _largest(self._ends, pause) > len(self._strings):
            raise ValueError("a table of names points behind its end")
        # A search ends at an empty slot, so there must be one.
        if not any(0 in self._slots[start : start + _CHUNK] for start in range(0, size, _CHUNK)):
            raise ValueError("a table of names has no empty slot")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def find(self, text: str) -> int | None:
        """The number of a string, None if it is not in the table."""
        key = text.encode("utf-8", "surrogateescape")
        place = crc32(key) & self._last
        while number := self._slots[place]:
            if self._strings[self._ends[number - 1] : self._ends[number]].tobytes() == key:
                return number - 1
            place = (place + 1) & self._last
        return None

    def __getitem__(self, number: int) -> str:
        return str(self._strings[self._ends[number] : self._ends[number + 1]], "utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[number] for number in range(len(self)))


class DirectoryTable(Mapping[str, int]):
    """Directory -> position of its mask."""

    def __init__(self, names: StringTable, positions: Buffer, masks: int, pause: Pause = unhurried) -> None:
        self._names = names
        self._positions = open_numbers(positions)
        if len(self._positions) != len(names) or (len(names) and _largest(self._positions, pause) >= masks):
            raise ValueError("a directory names a mask that does not exist")

    @staticmethod
    def pack(directories: Mapping[str, int]) -> Buffers:
        """The buffers of a table: those of its names, then the positions."""
        return (*StringTable.pack(directories), pack_numbers(directories.values()))

    def __getitem__(self, path: str) -> int:
        number = self._names.find(path)
        if number is None:
            raise KeyError(path)
        return self._positions[number]

    def get(self, path: str, default: int | None = None) -> int | None:  # type: ignore[override]
        """The position. Many requests begin with this: Mapping's own takes a detour by an exception."""
        number = self._names.find(path)
        return default if number is None else self._positions[number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class FileTable(Mapping[str, tuple[FileDetail, ...]]):
    """File -> its versions, newest first."""

    def __init__(self, names: StringTable, ends: Buffer, records: Buffer, pause: Pause = unhurried) -> None:
        self._names = names
        self._ends = open_numbers(ends)
        self._records = memoryview(records)
        if len(self._ends) != len(names) + 1 or self._ends[-1] != len(self._records):
            raise ValueError("the table of files does not end where its records end")
        for number in range(len(names)):
            pause()
            self._record(number)

    @staticmethod
    def pack(files: Mapping[str, tuple[FileDetail, ...]]) -> Buffers:
        """The buffers of a table: those of its names, where each record ends, records. ValueError for odd hashes."""
        records = [b"".join(map(_pack_version, versions)) for versions in files.values()]
        ends, end = [0], 0
        for record in records:
            end += len(record)
            ends.append(end)
        return (*StringTable.pack(files), pack_numbers(ends), b"".join(records))

    def __getitem__(self, path: str) -> tuple[FileDetail, ...]:
        number = self._names.find(path)
        if number is None:
            raise KeyError(path)
        return self._record(number)

    def _record(self, number: int) -> tuple[FileDetail, ...]:
        return tuple(_versions(self._records[self._ends[number] : self._ends[number + 1]]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _pack_version(detail: FileDetail) -> bytes:
    flags, hashes = 0, b""
    for bit, (name, length) in enumerate(_HASHES):
        if text := getattr(detail, name):
            value = bytes.fromhex(text)
            if len(value) != length or value.hex() != text:
                raise ValueError(f"{text!r} is no {name}")
            flags |= 1 << bit
            hashes += value
    return _VERSION.pack(detail.timestamp, detail.size, flags) + hashes


def _versions(record: memoryview) -> Iterator[FileDetail]:
    place = 0
    while place < len(record):
        try:
            timestamp, size, flags = _VERSION.unpack_from(record, place)
        except struct.error as error:
            raise ValueError("the record of a file is cut off") from error
        place += _VERSION.size
        hashes = []
        for bit, (_, length) in enumerate(_HASHES):
            step = length if flags >> bit & 1 else 0
            hashes.append(record[place : place + step].hex())
            place += step
        yield FileDetail(timestamp, size, *hashes)
    if place > len(record):
        raise ValueError("the record of a file is cut off")


class MaskTable(Sequence[int]):
    """Host sets as rows of equal width."""

    def __init__(self, rows: Buffer, hosts: int, pause: Pause = unhurried) -> None:
        self.hosts = hosts
        self._rows = memoryview(rows)
        self._width = width_of(hosts)
        self._count, rest = divmod(len(self._rows), self._width)
        if rest:
            raise ValueError("the table of masks is cut off")
        # Only the last byte of a row can name a host that does not exist.
        if _largest(self._rows[self._width - 1 :: self._width], pause) >> (hosts - 8 * (self._width - 1)):
            raise ValueError("a mask names a host that does not exist")

    @staticmethod
    def pack(masks: Iterable[int], hosts: int) -> bytes:
        """The rows. OverflowError for a mask with more hosts than there are."""
        width = width_of(hosts)
        if isinstance(masks, MaskTable) and masks.hosts == hosts:
            return bytes(masks._rows)
        return b"".join(mask.to_bytes(width, "little") for mask in masks)

    def __getitem__(self, position: int) -> int:  # type: ignore[override]  # nobody wants slices
        start = position * self._width
        return int.from_bytes(self._rows[start : start + self._width], "little")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return (self[position] for position in range(self._count))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def width_of(hosts: int) -> int:
    """Bytes per mask."""
    return max(1, (hosts + 7) // 8)
