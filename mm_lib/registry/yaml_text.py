"""YAML as plain values, with the place of each: safe against hostile text, and exact in what it complains about.

Only mappings, lists, text, numbers, true, false and null are known; tags, anchors and aliases are refused (an alias can
stand for a billion laughs, and a list of mirrors needs none).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_LENGTH = 2_000_000  # characters; the largest real file of a site has some thousand
MAX_DEPTH = 40
MAX_DIGITS = 30  # of a number
MAX_BRACKETS = 20_000  # [ and {: the parser's time grows with the square of their number
Path = tuple[str | int, ...]
# What the parser's insides raise for texts that nobody means, such as an escape beyond Unicode.
_FAILURES = (YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError)
_STANDARD = "tag:yaml.org,2002:"
_WORDS = {"null": None, "~": None, "": None, "true": True, "false": False}


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong, and where; lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class Unreadable(ValueError):
    """Text that is not the YAML that we know."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass
class Parsed:
    """Plain values, and the line and column of each by its path."""

    file: str
    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def place(self, path: Path) -> tuple[int, int]:
        """Line and column of a value, or of the nearest one above it that stands in the text."""
        known: Path = ()
        for step in path:
            if (*known, step) in self.places:
                known = (*known, step)
        return self.places.get(known, (1, 1))

    def problem(self, path: Path, message: str) -> Problem:
        """A problem with the value at a path."""
        return Problem(self.file, *self.place(path), message)


def parse(text: str, file: str) -> Parsed:
    """Read a text that holds one YAML document. Raises Unreadable."""
    if len(text) > MAX_LENGTH:
        raise Unreadable(Problem(file, 1, 1, f"is longer than {MAX_LENGTH:,} characters"))
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise Unreadable(Problem(file, 1, 1, f"has more than {MAX_BRACKETS:,} brackets"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # anchors are refused in any case
            root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise Unreadable(Problem(file, line, column, str(error.problem or error.context))) from None
    except RecursionError:
        raise Unreadable(Problem(file, 1, 1, f"is nested deeper than {MAX_DEPTH} levels")) from None
    except _FAILURES as error:
        raise Unreadable(Problem(file, 1, 1, " ".join(str(error).split())[:200])) from None
    parsed = Parsed(file)
    if root is not None:
        parsed.value = _Builder(parsed).build(root, ())
    return parsed


class _Builder:
    """Nodes to values; each node may be met once."""

    def __init__(self, parsed: Parsed) -> None:
        self._parsed = parsed
        self._met: set[int] = set()

    def build(self, node: Node, path: Path) -> Any:
        """The value of a node."""
        place = node.start_mark.line + 1, node.start_mark.column + 1
        self._parsed.places.setdefault(path, place)
        if id(node) in self._met or node.anchor:
            raise self._refused(node, "anchors and aliases are not supported; write it out")
        if len(path) > MAX_DEPTH:
            raise self._refused(node, f"is nested deeper than {MAX_DEPTH} levels")
        self._met.add(id(node))
        if isinstance(node, MappingNode) and node.tag == f"{_STANDARD}map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{_STANDARD}seq":
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._refused(key_node, "a key must be text")
            key = key_node.value
            if key in values:
                raise self._refused(key_node, f"{key!r} stands here twice")
            self._parsed.places[*path, key] = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            values[key] = self.build(child, (*path, key))
        return values

    def _scalar(self, node: Node) -> Any:
        text = node.value
        kind = str(node.tag).removeprefix(_STANDARD)
        if kind == "bool" or (kind == "null" and text.lower() in _WORDS):
            return _WORDS.get(text.lower(), text)
        if kind in ("int", "float"):
            return self._number(node, text, int if kind == "int" else float)
        if kind in ("str", "timestamp"):
            return text
        raise self._refused(node, f"the tag {node.tag} is not supported")

    def _number(self, node: Node, text: str, kind: type[int] | type[float]) -> int | float | str:
        """Other notations (0x1F, 12:30) are text: whoever means a number writes one."""
        if len(text) > MAX_DIGITS:
            raise self._refused(node, f"has more than {MAX_DIGITS} digits")
        try:
            return kind(text.replace("_", ""))
        except ValueError:
            return str(text)

    def _refused(self, node: Node, message: str) -> Unreadable:
        mark = node.start_mark
        return Unreadable(Problem(self._parsed.file, mark.line + 1, mark.column + 1, message))
