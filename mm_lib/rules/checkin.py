"""What a private mirror's check-in says, as the report_mirror client encodes it: limits first, then sense.

The argument is URL-safe base64 of bz2 of JSON. It comes from anybody, and whoever sent it is known only after it was
read, so everything here is bounded: sizes before they are allocated, values before they are made. Nothing is unpickled.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_BODY = 8 << 20  # bytes of a request: ten times what the whole of Fedora takes
MAX_TEXT = 32 << 20  # bytes after decompression
MAX_PATHS = 400_000  # directories of one check-in
MAX_VALUES = 1_000_000  # of the JSON: how much memory it takes depends on that, not on its length
MAX_NAME = 255  # characters of a site, host or category
MAX_PASSWORD = 1024

INVALID = "Invalid config file provided, please check your report_mirror.conf."
_UPDATE = f"config file is not a dict.\nPlease update your copy of report_mirror.\n{INVALID}"
_TRUE = frozenset({"true", "1", "t", "y", "yes"})
_NO_CATEGORIES = frozenset({"version", "global", "site", "host", "stats"})


class Unreadable(ValueError):
    """Not an encoded check-in at all, or one that is larger than any mirror."""


class Refused(ValueError):
    """It can be read, but not used; the message is for the person who runs the mirror."""


@dataclass(frozen=True)
class Report:
    """What a mirror says of itself."""

    host: str
    site: str = ""
    password: str = field(default="", repr=False)
    active: bool | None = None  # None: it says nothing about that
    trees: Mapping[str, Iterable[str]] = field(default_factory=dict)  # category, in lower case -> its directories


def decode(argument: str | bytes) -> bytes:
    """The payload of an argument. Raises Unreadable."""
    try:
        raw = argument.encode("ascii") if isinstance(argument, str) else argument
        packed = base64.b64decode(b"".join(raw.split()).translate(_FROM_URLS), validate=True)
        unpacker = bz2.BZ2Decompressor()
        payload = unpacker.decompress(packed, MAX_TEXT)
    except (UnicodeEncodeError, binascii.Error, OSError, ValueError):
        raise Unreadable("not base64 of bz2") from None
    if not unpacker.eof:
        raise Unreadable("cut off, or too long")
    return payload


_FROM_URLS = bytes.maketrans(b"-_", b"+/")


def gunzip(packed: bytes) -> bytes:
    """What was compressed with gzip. Raises Unreadable."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        payload = unpacker.decompress(packed, MAX_TEXT)
    except zlib.error:
        raise Unreadable("not gzip") from None
    if not unpacker.eof:
        raise Unreadable("cut off, or too long")
    return payload


def refuse_size(payload: bytes) -> None:
    """Raises Unreadable for JSON that would take too much memory, Refused for one with too many directories."""
    if len(payload) > MAX_TEXT or payload.count(b",") > MAX_VALUES:
        raise Unreadable("too long")
    if payload.count(b"{") + payload.count(b"[") > MAX_PATHS + 100:
        raise Refused(f"The check-in has more than {MAX_PATHS} directories.")


def read_json(payload: bytes) -> Any:
    """Its values. Raises Unreadable when it is no JSON or would take too much memory, Refused for too many paths."""
    refuse_size(payload)
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None


def read(payload: bytes) -> Report:
    """The report of a payload, checked in the order and refused in the words of the reference. Raises Refused."""
    try:
        config = read_json(payload)
    except Unreadable:
        raise Refused(_UPDATE) from None  # clients before 2016 pickled it
    if not isinstance(config, dict):
        raise Refused(_UPDATE)
    _refuse_version(config)
    sections = {name: _section(config, name) for name in ("global", "site", "host")}
    if sections["global"].get("enabled") != "1":
        raise Refused(f"config file section [global] not enabled.\n{INVALID}")
    for option in ("name", "password"):
        if option not in sections["site"]:
            raise Refused(f"config file [site] missing required option {option}.\n{INVALID}")
    if "name" not in sections["host"]:
        raise Refused(f"section [host] missing required option name.\n{INVALID}")
    return Report(
        host=name_of(sections["host"]["name"]),
        site=name_of(sections["site"]["name"]),
        password=password_of(sections["site"]["password"]),
        active=_active(sections["host"]),
        trees=_trees(config),
    )


def _refuse_version(config: Mapping[str, Any]) -> None:
    if "version" not in config:
        raise Refused(f"config file has no version field.\n{INVALID}")
    version = config["version"]
    if version != 0 or isinstance(version, bool):
        raise Refused(f"config file version is not 0, is {shown(version)}.\n{INVALID}")


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    # One that says it is not enabled is as if it was not there; [global] has words of its own for that.
    if not isinstance(section, dict) or (name != "global" and not _is_enabled(section)):
        raise Refused(f"config file missing section {name}.\n{INVALID}")
    return section


def _is_enabled(section: Mapping[str, Any]) -> bool:
    """The original client always says so; others build their own payload, and the reference never asked for it."""
    return bool(section.get("enabled", "1") == "1")


def _active(host: Mapping[str, Any]) -> bool | None:
    if "user_active" not in host:
        return None
    said = host["user_active"]
    return isinstance(said, str) and said in _TRUE


def _trees(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Category, in lower case -> directories; the report_mirror client sends sections that are switched off, too."""
    found: dict[str, list[str]] = {}
    for name, section in config.items():
        if name in _NO_CATEGORIES or (isinstance(section, dict) and not _is_enabled(section)):
            continue
        tree = section.get("dirtree") if isinstance(section, dict) else None
        if not isinstance(tree, dict):
            raise Refused(f"section [{shown(name)}] missing required option dirtree.\n{INVALID}")
        found.setdefault(name.lower(), []).extend(tree)
    return found


def name_of(value: Any) -> str:
    """A name that a database can be asked for; empty for anything that cannot be one."""
    usable = isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()
    return value if usable else ""


def password_of(value: Any) -> str:
    """A password that can be hashed; empty for anything that cannot be one."""
    usable = isinstance(value, str) and len(value) <= MAX_PASSWORD and not any("\ud800" <= c <= "\udfff" for c in value)
    return value if usable else ""


def shown(value: Any) -> str:
    """What was sent, in a message: short, on one line, and XML can hold it."""
    text = value if isinstance(value, str) else json.dumps(value)[:100]
    return "".join(character if character.isprintable() else "?" for character in text[:100])


def full_path(topdir: str, below: str) -> str | None:
    """The directory's path below the content root; None when the client's word leads out of its tree."""
    if below and not below.startswith("/") and not below.endswith("/") and "//" not in below and "." not in below:
        return f"{topdir}/{below}" if topdir else below  # as nearly all are written
    parts = [part for part in below.split("/") if part not in ("", ".")]
    if ".." in parts:
        return None
    return "/".join([topdir, *parts] if topdir else parts)
