"""Which redirector is measured: the compiled one, which docs/operations.md wants for busy sites, or the plain one."""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from tests.bench.data import ROOT

FOLDER = ROOT / ".venv/compiled"  # made by `make .venv/.compiled`
_PACKAGES = ("mm_redirector", "mm_lib")


def folder(plain: bool = False) -> Path:
    """Where the packages are imported from. Ends the benchmark where what was compiled is not what stands here."""
    if plain:
        return ROOT
    sources = [path.relative_to(ROOT) for package in _PACKAGES for path in (ROOT / package).rglob("*.py")]
    machine_code = any((FOLDER / f"mm_redirector__mypyc{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)
    if not machine_code or not all(_same(ROOT / path, FOLDER / path) for path in sources):
        raise SystemExit("Error: the compiled redirector is missing or older than its source: run make .venv/.compiled")
    return FOLDER


def begin_again(place: Path) -> None:
    """Run this program anew with its packages from there, unless it does: half of them may be imported already."""
    if os.environ.get("PYTHONPATH") != str(place):
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONPATH": str(place)})


def _same(source: Path, copy: Path) -> bool:
    return copy.is_file() and copy.read_bytes() == source.read_bytes()
