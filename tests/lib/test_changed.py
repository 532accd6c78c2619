"""Case 58: which directories changed since a moment."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from mm_lib.services.changed import changed_directories
from tests import factories as make

BOTH = ("Fedora Linux", "Fedora EPEL")
TOP = "pub/fedora/linux"


@pytest.fixture(autouse=True)
def _tree(session: Session) -> None:
    fedora, epel = make.category(session), make.category(session, "Fedora EPEL", "pub/epel")
    for category, below, mtime in ((fedora, "b", 101), (fedora, "a", 200), (fedora, "old", 100), (epel, "9", 300)):
        make.directory(session, category, below).mtime = mtime
    make.directory(session, fedora, "closed", readable=False).mtime = 400
    session.flush()


@pytest.mark.parametrize(
    ("categories", "since", "paths"),
    [
        (BOTH, "100", ["pub/epel/9", f"{TOP}/a", f"{TOP}/b"]),
        (("Fedora Linux",), 150, [f"{TOP}/a"]),
        (("Fedora Linux", "Nosuch"), "150", [f"{TOP}/a"]),
        (BOTH, "-1", ["pub/epel/9", f"{TOP}/a", f"{TOP}/b", f"{TOP}/old"]),
        (BOTH, f"-{10**30}", ["pub/epel/9", f"{TOP}/a", f"{TOP}/b", f"{TOP}/old"]),
        (BOTH, "400", []),
        (BOTH, "yesterday", []),
        (BOTH, "1.5", []),
        (BOTH, "", []),
        (BOTH, str(10**30), []),
        ((), "0", []),
        (("Nosuch",), "0", []),
    ],
)
def test_readable_directories_that_changed_later_are_named(
    session: Session, categories: tuple[str, ...], since: str | int, paths: list[str]
) -> None:
    assert changed_directories(session, categories, since) == paths
