"""The folder that holds the registry as code: which files it has, reading and writing them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mm_lib.registry.documents import SiteFile
from mm_lib.registry.reading import read_site
from mm_lib.registry.writing import update, write
from mm_lib.registry.yaml_text import MAX_LENGTH, Problem
from mm_lib.services.errors import InvalidValue

_SUFFIXES = (".yaml", ".yml")
_MAX_NAME = 80


def find(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, and of folders the YAML files that stand in them directly."""
    found: list[Path] = []
    for path in paths:
        found += listed(path) if path.is_dir() else [path]
    return found


def listed(folder: Path) -> list[Path]:
    """The YAML files of a folder by name, hidden ones left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read(paths: Iterable[Path]) -> tuple[list[tuple[str, str]], list[Problem]]:
    """The texts of files, and what is wrong with their bytes."""
    texts, problems = [], []
    for path in paths:
        data = _beginning(path)
        try:
            texts.append((str(path), data.decode("utf-8-sig")))
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            problems.append(Problem(str(path), line, column, "is not UTF-8"))
    return texts, problems


def _beginning(path: Path) -> bytes:
    """All of a file that is not too large; of a larger one enough to see that."""
    with path.open("rb") as file:
        return file.read(4 * (MAX_LENGTH + 1))


@dataclass
class Exported:
    """What became of a folder."""

    written: list[Path] = field(default_factory=list)
    unchanged: int = 0
    stale: list[Path] = field(default_factory=list)  # files of sites that are not there any more


def export(folder: Path, sites: Mapping[str, SiteFile], prune: bool) -> Exported:
    """Bring a folder up to date: one file per site. Raises InvalidValue when a file in it cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    there = _described(folder)
    done, taken = Exported(), {path.name for path, _ in there.values()}
    for name, site in sites.items():
        path, old = there.pop(name, (folder / _file_name(name, taken), None))
        taken.add(path.name)
        text = write(site) if old is None else update(old, str(path), site)
        if text == old:
            done.unchanged += 1
        else:
            _replace(path, text)
            done.written.append(path)
    for path, _ in there.values():
        done.stale.append(path)
        if prune:
            path.unlink()
    return done


def _described(folder: Path) -> dict[str, tuple[Path, str]]:
    """Site -> its file and text."""
    texts, problems = read(listed(folder))
    found: dict[str, tuple[Path, str]] = {}
    for file, text in texts:
        loaded, wrong = read_site(text, file)
        problems += wrong
        if loaded:
            found[loaded.site.name] = (Path(file), text)
    if problems:
        raise InvalidValue("folder", f"holds a file that is not valid; nothing was written: {problems[0]}")
    return found


def _file_name(site: str, taken: Sequence[str] | set[str]) -> str:
    """A plain file name that no other site has."""
    stem = re.sub(r"[^a-z0-9]+", "-", site.lower()).strip("-")[:_MAX_NAME] or "site"
    name, number = f"{stem}.yaml", 2
    while name in taken:
        name, number = f"{stem}-{number}.yaml", number + 1
    return name


def _replace(path: Path, text: str) -> None:
    """Readers see the old text or the new one, never a part."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", encoding="utf-8", delete=False) as file:
        file.write(text)
    temporary = Path(file.name)
    temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
    temporary.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
