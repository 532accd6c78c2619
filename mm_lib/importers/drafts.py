"""What every list of mirrors is turned into first: drafts of hosts, as the source has them.

A parser is a function from a text to drafts and notes, and nothing else: it opens no file and knows no database.
Values are as they stand in the source; mm_lib.importers.cleaning makes of them what the registry takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mm_lib.importers.report import Note, Outcome

MAX_CHARACTERS = 20_000_000  # of one source; Debian's whole list has 300,000


@dataclass(frozen=True)
class DraftUrl:
    """A URL, and the part of the archive that it leads to, in formats that know several ("Archive", "CDImage")."""

    url: str
    part: str = ""


@dataclass(frozen=True)
class MirrorDraft:
    """A mirror as a source describes it. Empty or None: the source does not say."""

    where: str  # file:line
    urls: tuple[DraftUrl, ...] = ()
    host: str = ""  # empty: the host of the first URL
    site: str = ""  # the organisation; empty: named after the host
    site_url: str = ""
    country: str = ""
    latitude: float | None = None
    longitude: float | None = None
    bandwidth_mbps: int | None = None
    private: bool | None = None
    asns: tuple[str, ...] = ()
    netblocks: tuple[str, ...] = ()
    email: str = ""
    comment: str = ""
    whole: bool = True  # it says all that the source has on its host, so that a second one is a mistake


Found = Iterator[MirrorDraft | Note]
Parser = Callable[[str, str], Found]  # text, name of the file


def refused(kind: str, where: str, subject: str, reason: str) -> Note:
    """Something that cannot be taken."""
    return Note(Outcome.REFUSED, kind, where, subject, reason)


def repaired(kind: str, where: str, subject: str, reason: str) -> Note:
    """Something that is taken in another form."""
    return Note(Outcome.REPAIRED, kind, where, subject, reason)


def truth(value: object) -> bool | None:
    """What people write for yes and no; None for anything else."""
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(
        str(value).strip().lower()
    )
