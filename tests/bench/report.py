"""Figures beside the bars that they must clear."""

from __future__ import annotations

import operator

_COMPARE = {"<": operator.lt, "<=": operator.le, ">=": operator.ge, "=": operator.eq}
short: list[str] = []  # the names of the figures that did not clear their bars


def bar(name: str, value: float, unit: str, compare: str, limit: float) -> None:
    """Print a figure and whether it clears its bar."""
    good = _COMPARE[compare](value, limit)
    if not good:
        short.append(name)
    print(f"bench: {name} {_plain(value)} {unit} bar {compare} {_plain(limit)} {'ok' if good else 'short'}", flush=True)


def _plain(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def close() -> None:
    """Print what was short."""
    print(f"bench: {len(short)} of the bars were not cleared{': ' if short else ''}{', '.join(short)}", flush=True)
