"""Benchmarks measure the compiled redirector only where it is what stands here."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from tests.bench import compiled


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as utils/setup/compile makes it."""
    for place in (tmp_path, tmp_path / "compiled"):
        for name in ("mm_redirector/app.py", "mm_lib/settings.py", "mm_lib/cache/table.py"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(name)
    (tmp_path / "compiled" / f"mm_redirector__mypyc{EXTENSION_SUFFIXES[0]}").touch()
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "FOLDER", tmp_path / "compiled")
    return tmp_path / "compiled"


def test_what_was_compiled_is_measured_and_what_was_not_where_that_is_wanted(built: Path) -> None:
    assert compiled.folder() == built
    assert compiled.folder(plain=True) == built.parent


@pytest.mark.parametrize("name", ["mm_redirector/app.py", "mm_lib/settings.py", "mm_lib/cache/table.py"])
def test_a_source_that_changed_afterwards_is_not_passed_over(built: Path, name: str) -> None:
    (built.parent / name).write_text("changed")
    with pytest.raises(SystemExit, match="older than its source"):
        compiled.folder()


def test_packages_without_machine_code_do_not_pass_for_compiled_ones(built: Path) -> None:
    """As a compiler that fails leaves them, or one for another Python."""
    (built / f"mm_redirector__mypyc{EXTENSION_SUFFIXES[0]}").rename(built / "mm_redirector__mypyc.cpython-27.so")
    with pytest.raises(SystemExit, match="missing"):
        compiled.folder()
