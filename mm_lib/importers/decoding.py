"""Bytes of a source as text, whoever saved them: byte order marks, UTF-16, Windows line ends, and what is no UTF-8."""

from __future__ import annotations

import codecs

from mm_lib.importers.drafts import MAX_CHARACTERS, refused, repaired
from mm_lib.importers.report import Note

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(data: bytes, file: str) -> tuple[str | None, list[Note]]:
    """The text, with plain line ends; None when it is none, or too long."""
    if len(data) > MAX_CHARACTERS:
        return None, [refused("file", file, file, f"is larger than {MAX_CHARACTERS:,} bytes")]
    encoding, notes = "utf-8", []
    for mark, name in _MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
            break
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            return None, [refused("file", file, file, f"begins as {encoding} but is not")]
        line = data.count(b"\n", 0, error.start) + 1
        # Every byte means something in Latin-1, and old lists of Europe's mirrors are in it.
        text = data.decode("latin-1")
        notes.append(repaired("file", f"{file}:{line}", file, "is not UTF-8; read as Latin-1"))
    if "\x00" in text:
        return None, [*notes, refused("file", file, file, "holds zero bytes: it is no text")]
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes
