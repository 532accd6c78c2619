"""A small writer of MMDB files, for tables that are too large for mmdb_writer: a million networks in a few seconds.

The networks must be sorted and must not overlap; then each one only adds the nodes in which it differs from the one
before it. https://maxmind.github.io/MaxMind-DB/ is the specification.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_SEPARATOR = bytes(16)  # between the tree and the records
_MAGIC = b"\xab\xcd\xefMaxMind.com"
_MAP, _ARRAY, _STRING, _UINT16, _UINT32, _UINT64 = 7, 11, 2, 5, 6, 9


class Network(NamedTuple):
    """One network of the IPv6 space; an IPv4 network stands at ::/96."""

    address: int
    length: int
    record: int  # position in the records


def ipv4(address: int, length: int, record: int) -> Network:
    """An IPv4 network, where MMDB files have it."""
    return Network(address, 96 + length, record)


def write(path: Path, networks: Iterable[Network], records: Sequence[Any], kind: str) -> None:
    """Write the file, by rename. Records are strings, numbers, and dictionaries of them."""
    left, right = _tree(networks)
    offsets, data = [], bytearray()
    for record in records:
        offsets.append(len(data))
        data += _encode(record)
    size, first = len(left), len(left) + len(_SEPARATOR)
    if first + len(data) >= 1 << 24:
        raise ValueError("the table is too large for records of 24 bits")
    targets = [size, *(first + offset for offset in offsets)]  # of a child that is no node: 0 for nothing, else -1, ...
    halves = [[child if child > 0 else targets[-child] for child in children] for children in (left, right)]
    metadata = _encode_metadata(size, kind)
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(b"".join([_pack(*halves), _SEPARATOR, data, _MAGIC, metadata]))
    temporary.replace(path)


def _tree(networks: Iterable[Network]) -> tuple[array[int], array[int]]:
    """The children of each node: > 0 is a node, 0 is nothing, -n is the record n - 1."""
    left, right = array("q", [0]), array("q", [0])
    way = [0] * 129  # the node at each depth on the way to the last network
    before, deep = 0, 1  # its address, and how many nodes of the way are real
    for address, length, record in networks:
        same = 128 - (before ^ address).bit_length()
        depth = min(same, deep - 1)
        node = way[depth]
        for place in range(depth, length - 1):
            (right if address >> (127 - place) & 1 else left)[node] = node = len(left)
            left.append(0)
            right.append(0)
            way[place + 1] = node
        (right if address >> (128 - length) & 1 else left)[node] = -record - 1
        before, deep = address, length
    return left, right


def _pack(left: Sequence[int], right: Sequence[int]) -> bytes:
    """Nodes of two numbers of 24 bits, most significant byte first."""
    nodes = bytearray(6 * len(left))
    for start, children in ((0, left), (3, right)):
        numbers = array("I", children)
        numbers.byteswap()
        raw = numbers.tobytes()
        for byte in range(3):
            nodes[start + byte :: 6] = raw[byte + 1 :: 4]
    return bytes(nodes)


def _head(kind: int, size: int) -> bytes:
    """The control bytes of a value."""
    if size >= 29 + 256:
        raise ValueError("longer values are not needed here")
    short, extra = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return (bytes([kind << 5 | short]) if kind <= 7 else bytes([short, kind - 7])) + extra


def _encode(value: Any) -> bytes:
    if isinstance(value, dict):
        pairs = b"".join(_encode(name) + _encode(item) for name, item in value.items())
        return _head(_MAP, len(value)) + pairs
    if isinstance(value, str):
        text = value.encode()
        return _head(_STRING, len(text)) + text
    return _number(_UINT32, value)


def _number(kind: int, value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _head(kind, len(raw)) + raw


def _encode_metadata(nodes: int, kind: str) -> bytes:
    fields = {
        "node_count": _number(_UINT32, nodes),
        "record_size": _number(_UINT16, 24),
        "ip_version": _number(_UINT16, 6),
        "database_type": _encode(kind),
        "languages": _head(_ARRAY, 0),
        "binary_format_major_version": _number(_UINT16, 2),
        "binary_format_minor_version": _number(_UINT16, 0),
        "build_epoch": _number(_UINT64, 1_790_000_000),
        "description": _encode({"en": "made by a benchmark"}),
    }
    return _head(_MAP, len(fields)) + b"".join(_encode(name) + value for name, value in fields.items())
