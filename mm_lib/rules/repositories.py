"""Which repository a directory of the master tree is: ordered rules, held as data, and what they decide.

A rule is a regular expression with named groups that must match the whole path below the category's topdir, and
templates for the prefix (what clients ask for by repo=), the version and the arch, and for the directory, where that is
one above the path:

    {name}        what the group matched; nothing when it took no part
    {name|lower}  the same in lower case
    {-name}       "-" and what the group matched; nothing when it took no part

The first rule that matches decides, also when it decides against a repository. Expressions are RE2's: whatever an
operator writes, trying it takes time that is linear in the path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import re2

_PLACEHOLDER = re.compile(r"\{(?P<dash>-?)(?P<name>\w+)(?P<lower>\|lower)?\}")
_USABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")  # stands in URLs, XML and file names without quoting
_LITERAL = re.compile(r"[A-Za-z0-9._+~-]*")
_MAX_LENGTH = 255
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False  # they are reported as RuleError


class RuleError(ValueError):
    """A rule cannot be used; `field` says which part of it."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(f"{field_name}: {message}")
        self.field = field_name
        self.message = message


@dataclass(frozen=True)
class Rule:
    """One rule, checked and compiled when it is made. Raises RuleError when it cannot be used."""

    pattern: str
    prefix: str = ""
    version: str = "{version}"
    arch: str = "{arch}"
    test: bool = False  # its version is a test release
    display: bool = True  # its version is shown to users
    skip: bool = False  # what it matches is known not to be a repository
    directory: str = ""  # of the repository, when it is one above the path that matches: an APT suite
    position: int = 1
    regex: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "regex", _compiled(self.pattern))
        if self.skip:
            return
        for name in ("prefix", "version", "arch"):
            _check_template(name, getattr(self, name), self.regex.groupindex)
        _check_template("directory", self.directory.replace("/", ""), self.regex.groupindex)
        for name in ("version", "arch"):
            if not getattr(self, name):
                raise RuleError(name, "is empty; only the prefix may be")


class Reason(StrEnum):
    """Why a directory is no repository."""

    NO_RULE = "no rule matches"
    SKIPPED = "a rule says that it is none"
    UNUSABLE = "a rule yields a value that cannot be used"


@dataclass(frozen=True)
class Match:
    """The repository that a rule makes of a directory. An empty prefix: it only says that a version has an arch."""

    position: int
    prefix: str
    version: str
    arch: str
    is_test: bool
    display: bool
    directory: str = ""  # empty: the path itself


@dataclass(frozen=True)
class NoMatch:
    """Why a directory is no repository; `position` is the rule that decided so, if one did."""

    reason: Reason
    position: int | None = None
    detail: str = ""


Decision = Match | NoMatch


@dataclass(frozen=True)
class Step:
    """What became of one rule when a path was tried."""

    position: int
    pattern: str
    outcome: str


@dataclass(frozen=True)
class Explanation:
    """A decision and the way to it."""

    decision: Decision
    steps: tuple[Step, ...]


def decide(rules: Sequence[Rule], path: str) -> Decision:
    """What the first matching rule makes of a path below the topdir."""
    for rule in rules:
        if found := rule.regex.fullmatch(path):
            return _apply(rule, found, path)
    return NoMatch(Reason.NO_RULE)


def explain(rules: Sequence[Rule], path: str) -> Explanation:
    """The same decision, with what every rule had to do with it."""
    return Explanation(decide(rules, path), tuple(_steps(rules, path)))


def deciding(rules: Sequence[Rule], path: str) -> Rule | None:
    """The first rule that matches."""
    return next((rule for rule in rules if rule.regex.fullmatch(path)), None)


def _steps(rules: Sequence[Rule], path: str) -> Iterator[Step]:
    decided: int | None = None
    for rule in rules:
        matches = rule.regex.fullmatch(path) is not None
        if not matches:
            outcome = _why_not(rule.pattern, path)
        elif decided is not None:
            outcome = f"would match, but rule {decided} comes first"
        else:
            outcome, decided = "matches and decides", rule.position
        yield Step(rule.position, rule.pattern, outcome)


def _why_not(pattern: str, path: str) -> str:
    """How far an expression gets that does not match a path."""
    parts = _parts(pattern)
    for count in range(len(parts), 0, -1):
        beginning = "/".join(parts[:count])
        if not _begins(beginning, path):
            continue
        if count == len(parts):
            return "does not match: the path goes on"
        return f"does not match: after {beginning} there is no {parts[count]}"
    return f"does not match: it does not begin with {parts[0]}" if parts else "does not match"


def _begins(beginning: str, path: str) -> bool:
    try:
        return re2.compile(f"{beginning}(?:/.*)?", _OPTIONS).fullmatch(path) is not None
    except re2.error:  # it was cut within a class such as []/]
        return False


def _parts(pattern: str) -> list[str]:
    """An expression cut at its slashes, where each beginning is an expression too; else nothing."""
    parts, depth, in_class, escaped = [""], 0, False, False
    for char in pattern:
        if not escaped and not in_class:
            depth += (char == "(") - (char == ")")
            if depth == 0 and char == "|":
                return []
            if depth == 0 and char == "/":
                parts.append("")
                continue
        if not escaped and char in "[]":
            in_class = char == "["
        escaped = char == "\\" and not escaped
        parts[-1] += char
    return parts


def _compiled(pattern: str) -> Any:
    if not pattern.strip() or pattern != pattern.strip():
        raise RuleError("pattern", "is empty or has blanks around it")
    try:
        regex = re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        raise RuleError("pattern", f"is not a regular expression of RE2: {_reason(error)}") from None
    return regex


def _reason(error: Exception) -> str:
    """RE2 speaks in bytes, and does not say what to do."""
    text = b"".join(part for part in error.args if isinstance(part, bytes)).decode("utf-8", "replace") or str(error)
    if "(?" in text:
        return f"{text} (it has no look-around; order alternatives or rules instead)"
    return text


def _check_template(field_name: str, template: str, groups: Mapping[str, int]) -> None:
    for placeholder in _PLACEHOLDER.finditer(template):
        if placeholder["name"] not in groups:
            known = ", ".join(groups) or "none"
            raise RuleError(field_name, f"{placeholder[0]} is not a named group of the pattern (it has: {known})")
    rest = _PLACEHOLDER.sub("", template)
    if "{" in rest or "}" in rest:
        raise RuleError(field_name, "has a brace that belongs to no {name}, {-name} or {name|lower}")
    if not _LITERAL.fullmatch(rest):
        raise RuleError(
            field_name, f"{rest!r} has characters that cannot stand in a URL; use letters, digits and ._+~-"
        )


def _apply(rule: Rule, found: Any, path: str) -> Decision:
    if rule.skip:
        return NoMatch(Reason.SKIPPED, rule.position)
    values = {name: _render(getattr(rule, name), found) for name in ("prefix", "version", "arch")}
    for name, value in values.items():
        optional = name == "prefix" and not rule.prefix
        if not optional and (len(value) > _MAX_LENGTH or not _USABLE.fullmatch(value)):
            return NoMatch(Reason.UNUSABLE, rule.position, f"{name} {value!r}")
    directory = _render(rule.directory, found)
    if directory == path:
        directory = ""
    elif directory and not path.startswith(f"{directory}/"):
        return NoMatch(Reason.UNUSABLE, rule.position, f"directory {directory!r} is not above the path")
    return Match(rule.position, **values, is_test=rule.test, display=rule.display, directory=directory)


def _render(template: str, found: Any) -> str:
    def value(placeholder: re.Match[str]) -> str:
        text = found[placeholder["name"]] or ""
        text = text.lower() if placeholder["lower"] else text
        return f"-{text}" if placeholder["dash"] and text else text

    return _PLACEHOLDER.sub(value, template)
