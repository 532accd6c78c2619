"""Make mm_frontend/statistics/world.json, the outlines of countries that the map is drawn from.

    npm pack world-atlas@2.0.2 && npm pack i18n-iso-countries@7.14.0     # and unpack both, say to atlas/ and iso/
    python -m utils.world_map atlas iso

world-atlas has Natural Earth (public domain) as TopoJSON; i18n-iso-countries tells which number is which code.
Outlines are at 1:110 million; countries that are too small for that stand as the one point in the middle of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "mm_frontend" / "statistics" / "world.json"
ICE = "010"  # Antarctica: much of the picture, and no mirror
Ring = list[tuple[float, float]]  # longitude and latitude in degrees


def main(atlas: Path, iso: Path) -> None:
    """Read the two packages and write the file."""
    codes = {number: alpha2 for alpha2, _, number, *_ in json.loads((iso / "codes.json").read_text())}
    outlines: dict[str, list[list[list[float]]]] = {}
    for number, rings in _countries(json.loads((atlas / "countries-110m.json").read_text())):
        if number != ICE:
            pieces = (piece for ring in rings for piece in _cut(ring))
            outlines.setdefault(codes.get(number, ""), []).extend(_rounded(piece) for piece in pieces)
    small = {
        codes[number]: _middle(rings)
        for number, rings in _countries(json.loads((atlas / "countries-50m.json").read_text()))
        if number in codes and codes[number] not in outlines and number != ICE
    }
    document = {"outlines": dict(sorted(outlines.items())), "small": dict(sorted(small.items()))}
    TARGET.write_text(json.dumps(document, separators=(",", ":")) + "\n")


def _countries(topology: dict[str, Any]) -> Iterator[tuple[str, list[Ring]]]:
    """The ISO number of each country, and its outlines."""
    arcs = [_arc(arc, topology["transform"]) for arc in topology["arcs"]]
    for geometry in topology["objects"]["countries"]["geometries"]:
        shapes = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        yield geometry.get("id", ""), [_ring(numbers, arcs) for shape in shapes for numbers in shape]


def _arc(arc: Sequence[Sequence[int]], transform: dict[str, list[float]]) -> Ring:
    """Points are kept as the steps from one to the next."""
    (across, up), (left, low) = transform["scale"], transform["translate"]
    x, y, points = 0, 0, []
    for step_x, step_y in arc:
        x, y = x + step_x, y + step_y
        points.append((x * across + left, y * up + low))
    return points


def _ring(numbers: Sequence[int], arcs: Sequence[Ring]) -> Ring:
    """A negative number means an arc backwards; each arc begins where the one before ended."""
    ring: Ring = []
    for number in numbers:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        ring.extend(arc[1:] if ring else arc)
    return ring


def _cut(ring: Ring) -> list[Ring]:
    """An outline that crosses the 180th meridian, as one on each side of it."""
    whole = [ring[0]]
    for longitude, latitude in ring[1:]:
        turns = round((whole[-1][0] - longitude) / 360)
        whole.append((longitude + 360 * turns, latitude))
    pieces = []
    for shift in (-360, 0, 360):
        moved = [(longitude + shift, latitude) for longitude, latitude in whole]
        pieces.append(_clipped(_clipped(moved, -180, 1), 180, -1))
    return [piece for piece in pieces if len({*piece}) > 2]


def _clipped(ring: Ring, meridian: float, side: int) -> Ring:
    """The part of an outline that lies east (1) or west (-1) of a meridian."""
    kept: Ring = []
    for (from_x, from_y), (to_x, to_y) in zip(ring, ring[1:] + ring[:1], strict=True):
        if side * (from_x - meridian) >= 0:
            kept.append((from_x, from_y))
        if side * (from_x - meridian) * side * (to_x - meridian) < 0:
            part = (meridian - from_x) / (to_x - from_x)
            kept.append((meridian, from_y + part * (to_y - from_y)))
    return kept


def _rounded(ring: Ring) -> list[list[float]]:
    return [[round(longitude, 2), round(latitude, 2)] for longitude, latitude in ring]


def _middle(rings: Sequence[Ring]) -> list[float]:
    """Of the outline with the most points, which is that of the main island."""
    main_one = max(rings, key=len)
    return [round(sum(values) / len(main_one), 2) for values in zip(*main_one, strict=True)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
