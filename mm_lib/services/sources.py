"""A category's `source`: where its master tree is read from, as JSON that is checked here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from mm_lib.services.errors import InvalidValue

_LIST = "fullfiletimelist"
_NAMES = "fullfilelist"


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be absolute")
    return path


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


def _address(url: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    if not port_is_fine or parts.scheme not in schemes or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)} and a host's name")
    if parts.password or parts.query or parts.fragment:
        raise ValueError("must have no password, query or fragment: it is logged")
    return url if url.endswith("/") else f"{url}/"


def _rsync(url: str) -> str:
    url = _address(url, ("rsync",))
    if urlsplit(url).path in ("", "/"):
        raise ValueError("must name a module: rsync://HOST/MODULE/")
    return url


def _web(url: str) -> str:
    return _address(url, ("http", "https"))


def _prefix(text: str) -> str:
    parts = [part for part in text.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise ValueError("must be a plain path such as linux")
    return "/".join(parts)


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
RsyncUrl = Annotated[str, AfterValidator(_rsync)]
WebUrl = Annotated[str, AfterValidator(_web)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Contents = WebUrl | RsyncUrl | AbsolutePath


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    excludes: tuple[Annotated[str, AfterValidator(_expression)], ...] = Field(
        (), description="regular expressions searched in paths below the topdir"
    )
    keyring: AbsolutePath | None = Field(None, description="OpenPGP keys; metadata that none of them signed is refused")


class DirectorySource(_Source):
    """A tree on a local disk."""

    type: Literal["directory"]
    path: AbsolutePath = Field(description="the directory that corresponds to the category's topdir")


class TimeListSource(_Source):
    """A list of all files with their times and sizes, as create-filelist writes it; may be packed with gzip."""

    type: Literal["fullfiletimelist"]
    path: AbsolutePath = Field(description="the list")
    prefix: Prefix = Field("", description="only what the list has below this, e.g. linux")
    content: Annotated[str, Field(description="where the files are: a directory, rsync:// or http(s)://")] = ""

    @model_validator(mode="after")
    def _content_is_a_place(self) -> TimeListSource:
        if self.content:
            check_content(self.content)
        return self


class NameListSource(_Source):
    """A list of the names of all files; their sizes and times come from a local tree."""

    type: Literal["fullfilelist"]
    path: AbsolutePath = Field(description="the list")
    prefix: Prefix = Field("", description="only what the list has below this, e.g. linux")
    content: AbsolutePath = Field(description="the directory that corresponds to the category's topdir")


class RsyncSource(_Source):
    """A module of an rsync server, or a directory in it."""

    type: Literal["rsync"]
    url: RsyncUrl = Field(description="the directory that corresponds to the category's topdir")
    timeout: float = Field(7200.0, gt=0, description="seconds for the whole list")


class ListingSource(_Source):
    """What `rsync --list-only --recursive` printed (in UTC), or a fullfiletimelist, kept in a file."""

    type: Literal["listing"]
    path: AbsolutePath = Field(description="the file")
    prefix: Prefix = Field("", description="only what the list has below this, e.g. linux")
    content: str = Field("", description="where the files are: a directory, rsync:// or http(s)://")

    @model_validator(mode="after")
    def _content_is_a_place(self) -> ListingSource:
        if self.content:
            check_content(self.content)
        return self


class HttpSource(_Source):
    """The index pages that nginx or Apache httpd makes of a tree."""

    type: Literal["http"]
    url: WebUrl = Field(description="the page of the directory that corresponds to the category's topdir")
    max_depth: int = Field(32, ge=1, le=256, description="directories below this many others are left out")
    max_page_bytes: int = Field(16 << 20, ge=1024, description="largest page that is read")


Source = DirectorySource | TimeListSource | NameListSource | RsyncSource | ListingSource | HttpSource
_ADAPTER: TypeAdapter[Source] = TypeAdapter(Annotated[Source, Field(discriminator="type")])


def check_content(text: str) -> None:
    """Raises ValueError when it is no place that files can be read from."""
    if text.startswith("rsync:"):
        _rsync(text)
    elif "://" in text:
        _web(text)
    else:
        _absolute(Path(text))


def parse_source(value: dict[str, Any]) -> Source:
    """The source as stored. Raises InvalidValue naming each wrong key."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise InvalidValue("source", "; ".join(_problem(each) for each in _problems(error))) from None


def _problems(error: ValidationError) -> list[dict[str, Any]]:
    found = error.errors(include_input=False, include_url=False, include_context=True)
    return [dict(problem) for problem in found]


def _problem(problem: dict[str, Any]) -> str:
    kind = problem["type"]
    if kind == "union_tag_invalid":
        return f"type: must be one of {problem['ctx']['expected_tags']}"
    if kind == "union_tag_not_found":
        return "type: is missing"
    key = ".".join(str(part) for part in problem["loc"][1:]) or "content"
    return f"{key}: {'unknown key' if kind == 'extra_forbidden' else problem['msg'].removeprefix('Value error, ')}"


def listing_of(source: dict[str, Any], path: str) -> dict[str, Any]:
    """The source that reads this file in the place of the source, whose files it lists."""
    kept = {key: value for key, value in source.items() if key in ("excludes", "keyring", "prefix")}
    listed = source.get("type") in (_LIST, _NAMES, "listing")
    content = source.get("content", "") if listed else source.get("path") or source.get("url", "")
    return {**kept, "type": "listing", "path": path, "content": content}


def source_from(place: str, *, excludes: tuple[str, ...] = (), prefix: str = "", content: str = "") -> dict[str, Any]:
    """The source that an address or a path of this machine means. Raises InvalidValue."""
    value: dict[str, Any] = {"excludes": list(excludes)} | _place(place, prefix)
    listed = value["type"] in (_LIST, _NAMES, "listing")
    if content and listed:
        value["content"] = content if "://" in content else str(Path(content).absolute())
    elif content or (prefix and not listed):
        raise InvalidValue("source", "--content and --prefix are for lists of files only")
    if prefix:
        value["prefix"] = prefix
    return parse_source(value).model_dump(mode="json")


def with_keyring(source: dict[str, Any], keyring: str) -> dict[str, Any]:
    """The source with that file of OpenPGP keys; empty: with none. Raises InvalidValue."""
    if not source:
        raise InvalidValue("keyring", "the category has no source that could be signed")
    changed = {**source, "keyring": str(Path(keyring).absolute()) if keyring else None}
    return parse_source(changed).model_dump(mode="json")


def _place(place: str, prefix: str) -> dict[str, Any]:
    if place.startswith("rsync:"):
        return {"type": "rsync", "url": place}
    if "://" in place:
        return {"type": "http", "url": place}
    path = Path(place).absolute()
    value = {"path": str(path)}
    if path.is_file():
        beside = {"content": str(path.parent / prefix)}  # lists lie at the top of what they list
        if path.name.startswith(_LIST):
            return value | beside | {"type": _LIST}
        if path.name.startswith(_NAMES):
            return value | beside | {"type": _NAMES}
        return value | {"type": "listing"}
    return value | {"type": "directory"}
