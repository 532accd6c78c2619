"""A category's `source` column: checked, and opened as what reads the master tree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mm_crawler.master.scanned import Excludes, Source, SourceError
from mm_crawler.master.walk import DirectoryTree


class DirectorySource(BaseModel):
    """A tree on a local disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["directory"]
    path: Path = Field(description="the directory that corresponds to the category's topdir")
    excludes: tuple[str, ...] = Field((), description="regular expressions searched in paths below the topdir")
    keyring: Path | None = Field(None, description="OpenPGP keys; metadata that none of them signed is refused")

    @field_validator("path", "keyring")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError("must be absolute")
        return path

    @field_validator("excludes")
    @classmethod
    def _are_expressions(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return patterns

    def open(self) -> Source:
        """What reads it."""
        return DirectoryTree(self.path, Excludes(self.excludes))


def parse_source(value: dict[str, Any]) -> DirectorySource:
    """The source of a category. Raises SourceError naming each wrong key."""
    try:
        return DirectorySource.model_validate(value)
    except ValidationError as error:
        problems = [
            f"source.{'.'.join(str(part) for part in problem['loc'])}: "
            + ("unknown key" if problem["type"] == "extra_forbidden" else problem["msg"])
            for problem in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise SourceError("; ".join(problems)) from None
