"""Counts that can be added up: requests exactly, clients by HyperLogLog over salted hashes of their networks.

A client is a /24 or a /48 here, once a day. No network or address leaves this module: what is kept of one are a few
bits of a hash whose key changes daily and is deleted when the day is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from hashlib import blake2b
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from datasketches import hll_sketch, hll_union, tgt_hll_type
from numpy.typing import NDArray

from mm_lib.model.statistics import AccessDimension
from mm_lib.statistics.lines import UNKNOWN_COUNTRY, Columns, name_of, network_of, origin_of, parse
from mm_lib.statistics.systems import Systems

LOG_SIZE = 12  # 4096 registers of 4 bits: 2 kB at most, and 1.6 % of standard error; few clients are counted exactly
SALT_BYTES = 32

MOST_HASHES = 300_000  # that a process remembers of a day; 50 MB

Codes = NDArray[np.integer[Any]]
Key = tuple[date, AccessDimension, str]


class Figure(NamedTuple):
    """Of one day, for one name of one dimension."""

    requests: int
    sketch: bytes


class Counted(NamedTuple):
    """What a portion of a log comes to; travels between processes."""

    figures: dict[Key, Figure]
    lines: int
    malformed: int
    others: int


class Salts(NamedTuple):
    """The key of each day's hashes. Days that were not open before get one that depends on the run."""

    known: Mapping[date, bytes]
    run: bytes

    def of(self, day: date) -> bytes:
        """The key of one day."""
        known = self.known.get(day)
        return known or blake2b(day.isoformat().encode(), key=self.run, digest_size=SALT_BYTES).digest()


class Tally:
    """Figures that grow."""

    def __init__(self) -> None:
        self._requests: dict[Key, int] = {}
        self._unions: dict[Key, hll_union] = {}
        self.lines = self.malformed = self.others = 0

    def add(self, counted: Counted) -> None:
        """Add what another process counted."""
        for key, (requests, sketch) in counted.figures.items():
            self._requests[key] = self._requests.get(key, 0) + requests
            if key not in self._unions:
                self._unions[key] = hll_union(LOG_SIZE)
            self._unions[key].update(hll_sketch.deserialize(sketch))
        self.lines += counted.lines
        self.malformed += counted.malformed
        self.others += counted.others

    def __len__(self) -> int:
        return len(self._requests)

    def take(self) -> dict[Key, Figure]:
        """All figures; none are left."""
        requests, unions = self._requests, self._unions
        self._requests, self._unions = {}, {}
        return {key: Figure(number, packed(unions[key])) for key, number in requests.items()}


def packed(union: hll_union) -> bytes:
    """As it is stored."""
    result: bytes = union.get_result(tgt_hll_type.HLL_4).serialize_compact()
    return result


def merged(sketches: Iterable[bytes]) -> bytes:
    """Whoever is in any of them."""
    union = hll_union(LOG_SIZE)
    for sketch in sketches:
        union.update(hll_sketch.deserialize(sketch))
    return packed(union)


def estimate(sketch: bytes) -> int:
    """How many different clients there were."""
    number: float = hll_sketch.deserialize(sketch).get_estimate()
    return round(number)


def count(portion: bytes, salts: Salts, embargoed: frozenset[str], systems: Systems | None = None) -> Counted:
    """Count a portion of a log. `systems` knows autonomous systems that the log does not tell."""
    parsed = parse(portion)
    figures = _Figures()
    known = parsed.columns if systems is None else tuple(_with_systems(each, systems) for each in parsed.columns)
    impossible = sum(_count(columns, salts, embargoed, figures) for columns in known)
    return Counted(figures.packed(), parsed.lines, parsed.malformed + impossible, parsed.others)


def _with_systems(columns: Columns, systems: Systems) -> Columns:
    """What the log says counts first: it is from then."""
    found: Sequence[bytes] = [systems[network] for network in columns.networks]
    if told := columns.names.get("asn"):
        found = [then or now for then, now in zip(told, found, strict=True)]
    return columns._replace(names={**columns.names, "asn": found})


def _coded(column: Sequence[bytes]) -> tuple[list[bytes], Codes]:
    """A column as numbers: what they stand for, and that of every row."""
    names = list(set(column))
    index = dict(zip(names, range(len(names)), strict=True))
    # Few names are sorted by their 16 bits, which is much faster.
    size = np.int16 if len(names) < 1 << 15 else np.int32
    return names, np.fromiter(map(index.__getitem__, column), size, len(column))


def _count(columns: Columns, salts: Salts, embargoed: frozenset[str], figures: _Figures) -> int:
    """Add the figures of some rows; how many rows are of a day that does not exist."""
    texts, origin_codes = _coded(columns.origins)
    origins = [origin_of(text) for text in texts]
    countries = [UNKNOWN_COUNTRY if origin is None or origin[1] in embargoed else origin[1] for origin in origins]
    names = {AccessDimension.COUNTRY: countries}
    codes = {AccessDimension.COUNTRY: origin_codes}
    for field, column in columns.names.items():
        texts, codes[_FIELDS[field]] = _coded(column)
        names[_FIELDS[field]] = [name_of(text, quoted=columns.quoted) for text in texts]
    if AccessDimension.ASN in names:
        # A system would tell the country that must not be told.
        hidden = np.array([origin is not None and origin[1] in embargoed for origin in origins], bool)[origin_codes]
        codes[AccessDimension.ASN] = np.where(hidden, len(names[AccessDimension.ASN]), codes[AccessDimension.ASN])
        names[AccessDimension.ASN].append("")
    days = sorted({origin[0] for origin in origins if origin})
    numbers = np.array([days.index(origin[0]) if origin else -1 for origin in origins])[origin_codes]
    for number, day in enumerate(days):
        rows = np.flatnonzero(numbers == number)
        networks = columns.networks
        if rows.size < len(networks):
            networks = list(compress(networks, numbers == number))
        known = _hashes_of(salts.of(day))
        clients = np.fromiter(map(known.__getitem__, networks), np.int64, len(networks))
        figures.add(day, names, {dimension: column[rows] for dimension, column in codes.items()}, clients)
        figures.add(day, _WHOLE, {dimension: clients & mask for dimension, mask in _WHOLE_MASKS.items()}, clients)
    return int((numbers == -1).sum())


class _Hashes(dict[bytes, int]):
    """Of clients' networks, as far as they were seen lately: the salted hash, with the family in its last two bits.

    0 stands for a client whose address is not known.
    """

    def __init__(self, salt: bytes) -> None:
        super().__init__()
        self._keyed = blake2b(key=salt, digest_size=8)

    def __missing__(self, text: bytes) -> int:
        network, family = network_of(text)
        number = 0
        if network:
            hashed = self._keyed.copy()
            hashed.update(network)
            number = int.from_bytes(hashed.digest(), "little", signed=True) & ~3 | _FAMILIES.index(family)
        if len(self) >= MOST_HASHES:
            self.clear()
        self[text] = number
        return number


_hashes_of = lru_cache(2)(_Hashes)  # logs go from day to day


class _Figures:
    """The figures of one portion."""

    def __init__(self) -> None:
        self._requests: dict[Key, int] = {}
        self._sketches: dict[Key, hll_sketch] = {}

    def add(
        self,
        day: date,
        names: Mapping[AccessDimension, Sequence[str]],
        codes: Mapping[AccessDimension, Codes],
        hashes: NDArray[np.int64],
    ) -> None:
        """Add rows of one day: what their codes stand for, and the hashes of their clients."""
        for dimension, column in codes.items():
            sizes = np.bincount(column, minlength=len(names[dimension])).tolist()
            ordered = hashes[np.argsort(column, kind="stable")].tolist() if len(sizes) > 1 else hashes.tolist()
            start = 0
            for name, size in zip(names[dimension], sizes, strict=True):
                if size and (name or dimension is AccessDimension.ALL):
                    self._put((day, dimension, name), size, ordered[start : start + size])
                start += size

    def _put(self, key: Key, requests: int, hashes: list[int]) -> None:
        self._requests[key] = self._requests.get(key, 0) + requests
        sketch = self._sketches.get(key)
        if sketch is None:
            sketch = self._sketches[key] = hll_sketch(LOG_SIZE, tgt_hll_type.HLL_8)
        for_each(map(sketch.update, filter(None, hashes)))

    def packed(self) -> dict[Key, Figure]:
        """To be sent to another process."""
        return {key: Figure(number, self._sketches[key].serialize_compact()) for key, number in self._requests.items()}


for_each: Callable[[Iterable[object]], None] = deque[object](maxlen=0).extend  # runs an iterator to its end, in C

_FAMILIES = ("", "IPv4", "IPv6")
# What needs no column: the codes are the last bits of the hashes.
_WHOLE = {AccessDimension.ALL: [""], AccessDimension.FAMILY: list(_FAMILIES)}
_WHOLE_MASKS = {AccessDimension.ALL: 0, AccessDimension.FAMILY: 3}
_FIELDS = {
    "repository": AccessDimension.REPOSITORY,
    "arch": AccessDimension.ARCH,
    "tier": AccessDimension.TIER,
    "host": AccessDimension.HOST,
    "protocol": AccessDimension.PROTOCOL,
    "client": AccessDimension.CLIENT,
    "kind": AccessDimension.KIND,
    "asn": AccessDimension.ASN,
}
