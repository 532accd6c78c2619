"""A category's repository rules: load them from TOML, list them, explain what they make of a path."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mm_lib.model.content import Arch, Category, RepositoryRule
from mm_lib.rules.repositories import Explanation, Match, Rule, RuleError, explain
from mm_lib.services.content import find_category
from mm_lib.services.errors import InvalidValue, NotFound


class RuleEntry(BaseModel):
    """One rule as a file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pattern: str = Field(max_length=2000)
    prefix: str = ""
    version: str = "{version}"
    arch: str = "{arch}"
    test: bool = False
    display: bool = True
    skip: bool = False
    directory: str = ""
    comment: str = ""


_FILE = TypeAdapter(dict[str, list[RuleEntry]])


@dataclass(frozen=True)
class Loaded:
    """How many rules each category got, and which categories of the file do not exist here."""

    counts: Mapping[str, int]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class PathExplanation:
    """What the rules make of a path, and whether its arch is one that we know."""

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
    for category, rules in entries.items():
        for position, entry in enumerate(rules, start=1):
            _rule(category, position, entry)
    return entries


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
    for name, category in found.items():
        session.execute(delete(RepositoryRule).where(RepositoryRule.category_id == category.id))
        session.add_all(_row(category.id, position, entry) for position, entry in enumerate(entries[name], start=1))
    session.flush()
    return Loaded({name: len(entries[name]) for name in entries if name in found}, missing)


def list_rules(session: Session, category: str) -> Sequence[RepositoryRule]:
    """A category's rules in the order in which they are tried. Raises NotFound."""
    owner = find_category(session, category)
    query = select(RepositoryRule).where(RepositoryRule.category_id == owner.id).order_by(RepositoryRule.position)
    return session.scalars(query).all()


def rules_of(session: Session, category: str) -> tuple[Rule, ...]:
    """A category's rules, ready to decide. Raises NotFound, InvalidValue."""
    return tuple(_from_row(category, row) for row in list_rules(session, category))


def explain_path(session: Session, category: str, path: str) -> PathExplanation:
    """What the category's rules make of a path, given below the topdir or with it. Raises NotFound, InvalidValue."""
    topdir = find_category(session, category).topdir
    rules = rules_of(session, category)
    if not rules:
        raise NotFound(f"{category} has no rules. `mm-admin rules load FILE` loads some.")
    below = path.strip("/")
    if topdir:
        below = "" if below == topdir else below.removeprefix(f"{topdir}/")
    explanation = explain(rules, below)
    decision = explanation.decision
    known = (
        isinstance(decision, Match) and session.scalar(select(Arch.id).where(Arch.name == decision.arch)) is not None
    )
    return PathExplanation(below, explanation, known)


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = [str(part + 1) if isinstance(part, int) else part for part in problem["loc"]]
        lines.append(f"{' '.join(where)}: {'unknown key' if problem['type'] == 'extra_forbidden' else problem['msg']}")
    return lines


def _rule(category: str, position: int, entry: RuleEntry) -> Rule:
    return _checked(category, position, entry.model_dump(exclude={"comment"}))


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


def _from_row(category: str, row: RepositoryRule) -> Rule:
    values = {name: getattr(row, name) for name in ("pattern", "prefix", "version", "arch", "directory")}
    if unknown := sorted(set(row.flags) - {"test", "display", "skip"}):
        raise InvalidValue(f"{category} rule {row.position}: flags", f"unknown: {', '.join(unknown)}")
    return _checked(category, row.position, values | row.flags)


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
