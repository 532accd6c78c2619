"""A category's repository rules: load them from TOML, list them, explain what they make of a path."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mm_lib.model.content import Arch, Category, RepositoryRule
from mm_lib.rules.repositories import Explanation, Match, Rule, RuleError, explain
from mm_lib.services import audit
from mm_lib.services.content import find_category
from mm_lib.services.errors import InvalidValue, NotFound


class RuleEntry(BaseModel):
    """One rule as a file has it, or (include) all rules of another category of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pattern: str = Field("", max_length=2000)
    prefix: str = ""
    version: str = "{version}"
    arch: str = "{arch}"
    test: bool = False
    display: bool = True
    skip: bool = False
    directory: str = ""
    comment: str = ""
    include: str = Field("", description="the other category")
    below: str = Field("", description="with include: its tree hangs there below this category's topdir")

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Self:
        if self.include and self.model_fields_set - {"include", "below", "comment"}:
            raise ValueError("with include there may be only below and comment")
        if self.below and not self.include:
            raise ValueError("below says where an include hangs, and there is none")
        if not self.include and "pattern" not in self.model_fields_set:
            raise ValueError("has no pattern")
        return self


_FILE = TypeAdapter(dict[str, list[RuleEntry]])


@dataclass(frozen=True)
class RuleChanges:
    """What loading changed for a category; rules are named by their patterns."""

    count: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """What each category got, and which categories of the file do not exist here."""

    changes: Mapping[str, RuleChanges]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class PathExplanation:
    """What the rules make of a path, and whether its arch is one that we know."""

    category: str
    path: str
    explanation: Explanation
    arch_known: bool


def parse_rules(text: str) -> dict[str, list[RuleEntry]]:
    """A file of rules, every rule checked. Raises InvalidValue naming the category, the rule and what is wrong."""
    try:
        entries = _FILE.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidValue("rules", f"not TOML: {error}") from None
    except ValidationError as error:
        raise InvalidValue("rules", "; ".join(_problems(error))) from None
    if not any(entries.values()):
        raise InvalidValue("rules", 'the file has none; each begins with a line like [["Fedora Linux"]]')
    expanded = {category: list(_expanded(entries, category)) for category in entries}
    for category, rules in expanded.items():
        for position, entry in enumerate(rules, start=1):
            rule_of(category, position, entry)
    return expanded


def _expanded(entries: Mapping[str, Sequence[RuleEntry]], category: str) -> Iterator[RuleEntry]:
    for position, entry in enumerate(entries[category], start=1):
        if not entry.include:
            yield entry
            continue
        where = f"{category} {position} include"
        if entry.include not in entries:
            raise InvalidValue(where, f"the file has no rules for {entry.include!r}")
        below = entry.below.strip("/")
        for other in entries[entry.include]:
            if other.include:
                raise InvalidValue(where, f"{entry.include!r} itself has an include; name what it includes")
            yield _hung_below(below, other) if below else other


def _hung_below(below: str, entry: RuleEntry) -> RuleEntry:
    directory = entry.directory and f"{below}/{entry.directory}"
    pattern = f"{re.escape(below)}/(?:{entry.pattern})"
    return entry.model_copy(update={"pattern": pattern, "directory": directory})


def load_rules(session: Session, text: str, only: Iterable[str] = ()) -> Loaded:
    """Replace the rules of the file's categories, or only of those named.

    A category of the file that does not exist is left out and reported; raises NotFound when none is left or when
    one is named that the file or the database does not have, InvalidValue when a rule cannot be used.
    """
    entries = parse_rules(text)
    wanted = set(only) or set(entries)
    if unknown := sorted(wanted - set(entries)):
        raise NotFound(f"The file has no rules for {_names(unknown)}; it has some for {_names(entries)}.")
    found = {category.name: category for category in session.scalars(select(Category).where(Category.name.in_(wanted)))}
    missing = tuple(name for name in entries if name in wanted and name not in found)
    if not found or (only and missing):
        raise NotFound(f"There is no category {_names(missing)}. `mm-admin category list` shows them.")
    changes = {name: _replace(session, found[name], entries[name]) for name in entries if name in found}
    return Loaded(changes, missing)


def replace_rules(session: Session, category: Category, entries: Sequence[RuleEntry]) -> RuleChanges:
    """Give a category these rules instead of its own. Raises InvalidValue when one cannot be used."""
    for position, entry in enumerate(entries, start=1):
        rule_of(category.name, position, entry)
    return _replace(session, category, entries)


def _replace(session: Session, category: Category, entries: Sequence[RuleEntry]) -> RuleChanges:
    earlier = list_rules(session, category.name)
    before, told = [_key(row) for row in earlier], [_told(row) for row in earlier]
    session.execute(delete(RepositoryRule).where(RepositoryRule.category_id == category.id))
    rows = [_row(category.id, position, entry) for position, entry in enumerate(entries, start=1)]
    session.add_all(rows)
    session.flush()
    after = [_key(row) for row in rows]
    if after != before:
        audit.note(session, "load rules", category, {"rules": told}, {"rules": [_told(row) for row in rows]})
    return _compare(before, after)


def _told(row: RepositoryRule) -> dict[str, Any]:
    """A rule as an event holds it."""
    names = ("pattern", "prefix", "version", "arch", "directory", "flags", "comment")
    return {name: getattr(row, name) for name in names}


Key = tuple[str, ...]  # the pattern first


def _key(row: RepositoryRule) -> Key:
    return row.pattern, row.prefix, row.version, row.arch, row.directory, str(sorted(row.flags.items()))


def _compare(before: Sequence[Key], after: Sequence[Key]) -> RuleChanges:
    added: Counter[Key] = Counter()
    removed: Counter[Key] = Counter()
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            removed.update(before[a:b])
            added.update(after[c:d])
    moved = added & removed
    names = [tuple(key[0] for key in keys.elements()) for keys in (added - moved, removed - moved, moved)]
    return RuleChanges(len(after), *names)


def list_rules(session: Session, category: str) -> Sequence[RepositoryRule]:
    """A category's rules in the order in which they are tried. Raises NotFound."""
    owner = find_category(session, category)
    query = select(RepositoryRule).where(RepositoryRule.category_id == owner.id).order_by(RepositoryRule.position)
    return session.scalars(query).all()


def rules_of(session: Session, category: str) -> tuple[Rule, ...]:
    """A category's rules, ready to decide. Raises NotFound, InvalidValue."""
    return tuple(rule_of_row(category, row) for row in list_rules(session, category))


def explain_path(session: Session, category: str | None, path: str) -> PathExplanation:
    """What a category's rules make of a path, given below the topdir or with it. Raises NotFound, InvalidValue.

    Without a category, the path must begin with the topdir of one.
    """
    path = path.strip("/")
    owner = find_category(session, category) if category else _category_of(session, path)
    rules = rules_of(session, owner.name)
    if not rules:
        raise NotFound(f"{owner.name} has no rules. `mm-admin rules load FILE` loads some.")
    below = below_topdir(owner.topdir, path)
    explanation = explain(rules, below)
    decision = explanation.decision
    known = (
        isinstance(decision, Match) and session.scalar(select(Arch.id).where(Arch.name == decision.arch)) is not None
    )
    return PathExplanation(owner.name, below, explanation, known)


def below_topdir(topdir: str, path: str) -> str:
    """The path below the topdir; one that is not below it as it is."""
    if not topdir:
        return path
    return "" if path == topdir else path.removeprefix(f"{topdir}/")


def _category_of(session: Session, path: str) -> Category:
    """The category with the longest topdir that the path begins with."""
    found = [
        category
        for category in session.scalars(select(Category))
        if category.topdir and f"{path}/".startswith(f"{category.topdir}/")
    ]
    if not found:
        raise NotFound(f"{path} begins with no category's topdir. Name the category with --category.")
    return max(found, key=lambda category: len(category.topdir))


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = [str(part + 1) if isinstance(part, int) else part for part in problem["loc"]]
        lines.append(f"{' '.join(where)}: {'unknown key' if problem['type'] == 'extra_forbidden' else problem['msg']}")
    return lines


def rule_of(category: str, position: int, entry: RuleEntry) -> Rule:
    """The rule that an entry of a file is. Raises InvalidValue."""
    return _checked(category, position, entry.model_dump(exclude={"comment", "include", "below"}))


def _checked(category: str, position: int, values: Mapping[str, Any]) -> Rule:
    try:
        return Rule(**values, position=position)
    except RuleError as error:
        raise InvalidValue(f"{category} rule {position}: {error.field}", error.message) from None


def _row(category_id: int, position: int, entry: RuleEntry) -> RepositoryRule:
    flags = {"test": entry.test, "display": entry.display, "skip": entry.skip}
    defaults = {"test": False, "display": True, "skip": False}
    return RepositoryRule(
        category_id=category_id,
        position=position,
        flags={name: value for name, value in flags.items() if value != defaults[name]},
        **entry.model_dump(include={"pattern", "prefix", "version", "arch", "directory", "comment"}),
    )


def rule_of_row(category: str, row: RepositoryRule) -> Rule:
    """The rule that a row of the database is. Raises InvalidValue."""
    values = {name: getattr(row, name) for name in ("pattern", "prefix", "version", "arch", "directory")}
    if unknown := sorted(set(row.flags) - {"test", "display", "skip"}):
        raise InvalidValue(f"{category} rule {row.position}: flags", f"unknown: {', '.join(unknown)}")
    return _checked(category, row.position, values | row.flags)


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
