"""What a person at a terminal sees of a scan, and that a service sees nothing of it."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from mm_crawler.master.progress import shown
from mm_crawler.master.scanned import Look, ScannedDirectory

DIRECTORY = ScannedDirectory("a", 1, True, Look.LISTED)


@pytest.mark.parametrize(("known", "expected"), [(1000, "500/1000"), (0, "500/?")])
def test_a_terminal_shows_how_many_of_how_many(known: int, expected: str) -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100)
    with shown("Fedora Linux", known, console) as tell:
        for _ in range(500):
            tell(DIRECTORY)
    assert isinstance(console.file, StringIO)
    assert "Fedora Linux" in console.file.getvalue()
    assert expected in console.file.getvalue()


def test_without_a_terminal_nothing_is_shown() -> None:
    console = Console(file=StringIO(), force_terminal=False)
    with shown("Fedora Linux", 1000, console) as tell:
        for _ in range(500):
            tell(DIRECTORY)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == ""
