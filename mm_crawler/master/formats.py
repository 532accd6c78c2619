"""Which files are important, and what stands in them: repomd.xml and the many forms of checksum files.

APT's are in apt.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import StringIO

from lxml import etree

REPOMD = "repomd.xml"
SUMMARY = "summary"  # of an ostree repository
RELEASE, INRELEASE = "Release", "InRelease"  # of an APT suite
_LEADING = frozenset((REPOMD, SUMMARY, RELEASE, INRELEASE))

KINDS = ("md5", "sha1", "sha256", "sha512")
LENGTHS: Mapping[str, int] = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_KIND_OF_LENGTH = {length: kind for kind, length in LENGTHS.items()}
_LATEST_TIME = 1 << 40  # far beyond any calendar, well inside a BIGINT
_CHUNK = 1 << 16
_MAX_LINES = 500_000  # of a checksum file
_MAX_ELEMENTS = 100_000  # a real one has some hundred
_MAX_DEPTH = 20
_MAX_PIECES = 100  # of a timestamp's text

# SHA256SUMS, sha512sum.txt, Fedora-44-x86_64-CHECKSUM, CHECKSUM, x.iso.sha256, x.md5sum, CHECKSUM.sha256 ...
_CHECKSUM_FILE = re.compile(
    r"(?:.*[-_.])?(?:(?P<kind>md5|sha1|sha256|sha512)sums?|checksums?)(?:\.txt)?|.*\.(?P<suffix>md5|sha1|sha256|sha512)",
    re.IGNORECASE,
)
_BSD_LINE = re.compile(r"(?P<kind>MD5|SHA1|SHA256|SHA512) ?\((?P<name>.+)\) ?= ?(?P<hash>[0-9a-fA-F]+)")
_GNU_LINE = re.compile(r"(?P<hash>[0-9a-fA-F]{32,128}) [ *]?(?P<name>.+)")

_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"

Hashes = dict[str, str]  # kind -> lower-case hexadecimal


class FormatError(ValueError):
    """A file is not what its name says."""


def is_checksum_file(name: str) -> bool:
    """Whether a file's name says that it holds the hashes of others."""
    return _CHECKSUM_FILE.fullmatch(name) is not None


def is_important(name: str) -> bool:
    """Whether a file is read whenever it may have changed."""
    return name in _LEADING or is_checksum_file(name)


def repomd_timestamp(data: bytes) -> int | None:
    """The newest <timestamp> of its <data>, None when it has none. Raises FormatError."""
    # Read as a stream of events: a tree of all that a hostile file can hold would not fit into memory.
    reader = _Repomd()
    parser = etree.XMLParser(
        target=reader, resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )
    try:
        for start in range(0, len(data), _CHUNK):
            parser.feed(data[start : start + _CHUNK])
        parser.close()
    except (etree.XMLSyntaxError, UnicodeError) as error:
        raise FormatError(f"not well-formed XML: {error}") from None
    return reader.newest


class _Repomd:
    """Takes the events of a repomd.xml and keeps the newest timestamp."""

    def __init__(self) -> None:
        self.newest: int | None = None
        self._path: list[str] = []
        self._elements = 0
        self._text: list[str] | None = None

    def doctype(self, _name: str, _public_id: str | None, _system_id: str | None) -> None:
        raise FormatError("it has a document type declaration, which repository metadata never has")

    def start(self, tag: str, _attributes: Mapping[str, str]) -> None:
        name = etree.QName(tag).localname
        if not self._path and name != "repomd":
            raise FormatError("its root element is not <repomd>")
        self._elements += 1
        if self._elements > _MAX_ELEMENTS:
            raise FormatError(f"it has more than {_MAX_ELEMENTS} elements")
        self._path.append(name)
        if len(self._path) > _MAX_DEPTH:
            raise FormatError(f"its elements are nested more than {_MAX_DEPTH} deep")
        if self._path[1:] == ["data", "timestamp"]:
            self._text = []

    def data(self, text: str) -> None:
        if self._text is not None and len(self._text) < _MAX_PIECES:
            self._text.append(text)

    def end(self, _tag: str) -> None:
        if self._text is not None and len(self._path) == 3:
            value = _timestamp("".join(self._text))
            self.newest = value if self.newest is None else max(self.newest, value)
            self._text = None
        self._path.pop()

    def close(self) -> None:
        pass


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

    Raises FormatError when it gives two different hashes of one kind for a file, and when it is far too long.
    """
    if (lines := data.count(b"\n")) > _MAX_LINES:
        raise FormatError(f"it has {lines} lines, more than any checksum file needs")
    kind = _kind_of_file(filename)
    found: dict[str, Hashes] = {}
    for line in signed_lines(data.decode("utf-8", errors="replace")):
        entry = _bsd(line.strip()) or _gnu(line.strip(), kind)
        if entry is None:
            continue
        name, line_kind, value = entry
        if found.setdefault(name, {}).setdefault(line_kind, value) != value:
            raise FormatError(f"it gives two {line_kind} hashes for {name}")
    return found


def signed_lines(text: str) -> Iterator[str]:
    """The lines that a clearsigned text's signature covers (nobody vouches for the rest); of another text, all."""
    lines = StringIO(text)  # not a list: a hostile file may have a line for each byte
    if not text.startswith(_SIGNED) and f"\n{_SIGNED}" not in text:
        yield from lines
        return
    for line in lines:
        if line.rstrip() == _SIGNED:
            break
    for line in lines:  # headers, up to an empty line
        if not line.strip():
            break
    for line in lines:
        if line.startswith("-----BEGIN PGP "):
            break
        yield line.removeprefix("- ")


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
