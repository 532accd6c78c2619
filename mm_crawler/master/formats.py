"""Which files are important, and what stands in them: repomd.xml and the many forms of checksum files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO

from lxml import etree

REPOMD = "repomd.xml"
SUMMARY = "summary"  # of an ostree repository

KINDS = ("md5", "sha1", "sha256", "sha512")
LENGTHS: Mapping[str, int] = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_KIND_OF_LENGTH = {length: kind for kind, length in LENGTHS.items()}
_LATEST_TIME = 1 << 40  # far beyond any calendar, well inside a BIGINT

# SHA256SUMS, sha512sum.txt, Fedora-44-x86_64-CHECKSUM, CHECKSUM, x.iso.sha256, x.md5sum, CHECKSUM.sha256 ...
_CHECKSUM_FILE = re.compile(
    r"(?:.*[-_.])?(?:(?P<kind>md5|sha1|sha256|sha512)sums?|checksums?)(?:\.txt)?|.*\.(?P<suffix>md5|sha1|sha256|sha512)",
    re.IGNORECASE,
)
_BSD_LINE = re.compile(r"(?P<kind>MD5|SHA1|SHA256|SHA512) ?\((?P<name>.+)\) ?= ?(?P<hash>[0-9a-fA-F]+)")
_GNU_LINE = re.compile(r"(?P<hash>[0-9a-fA-F]{32,128}) [ *]?(?P<name>.+)")

Hashes = dict[str, str]  # kind -> lower-case hexadecimal


class FormatError(ValueError):
    """A file is not what its name says."""


def is_checksum_file(name: str) -> bool:
    """Whether a file's name says that it holds the hashes of others."""
    return _CHECKSUM_FILE.fullmatch(name) is not None


def is_important(name: str) -> bool:
    """Whether a file is read whenever it may have changed."""
    return name in (REPOMD, SUMMARY) or is_checksum_file(name)


def repomd_timestamp(data: bytes) -> int | None:
    """The newest <timestamp> of its <data>, None when it has none. Raises FormatError."""
    newest: int | None = None
    try:
        events = etree.iterparse(
            BytesIO(data),
            events=("end",),
            tag="{*}data",
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            huge_tree=False,
        )
        for _, element in events:
            for stamp in element.findall("{*}timestamp"):
                value = _timestamp(stamp.text or "")
                newest = value if newest is None else max(newest, value)
            element.clear()
        root = events.root
    except (etree.XMLSyntaxError, UnicodeError) as error:
        raise FormatError(f"not well-formed XML: {error}") from None
    _check_root(root)
    return newest


def _check_root(root: etree._Element | None) -> None:
    if root is None or etree.QName(root).localname != "repomd":
        raise FormatError("its root element is not <repomd>")
    if root.getroottree().docinfo.doctype:
        raise FormatError("it has a document type declaration, which repository metadata never has")


def _timestamp(text: str) -> int:
    try:
        value = int(float(text))
    except (ValueError, OverflowError):
        raise FormatError(f"its timestamp {text[:40]!r} is not a number") from None
    if abs(value) > _LATEST_TIME:
        raise FormatError(f"its timestamp {text[:40]!r} is out of range")
    return value


def parse_checksums(filename: str, data: bytes) -> dict[str, Hashes]:
    """Name -> hashes, of each line that is one; signatures, comments and hashes of a wrong length are passed over.

    Raises FormatError when it gives two different hashes of one kind for a file.
    """
    kind = _kind_of_file(filename)
    found: dict[str, Hashes] = {}
    for line in data.decode("utf-8", errors="replace").splitlines():
        entry = _bsd(line.strip()) or _gnu(line.strip(), kind)
        if entry is None:
            continue
        name, line_kind, value = entry
        if found.setdefault(name, {}).setdefault(line_kind, value) != value:
            raise FormatError(f"it gives two {line_kind} hashes for {name}")
    return found


def _kind_of_file(filename: str) -> str | None:
    """The kind of hash that the file's name promises, if it promises one."""
    match = _CHECKSUM_FILE.fullmatch(filename)
    kind = match and (match["kind"] or match["suffix"])
    return kind.lower() if kind else None


def _bsd(line: str) -> tuple[str, str, str] | None:
    match = _BSD_LINE.fullmatch(line)
    if match is None:
        return None
    kind = match["kind"].lower()
    return _entry(match["name"], kind, match["hash"]) if len(match["hash"]) == LENGTHS[kind] else None


def _gnu(line: str, promised: str | None) -> tuple[str, str, str] | None:
    match = _GNU_LINE.fullmatch(line)
    kind = _KIND_OF_LENGTH.get(len(match["hash"])) if match else None
    if match is None or kind is None or (promised and kind != promised):
        return None
    return _entry(match["name"], kind, match["hash"])


def _entry(name: str, kind: str, value: str) -> tuple[str, str, str]:
    return name.removeprefix("./"), kind, value.lower()
