"""/rsyncFilter: rules for rsync that let through only what changed lately, for mirrors that fetch often."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EXCLUDE_ALL = "- *"
_WILD, _SPECIAL = re.compile(r"[*?[]"), re.compile(r"[\\*?[]")


@dataclass(frozen=True)
class FilterRequest:
    """What a script asks for; `problem` says why it is nothing."""

    categories: tuple[str, ...] = ()
    since: int = 0
    prefix: str = ""
    problem: str = ""


def read_filter_request(arguments: Mapping[str, str]) -> FilterRequest:
    """The parameters, checked. Never fails: old scripts take every answer for a filter."""
    missing = [name for name in ("categories", "since", "stripprefix") if name not in arguments]
    if missing:
        return FilterRequest(problem=f"{missing[0]} is missing")
    categories = tuple(name.strip() for name in arguments["categories"].split(",") if name.strip())
    if not categories:
        return FilterRequest(problem="categories names no category")
    since = arguments["since"].strip()
    if not since.isascii() or not since.removeprefix("-").isdigit() or len(since) > 18:
        return FilterRequest(problem="since is no time in Unix seconds")
    return FilterRequest(categories, int(since), arguments["stripprefix"].strip().strip("/"))


def rules(paths: Iterable[str], prefix: str) -> list[str]:
    """Include rules for these directories and their parents, without the prefix; whatever is not below it is left out.

    A directory's own files and the names of its directories come with `dir/*`; what is in those needs rules of its own.
    """
    changed, listed = set(), set()
    for path in paths:
        below = _below(path, prefix)
        if below is None:
            continue
        changed.add(below)
        while below not in listed:
            listed.add(below)
            below = below.rpartition("/")[0] or below
    lines = []
    for path in sorted(listed):
        # Without a wildcard in it, a pattern's backslashes mean themselves; `*` behind the name is one.
        lines.append(f"+ {_escaped(path) if _WILD.search(path) else path}/")
        if path in changed:
            lines.append(f"+ {_escaped(path)}/*" if path else "+ /*")
    return [*lines, EXCLUDE_ALL]


def _escaped(path: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", path)


def _below(path: str, prefix: str) -> str | None:
    if not path.isprintable():
        return None  # a line break in a name would become a rule of its own
    if not prefix or path == prefix:
        return path if not prefix else ""
    return path.removeprefix(f"{prefix}/") if path.startswith(f"{prefix}/") else None
