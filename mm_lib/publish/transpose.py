"""Turns the bitmaps of many hosts (which directories?) around into the host sets of many directories (which hosts?)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pyroaring import BitMap

_MARKED = {1 << bit: bytes(value | 1 << bit for value in range(256)) for bit in range(8)}  # to translate with


def host_sets(directories: Sequence[int], carried: Iterable[tuple[int, BitMap | None]], width: int) -> list[bytes]:
    """Per directory id the hosts that have it, as `width` bytes with bit n for host n, little-endian.

    `directories` ascend. `carried` gives a host's number, each once, and its directories, None for all. Eight hosts are
    one byte per directory, so that the whole is turned around by bytes. Most hosts have nearly everything or nearly
    nothing: a host with more than half stands in `common`, and only the directories where it differs are touched.
    """
    place = {directory: number for number, directory in enumerate(directories)}
    everything = BitMap(directories)
    common = bytearray(width)
    lanes: dict[int, bytearray] = defaultdict(lambda: bytearray(len(directories)))
    for host, bitmap in carried:
        lane, bit = host >> 3, 1 << (host & 7)
        has = everything if bitmap is None else everything & bitmap
        lacks = everything - has
        if len(lacks) < len(has):
            common[lane] |= bit
        _mark(lanes[lane], bit, min(has, lacks, key=len), place)
    return _columns(lanes, common, len(directories))


def _mark(row: bytearray, bit: int, differs: BitMap, place: dict[int, int]) -> None:
    """Set the bit of these directories, run by run: what is new or stale is so with its neighbours."""
    firsts, lasts = differs - differs.shift(1), differs - differs.shift(-1)
    for first, last in zip(map(place.__getitem__, firsts), map(place.__getitem__, lasts), strict=True):
        if first == last:
            row[first] |= bit
        else:
            row[first : last + 1] = row[first : last + 1].translate(_MARKED[bit])


def _columns(lanes: dict[int, bytearray], common: bytearray, count: int) -> list[bytes]:
    width = len(common)
    table = bytearray(count * width)
    for lane, row in lanes.items():
        table[lane::width] = row.translate(bytes(value ^ common[lane] for value in range(256)))
    # An immutable whole, so that cutting it copies each piece once.
    whole = bytes(table)
    return [whole[start : start + width] for start in range(0, len(whole), width)]
