"""What is wrong with a set of repository rules: those that never decide, and those that claim one key twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from mm_lib.rules.repositories import Match, Rule, decide, deciding

Examples = Callable[[str], Iterable[str]]  # an expression -> paths that may match it


@dataclass(frozen=True)
class Finding:
    """Something that an operator should look at."""

    category: str
    position: int | None
    kind: str  # invalid, unreachable or clash
    message: str


def unreachable(
    category: str, rules: Sequence[Rule], examples: Examples, paths: Sequence[str] = ()
) -> Iterator[Finding]:
    """Rules that decide nothing, because others come first. `paths` are real ones of the category.

    A path that a rule decides proves that it can be reached. That none was found is no proof, but with examples from
    every branch of the expression it is as good as one.
    """
    for rule in rules:
        others: set[int] = set()
        tried = 0
        for path in chain(examples(rule.pattern), paths):
            if not rule.regex.fullmatch(path):
                continue
            first = deciding(rules, path)
            assert first is not None
            if first is rule:
                break
            tried += 1
            others.add(first.position)
        else:
            if tried:
                first_ones = ", ".join(map(str, sorted(others)))
                message = f"decides nothing: rule {first_ones} comes first for each of {tried} paths that it matches"
                yield Finding(category, rule.position, "unreachable", message)


def clashes(rules: Mapping[str, Sequence[Rule]], paths: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Directories of all categories that claim one repo= and arch=; `paths` hold a repository each."""
    claims: dict[tuple[str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    for category, found in paths.items():
        for path in sorted(found):
            decision = decide(rules.get(category, ()), path)
            if isinstance(decision, Match) and decision.prefix:
                where = category, decision.directory or path
                claims[decision.prefix, decision.arch].setdefault(where, decision.position)
    for (prefix, arch), places in sorted(claims.items()):
        if len(places) > 1:
            (category, _), position = next(iter(places.items()))
            texts = [f"{path} ({owner} rule {number})" for (owner, path), number in places.items()]
            yield Finding(category, position, "clash", f"repo={prefix} arch={arch} is claimed by {' and '.join(texts)}")
