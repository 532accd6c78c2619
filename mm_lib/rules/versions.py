"""In which order versions of a product are shown."""

from __future__ import annotations

import re


def rank(name: str) -> tuple[bool, tuple[int, ...], str]:
    """To sort by: names that are no numbers first, such as development, then numbers, the highest first."""
    numeric = name[:1].isdecimal()
    parts = tuple(-int(part) for part in re.findall(r"[0-9]+", name)) if numeric else ()
    return numeric, (*parts, 1), name
