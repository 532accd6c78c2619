"""A report as Markdown and HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import jinja2

from mm_lib.reports.document import Block, Chart, Document

# What Markdown would take for a sign of its own. An underscore is one only beside a blank.
_SIGNS = re.compile(r"([\\`*<>\[\]|&#~]|(?<![^\W_])_|_(?![^\W_]))")


def one_line(text: str) -> str:
    """Without line ends and control characters, and with single blanks."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line: names and reasons come from other people."""
    return _SIGNS.sub(r"\\\1", one_line(text))


def escaped_start(text: str) -> str:
    """The same at the start of a line, where it must not become a list."""
    return re.sub(r"^(?:([-+=])|(\d+)([.)]))", r"\2\\\1\3", escaped(text))


def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("mm_lib.reports")
    found = jinja2.Environment(
        loader=loader,
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    found.filters |= {"md": escaped, "md_line": escaped_start}
    return found


def _block(block: Block) -> dict[str, Any]:
    return (
        {"kind": type(block).__name__}
        | {each.name: getattr(block, each.name) for each in fields(block)}
        | ({"chart": block} if isinstance(block, Chart) else {})
    )


def _values(document: Document) -> Mapping[str, Any]:
    sections = [
        {"title": section.title, "level": section.level, "blocks": [_block(block) for block in section.blocks]}
        for section in document.sections
    ]
    introduction = [_block(block) for block in document.introduction]
    return {"title": document.title, "introduction": introduction, "sections": sections}


def markdown(document: Document) -> str:
    """For people who read text, and for pages that are made from it."""
    text = _environment().get_template("report.md").render(_values(document))
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def html(document: Document, source: Callable[[Chart], str], dark: Callable[[Chart], str] | None = None) -> str:
    """A page or a mail in one piece, without scripts.

    `source` tells where a chart's picture is, `dark` where one for dark screens is. Without that it stands on white.
    """
    return _environment().get_template("report.html").render(_values(document), source=source, dark=dark)
