"""The map as numbers for SVG: outlines of countries, points, and points that are too close to be told apart.

The projection is Equal Earth (Šavrič, Patterson, Jenny 2018): areas stay true, so that shading does not deceive.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

WIDTH, HEIGHT = 10_000, 4_400  # of the whole map, in units that are fine enough to be whole numbers
ZOOMS = (1, 2, 4, 8, 16)
CLOSE = 260  # units on the whole map below which marks would lie on each other
_A = (1.340264, -0.081106, 0.000893, 0.003796)
_RIGHT = 2.7066299836  # x of 180 degrees east
_TOP = 83.7  # degrees north of the upper edge


def _equal_earth(longitude: float, latitude: float) -> tuple[float, float]:
    t = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(latitude)))
    t2, t6 = t * t, t**6
    a1, a2, a3, a4 = _A
    x = 2 / math.sqrt(3) * math.radians(longitude) * math.cos(t)
    return x / (a1 + 3 * a2 * t2 + t6 * (7 * a3 + 9 * a4 * t2)), t * (a1 + a2 * t2 + t6 * (a3 + a4 * t2))


_SCALE = WIDTH / (2 * _RIGHT)
_Y = _equal_earth(0, _TOP)[1]


def project(longitude: float, latitude: float) -> tuple[int, int]:
    """Where a place is on the map, from its upper left corner."""
    x, y = _equal_earth(longitude, latitude)
    return round((x + _RIGHT) * _SCALE), round((_Y - y) * _SCALE)


@dataclass(frozen=True)
class Outline:
    """A country as the data of an SVG path; of a tiny one only where it is."""

    country: str  # empty: countries without a code
    path: str
    point: tuple[int, int] | None = None


@cache
def world() -> tuple[Outline, ...]:
    """All countries."""
    text = files("mm_frontend.statistics").joinpath("world.json").read_text(encoding="utf-8")
    known = json.loads(text)
    outlines = [Outline(code, "".join(_path(ring) for ring in rings)) for code, rings in known["outlines"].items()]
    return (*outlines, *(Outline(code, "", project(*place)) for code, place in known["small"].items()))


def _path(ring: Sequence[tuple[float, float]]) -> str:
    """Relative steps are the shortest way to write it."""
    points = [project(*point) for point in ring]
    (x, y), steps = points[0], []
    for to_x, to_y in points[1:]:
        if (to_x, to_y) != (x, y):
            steps.append(f"{to_x - x} {to_y - y}")
            x, y = to_x, to_y
    return f"M{points[0][0]} {points[0][1]}l{' '.join(steps)}z" if len(steps) > 1 else ""


@dataclass(frozen=True)
class View:
    """The part of the map that is shown: around a point, so many times as large."""

    x: int = WIDTH // 2
    y: int = HEIGHT // 2
    zoom: int = 1

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height; within the whole map."""
        width, height = WIDTH // self.zoom, HEIGHT // self.zoom
        left = min(max(self.x - width // 2, 0), WIDTH - width)
        top = min(max(self.y - height // 2, 0), HEIGHT - height)
        return left, top, width, height

    def shows(self, point: tuple[int, int]) -> bool:
        """Whether a point is on it."""
        left, top, width, height = self.box
        return left <= point[0] <= left + width and top <= point[1] <= top + height

    def nearer(self, point: tuple[int, int]) -> View | None:
        """The next larger one, around a point; None: this is the largest."""
        place = ZOOMS.index(self.zoom) + 1
        return View(*point, ZOOMS[place]) if place < len(ZOOMS) else None

    def wider(self) -> View | None:
        """The next smaller one; None: this is all of it."""
        place = ZOOMS.index(self.zoom)
        return View(self.x, self.y, ZOOMS[place - 1]) if place else None


@dataclass(frozen=True)
class Cluster:
    """Things that one mark stands for, by their number in what was given, and where it is."""

    members: tuple[int, ...]
    point: tuple[int, int]


def clusters(points: Iterable[tuple[int, int]], close: float) -> list[Cluster]:
    """Marks for points, no two of them close to each other. Each stands where its northernmost point is."""
    found: list[tuple[tuple[int, int], list[int]]] = []
    for number, point in sorted(enumerate(points), key=lambda each: (each[1][1], each[1][0], each[0])):
        near = next((members for centre, members in found if math.dist(centre, point) < close), None)
        if near is None:
            found.append((point, [number]))
        else:
            near.append(number)
    return [Cluster(tuple(sorted(members)), point) for point, members in found]
