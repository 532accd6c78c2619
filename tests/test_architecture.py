"""Traps of the layout that import-linter does not see, and rules of the house that can be read off the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = ("mm_lib", "mm_redirector", "mm_crawler", "mm_frontend")
SOURCES = [path for program in PROGRAMS for path in sorted((ROOT / program).rglob("*.py"))]
HEAVY = ("sqlalchemy", "flask", "alembic", "click", "werkzeug", "pycurl", "pyroaring")
MAX_LINES = 40


def fresh(code: str) -> str:
    """Run code in a new interpreter that has loaded nothing of ours."""
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_redirector_loads_no_database_or_web_framework() -> None:
    loaded = set(fresh("import mm_redirector.wsgi, sys; print('\\n'.join(sys.modules))").split())
    assert not [name for name in loaded if name.startswith(HEAVY)]


@pytest.mark.parametrize("module", ["mm_redirector.wsgi", "mm_frontend.wsgi", "mm_crawler.cli", "mm_lib.cli.main"])
def test_nothing_happens_on_import(module: str) -> None:
    """No file is opened for writing, no socket made and no process or thread started."""
    code = f"""
import sys, threading
seen = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen", "os.fork"):
        seen.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if "__pycache__" not in str(arguments[0]):
            seen.append((event, arguments[0]))
sys.addaudithook(hook)
import {module}
assert not seen, seen
assert threading.active_count() == 1
"""
    fresh(code)


def test_importing_alembic_finds_the_library_and_not_our_folder() -> None:
    assert "site-packages" in fresh("import alembic; print(alembic.__file__)")


def test_only_transaction_commits() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    ]
    assert [place.split(":")[0] for place in found] == ["mm_lib/database.py"]


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=str)
def test_package_init_files_are_empty(path: Path) -> None:
    assert path.read_text() == ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MAX_LINES
    ]
    assert not long
